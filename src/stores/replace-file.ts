/** Files that are replaced as a whole, by one writer at a time. */

import { randomUUID } from 'node:crypto'
import { rename, rm } from 'node:fs/promises'
import { hostname } from 'node:os'
import { dirname } from 'node:path'
import { pause } from '../abort.ts'
import { errorCode } from '../any-error.ts'
import { type ErrorCode, PoolsmithError } from '../errors.ts'
import { isPlausiblePath, shownCause, shownPath } from '../plausible-path.ts'
import { printable } from '../printable.ts'
import { createExclusively, DistrustedFile, onlyThisUser, ownFile, readTrusted, syncFolder } from '../private-file.ts'

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
 * waits, and changes what the first one wrote; the lock of a writer that was killed on this machine is removed.
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
  try {
    await using _lock = await lockFile(path, options)
    const changed = await change()
    const next = `${path}.next`
    // Of a writer that was killed.
    if ((await ownFile(next)) !== undefined) await rm(next)
    try {
      await using file = await createExclusively(next, 0o600)
      await file.writeFile(changed.text)
      await file.sync()
      await rename(next, path)
    } catch (error) {
      await rm(next, { force: true })
      throw error
    }
    // The new content counts from here on.
    await syncFolder(dirname(path)).catch(() => undefined)
    return changed
  } catch (error) {
    throw error instanceof PoolsmithError || signal.aborted ? error : writeFailure(name, path, error)
  }
}

/** The lock is a file that is made exclusively, and names the process that holds it. */
async function lockFile(file: string, options: ReplaceOptions): Promise<AsyncDisposable> {
  const { name, code, lockMillis = LOCK_LIMIT_MILLIS, signal } = options
  const lock = `${file}.lock`
  const end = Date.now() + lockMillis
  for (;;) {
    try {
      await create(lock, `${process.pid} ${hostname()} ${randomUUID()}\n`)
      return { [Symbol.asyncDispose]: () => rm(lock, { force: true }) }
    } catch (error) {
      if (errorCode(error) !== 'EEXIST') throw error
      if (await removeAbandoned(lock)) continue
      if (Date.now() >= end) {
        throw new PoolsmithError(`${name} was locked by another writer for ${lockMillis / 1000} s (${lock}).`, {
          code,
          phase: 'credential',
          transient: true,
          hint: `Try again. If the program that wrote has been killed (${lock} names its process and machine), remove that file.`,
          details: { file, lock },
        })
      }
    }
    await pause(POLL_MILLIS + Math.random() * POLL_MILLIS, { signal })
  }
}

/** Makes a file with its content; none where the content cannot be written. */
async function create(path: string, content: string): Promise<void> {
  await using file = await createExclusively(path, 0o600)
  try {
    await file.writeFile(content)
  } catch (error) {
    await rm(path, { force: true })
    throw error
  }
}

/**
 * Removes the lock of a process that has ended on this machine. Two that do so at once could remove the lock of a third,
 * so each first makes a file of its own.
 */
async function removeAbandoned(lock: string): Promise<boolean> {
  const found = await holderOf(lock)
  if (found === undefined || isRunning(found)) return false
  const removal = `${lock}.removed`
  try {
    await create(removal, '')
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return false
    throw error
  }
  try {
    // It may be another writer's by now.
    if ((await holderOf(lock)) !== found) return false
    await rm(lock)
    return true
  } finally {
    await rm(removal, { force: true })
  }
}

/** Undefined where there is no lock, or one that names no process. */
async function holderOf(lock: string): Promise<string | undefined> {
  try {
    const content = await readTrusted(lock, { ...onlyThisUser(), maxBytes: 1000 })
    return content.toString() || undefined
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

function isRunning(holder: string): boolean {
  const [, pid, machine] = /^(\d+) (\S+) \S+\n$/.exec(holder) ?? []
  if (pid === undefined || machine !== hostname()) return true
  try {
    process.kill(Number(pid), 0)
    return true
  } catch (error) {
    return errorCode(error) !== 'ESRCH'
  }
}

function writeFailure(name: string, file: string, cause: unknown): PoolsmithError {
  // The lock, or what is left of a writer.
  const beside = cause instanceof DistrustedFile && cause.path !== file && isPlausiblePath(file) ? cause : undefined
  const reason =
    cause instanceof DistrustedFile && beside === undefined
      ? cause.reason
      : `cannot be written (${beside?.message.replace(/\.$/, '') ?? printable(errorCode(cause) ?? String(cause), 100)})`
  return new PoolsmithError(`${name} ${reason}; nothing was changed.`, {
    code: 'SECRET_FILE_REFUSED',
    phase: 'credential',
    hint:
      beside === undefined
        ? 'Name a file that belongs to this user, in a folder that this user can write. It is never written through a link.'
        : `Remove ${beside.path}, or name a file in a folder that only this user can write.`,
    details: { file: shownPath(file) },
    cause: shownCause(file, cause),
  })
}
