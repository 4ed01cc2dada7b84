/** The meaning of the errors of statements, by their SQLSTATE (PostgreSQL documentation, "PostgreSQL Error Codes"). */

import { PoolsmithError } from '../../errors.ts'
import { advised, connectionLost, isAuditFailure, type StatementAdvice } from '../statement-error.ts'
import type { Whereabouts } from '../whereabouts.ts'
import { poolerEndHint } from './pooler-words.ts'
import { endsSession } from './server-error.ts'
import { outdatesSession } from './session-doubt.ts'

const TRY_AGAIN = 'Run the whole transaction again.'

export const POSTGRES_ADVICE: Readonly<Record<string, StatementAdvice>> = {
  '25006': {
    hint: 'The session or its transaction is read-only: a standby, default_transaction_read_only, or a read-only transaction.',
  },
  '25P02': {
    hint: 'An earlier statement of the transaction failed, which `cause` names; a nested transaction takes back only its own statements.',
  },
  '40001': { transient: true, hint: `Another transaction changed the same rows. ${TRY_AGAIN}` },
  '40P01': { transient: true, hint: `Two transactions waited for each other. ${TRY_AGAIN}` },
  '53100': { transient: true, hint: "The server's disk is full." },
  '53200': { transient: true, hint: 'The server has no memory left for the statement.' },
  '53300': { transient: true, hint: 'The server has no connection left for what the statement needs.' },
  '55P03': { transient: true, hint: 'Another session holds a lock; raise lock_timeout, or try again.' },
  '57014': { hint: 'statement_timeout has passed, or another session cancelled the statement.' },
  '58000': { transient: true },
}

/** Why a session ended, by the SQLSTATE of its last words. */
export const POSTGRES_LOST: Readonly<Record<string, string>> = {
  '25P03': 'Do not wait for anything else inside a transaction, or raise idle_in_transaction_session_timeout.',
  '25P04': 'Make the transaction shorter, or raise transaction_timeout.',
  '57P01': 'An administrator, a restart or a failover ended the session. Run the transaction again.',
  '57P02': 'Another process of the server crashed. Run the transaction again.',
  '57P05': 'Set pool_idle_timeout below the idle_session_timeout of the server.',
}

interface ServerWords {
  readonly message: string
  readonly code?: string | undefined
  /** The server's routine; a pooler names none. */
  readonly routine?: string | undefined
  /** Only what the server sends has one. */
  readonly severity?: string | undefined
}

const OUTDATED =
  'The table has another shape, or the session has other prepared statements, than when the statement was prepared. Run its whole transaction again: the session is closed when it is returned.'

/** The meaning of an error that the server sent. */
export function postgresAdvice(error: ServerWords): StatementAdvice {
  if (endsSession(error)) return { transient: true, hint: hintForEnd(error) }
  if (outdatesSession(error)) return { transient: true, hint: OUTDATED }
  return POSTGRES_ADVICE[error.code ?? ''] ?? {}
}

function hintForEnd(error: ServerWords): string | undefined {
  return POSTGRES_LOST[error.code ?? ''] ?? poolerEndHint(error)
}

/** The session on which a statement ran. */
export interface FailedSession {
  readonly where: Whereabouts
  readonly broken: boolean
  readonly endedBy: Error | undefined
}

/** pg's words about its own state, in place of the reason. */
const NOT_QUERYABLE = 'Client has encountered a connection error and is not queryable'
const CLOSED = 'Client was closed and is not queryable'
const ENDED = new Error('the connection was closed before the statement was sent')

/**
 * The error that a statement ends with: the driver's own with what is known about it, or CONNECTION_LOST, whose cause is
 * the server's last words.
 */
export function postgresStatementError(error: Error, session: FailedSession): Error {
  if (isAuditFailure(error)) return error
  const isServers = (error as ServerWords).severity !== undefined
  if (error.message === NOT_QUERYABLE || error.message === CLOSED) return lostBy(session.endedBy ?? ENDED, session)
  if (isServers ? !endsSession(error as ServerWords) : !session.broken) {
    return isServers ? advised(error, postgresAdvice(error as ServerWords)) : advised(error, {})
  }
  const cause = isServers ? error : (session.endedBy ?? error)
  // Not a loss: someone may be changing the stream, and trying again is no advice.
  if (cause instanceof PoolsmithError && cause.code === 'GSS_MESSAGE_DAMAGED') return cause
  return lostBy(cause, session)
}

function lostBy(cause: Error, { where }: FailedSession): PoolsmithError {
  const words: ServerWords = cause
  if (words.severity === undefined) return connectionLost(where, cause)
  return connectionLost(where, cause, hintForEnd(words), { sqlstate: words.code })
}

/**
 * pg's error of a statement on a session that had ended before, with what is known about it; layers over pg know it by its
 * words. The statement was not sent, so a COMMIT has not happened.
 */
export function notQueryable(endedBy: Error | undefined): Error {
  const error = new Error(NOT_QUERYABLE, { cause: endedBy })
  if (endedBy instanceof PoolsmithError) return advised(error, endedBy)
  return advised(error, {
    transient: true,
    hint: (endedBy && hintForEnd(endedBy)) ?? 'Run its whole transaction again on another connection.',
  })
}
