/** The additions to the driver's error of a statement, for both databases. */

import { PoolsmithError } from '../errors.ts'
import { printable } from '../printable.ts'
import { showWhereabouts, type Whereabouts } from './whereabouts.ts'

/** The facts that follow from the code of an error. */
export interface StatementAdvice {
  readonly hint?: string
  /** True when the same statement, or its whole transaction, may succeed later. Default false. */
  readonly transient?: boolean
}

/** The properties that an error of a statement gains; its class, message and code stay the driver's. */
export interface StatementError extends Error {
  readonly phase: 'query'
  readonly transient: boolean
  /** The server's own hint where it sent one. */
  readonly hint?: string
}

/** Adds to the driver's error; the same object comes back. */
export function advised(error: Error, { hint, transient = false }: StatementAdvice): StatementError {
  const { hint: own } = error as { readonly hint?: unknown }
  const known = typeof own === 'string' && own !== '' ? {} : { hint }
  return Object.assign(error, { phase: 'query' as const, transient }, known)
}

/** Whether the audit log refuses the answer of a statement: that is no word of the driver, and no loss of the session. */
export function isAuditFailure(error: unknown): boolean {
  return error instanceof PoolsmithError && error.code === 'AUDIT_FAILED'
}

const RUN_AGAIN =
  'Run it again: the pool opens a new session. If it changes data, look first whether the change was made.'

/** The error of a statement whose session has ended. */
export function connectionLost(
  where: Whereabouts,
  cause: Error,
  hint = (cause instanceof PoolsmithError ? cause.hint : undefined) ?? RUN_AGAIN,
  details: Readonly<Record<string, unknown>> = {},
): PoolsmithError {
  return new PoolsmithError(`The session with ${showWhereabouts(where)} has ended: ${printable(cause.message)}`, {
    code: 'CONNECTION_LOST',
    phase: 'query',
    transient: true,
    hint,
    cause,
    details: { ...where, ...details },
  })
}

/**
 * The error of a COMMIT that was sent. When the session ends before its answer, it is not known whether the server has
 * committed.
 */
export function withDoubt<E>(error: E): E | PoolsmithError {
  if (!(error instanceof PoolsmithError) || error.code !== 'CONNECTION_LOST') return error
  return error.with({
    message: `It is not known whether the transaction was committed: ${error.message}`,
    hint: 'Look whether its changes are there before you run it again.',
    transient: false,
    details: { outcome: 'unknown' },
  })
}
