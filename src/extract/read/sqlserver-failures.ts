/** SQL Server's and the socket's errors in poolsmith's words. */

import { type ErrorCode, PoolsmithError } from '../../errors.ts'

interface Meaning {
  readonly code: ErrorCode
  readonly hint: string
  readonly transient?: boolean
}

const DENIED: Meaning = {
  code: 'PERMISSION_DENIED',
  hint: 'GRANT SELECT on the table to the login’s user, or name only columns that it may read.',
}
const CHANGED: Meaning = {
  code: 'TABLE_CHANGED',
  hint: 'The table is not what it was when reading began; run again to read it as it is now.',
  transient: true,
}
const CANCELED: Meaning = {
  code: 'QUERY_CANCELED',
  hint: 'Run again; if it happens often, allow snapshot isolation, so that the reader holds no locks.',
  transient: true,
}
const LOST: Meaning = {
  code: 'CONNECTION_LOST',
  hint: 'Run again; if it happens at the same time of the run, look at the server’s log and at proxies on the way.',
  transient: true,
}

/** sys.messages. */
const BY_NUMBER: Readonly<Record<number, Meaning>> = {
  229: DENIED,
  230: DENIED,
  207: CHANGED,
  208: CHANGED,
  3961: CHANGED,
  4502: CHANGED,
  1205: CANCELED,
  3960: CANCELED,
  601: CANCELED,
  1222: {
    code: 'TABLE_LOCKED',
    hint: 'Run again when the other session (sys.dm_tran_locks shows it) is done, or raise lock_timeout.',
    transient: true,
  },
}
/** Lack of memory, of space, of log; another run may do better. */
const RESOURCES = new Set([701, 802, 1101, 1105, 8645, 8651, 9002, 10928, 10929])
/** Errors of this severity end the session. */
const ENDS_SESSION_CLASS = 20

function meaningOf(error: Error): Meaning {
  const number = 'number' in error && typeof error.number === 'number' ? error.number : undefined
  if (number === undefined) return LOST
  if ('class' in error && Number(error.class) >= ENDS_SESSION_CLASS) return LOST
  const hint = 'The message is the server’s own; its log may say more.'
  return BY_NUMBER[number] ?? { code: 'QUERY_FAILED', hint, transient: RESOURCES.has(number) }
}

/** What went wrong while a table was read; a PoolsmithError stays as it is. */
export function sqlServerReadFailure(error: unknown, table: string, signal: AbortSignal | undefined): PoolsmithError {
  if (signal?.aborted) {
    return new PoolsmithError(`Reading ${table} was aborted.`, {
      code: 'ABORTED',
      phase: 'query',
      cause: signal.reason,
    })
  }
  if (error instanceof PoolsmithError) return error
  if (!(error instanceof Error)) throw error
  const isOurs = error instanceof RangeError || error instanceof TypeError
  const meaning: Meaning = isOurs
    ? { code: 'EXTRACT_PROTOCOL', hint: 'Report this with the server version and the cause.' }
    : meaningOf(error)
  const { number, state } = error as Error & { readonly number?: number; readonly state?: number }
  return new PoolsmithError(`Reading ${table} failed: ${error.message}`, {
    code: meaning.code,
    phase: 'query',
    hint: meaning.hint,
    transient: meaning.transient ?? false,
    details: { table, ...(number === undefined ? {} : { number }), ...(state === undefined ? {} : { state }) },
    cause: error,
  })
}
