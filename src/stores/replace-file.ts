/** Files that are replaced as a whole, by one writer at a time. */

import { type FileHandle, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { pause } from '../abort.ts'
import { errorCode } from '../any-error.ts'
import { type ErrorCode, PoolsmithError } from '../errors.ts'
import { shownCause, shownPath } from '../plausible-path.ts'
import { printable } from '../printable.ts'
import { createExclusively, DistrustedFile, syncFolder } from '../private-file.ts'

const LOCK_LIMIT_MILLIS = 10_000
const POLL_MILLIS = 20

export interface ReplaceOptions {
  /** The file, as errors name it. */
  readonly name: string
  /** The code of the error while another writer holds the lock. */
  readonly code: ErrorCode
  /** How long to wait for another writer, in milliseconds. Default 10 s. */
  readonly lockMillis?: number | undefined
  readonly signal: AbortSignal
}

/**
 * Replaces a file, with mode 0600. Readers see the old file or the new one, whatever ends in between. A second writer
 * waits, and changes what the first one wrote.
 *
 * @param change reads the file and gives the next content; what it throws is passed on, and nothing is written
 * @throws PoolsmithError of the given code, SECRET_FILE_REFUSED
 */
export async function replaceFile<Change extends { readonly text: string }>(
  path: string,
  change: () => Promise<Change>,
  options: ReplaceOptions,
): Promise<Change> {
  const { name, signal } = options
  const lock = `${path}.lock`
  let handle: FileHandle | undefined
  try {
    handle = await lockFile(path, lock, options)
    const changed = await change()
    await handle.writeFile(changed.text)
    await handle.sync()
    await handle.close()
    await rename(lock, path)
    handle = undefined
    // The new content counts from here on.
    await syncFolder(dirname(path)).catch(() => undefined)
    return changed
  } catch (error) {
    throw error instanceof PoolsmithError || signal.aborted ? error : writeFailure(name, path, error)
  } finally {
    if (handle !== undefined) {
      await handle.close().catch(() => undefined)
      await rm(lock, { force: true })
    }
  }
}

/** The lock is the next file itself, as in git: made exclusively, then renamed or removed. */
async function lockFile(file: string, lock: string, options: ReplaceOptions): Promise<FileHandle> {
  const { name, code, lockMillis = LOCK_LIMIT_MILLIS, signal } = options
  const end = Date.now() + lockMillis
  for (;;) {
    try {
      return await createExclusively(lock, 0o600)
    } catch (error) {
      if (errorCode(error) !== 'EEXIST') throw error
      if (Date.now() >= end) {
        throw new PoolsmithError(`${name} was locked by another writer for ${lockMillis / 1000} s (${lock}).`, {
          code,
          phase: 'credential',
          transient: true,
          hint: `Try again. If the program that wrote has been killed, remove ${lock}.`,
          details: { file, lock },
        })
      }
    }
    await pause(POLL_MILLIS + Math.random() * POLL_MILLIS, { signal })
  }
}

function writeFailure(name: string, file: string, cause: unknown): PoolsmithError {
  const reason =
    cause instanceof DistrustedFile
      ? cause.reason
      : `cannot be written (${printable(errorCode(cause) ?? String(cause), 100)})`
  return new PoolsmithError(`${name} ${reason}; nothing was changed.`, {
    code: 'SECRET_FILE_REFUSED',
    phase: 'credential',
    hint: 'Name a file that belongs to this user, in a folder that this user can write. It is never written through a link.',
    details: { file: shownPath(file) },
    cause: shownCause(file, cause),
  })
}
