import type { FileHandle } from 'node:fs/promises'
import { pause } from '../abort.ts'
import { errorCode } from '../any-error.ts'
import { createExclusively, onlyThisUser, openTrusted } from '../private-file.ts'
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
   * The lock, or undefined when another process holds it.
   *
   * @param neededFor for the error where the package koffi is missing. Default: Kerberos
   *
   * @throws DistrustedFile when the file is a link, another user's, or may be written by others: they could hold the
   *   lock for ever; the system's error when it cannot be opened
   */
  static async try(path: string, neededFor?: string): Promise<FileLock | undefined> {
    const file = await openOrMake(path)
    try {
      if (await tryLockFile(file.fd, neededFor)) return new FileLock(file)
    } catch (error) {
      await file.close()
      throw error
    }
    await file.close()
    return undefined
  }

  /**
   * Waits for the lock; undefined when the time is up, or the signal aborts. Polls, because a blocking flock would
   * hold a thread.
   */
  static async acquire(
    path: string,
    limitMillis: number,
    { signal }: { readonly signal?: AbortSignal } = {},
  ): Promise<FileLock | undefined> {
    const end = Date.now() + limitMillis
    for (;;) {
      const lock = await FileLock.try(path)
      if (lock !== undefined || Date.now() >= end || signal?.aborted) return lock
      // The loop looks at the signal itself.
      await pause(POLL_MILLIS + Math.random() * POLL_MILLIS, { signal }).catch(() => undefined)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close()
  }
}

async function openOrMake(path: string): Promise<FileHandle> {
  try {
    return await createExclusively(path, 0o600)
  } catch (error) {
    if (errorCode(error) !== 'EEXIST') throw error
    return await openTrusted(path, { ...onlyThisUser(), forWriting: true })
  }
}
