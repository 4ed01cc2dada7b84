import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
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

  /** The lock, or undefined when another holds it. Rejects with the system's error when the file cannot be opened. */
  static async try(path: string, mode = 0o600): Promise<FileLock | undefined> {
    // Not through a link that somebody put there: in /tmp anybody can.
    const file = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, mode)
    try {
      if (await tryLockFile(file.fd)) return new FileLock(file)
    } catch (error) {
      await file.close()
      throw error
    }
    await file.close()
    return undefined
  }

  /** Waits for the lock; undefined when the time is over. Polls, because a blocking flock would hold a thread. */
  static async acquire(path: string, limitMillis: number, mode?: number): Promise<FileLock | undefined> {
    const end = Date.now() + limitMillis
    for (;;) {
      const lock = await FileLock.try(path, mode)
      if (lock !== undefined || Date.now() >= end) return lock
      await sleep(POLL_MILLIS + Math.random() * POLL_MILLIS)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close()
  }
}
