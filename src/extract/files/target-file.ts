import { createHash } from 'node:crypto'
import { type FileHandle, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { createExclusively, syncFolder } from '../../private-file.ts'
import { makeFolder } from './own-files.ts'
import { writeFailure } from './write-failure.ts'

/** After so many bytes the system is asked to write them to the disk. */
const SYNC_BYTES = 64 << 20

/** One file at a time syncs ahead of its end, since a sync holds a thread of Node's pool (four by default). */
let syncsAhead = false

export interface FinishedFile {
  readonly name: string
  readonly bytes: number
  readonly sha256: string
}

export interface TargetFileOptions {
  /** The name until the file is complete. Default `.<name>.tmp`. */
  readonly temporaryName?: string
  /**
   * Whether a temporary file of that name is removed first, because only a killed run can have left it. Default false:
   * then such a file is an error.
   */
  readonly replaceLeftover?: boolean
  /** The file's permissions, less those that the umask takes away. Default 0o666. */
  readonly mode?: number
}

/**
 * A file that appears under its name only when it is complete: it is written as `.<name>.tmp`, synced to the disk, and
 * renamed. The temporary file is made exclusively and never through a link; renaming replaces a link of the final name
 * and does not follow it. Disposing an unfinished file removes it.
 */
export class TargetFile implements AsyncDisposable {
  readonly path: string
  readonly #folder: string
  readonly #name: string
  readonly #temporary: string
  readonly #handle: FileHandle
  readonly #hash = createHash('sha256')
  #bytes = 0
  #syncedBytes = 0
  #syncing: Promise<void> | undefined
  #open = true
  #finished = false

  private constructor(folder: string, name: string, temporary: string, handle: FileHandle) {
    this.path = join(folder, name)
    this.#folder = folder
    this.#name = name
    this.#temporary = temporary
    this.#handle = handle
  }

  /** @throws PoolsmithError TARGET_NOT_WRITABLE, DISK_FULL, WRITE_FAILED; so do the others */
  static async create(folder: string, name: string, options: TargetFileOptions = {}): Promise<TargetFile> {
    const { temporaryName = `.${name}.tmp`, replaceLeftover = false, mode = 0o666 } = options
    const temporary = join(folder, temporaryName)
    try {
      await makeFolder(folder)
      if (replaceLeftover) await rm(temporary, { force: true })
      return new TargetFile(folder, name, temporary, await createExclusively(temporary, mode))
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

  /** Writes the parts in their order by one call of the system. */
  async writeAll(parts: readonly Uint8Array[]): Promise<void> {
    try {
      const length = parts.reduce((sum, part) => sum + part.length, 0)
      for (const part of parts) this.#hash.update(part)
      let { bytesWritten } = await this.#handle.writev(parts)
      if (bytesWritten < length) {
        // A full disk takes a part of the bytes, and fails only at the next call.
        const bytes = Buffer.concat(parts)
        while (bytesWritten < length) {
          bytesWritten += (await this.#handle.write(bytes, bytesWritten, length - bytesWritten)).bytesWritten
        }
      }
      this.#bytes += length
      if (this.#bytes - this.#syncedBytes >= SYNC_BYTES && !syncsAhead) {
        this.#syncedBytes = this.#bytes
        this.#syncing = this.#syncAhead(this.#syncing)
        // The end gets its error. There may be none before the error occurs.
        this.#syncing.catch(() => undefined)
      }
    } catch (error) {
      throw writeFailure(error, this.#temporary)
    }
  }

  /** Has the system write to the disk while more rows are read, so that the sync at the end is short. */
  async #syncAhead(before: Promise<void> | undefined): Promise<void> {
    syncsAhead = true
    try {
      // The system tells of a failure once, so it is kept.
      await before
      await this.#handle.datasync()
    } finally {
      syncsAhead = false
    }
  }

  async finish(): Promise<FinishedFile> {
    try {
      await this.#syncing
      await this.#handle.sync()
      await this.#close()
      await rename(this.#temporary, this.path)
      await syncFolder(this.#folder).catch(async (error: unknown) => {
        // The caller gets an error, so there must be no file.
        await this.withdraw()
        throw error
      })
    } catch (error) {
      throw writeFailure(error, this.#temporary)
    }
    this.#finished = true
    return { name: this.#name, bytes: this.#bytes, sha256: this.#hash.digest('hex') }
  }

  /** Removes a finished file, because another file of its run could not be written. */
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
    // The caller gets the error that led here, and not one of cleaning up.
    await this.#close().catch(() => undefined)
    await rm(this.#temporary, { force: true }).catch(() => undefined)
  }
}
