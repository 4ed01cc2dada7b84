import { constants } from 'node:fs'
import { type FileHandle, open, stat } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { tryLockFile } from './native/flock.ts'

const POLL_MILLIS = 50

/**
 * An exclusive lock on a file, between processes and within one. It ends with the process that holds it. The file
 * itself stays: removing it would let two processes lock two files of the same name.
 */
export class FileLock implements AsyncDisposable {
  readonly #file: FileHandle

  private constructor(file: FileHandle) {
    this.#file = file
  }

  /**
   * The lock, or undefined when another holds it. Rejects with the system's error when the file cannot be opened.
   *
   * @param guarded the file that is locked so: a lock that root makes becomes its owner's, who could never lock again
   */
  static async try(path: string, guarded?: string): Promise<FileLock | undefined> {
    // Not through a link that somebody put there: in /tmp anybody can.
    const file = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600)
    try {
      if (guarded !== undefined && process.getuid?.() === 0) await handOver(file, guarded)
      if (await tryLockFile(file.fd)) return new FileLock(file)
    } catch (error) {
      await file.close()
      throw error
    }
    await file.close()
    return undefined
  }

  /**
   * Waits for the lock; undefined when the time is over, or the signal aborts. Polls, because a blocking flock would
   * hold a thread.
   */
  static async acquire(
    path: string,
    limitMillis: number,
    { guarded, signal }: { readonly guarded?: string; readonly signal?: AbortSignal } = {},
  ): Promise<FileLock | undefined> {
    const end = Date.now() + limitMillis
    for (;;) {
      const lock = await FileLock.try(path, guarded)
      if (lock !== undefined || Date.now() >= end || signal?.aborted) return lock
      // The loop sees by itself that it was aborted.
      await sleep(POLL_MILLIS + Math.random() * POLL_MILLIS, undefined, { signal }).catch(() => undefined)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close()
  }
}

async function handOver(file: FileHandle, guarded: string): Promise<void> {
  // Nothing there yet: it will belong to whoever makes it.
  const owner = await stat(guarded).catch(() => undefined)
  const { nlink } = await file.stat()
  // One name only: in /tmp it could be another name of a file that is not ours to give away.
  if (owner !== undefined && nlink === 1) await file.chown(owner.uid, owner.gid)
}
