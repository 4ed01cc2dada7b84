import { createHash } from 'node:crypto'
import { type FileHandle, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { createExclusively } from '../private-file.ts'
import { makeFolder, syncFolder } from './own-files.ts'
import { writeFailure } from './write-failure.ts'

export interface FinishedFile {
  readonly name: string
  readonly bytes: number
  readonly sha256: string
}

export interface TargetFileOptions {
  /** Written under this name until it is whole. Default `.<name>.tmp`. */
  readonly temporaryName?: string
  /**
   * Whether only this run can be writing the file, so that a temporary file of that name was left by a run that was
   * killed, and is removed first. Default false: then such a file is an error.
   */
  readonly replaceLeftover?: boolean
  /** The most permissions that the file gets, as the umask lets it. Default 0o666. */
  readonly mode?: number
}

/**
 * A file that appears under its name only when it is whole: written beside it as `.<name>.tmp`, synced to the disk,
 * renamed. The temporary file is made exclusively and never through a link, and renaming replaces a link of the final
 * name rather than following it. Disposing an unfinished file removes it.
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
