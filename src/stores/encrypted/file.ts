/** An encrypted file of secrets: read whole, and replaced whole by one writer at a time. */

import type { KeyObject } from 'node:crypto'
import { realpath } from 'node:fs/promises'
import { PoolsmithError } from '../../errors.ts'
import { shownPath } from '../../plausible-path.ts'
import { ownFile, readTrusted } from '../../private-file.ts'
import { secretFileError } from '../../vault/credential-file.ts'
import { replaceFile } from '../replace-file.ts'
import { type Contents, decrypt, encrypt } from './format.ts'
import { keyPlace, readKeys } from './key.ts'

const LONGEST_BYTES = 1024 * 1024

type Keys = readonly [KeyObject, ...KeyObject[]]

export interface EncryptedFileOptions {
  readonly path: string
  readonly keyFile?: string | undefined
  readonly environment: Readonly<Record<string, string | undefined>>
  /** How long a writer waits for another one, in milliseconds. Default 10 s. */
  readonly lockMillis?: number | undefined
}

const EMPTY: Contents = { revision: 0, entries: new Map() }

export class EncryptedFile {
  readonly path: string
  readonly #options: EncryptedFileOptions
  /** The last text that was read, and what it holds. */
  #last: { readonly text: string; readonly contents: Contents } | undefined
  #keys: Keys | undefined

  constructor(options: EncryptedFileOptions) {
    this.path = options.path
    this.#options = options
  }

  /** The file, as errors name it. */
  get name(): string {
    return `The file of secrets ${shownPath(this.path)}`
  }

  /** @throws PoolsmithError SECRET_MISSING when there is no file, SECRET_FILE_REFUSED, ENCRYPTED_… */
  async read(signal: AbortSignal): Promise<Contents> {
    const text = await this.#text()
    return this.#decrypted(text, signal)
  }

  /**
   * Replaces the content. Readers see the old file or the new one, whatever ends in between. A second writer waits, and
   * changes what the first one wrote.
   *
   * @param change gives the next content; what it throws is passed on, and nothing is written
   * @throws PoolsmithError ENCRYPTED_FILE_LOCKED, SECRET_FILE_REFUSED, SECRET_UNUSABLE, ENCRYPTED_…
   */
  async update(change: (contents: Contents) => Contents, signal: AbortSignal): Promise<Contents> {
    // Before the lock: a command may take its time.
    const [key] = await this.#obtainKeys(signal)
    const { lockMillis } = this.#options
    const { text: written, result } = await replaceFile(
      this.path,
      async () => {
        const text = await this.#ownText()
        const contents = change(text === undefined ? EMPTY : await this.#decrypted(text, signal))
        const next = encrypt(contents, key)
        if (next.length > LONGEST_BYTES) throw this.#tooLong()
        return { text: next, result: contents }
      },
      { name: this.name, code: 'ENCRYPTED_FILE_LOCKED', lockMillis, signal },
    )
    this.#last = { text: written, contents: result }
    return result
  }

  async #text(): Promise<string> {
    try {
      const bytes = await readTrusted(await realpath(this.path), { maxBytes: LONGEST_BYTES, owners: 'anyone' })
      return bytes.toString('latin1')
    } catch (cause) {
      throw secretFileError(
        this.path,
        { what: 'file of secrets', option: 'secrets_file (POOLSMITH_SECRETS_FILE, --file)' },
        cause,
      )
    }
  }

  /** The file that is to be replaced; undefined when there is none. A link, or the file of another user, is refused. */
  async #ownText(): Promise<string | undefined> {
    return (await ownFile(this.path)) === undefined ? undefined : this.#text()
  }

  async #decrypted(text: string, signal: AbortSignal): Promise<Contents> {
    if (this.#last?.text === text) return this.#last.contents
    let contents: Contents
    const known = this.#keys
    try {
      contents = decrypt(text, known ?? (await this.#obtainKeys(signal)), this.name)
    } catch (error) {
      const isOldKey = known !== undefined && error instanceof PoolsmithError && error.code === 'ENCRYPTED_KEY_WRONG'
      if (!isOldKey) throw error
      contents = decrypt(text, await this.#obtainKeys(signal), this.name)
    }
    this.#last = { text, contents }
    return contents
  }

  async #obtainKeys(signal: AbortSignal): Promise<Keys> {
    const { keyFile, environment } = this.#options
    const keys = await readKeys(keyPlace(keyFile, environment), signal)
    this.#keys = keys
    return keys
  }

  #tooLong(): PoolsmithError {
    return new PoolsmithError(`${this.name} would be longer than ${LONGEST_BYTES} bytes; nothing was written.`, {
      code: 'SECRET_UNUSABLE',
      phase: 'credential',
      hint: 'Store shorter values, or remove secrets that are not used any more.',
      details: { file: shownPath(this.path) },
    })
  }
}
