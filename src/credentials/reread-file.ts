import { type FileHandle, open, stat } from 'node:fs/promises'
import { type ErrorCode, type Phase, PoolsmithError } from '../errors.ts'

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
}

interface Stamp {
  readonly ino: bigint
  readonly size: bigint
  readonly mtimeNs: bigint
  readonly ctimeNs: bigint
}

// The change time is part of it: a chmod that opens or closes a key must be noticed as well.
const versionOf = (stamp: Stamp): string => `${stamp.ino}:${stamp.size}:${stamp.mtimeNs}:${stamp.ctimeNs}`

/** The version of the file now, without reading it. */
export async function fileVersion(path: string, kind: FileKind): Promise<string> {
  try {
    return versionOf(await stat(path, { bigint: true }))
  } catch (cause) {
    throw fileError(path, kind, cause)
  }
}

/** Reads a regular file together with the state that it had when it was read. */
export async function readFileState(path: string, kind: FileKind): Promise<FileState> {
  let handle: FileHandle | undefined
  try {
    handle = await open(path, 'r')
    const stats = await handle.stat({ bigint: true })
    if (!stats.isFile()) throw new NotAFile()
    const content = await handle.readFile()
    return { path, version: versionOf(stats), content, mode: Number(stats.mode), uid: Number(stats.uid) }
  } catch (cause) {
    throw fileError(path, kind, cause)
  } finally {
    await handle?.close()
  }
}

class NotAFile extends Error {}

/** The error for a file that is missing or cannot be read. */
export function fileError(path: string, kind: FileKind, cause: unknown): PoolsmithError {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined
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
  const reason =
    cause instanceof NotAFile
      ? 'is not a regular file'
      : code === 'EACCES' || code === 'EPERM'
        ? 'may not be read by the user that this process runs as'
        : `cannot be read (${String(code ?? cause)})`
  return new PoolsmithError(`The ${kind.what} ${path} ${reason}.`, {
    code: kind.unreadable,
    phase: kind.phase,
    hint: 'Check the path, the permissions of the file and of the folders above it, and the user that runs this process.',
    details,
    cause,
  })
}
