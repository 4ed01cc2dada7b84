import { createHash } from 'node:crypto'
import { type FileHandle, stat } from 'node:fs/promises'
import { errorCode, isError } from '../any-error.ts'
import { type ErrorCode, type Phase, PoolsmithError } from '../errors.ts'
import { openAtOnce, readAtMost } from '../private-file.ts'
import { Secret } from '../secret.ts'

/** The lists of revoked certificates of a large authority take tens of megabytes; nothing else here comes near. */
const LARGEST_BYTES = 256 * 1024 * 1024

/** One state of a file on disk. */
export interface FileState {
  readonly path: string
  /** Changes whenever the file is replaced or rewritten. */
  readonly version: string
  readonly content: Buffer
  /** Permission bits and owner, for the check of private keys. */
  readonly mode: number
  readonly uid: number
}

/** A kind of file, for the errors about it. */
export interface FileKind {
  /** How messages name the file: `client certificate file`. */
  readonly what: string
  readonly phase: Phase
  readonly missing: ErrorCode
  readonly unreadable: ErrorCode
  /** The hint when the file does not exist. */
  readonly hint: string
  /** The option that names the file. */
  readonly option: string
}

/** The path of a file, the text that would be in it with the name of its option, or another way to read the file. */
export type FileSource = string | { readonly name: string; readonly text: Secret } | ReadFile

interface ReadFile {
  /** How errors and events name the file. */
  readonly name: string
  /** @throws PoolsmithError for a file that is missing or not trusted */
  read(): Promise<Buffer>
}

/** @param given the value of the option: a path, or the text itself */
export function fileSource(option: string, given: string | Secret): FileSource {
  return given instanceof Secret ? { name: option, text: given } : given
}

/** How errors and events name it. */
export function sourceName(source: FileSource): string {
  return typeof source === 'string' ? source : source.name
}

async function contentOf(source: Exclude<FileSource, string>): Promise<Buffer> {
  return 'text' in source ? Buffer.from(source.text.reveal()) : source.read()
}

function versionOfContent(content: Buffer): string {
  return createHash('sha256').update(content).digest('hex')
}

interface Stamp {
  readonly ino: bigint
  readonly size: bigint
  readonly mtimeNs: bigint
  readonly ctimeNs: bigint
}

// The change time is part of it: a chmod that opens or closes a key must be noticed as well.
const versionOf = (stamp: Stamp): string => `${stamp.ino}:${stamp.size}:${stamp.mtimeNs}:${stamp.ctimeNs}`

/** The version of the file now; a file with a path is not read for it. */
export async function fileVersion(path: FileSource, kind: FileKind): Promise<string> {
  if (typeof path === 'object') return versionOfContent(await contentOf(path))
  try {
    return versionOf(await stat(path, { bigint: true }))
  } catch (cause) {
    throw fileError(path, kind, cause)
  }
}

/** Reads a regular file together with the state that it had when it was read. */
export async function readFileState(path: FileSource, kind: FileKind): Promise<FileState> {
  if (typeof path === 'object') {
    const content = await contentOf(path)
    // Only this process can read it, or its mode has been checked.
    return { path: path.name, version: versionOfContent(content), content, mode: 0o600, uid: -1 }
  }
  let handle: FileHandle | undefined
  try {
    handle = await openAtOnce(path)
    const stats = await handle.stat({ bigint: true })
    if (!stats.isFile()) throw new Unusable('is not a regular file')
    const content = await readAtMost(handle, LARGEST_BYTES)
    if (content === undefined) throw new Unusable(`is larger than ${LARGEST_BYTES} bytes`)
    return { path, version: versionOf(stats), content, mode: Number(stats.mode), uid: Number(stats.uid) }
  } catch (cause) {
    throw fileError(path, kind, cause)
  } finally {
    await handle?.close()
  }
}

/** Completes a sentence that begins with the file. */
class Unusable extends Error {}

/** The error for a file that is missing or cannot be read. */
export function fileError(path: string, kind: FileKind, cause: unknown): PoolsmithError {
  const code = errorCode(cause)
  const details = { file: path }
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    return new PoolsmithError(`The ${kind.what} ${path} does not exist.`, {
      code: kind.missing,
      phase: kind.phase,
      hint: kind.hint,
      details,
      cause,
    })
  }
  return new PoolsmithError(`The ${kind.what} ${path} ${unreadable(cause, code)}.`, {
    code: kind.unreadable,
    phase: kind.phase,
    hint: isDenied(code)
      ? `Check the permissions of the file and of the folders above it, the user and the HOME of this process, and Node's --allow-fs-read; or name another file by ${kind.option}.`
      : `Check the path, or name another file by ${kind.option}.`,
    details,
    cause,
  })
}

function unreadable(cause: unknown, code: string | undefined): string {
  if (cause instanceof Unusable) return cause.message
  if (code === RESTRICTED) return "may not be read: Node's permission model restricts this process"
  return isDenied(code) ? 'may not be read by the user that this process runs as' : `cannot be read (${code ?? cause})`
}

/** Node's permission model (`--permission`). */
const RESTRICTED = 'ERR_ACCESS_DENIED'

function isDenied(code: string | undefined): boolean {
  return code === 'EACCES' || code === 'EPERM' || code === RESTRICTED
}

/** Whether this process may not even see if the file exists, so that it may as well not be there. */
export function isHidden({ cause }: PoolsmithError): boolean {
  const code = errorCode(cause)
  return code === RESTRICTED || (isDenied(code) && isError(cause) && 'syscall' in cause && cause.syscall === 'stat')
}
