import { type FileKind, readFileState } from '../credentials/reread-file.ts'
import { PoolsmithError } from '../errors.ts'
import { Secret } from '../secret.ts'

/** The longest password that a file may hold, in bytes: more is the wrong file. */
const MAX_BYTES = 64 * 1024

const PASSWORD_FILE: FileKind = {
  what: 'password file',
  phase: 'credential',
  missing: 'CREDENTIAL_MISSING',
  unreadable: 'CREDENTIAL_FAILED',
  hint: 'password_file names a file that this process may read and that holds the password and nothing else.',
}

/** Reads a password from a file of its own, again and again. One line end after it is not part of it. */
export class PasswordFile {
  readonly #file: string
  /** A file that was good before and is missing or empty now is being replaced: worth another look. */
  #seen = false

  constructor(file: string) {
    this.#file = file
  }

  /**
   * @throws PoolsmithError CREDENTIAL_MISSING when there is no file or nothing in it, CREDENTIAL_FAILED when it cannot
   *   be read or cannot be a password; transient when an earlier read went well
   */
  async read(): Promise<Secret> {
    try {
      const { content } = await readFileState(this.#file, PASSWORD_FILE)
      const secret = this.#parse(content)
      this.#seen = true
      return secret
    } catch (error) {
      if (!(error instanceof PoolsmithError) || !this.#seen) throw error
      const { message, code, phase, details, hint = PASSWORD_FILE.hint } = error
      throw new PoolsmithError(message, { code, phase, details, hint, transient: true })
    }
  }

  #parse(content: Buffer): Secret {
    const text = content.toString('utf8').replace(/\r?\n$/, '')
    if (text === '') throw this.#problem('CREDENTIAL_MISSING', 'is empty')
    if (content.length > MAX_BYTES) throw this.#problem('CREDENTIAL_FAILED', 'is too large to hold a password')
    if (/[\r\n\0]/.test(text)) throw this.#problem('CREDENTIAL_FAILED', 'holds more than one line')
    return new Secret(text)
  }

  #problem(code: 'CREDENTIAL_FAILED' | 'CREDENTIAL_MISSING', what: string): PoolsmithError {
    return new PoolsmithError(`The password file ${this.#file} ${what}.`, {
      code,
      phase: 'credential',
      hint: PASSWORD_FILE.hint,
      details: { file: this.#file },
    })
  }
}
