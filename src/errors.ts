/**
 * The one family of errors that poolsmith raises.
 *
 * Every error carries a stable `code`, the `phase` in which it happened and a `hint` that says what to do.
 * Messages never hold a secret: whoever builds one passes names, paths, hosts and server texts only.
 */

/** Where on the way from a connection record to a result an error happened. */
export type Phase =
  | 'config'
  | 'credential'
  | 'dns'
  | 'connect'
  | 'proxy'
  | 'tls'
  | 'gss'
  | 'login'
  | 'pool'
  | 'query'
  | 'write'

/**
 * Every code, with the plain meaning that the documentation shows.
 * A code is a promise to callers: it may be added to, never renamed.
 */
export const ERROR_CODES = {
  // config
  CONFIG_INVALID: 'The connection record or an option is wrong; `problems` lists all of them.',
  CONNECTION_NOT_FOUND: 'No store knows a connection by this id.',
  STRATEGY_UNKNOWN: 'No strategy is registered under this `auth_method` for this database.',
  PACKAGE_MISSING: 'An optional package that this strategy, driver or format needs is not installed.',
  // credential
  CREDENTIAL_FAILED: 'The credential could not be fetched; `transient` says whether trying again can help.',
  CREDENTIAL_REFUSED: 'The issuer of the credential refused to give one.',
  CREDENTIAL_MISSING:
    'Nothing was found to prove who we are: no key, no profile, no file, no identity on this machine.',
  CREDENTIAL_TIMEOUT: 'The issuer of the credential did not answer within the time limit of one fetch.',
  CREDENTIAL_EXPIRED: 'The credential was already over when it arrived.',
  // credential: the client certificate and its key
  CERTIFICATE_FILE_MISSING: 'The client certificate file does not exist.',
  CERTIFICATE_FILE_UNREADABLE: 'The client certificate file cannot be read.',
  CERTIFICATE_MALFORMED: 'The client certificate file holds no certificate in PEM form.',
  CERTIFICATE_EXPIRED: 'The client certificate has expired.',
  CERTIFICATE_NOT_YET_VALID: 'The client certificate is not valid yet.',
  KEY_FILE_MISSING: 'The private key file does not exist.',
  KEY_FILE_UNREADABLE: 'The private key file cannot be read.',
  KEY_PERMISSIONS: 'The private key file is open to other users of the machine.',
  KEY_MALFORMED: 'The private key file holds no key in PEM form.',
  KEY_PASSPHRASE_MISSING: 'The private key is encrypted, and no passphrase is given.',
  KEY_PASSPHRASE_WRONG: 'The passphrase does not open the private key.',
  KEY_MISMATCH: 'The private key does not belong to the client certificate.',
  // tls: the files that say whom we trust
  CA_FILE_MISSING: 'The file of trusted root certificates does not exist.',
  CA_FILE_UNREADABLE: 'The file of trusted root certificates cannot be read.',
  CA_FILE_MALFORMED: 'The file of trusted root certificates holds none in PEM form.',
  CRL_FILE_MISSING: 'The certificate revocation list does not exist.',
  CRL_FILE_UNREADABLE: 'The certificate revocation list cannot be read.',
  CRL_FILE_MALFORMED: 'The certificate revocation list is not in PEM form.',
  // pool
  POOL_EXHAUSTED: 'Every connection of the pool was in use for the whole of `pool_timeout`.',
  POOL_CLOSED: 'The pool is being destroyed or has been.',
  POOL_SUSPENDED: 'The pool stayed suspended for the whole of `pool_timeout`.',
  ABORTED: 'The caller aborted the operation.',
} as const

export type ErrorCode = keyof typeof ERROR_CODES

export interface PoolsmithErrorOptions {
  readonly code: ErrorCode
  readonly phase: Phase
  /** What to do about it, in the imperative. */
  readonly hint?: string
  /** True when the same call may succeed later without anybody changing anything. Default false. */
  readonly transient?: boolean
  readonly cause?: unknown
  /** Facts for programs and for `--json`: plain values, no secrets. */
  readonly details?: Readonly<Record<string, unknown>>
}

export class PoolsmithError extends Error {
  override readonly name: string = 'PoolsmithError'
  readonly code: ErrorCode
  readonly phase: Phase
  readonly hint: string | undefined
  readonly transient: boolean
  readonly details: Readonly<Record<string, unknown>>

  constructor(message: string, options: PoolsmithErrorOptions) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = options.code
    this.phase = options.phase
    this.hint = options.hint
    this.transient = options.transient ?? false
    this.details = options.details ?? {}
  }

  toJSON(): Record<string, unknown> {
    return {
      name: this.name,
      code: this.code,
      phase: this.phase,
      message: this.message,
      ...(this.hint === undefined ? {} : { hint: this.hint }),
      ...(this.transient ? { transient: true } : {}),
      ...(Object.keys(this.details).length === 0 ? {} : { details: this.details }),
    }
  }
}

/** One thing that is wrong with a connection record, and where. */
export interface ConfigProblem {
  /** Path from the record's root, as in `extra.sslmode` or `port`. */
  readonly path: string
  readonly message: string
}

/** All that is wrong with a connection record, at once. */
export class ConfigError extends PoolsmithError {
  override readonly name: string = 'ConfigError'
  readonly problems: readonly ConfigProblem[]

  constructor(
    problems: readonly ConfigProblem[],
    options: { readonly subject?: string; readonly hint?: string; readonly cause?: unknown } = {},
  ) {
    const lines = problems.map((problem) =>
      problem.path === '' ? problem.message : `${problem.path}: ${problem.message}`,
    )
    const subject = options.subject ?? 'The connection'
    super(
      problems.length === 1
        ? `${subject} is not valid: ${lines[0]}`
        : `${subject} is not valid (${problems.length} problems):\n${lines.map((line) => `  - ${line}`).join('\n')}`,
      {
        code: 'CONFIG_INVALID',
        phase: 'config',
        details: { problems },
        ...(options.hint === undefined ? {} : { hint: options.hint }),
        ...(options.cause === undefined ? {} : { cause: options.cause }),
      },
    )
    this.problems = problems
  }
}
