import { randomBytes } from 'node:crypto'
import { rename, rm } from 'node:fs/promises'
import { PoolsmithError } from '../errors.ts'
import { createExclusively, DistrustedFile, ownFile } from '../private-file.ts'

/** A file that exists, with the state as JSON, while there is a good ticket, and only then. */
export class HealthFile {
  readonly #path: string
  #written: string | undefined

  private constructor(path: string) {
    this.#path = path
  }

  /** @throws CONFIG_INVALID when the file is a link, another user's, or may be written by others */
  static async at(path: string): Promise<HealthFile> {
    try {
      await ownFile(path)
      return new HealthFile(path)
    } catch (cause) {
      if (!(cause instanceof DistrustedFile)) throw cause
      throw new PoolsmithError(`The health file cannot be used: ${cause.message}`, {
        code: 'CONFIG_INVALID',
        phase: 'config',
        hint: 'Remove it, or name a file in a folder that only this user can write.',
        cause,
      })
    }
  }

  /** Writes the state, or removes the file when it is undefined. Readers see a whole file. */
  async show(state: object | undefined): Promise<void> {
    if (state === undefined) {
      if ((await ownFile(this.#path)) !== undefined) await rm(this.#path, { force: true })
      this.#written = undefined
      return
    }
    const text = `${JSON.stringify(state)}\n`
    if (text === this.#written) return
    await ownFile(this.#path)
    const beside = `${this.#path}.${randomBytes(8).toString('hex')}.tmp`
    try {
      await using file = await createExclusively(beside, 0o644)
      await file.writeFile(text)
      await rename(beside, this.#path)
    } finally {
      await rm(beside, { force: true })
    }
    this.#written = text
  }
}
