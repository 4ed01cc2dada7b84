/** PostgreSQL's and the socket's errors as poolsmith's errors. */

import { errorCode, errorText } from '../../../any-error.ts'
import { PoolsmithError } from '../../../errors.ts'
import { printable } from '../../../printable.ts'
import { failureOf, type Meaning } from '../failures.ts'

/** By SQLSTATE. */
const BY_STATE: Readonly<Record<string, Meaning>> = {
  '42501': {
    code: 'PERMISSION_DENIED',
    hint: 'Grant the role SELECT on the table and USAGE on its schema, or name only columns that it may read.',
  },
  '42P01': {
    code: 'TABLE_CHANGED',
    hint: 'The table was dropped; run again to see what is there now.',
    transient: true,
  },
  '42703': {
    code: 'TABLE_CHANGED',
    hint: 'A column was dropped; run again with the table as it is now.',
    transient: true,
  },
  '22003': {
    code: 'VALUE_OUT_OF_RANGE',
    hint: 'The message is the server’s own: a value does not fit into the type that it is declared as, or compared with.',
  },
  '55P03': {
    code: 'TABLE_LOCKED',
    hint: 'Run again when the other session (see pg_locks) has ended, or raise lock_timeout.',
    transient: true,
  },
  '57014': {
    code: 'QUERY_CANCELED',
    hint: 'See the server log for who cancelled the statement, then run again.',
    transient: true,
  },
  '40001': {
    code: 'QUERY_CANCELED',
    hint: 'On a standby: raise max_standby_streaming_delay or set hot_standby_feedback, or read from the primary.',
    transient: true,
  },
}

const LOST: Meaning = {
  code: 'CONNECTION_LOST',
  hint: 'Run again; if it happens at the same time of each run, check the server log and the proxies on the way.',
  transient: true,
}

function meaningOf(error: Error): Meaning {
  const state = 'code' in error && typeof error.code === 'string' ? error.code : undefined
  // SQLSTATEs are five capitals or digits; Node's own codes (ECONNRESET, ERR_...) are longer.
  if (state === undefined || !/^[0-9A-Z]{5}$/.test(state)) return LOST
  return { ...meaningOfState(state), details: { sqlstate: state } }
}

function meaningOfState(state: string): Meaning {
  const known = BY_STATE[state]
  if (known !== undefined) return known
  // 08 connection exceptions; 57P01 to 57P05: the server ends the session.
  if (state.startsWith('08') || /^57P0[1-5]$/.test(state)) return LOST
  // Class 53 is a lack of resources, 58 a system error: another run may succeed.
  const transient = state.startsWith('53') || state.startsWith('58')
  return { code: 'QUERY_FAILED', hint: 'The message is the server’s own; its log may say more.', transient }
}

/**
 * Of SQL that the server sees for the first time: an unknown name is a mistake in it, and not a change of the table.
 */
export function wrongSql(error: unknown, what: string): unknown {
  const sqlstate = errorCode(error) ?? ''
  if (!/^42P01$|^42703$/.test(sqlstate)) return error
  return new PoolsmithError(`${what} cannot be read: ${printable(errorText(error))}`, {
    code: 'QUERY_FAILED',
    phase: 'query',
    hint: 'The message is the server’s own: a name in the SQL is wrong, or not in the search_path.',
    details: { sqlstate },
    cause: error,
  })
}

/** Whether the session has ended, so that no statement can run on it any more. */
export function endsSession(error: unknown): boolean {
  return error instanceof PoolsmithError && error.code === 'CONNECTION_LOST'
}

/** An error while a table is read; a PoolsmithError stays as it is. */
export function readFailure(error: unknown, shown: string, signal: AbortSignal | undefined): PoolsmithError {
  return failureOf(error, shown, signal, meaningOf)
}
