/** The meaning of statement errors, by their number (sys.messages) or tedious' code. */

import { isAggregate, isError } from '../../any-error.ts'
import { advised, connectionLost, isAuditFailure, type StatementAdvice } from '../statement-error.ts'
import type { Whereabouts } from '../whereabouts.ts'
import { endsSession, isThrottled } from './server-error.ts'

const TRY_AGAIN = 'Run the whole transaction again.'
const RESOURCES: StatementAdvice = { transient: true, hint: 'The server lacks memory, space or log for the statement.' }

export const SQLSERVER_ADVICE: Readonly<Record<number, StatementAdvice>> = {
  701: RESOURCES,
  802: RESOURCES,
  1105: RESOURCES,
  1205: { transient: true, hint: `The transaction was the victim of a deadlock and is rolled back. ${TRY_AGAIN}` },
  1222: { transient: true, hint: 'Another session holds a lock; raise lock_timeout, or try again.' },
  3902: { hint: 'The server had ended the transaction before, because of an error in it.' },
  3906: { hint: 'The database is read-only: a secondary replica, or set so.' },
  3930: { hint: 'An earlier error has made the transaction uncommittable; roll it back.' },
  3960: { transient: true, hint: `Another transaction changed the same rows. ${TRY_AGAIN}` },
  8645: RESOURCES,
  8651: RESOURCES,
  9002: RESOURCES,
}

const THROTTLED: StatementAdvice = { transient: true, hint: 'Azure SQL is busy, moving or waking up; try again later.' }

/** tedious' own codes for errors that the server did not send. */
export const TEDIOUS_ADVICE: Readonly<Record<string, StatementAdvice>> = {
  ECANCEL: { hint: 'The statement was cancelled from this side.' },
  ETIMEOUT: { hint: 'The statement took longer than request_timeout; raise it, or cancel earlier.' },
}

/** The state of the session that a statement ran on. */
export interface FailedSession {
  readonly where: Whereabouts
  readonly broken: boolean
  readonly endedBy: Error | undefined
}

/**
 * Several errors of one statement arrive as an AggregateError without a message; the first is the cause, and `errors` has
 * them all.
 */
export function firstError(error: Error): Error {
  if (!isAggregate(error)) return error
  const { errors } = error
  const [first] = errors
  if (!isError(first)) return error
  // As that of an AggregateError it is not enumerable: it holds the error itself, which JSON could not write.
  return Object.defineProperty(first, 'errors', { value: errors, configurable: true, writable: true })
}

interface TediousError extends Error {
  readonly code?: string
  readonly number?: number
  readonly class?: number
}

/**
 * The error that a statement ends with: the driver's own with what is known about it, or CONNECTION_LOST, whose cause is
 * the server's last words.
 */
export function sqlServerStatementError(error: Error, session: FailedSession): Error {
  if (isAuditFailure(error)) return error
  const { code, number, class: severity = 0 } = error as TediousError
  // Where the server does not confirm the cancelling either, the session is closed; the reason is still the time limit.
  const isTimeout = code === 'ETIMEOUT'
  if ((session.broken && !isTimeout) || (number !== undefined && endsSession({ number, class: severity }))) {
    return connectionLost(session.where, session.endedBy ?? error, undefined, number === undefined ? {} : { number })
  }
  return advised(error, sqlServerAdvice(error as TediousError))
}

/** The advice for an error by its number, or by tedious' code where the server did not send it. */
export function sqlServerAdvice({ number, code }: Pick<TediousError, 'number' | 'code'>): StatementAdvice {
  if (number === undefined) return TEDIOUS_ADVICE[code ?? ''] ?? {}
  return SQLSERVER_ADVICE[number] ?? (isThrottled(number) ? THROTTLED : {})
}
