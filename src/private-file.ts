/**
 * Files that only this user can have written: opened without following a link, refused when another user owns them or
 * may write them, and made exclusively. For folders that other users can write, such as /tmp.
 */

import { closeSync, constants, fstatSync, lstatSync, openSync, type Stats } from 'node:fs'
import { type FileHandle, lstat, open } from 'node:fs/promises'
import { errorCode } from './any-error.ts'

/** The fault of a file: it is a link, not a regular file, another user's, writable by others, or too long. */
export type Distrust = 'link' | 'type' | 'owner' | 'mode' | 'size'

/** A file or folder that is not trusted. Its message is one sentence with the path. */
export class DistrustedFile extends Error {
  override readonly name = 'DistrustedFile'
  readonly path: string
  readonly kind: Distrust
  /** Completes a sentence that begins with the file: `is a symbolic link`. */
  readonly reason: string

  constructor(path: string, kind: Distrust, reason: string) {
    super(`${path} ${reason}.`)
    this.path = path
    this.kind = kind
    this.reason = reason
  }
}

export interface Trust {
  /** Default `file`. */
  readonly type?: 'file' | 'folder'
  /** User ids that may own it. Default: the effective user of this process, and root. */
  readonly owners?: readonly number[] | 'anyone'
  /** Bits of the mode that it must not have. Default 0o022: its group and other users must not be able to write it. */
  readonly forbiddenMode?: number
}

const WRITABLE_BY_OTHERS = 0o022

/**
 * Throws when another user can have made the file, or can change it. On Windows, where files have neither owner nor
 * mode here, only links and other types are refused.
 *
 * @param stats of `lstat`, or of an open handle
 * @throws DistrustedFile
 */
export function assertTrusted(path: string, stats: Stats, trust: Trust = {}): void {
  const { type = 'file', forbiddenMode = WRITABLE_BY_OTHERS } = trust
  if (stats.isSymbolicLink()) throw new DistrustedFile(path, 'link', 'is a symbolic link')
  if (type === 'file' && !stats.isFile()) throw new DistrustedFile(path, 'type', 'is not a regular file')
  if (type === 'folder' && !stats.isDirectory()) throw new DistrustedFile(path, 'type', 'is not a folder')
  assertOwner(path, stats, trust.owners)
  if (process.geteuid === undefined || (stats.mode & forbiddenMode) === 0) return
  const mode = (stats.mode & 0o7777).toString(8).padStart(4, '0')
  const may = (stats.mode & forbiddenMode & WRITABLE_BY_OTHERS) === 0 ? 'read' : 'written'
  throw new DistrustedFile(path, 'mode', `may be ${may} by other users (mode ${mode})`)
}

/** Throws when another user owns a file, or a link. @throws DistrustedFile */
export function assertOwner(path: string, { uid }: Stats, owners?: Trust['owners']): void {
  const user = process.geteuid?.()
  if (user === undefined || owners === 'anyone' || (owners ?? [user, 0]).includes(uid)) return
  throw new DistrustedFile(path, 'owner', `belongs to the user with the id ${uid}, not to ${user}`)
}

export interface ReadTrust extends Omit<Trust, 'type'> {
  /** A longer file is refused. */
  readonly maxBytes: number
}

/**
 * The whole content of a trusted file. A link is never followed, and a pipe never waited for.
 *
 * @throws DistrustedFile, or the error of the file system (ENOENT, EACCES, …)
 */
export async function readTrusted(path: string, trust: ReadTrust): Promise<Buffer> {
  await using file = await openTrusted(path, trust)
  const content = await readAtMost(file, trust.maxBytes)
  if (content === undefined) throw tooLong(path, trust.maxBytes)
  return content
}

/**
 * The rest of an open file, or undefined where it is longer: a file may grow while it is read, and a device such as
 * /dev/zero has no end.
 */
export async function readAtMost(file: FileHandle, maxBytes: number): Promise<Buffer | undefined> {
  const chunks: Buffer[] = []
  let bytes = 0
  while (bytes <= maxBytes) {
    // One byte more than allowed is asked for.
    const { buffer, bytesRead } = await file.read({ buffer: Buffer.allocUnsafe(chunkBytes(maxBytes - bytes)) })
    if (bytesRead === 0) return Buffer.concat(chunks, bytes)
    chunks.push(buffer.subarray(0, bytesRead))
    bytes += bytesRead
  }
  return undefined
}

const CHUNK_BYTES = 1 << 20

function chunkBytes(allowed: number): number {
  return Math.min(CHUNK_BYTES, allowed + 1)
}

function tooLong(path: string, maxBytes: number): DistrustedFile {
  return new DistrustedFile(path, 'size', `is longer than ${maxBytes} bytes`)
}

export interface OpenTrust extends Omit<Trust, 'type'> {
  /** A longer file is refused. Default: no limit, since only {@link readTrusted}, which sets one, reads a whole file. */
  readonly maxBytes?: number
  /** Opens the file for reading and writing. Default false: for reading. */
  readonly forWriting?: boolean
}

/**
 * Opens a trusted file. Close the handle, or declare it with `await using`.
 *
 * @throws DistrustedFile, or the error of the file system
 */
export async function openTrusted(path: string, trust: OpenTrust = {}): Promise<FileHandle> {
  const file = await openUnlinked(path, trust.forWriting === true ? constants.O_RDWR : constants.O_RDONLY).catch(
    async (error: unknown) => {
      // The owner of the file explains more than the refusal to open it.
      if (errorCode(error) === 'EACCES') assertTrusted(path, await lstat(path), trust)
      throw error
    },
  )
  try {
    const stats = await file.stat()
    assertTrusted(path, stats, trust)
    if (trust.maxBytes !== undefined && stats.size > trust.maxBytes) throw tooLong(path, trust.maxBytes)
    return file
  } catch (error) {
    await file.close()
    throw error
  }
}

/** Windows has neither of the two flags. */
const NO_FOLLOW = constants.O_NOFOLLOW ?? 0
const NO_WAIT = constants.O_NONBLOCK ?? 0

/**
 * Opens a file for reading, a link followed. Opening a pipe otherwise waits for its writer, on a thread of this process
 * that nothing ends, not even `process.exit`.
 */
export function openAtOnce(path: string): Promise<FileHandle> {
  return open(path, constants.O_RDONLY | NO_WAIT)
}

async function openUnlinked(path: string, access: number): Promise<FileHandle> {
  if (NO_FOLLOW === 0) assertNoLink(path, await lstat(path))
  try {
    return await open(path, access | NO_FOLLOW | NO_WAIT)
  } catch (error) {
    // ELOOP is also what a circle of links among the folders of the path gives.
    if (errorCode(error) === 'ELOOP' || errorCode(error) === 'EMLINK') assertNoLink(path, await lstat(path))
    throw error
  }
}

function assertNoLink(path: string, stats: Stats): void {
  if (stats.isSymbolicLink()) throw new DistrustedFile(path, 'link', 'is a symbolic link')
}

/** Only the effective user of this process may own a file that is replaced, locked or removed here, root included. */
export function onlyThisUser(): { readonly owners?: readonly number[] } {
  const user = process.geteuid?.()
  return user === undefined ? {} : { owners: [user] }
}

/**
 * The file at a path that is to be replaced or removed; undefined when there is none.
 *
 * @throws DistrustedFile for a link, another user's file, and one that others may write: in a folder such as /tmp any
 *   user may have put it there, to get what is written or to have another file overwritten
 */
export async function ownFile(path: string): Promise<Stats | undefined> {
  try {
    const stats = await lstat(path)
    assertTrusted(path, stats, onlyThisUser())
    return stats
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

/**
 * Makes a new file and opens it for writing. Fails with EEXIST when the name is taken, also by a link that leads
 * nowhere: nothing that exists is opened or followed.
 *
 * @param mode the most permissions that it may get; the umask takes some of them away
 */
export function createExclusively(path: string, mode: number): Promise<FileHandle> {
  return open(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | NO_FOLLOW, mode)
}

/** Syncs a folder to the disk: before that, a rename in it may be lost. */
export async function syncFolder(folder: string): Promise<void> {
  // Windows cannot open folders.
  if (process.platform === 'win32') return
  const handle = await open(folder, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

export interface AppendTrust extends Omit<Trust, 'type'> {
  /**
   * Whether the file may have a second name. Default true. In a folder where other users can make files, such a name may
   * be theirs, for a file of this user that is not meant.
   */
  readonly hardLinks?: boolean
}

/**
 * Opens a trusted file for reading and appending, and makes it with mode 0600 where it is missing. Blocks for the length of
 * the calls.
 *
 * @returns its descriptor
 * @throws DistrustedFile, or the error of the file system
 */
export function appendTrusted(path: string, trust: AppendTrust = {}): number {
  const { O_RDWR, O_APPEND, O_CREAT } = constants
  const fd = openForAppending(path, O_RDWR | O_APPEND | O_CREAT | NO_FOLLOW | NO_WAIT, trust)
  try {
    const stats = fstatSync(fd)
    assertTrusted(path, stats, trust)
    if (trust.hardLinks === false && stats.nlink > 1)
      throw new DistrustedFile(path, 'link', 'has another name too (a hard link)')
    return fd
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

function openForAppending(path: string, flags: number, trust: Trust): number {
  const look = (): void => {
    const stats = lstatSync(path, { throwIfNoEntry: false })
    if (stats !== undefined) assertTrusted(path, stats, trust)
  }
  if (NO_FOLLOW === 0) look()
  try {
    return openSync(path, flags, 0o600)
  } catch (error) {
    // The owner of the file, or that it is a link, explains more than the refusal to open it.
    look()
    throw error
  }
}
