/** PostgreSQL's and the socket's errors as poolsmith's errors. */

import { errorCode, errorText } from '../../../any-error.ts'
import { PoolsmithError } from '../../../errors.ts'
import { printable } from '../../../printable.ts'
import { failureOf, type Meaning } from '../failures.ts'

const NOT_UTF8: Meaning = {
  code: 'QUERY_FAILED',
  hint: 'A text has bytes that are not in the encoding that the database says: read such columns as bytes (asBytes, --as-bytes).',
}

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
  '22021': NOT_UTF8,
  '22P05': NOT_UTF8,
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

/** PostgreSQL 42501 under `row_security = off` (src/backend/utils/misc/rls.c). */
const POLICIES_OFF: Meaning = {
  code: 'PERMISSION_DENIED',
  hint:
    'row_security is off in this session, so a table with row-level policies is refused. Set it to on to read the rows ' +
    'that the role may see, or use a role with BYPASSRLS.',
}

/** An unknown name that another server has reported through postgres_fdw. */
const FOREIGN_NAME: Meaning = {
  code: 'QUERY_FAILED',
  hint:
    'The foreign table names a table or column that the foreign server does not have: ALTER FOREIGN TABLE, or name the ' +
    'columns to read (`columns`).',
}

/** PostGIS, in the cast of geometry to json (postgis/lwgeom_export.c). */
const NO_GEOJSON: Meaning = {
  code: 'QUERY_FAILED',
  hint: 'JSON Lines have the GeoJSON of PostGIS, which does not exist for every geometry: read such columns as text (asText, --as-text).',
}

/** The members of a server's error beside its message (PostgreSQL: "Error and Notice Message Fields"). */
interface ServerError extends Error {
  readonly routine?: unknown
  readonly detail?: unknown
  readonly hint?: unknown
}

function meaningOf(error: ServerError): Meaning {
  const state = 'code' in error && typeof error.code === 'string' ? error.code : undefined
  // SQLSTATEs are five capitals or digits; Node's own codes (ECONNRESET, ERR_...) are longer.
  if (state === undefined || !/^[0-9A-Z]{5}$/.test(state)) return LOST
  const meaning = byRoutine(state, String(error.routine)) ?? byMessage(state, error.message) ?? meaningOfState(state)
  return { ...meaning, hint: `${meaning.hint}${moreOf(error)}`, details: { sqlstate: state } }
}

/** The function of the server's source that raised the error tells apart what has the same code. */
function byRoutine(state: string, routine: string): Meaning | undefined {
  if (state === '42501' && routine === 'check_enable_rls') return POLICIES_OFF
  if (isUnknownName(state) && routine.startsWith('pgfdw_report')) return FOREIGN_NAME
  return undefined
}

/** PostGIS has no SQLSTATE of its own. */
function byMessage(state: string, message: string): Meaning | undefined {
  return state === 'XX000' && /geojson/i.test(message) ? NO_GEOJSON : undefined
}

function isUnknownName(state: string): boolean {
  return state === '42P01' || state === '42703'
}

/** The server's own DETAIL and HINT, to be put after a hint. */
function moreOf(error: unknown): string {
  const { detail, hint } = error as ServerError
  const said = (name: string, text: unknown): string =>
    typeof text === 'string' && text !== '' ? ` The server's ${name}: ${printable(text)}` : ''
  return said('detail', detail) + said('hint', hint)
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
  if (!isUnknownName(sqlstate)) return error
  return new PoolsmithError(`${what} cannot be read: ${printable(errorText(error))}`, {
    code: 'QUERY_FAILED',
    phase: 'query',
    hint: `The message is the server’s own: a name in the SQL is wrong, or not in the search_path.${moreOf(error)}`,
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
