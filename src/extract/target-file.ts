import { createHash } from 'node:crypto'
import { type FileHandle, mkdir, open, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type ErrorCode, PoolsmithError } from '../errors.ts'

export interface FinishedFile {
  readonly name: string
  readonly bytes: number
  readonly sha256: string
}

const CODES: Readonly<Record<string, readonly [ErrorCode, string]>> = {
  ENOSPC: ['DISK_FULL', 'Make room on the disk, or write somewhere else; nothing half-written was left behind.'],
  EDQUOT: ['DISK_FULL', 'Raise the quota, or write somewhere else; nothing half-written was left behind.'],
  EACCES: ['TARGET_NOT_WRITABLE', 'Let this user write there, or choose another folder.'],
  EPERM: ['TARGET_NOT_WRITABLE', 'Let this user write there, or choose another folder.'],
  EROFS: ['TARGET_NOT_WRITABLE', 'The file system is mounted read-only; choose another folder.'],
  ENOTDIR: ['TARGET_NOT_WRITABLE', 'A part of the path is a file; choose another folder.'],
  EEXIST: ['TARGET_NOT_WRITABLE', 'A part of the path is a file; choose another folder.'],
  ENOENT: ['TARGET_NOT_WRITABLE', 'The folder is gone or cannot be made; choose another one.'],
  ELOOP: ['TARGET_NOT_WRITABLE', 'The path leads in a circle of links; choose another folder.'],
  ENAMETOOLONG: ['TARGET_NOT_WRITABLE', 'Choose a shorter path.'],
}

/** What the file system said, in poolsmith's words. */
export function writeFailure(error: unknown, path: string): PoolsmithError {
  if (error instanceof PoolsmithError) return error
  if (!(error instanceof Error)) throw error
  const errno = 'code' in error && typeof error.code === 'string' ? error.code : ''
  const [code, hint] = CODES[errno] ?? ['WRITE_FAILED', 'The cause says what the file system answered.']
  return new PoolsmithError(`Writing ${path} failed: ${error.message}`, {
    code,
    phase: 'write',
    hint,
    transient: code === 'DISK_FULL',
    details: { path, ...(errno === '' ? {} : { errno }) },
    cause: error,
  })
}

/**
 * Node's own recursive mkdir never returns where the file system says "no such file" although the parent is there
 * (below /proc, on some network mounts; seen in Node 24.21).
 */
async function makeFolder(folder: string, hasParent = false): Promise<void> {
  try {
    await mkdir(folder)
    // A new folder is on the disk only when the one that it is in is; one that may not be opened still works.
    await syncFolder(dirname(folder)).catch(() => undefined)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    const parent = dirname(folder)
    if (code === 'ENOENT' && !hasParent && parent !== folder) {
      await makeFolder(parent)
      await makeFolder(folder, true)
    } else if (code !== 'EEXIST' || !(await stat(folder)).isDirectory()) {
      throw error
    }
  }
}

/**
 * A file that appears under its name only when it is whole: written beside it as `.<name>.tmp` or the like, synced to
 * the disk, renamed. Disposing an unfinished one removes it.
 */
export class TargetFile implements AsyncDisposable {
  readonly path: string
  readonly #folder: string
  readonly #name: string
  readonly #temporary: string
  readonly #handle: FileHandle
  readonly #hash = createHash('sha256')
  #bytes = 0
  #open = true
  #finished = false

  private constructor(folder: string, name: string, temporary: string, handle: FileHandle) {
    this.path = join(folder, name)
    this.#folder = folder
    this.#name = name
    this.#temporary = temporary
    this.#handle = handle
  }

  /**
   * @param flags `w` where nobody else can be writing this file: what a run that was killed left of it is overwritten
   * @throws PoolsmithError TARGET_NOT_WRITABLE, DISK_FULL, WRITE_FAILED; so do the others
   */
  static async create(
    folder: string,
    name: string,
    flags: 'wx' | 'w' = 'wx',
    temporaryName = `.${name}.tmp`,
  ): Promise<TargetFile> {
    const temporary = join(folder, temporaryName)
    try {
      await makeFolder(folder)
      return new TargetFile(folder, name, temporary, await open(temporary, flags))
    } catch (error) {
      throw writeFailure(error, temporary)
    }
  }

  get bytes(): number {
    return this.#bytes
  }

  write(bytes: Uint8Array): Promise<void> {
    return this.writeAll([bytes])
  }

  /** One part after the other, as one call to the system. */
  async writeAll(parts: readonly Uint8Array[]): Promise<void> {
    try {
      const length = parts.reduce((sum, part) => sum + part.length, 0)
      for (const part of parts) this.#hash.update(part)
      let { bytesWritten } = await this.#handle.writev(parts)
      if (bytesWritten < length) {
        // A full disk takes what it can, and says so only the next time.
        const bytes = Buffer.concat(parts)
        while (bytesWritten < length) {
          bytesWritten += (await this.#handle.write(bytes, bytesWritten, length - bytesWritten)).bytesWritten
        }
      }
      this.#bytes += length
    } catch (error) {
      throw writeFailure(error, this.#temporary)
    }
  }

  async finish(): Promise<FinishedFile> {
    try {
      await this.#handle.sync()
      await this.#close()
      await rename(this.#temporary, this.path)
      await syncFolder(this.#folder).catch(async (error: unknown) => {
        // The caller is told that there is no file.
        await this.withdraw()
        throw error
      })
    } catch (error) {
      throw writeFailure(error, this.#temporary)
    }
    this.#finished = true
    return { name: this.#name, bytes: this.#bytes, sha256: this.#hash.digest('hex') }
  }

  /** Takes a finished file back: something that belongs to it could not be written. */
  async withdraw(): Promise<void> {
    await rm(this.path, { force: true }).catch(() => undefined)
  }

  async #close(): Promise<void> {
    if (!this.#open) return
    this.#open = false
    await this.#handle.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#finished) return
    // What went wrong before is what the caller should hear of, not that cleaning up after it failed too.
    await this.#close().catch(() => undefined)
    await rm(this.#temporary, { force: true }).catch(() => undefined)
  }
}

/** The rename itself is on the disk only when its folder is. */
export async function syncFolder(folder: string): Promise<void> {
  // Windows opens no folders; there the rename is all that can be had.
  if (process.platform === 'win32') return
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
