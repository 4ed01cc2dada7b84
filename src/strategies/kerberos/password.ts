import type { Connection } from '../../connections/connection.ts'
import { PoolsmithError } from '../../errors.ts'
import type { Secret } from '../../secret.ts'
import { readPasswordFile } from '../password-file.ts'
import { hasPassword, type KerberosKeys } from './fields.ts'

/** A domain locks an account after a few wrong passwords, mostly counted over ten minutes or more. */
const REFUSED_MILLIS = 120_000

/**
 * The password of one pool for the KDC. A password that the KDC has refused is not sent again for two minutes, so that
 * callers who try again do not lock the account; a new one in the file is sent at once.
 */
export class KerberosPassword {
  readonly #read: () => Secret | Promise<Secret>
  readonly #now: () => number
  #sent: Secret | undefined
  #refused: { readonly password: Secret; readonly error: PoolsmithError; readonly until: number } | undefined

  constructor(read: () => Secret | Promise<Secret>, now: () => number = performance.now.bind(performance)) {
    this.#read = read
    this.#now = now
  }

  /** Undefined where the connection has no password. */
  static of(connection: Connection, options: KerberosKeys): KerberosPassword | undefined {
    if (!hasPassword(connection, options)) return undefined
    const { password } = connection
    const { password_file: file } = options
    return new KerberosPassword(file === undefined ? () => password as Secret : () => readPasswordFile(file))
  }

  /** The password to send now. @throws the KDC's refusal of the same one */
  async current(): Promise<Secret> {
    const password = await this.#read()
    const refused = this.#refused
    if (refused?.password.equals(password) && this.#now() < refused.until) throw refused.error
    this.#sent = password
    return password
  }

  /** The error of an attempt; a refusal is remembered. */
  failed(error: unknown): unknown {
    if (!(error instanceof PoolsmithError) || error.code !== 'CREDENTIAL_REFUSED') return error
    if (error === this.#refused?.error || this.#sent === undefined) return error
    const seconds = REFUSED_MILLIS / 1000
    const hint = `${error.hint} The same password is sent again after ${seconds} s, so that the account is not locked.`
    const told = error.with({ hint })
    this.#refused = { password: this.#sent, error: told, until: this.#now() + REFUSED_MILLIS }
    return told
  }
}
