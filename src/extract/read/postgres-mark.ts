/**
 * The watermark of an incremental extract: what came after the last one, up to the highest mark of this snapshot.
 *
 * Rows that share the highest mark: all that the snapshot shows are remembered, however many, by a hash each, and of
 * that mark only these are read, also where the plan is read in a later snapshot. What is committed later with the
 * same mark is not among them, and so is read the next time.
 */

import { PoolsmithError } from '../../errors.ts'
import { type CatalogueColumn, type CatalogueType, document, quoteIdentifier } from './postgres-catalogue.ts'
import { baseType, columnOf, constant, type Ground, type Named, typeName, whereClause } from './postgres-ground.ts'
import { literal, quoteText } from './postgres-literals.ts'
import { rowHashExpression } from './postgres-types.ts'
import type { MarkRange, MarkSince, PlanRequest, Watermark } from './reader.ts'

/** Types whose order is the order in which values come to be, by oid. */
const ORDERED = new Set([20, 21, 23, 25, 1043, 1082, 1114, 1184, 1700, 2950, 5069])
const TYPES = 'smallint, integer, bigint, numeric, date, timestamp, timestamptz, text, varchar, uuid or xid8'
/** Hexadecimal, of each row that is remembered. */
const HASH_DIGITS = 16
const HASH = new RegExp(`^[0-9a-f]{${HASH_DIGITS}}$`)

type MarkRequest = NonNullable<PlanRequest['watermark']>

export interface PlannedMark {
  readonly range: MarkRange
  readonly notes: readonly string[]
}

export async function planMark(
  ground: Ground,
  own: readonly string[],
  request: MarkRequest,
  hasPlaces: boolean,
): Promise<PlannedMark> {
  const { client, catalogue, from, shown } = ground
  const column = columnOf(ground, request.column)
  const name = quoteIdentifier(column.name)
  const type = baseType(catalogue, column)
  if (!ORDERED.has(type.oid)) {
    throw badMark(shown, column, `is of type ${column.declared}`, `Use a column of type ${TYPES}.`)
  }
  const last = await lastMark(ground, column, request)
  const after = last.high === null ? undefined : constant(catalogue, column, last.high)

  if (!column.notNull) {
    const nulls = `select to_json(exists (select from ${from}${whereClause([...own, `${name} is null`])}))::text`
    if (await document<boolean>(client, nulls)) {
      throw badMark(
        shown,
        column,
        'is NULL in some rows, which would never be read',
        'Fill the column in and make it NOT NULL, or leave these rows out knowingly: where: (query) => ' +
          `query.whereNotNull(${JSON.stringify(column.name)}).`,
      )
    }
  }

  const upwards = [...own, `${name} is not null`, ...(after === undefined ? [] : [`${name} >= ${after}`])]
  const high = await document<string | null>(
    client,
    `select to_json((select m::pg_catalog.text from (select ${name} as m from ${from}${whereClause(upwards)} ` +
      `order by 1 desc limit 1) q))::text`,
  )
  if (high !== null && isEndless(type, high)) {
    throw badMark(
      shown,
      column,
      `is ${high} in some rows, after which nothing comes`,
      'Leave these rows out by `where`.',
    )
  }
  if (high === null) return { range: { watermark: last, since: null, isEmpty: true }, notes: [] }

  const { identity, isKey } = await identityOf(ground)
  const rows = await document<string[]>(
    client,
    `select coalesce(json_agg(h order by h), '[]')::text from (select ${rowHash(identity)} as h ` +
      `from ${from}${whereClause([...own, `${name} = ${constant(catalogue, column, high)}`])}) q`,
  )
  const isKnown = isTold(ground, last)
  const known = isKnown ? last.rows : null
  const mayHaveCopies = hasPlaces && !isKey && known !== null && known.length > 0 && after !== undefined
  const copies = mayHaveCopies ? await placesOfCopies(ground, [...own, `${name} = ${after}`], last.identity, known) : []
  return {
    range: {
      watermark: { column: column.name, type: type.name, high, identity, rows },
      since: last.high === null ? null : { high: last.high, identity: last.identity, rows: known, copies },
      isEmpty: false,
    },
    notes:
      isKnown || last.rows === null
        ? []
        : ['The columns that told rows with the same mark apart are gone: later rows with the last mark are not read.'],
  }
}

/** The condition of the rows of a run. */
export function markCondition(named: Named, { watermark, since, isEmpty }: MarkRange): string {
  const { high, identity, rows } = watermark
  if (isEmpty || high === null) return 'false'
  const column = columnOf(named, watermark.column)
  const name = quoteIdentifier(column.name)
  const limit = constant(named.catalogue, column, high)
  return [
    ...(since === null ? [] : [sinceCondition(name, constant(named.catalogue, column, since.high), since)]),
    // This comparison alone would do for an index.
    `${name} <= ${limit}`,
    ...(rows === null ? [] : [`(${name} < ${limit} or ${isAmong(rowHash(identity), rows)})`]),
  ].join(' and ')
}

/** What is greater than the last mark, and what has that mark but was not read. */
function sinceCondition(name: string, after: string, { identity, rows, copies }: MarkSince): string {
  if (rows === null) return `${name} > ${after}`
  if (rows.length === 0) return `${name} >= ${after}`
  const others = copies.length === 0 ? '' : ` or ${isAmong(PLACE, copies)}`
  return `${name} >= ${after} and (${name} > ${after} or not ${isAmong(rowHash(identity), rows)}${others})`
}

const PLACE = 'pg_catalog.concat(tableoid, ctid)'

/**
 * Where the rows are that came since and are the same in every column as rows that were read: of each kind as many as
 * there are more than were read.
 */
async function placesOfCopies(
  { client, from }: Ground,
  conditions: readonly string[],
  identity: readonly string[],
  rows: readonly string[],
): Promise<readonly string[]> {
  return document<string[]>(
    client,
    `select coalesce(json_agg(place), '[]')::text from (
      select h, ${PLACE} as place, row_number() over (partition by h order by tableoid, ctid) as n
      from (select tableoid, ctid, ${rowHash(identity)} as h from ${from}${whereClause(conditions)}) same
    ) now join (select h, count(*) as n from ${listed(rows)} group by h) read using (h) where now.n > read.n`,
  )
}

/**
 * Whether a text is among these: looked up in a hash table, whatever the version of the server. It makes one because it
 * cannot see how many they are (`offset 0`); seeing it, it may go through all of them for each row.
 */
function isAmong(expression: string, values: readonly string[]): string {
  return `${expression} in (select h from ${listed(values)})`
}

/** Of texts without quotes and backslashes. */
function listed(values: readonly string[]): string {
  const list = quoteText(`{${values.map((value) => `"${value}"`).join(',')}}`)
  return `(select pg_catalog.unnest(a) as h from (select ${list}::pg_catalog.text[] as a offset 0) list) listed`
}

/** Whether it is known which rows with the last mark were read, and they can still be told apart. */
function isTold({ catalogue }: Ground, last: Watermark): boolean {
  if (last.rows === null) return false
  return last.identity.every((name) => catalogue.columns.some((column) => column.name === name))
}

function rowHash(identity: readonly string[]): string {
  return `pg_catalog.left(${rowHashExpression(identity)}, ${HASH_DIGITS})`
}

/** The last run's mark in full, or a value that stands alone: then all rows that have it count as read, or none. */
async function lastMark(ground: Ground, column: CatalogueColumn, { after, from }: MarkRequest): Promise<Watermark> {
  const { client, catalogue, shown } = ground
  const type = baseType(catalogue, column)
  const none = { column: column.name, type: type.name, high: null, identity: [], rows: after === undefined ? [] : null }
  const given = after ?? from
  if (given === undefined) return none
  const isMark = typeof given === 'object' && !(given instanceof Date)
  if (isMark && given.column !== column.name) {
    throw badMark(shown, column, `is not ${quoteIdentifier(given.column)}, of which the last mark is`, RESTART)
  }
  if (isMark && given.type !== type.name) {
    throw badMark(shown, column, `is of type ${type.name}, but the last mark is of type ${given.type}`, RESTART)
  }
  if (isMark && given.rows !== null && !given.rows.every((hash) => HASH.test(hash))) {
    throw badMark(shown, column, 'comes with a last mark whose rows are no hashes of this version', RESTART)
  }
  const value = isMark ? given.high : given
  if (value === null) return none
  const isTime = [1082, 1114, 1184].includes(type.oid)
  const fits = !(value instanceof Date && !isTime) && !(isTime && typeof value !== 'string' && !(value instanceof Date))
  try {
    if (!fits) throw new TypeError('a value of another kind')
    const text = `select to_json(${literal(value)}::${typeName(catalogue, column)}::pg_catalog.text)::text`
    const high = await document<string>(client, text)
    if (isEndless(type, high) && !high.startsWith('-')) {
      throw badMark(shown, column, `cannot begin at ${high}, after which nothing comes`, RESTART)
    }
    return isMark ? { ...given, high } : { ...none, high }
  } catch (error) {
    // Class 22: what the server says of a value that is none of the type.
    const state = error instanceof Error && 'code' in error ? String(error.code) : ''
    if (fits && !state.startsWith('22')) throw error
    throw badMark(
      shown,
      column,
      `is of type ${column.declared}, which \`${after === undefined ? 'from' : 'after'}\` is no value of`,
      `Give a value of ${column.declared}, as text where a number would lose digits.`,
      error,
    )
  }
}

const RESTART = 'Give `after` by hand once, or remove the state file to begin anew.'

/** Text may say such words and mean nothing by them. */
function isEndless({ oid }: CatalogueType, value: string): boolean {
  return ![25, 1043].includes(oid) && /^-?infinity$|^NaN$/i.test(value)
}

/** The primary key, else every column: what makes a row that row. The key of a table with heirs is not theirs. */
async function identityOf({
  client,
  catalogue,
  relation,
}: Ground): Promise<{ readonly identity: readonly string[]; readonly isKey: boolean }> {
  const key = await document<string[] | null>(
    client,
    `select (select json_agg(a.attname order by k.n) from pg_catalog.pg_index i,
      unnest(i.indkey::int2[]) with ordinality k(attnum, n)
      join pg_catalog.pg_attribute a on a.attnum = k.attnum and a.attrelid = $1
      where i.indrelid = $1 and i.indisprimary and k.n <= i.indnkeyatts
        and not exists (select from pg_catalog.pg_inherits h where h.inhparent = $1 and $2 <> 'p'))::text`,
    [relation?.oid ?? 0, relation?.kind ?? ''],
  )
  return { identity: key ?? catalogue.columns.map((column) => column.name), isKey: key !== null }
}

function badMark(shown: string, column: CatalogueColumn, what: string, hint: string, cause?: unknown): PoolsmithError {
  return new PoolsmithError(`${shown}: the watermark column ${quoteIdentifier(column.name)} ${what}.`, {
    code: 'WATERMARK_INVALID',
    phase: 'query',
    hint,
    details: { column: column.name, type: column.declared },
    cause,
  })
}
