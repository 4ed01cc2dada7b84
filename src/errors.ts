/**
 * The one family of errors that poolsmith raises.
 *
 * Every error carries a stable `code`, the `phase` in which it happened and a `hint` that says what to do.
 * Messages never hold a secret: they are built from names, paths, hosts and the words of servers only.
 */

import type { ErrorCode } from './error-codes.ts'

export type { ErrorCode } from './error-codes.ts'

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

export interface PoolsmithErrorOptions {
  readonly code: ErrorCode
  readonly phase: Phase
  /** The advice, in the imperative. */
  readonly hint?: string
  /** True when the same call may succeed later without any change. Default false. */
  readonly transient?: boolean
  readonly cause?: unknown
  /** Facts for programs and for `--json`: plain values, no secrets. */
  readonly details?: Readonly<Record<string, unknown>>
}

/** Every error that poolsmith raises: `code` says what it is, `phase` where it happened, `hint` what to do about it. */
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

  /**
   * The same error with other words: what is not named stays, `details` are added to. Its cause stays the original one.
   *
   * @example
   * throw error.with({ message: `No connection within 5 s (pool_timeout): ${error.message}`, details: { limitMillis } })
   */
  with(changes: Partial<PoolsmithErrorOptions> & { readonly message?: string }): PoolsmithError {
    const { message = this.message, details, ...options } = changes
    return new PoolsmithError(message, {
      code: this.code,
      phase: this.phase,
      hint: this.hint,
      transient: this.transient,
      cause: this.cause,
      ...options,
      details: { ...this.details, ...details },
    })
  }

  toJSON(): Record<string, unknown> {
    return {
      name: this.name,
      code: this.code,
      phase: this.phase,
      message: this.message,
      ...(this.hint === undefined ? {} : { hint: this.hint }),
      transient: this.transient,
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
        hint: options.hint ?? 'Put right what is listed; docs/extras.md has every option with its type and default.',
        ...(options.cause === undefined ? {} : { cause: options.cause }),
      },
    )
    this.problems = problems
  }
}

/** The name of a thing within a sentence: `the secret sales` of `The secret sales`. */
export function inSentence(name: string): string {
  return name.replace(/^The /, 'the ')
}
