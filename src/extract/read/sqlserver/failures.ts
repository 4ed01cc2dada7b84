/** SQL Server's and the socket's errors as poolsmith's errors. */

import type { PoolsmithError } from '../../../errors.ts'
import { failureOf, type Meaning } from '../failures.ts'

const DENIED: Meaning = {
  code: 'PERMISSION_DENIED',
  hint: 'GRANT SELECT on the table to the login’s user, or name only columns that it may read.',
}
const CHANGED: Meaning = {
  code: 'TABLE_CHANGED',
  hint: 'The table was altered since reading began; run again to read it as it is now.',
  transient: true,
}
const CANCELED: Meaning = {
  code: 'QUERY_CANCELED',
  hint: 'Run again; if it happens often, allow snapshot isolation, so that the reader holds no locks.',
  transient: true,
}
const LOST: Meaning = {
  code: 'CONNECTION_LOST',
  hint: 'Run again; if it happens at the same time of each run, check the server’s log and the proxies on the way.',
  transient: true,
}

/** By number (sys.messages). */
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
    hint: 'Run again when the other session (see sys.dm_tran_locks) has ended, or raise lock_timeout.',
    transient: true,
  },
}
/** A lack of memory, space or log; another run may succeed. */
const RESOURCES = new Set([701, 802, 1101, 1105, 8645, 8651, 9002, 10928, 10929])
/** Errors of this severity end the session. */
const ENDS_SESSION_CLASS = 20

function meaningOf(error: Error): Meaning {
  const { number, state } = error as Error & { readonly number?: unknown; readonly state?: unknown }
  if (typeof number !== 'number') return LOST
  const isEnd = 'class' in error && Number(error.class) >= ENDS_SESSION_CLASS
  const hint = 'The message is the server’s own; its log may say more.'
  const failed: Meaning = { code: 'QUERY_FAILED', hint, transient: RESOURCES.has(number) }
  const details = { number, state }
  return { ...(isEnd ? LOST : (BY_NUMBER[number] ?? failed)), details }
}

/** An error while a table is read; a PoolsmithError stays as it is. */
export function readFailure(error: unknown, shown: string, signal: AbortSignal | undefined): PoolsmithError {
  return failureOf(error, shown, signal, meaningOf)
}
