/** The server's and the socket's errors in poolsmith's words. */

import { type ErrorCode, PoolsmithError } from '../../errors.ts'

interface Meaning {
  readonly code: ErrorCode
  readonly hint: string
  readonly transient?: boolean
}

const BY_STATE: Readonly<Record<string, Meaning>> = {
  '42501': {
    code: 'PERMISSION_DENIED',
    hint: 'Grant the role SELECT on the table and USAGE on its schema, or name only columns that it may read.',
  },
  '42P01': { code: 'TABLE_CHANGED', hint: 'The table is gone; run again to see what is there now.', transient: true },
  '42703': { code: 'TABLE_CHANGED', hint: 'A column is gone; run again with the table as it is now.', transient: true },
  '22003': {
    code: 'VALUE_OUT_OF_RANGE',
    hint: 'The message is the server’s own: a value does not fit into the type that it is declared as, or compared with.',
  },
  '55P03': {
    code: 'TABLE_LOCKED',
    hint: 'Run again when the other session (pg_locks shows it) is done, or raise lock_timeout.',
    transient: true,
  },
  '57014': {
    code: 'QUERY_CANCELED',
    hint: 'Look in the server log for who cancelled it; run again.',
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
  hint: 'Run again; if it happens at the same time of the run, look at the server log and at proxies on the way.',
  transient: true,
}

function meaningOf(sqlState: string | undefined): Meaning {
  if (sqlState === undefined) return LOST
  const known = BY_STATE[sqlState]
  if (known !== undefined) return known
  // 08 connection exceptions; 57P01 to 57P05: the server ends the session.
  if (sqlState.startsWith('08') || /^57P0[1-5]$/.test(sqlState)) return LOST
  // Class 53 is a lack of resources, 58 a system error: another run may do better.
  const transient = sqlState.startsWith('53') || sqlState.startsWith('58')
  return { code: 'QUERY_FAILED', hint: 'The message is the server’s own; its log may say more.', transient }
}

/** What the server says of SQL that it sees for the first time: nothing has changed, it is wrong. */
export function wrongSql(error: unknown, what: string): unknown {
  if (!(error instanceof Error) || !('code' in error) || !/^42P01$|^42703$/.test(String(error.code))) return error
  return new PoolsmithError(`${what} cannot be read: ${error.message}`, {
    code: 'QUERY_FAILED',
    phase: 'query',
    hint: 'The message is the server’s own: a name in the SQL is wrong, or not in the search_path.',
    details: { sqlstate: String(error.code) },
    cause: error,
  })
}

/** True when the session is over, so that nothing more can be asked of it. */
export function endsSession(error: unknown): boolean {
  return error instanceof PoolsmithError && error.code === 'CONNECTION_LOST'
}

/** What went wrong while a table was read; a PoolsmithError stays as it is. */
export function readFailure(error: unknown, table: string, signal: AbortSignal | undefined): PoolsmithError {
  if (signal?.aborted) {
    return new PoolsmithError(`Reading ${table} was aborted.`, {
      code: 'ABORTED',
      phase: 'query',
      cause: signal.reason,
    })
  }
  if (error instanceof PoolsmithError) return error
  if (!(error instanceof Error)) throw error
  const state = 'code' in error && typeof error.code === 'string' ? error.code : undefined
  // SQLSTATEs are five capitals or digits; Node's own codes (ECONNRESET, ERR_...) are longer.
  const sqlState = state !== undefined && /^[0-9A-Z]{5}$/.test(state) ? state : undefined
  const isOurs = [RangeError, SyntaxError, TypeError].some((ours) => error instanceof ours)
  const meaning: Meaning = isOurs
    ? { code: 'EXTRACT_PROTOCOL', hint: 'Report this with the server version and the cause.' }
    : meaningOf(sqlState)
  return new PoolsmithError(`Reading ${table} failed: ${error.message}`, {
    code: meaning.code,
    phase: 'query',
    hint: meaning.hint,
    transient: meaning.transient ?? false,
    details: { table, ...(sqlState === undefined ? {} : { sqlstate: sqlState }) },
    cause: error,
  })
}
