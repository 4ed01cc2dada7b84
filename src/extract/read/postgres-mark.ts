/**
 * The watermark of an incremental extract: what came after the last one, up to the highest mark of this snapshot.
 *
 * Rows that share the highest mark: all that the snapshot shows are read now, and remembered by a hash each; what is
 * committed later with the same mark is not among them, and so is read the next time.
 */

import { PoolsmithError } from '../../errors.ts'
import { type CatalogueColumn, document, quoteIdentifier } from './postgres-catalogue.ts'
import { baseType, columnOf, type Ground, typeName, whereClause } from './postgres-ground.ts'
import { literal, quoteText } from './postgres-literals.ts'
import { rowHashExpression } from './postgres-types.ts'
import type { MarkValue, PlanRequest, Watermark } from './reader.ts'

/** Types whose order is the order in which values come to be, by oid. */
const ORDERED = new Set([20, 21, 23, 25, 1043, 1082, 1114, 1184, 1700, 2950])
const TYPES = 'smallint, integer, bigint, numeric, date, timestamp, timestamptz, text, varchar or uuid'
/** Rows with the highest mark that are remembered. */
const MOST_ROWS = 1000
/** Hexadecimal, of each. */
const HASH_DIGITS = 32

export interface PlannedMark {
  readonly condition: string
  /** The mark that this run begins after, as the server writes it. */
  readonly after: string | null
  readonly watermark: Watermark
  readonly notes: readonly string[]
}

export async function planMark(
  ground: Ground,
  own: readonly string[],
  request: NonNullable<PlanRequest['watermark']>,
): Promise<PlannedMark> {
  const { client, catalogue, from, shown } = ground
  const column = columnOf(ground, request.column)
  const name = quoteIdentifier(column.name)
  const type = baseType(catalogue, column)
  if (!ORDERED.has(type.oid)) {
    throw badMark(shown, column, `is of type ${column.declared}`, `Use a column of type ${TYPES}.`)
  }
  const cast = typeName(catalogue, column)
  const last = await lastMark(ground, column, request.after)
  const after = last.high === null ? undefined : `${quoteText(last.high)}::${cast}`

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
  if (high !== null && /^-?infinity$|^NaN$/i.test(high) && ![25, 1043].includes(type.oid)) {
    throw badMark(
      shown,
      column,
      `is ${high} in some rows, after which nothing comes`,
      'Leave these rows out by `where`.',
    )
  }
  if (high === null) {
    // Nothing new. Said in SQL too: the plan may be read in a later snapshot.
    return { condition: 'false', after: last.high, watermark: last, notes: [] }
  }

  const identity = await identityOf(ground)
  const limit = `${quoteText(high)}::${cast}`
  const rows = await document<string[]>(
    client,
    `select coalesce(json_agg(h order by h), '[]')::text from (select ${rowHash(identity)} as h ` +
      `from ${from}${whereClause([...own, `${name} = ${limit}`])} limit ${MOST_ROWS + 1}) q`,
  )
  const tooMany = rows.length > MOST_ROWS
  const known = knownRows(ground, last)
  return {
    condition: [...(after === undefined ? [] : [sinceCondition(name, after, last, known)]), `${name} <= ${limit}`].join(
      ' and ',
    ),
    after: last.high,
    watermark: { column: column.name, type: type.name, high, identity, rows: tooMany ? null : rows },
    notes: [
      ...(tooMany
        ? [
            `More than ${MOST_ROWS} rows share the highest ${column.name}: rows that are committed later with the same ` +
              'value will not be read.',
          ]
        : []),
      ...(known || last.high === null || last.rows === null || last.rows.length === 0
        ? []
        : [
            'The columns that told rows with the same mark apart are gone: later rows with the last mark are not read.',
          ]),
    ],
  }
}

function sinceCondition(name: string, after: string, last: Watermark, known: boolean): string {
  if (!known || last.rows === null) return `${name} > ${after}`
  const read = quoteText(`{${last.rows.join(',')}}`)
  // The first comparison alone would do for an index.
  return `${name} >= ${after} and (${name} > ${after} or ${rowHash(last.identity)} <> all (${read}::pg_catalog.text[]))`
}

/** Whether the rows that the last run remembered can still be told apart. */
function knownRows({ catalogue }: Ground, last: Watermark): boolean {
  if (last.rows === null || last.rows.length === 0) return false
  return last.identity.every((name) => catalogue.columns.some((column) => column.name === name))
}

function rowHash(identity: readonly string[]): string {
  return `pg_catalog.left(${rowHashExpression(identity)}, ${HASH_DIGITS})`
}

/** The last run's mark in full, or a value that stands alone: then no row is known to have it. */
async function lastMark(
  ground: Ground,
  column: CatalogueColumn,
  given: MarkValue | Watermark | undefined,
): Promise<Watermark> {
  const { client, catalogue, shown } = ground
  const type = baseType(catalogue, column)
  const none = { column: column.name, type: type.name, high: null, identity: [], rows: null }
  if (given === undefined) return none
  const isMark = typeof given === 'object' && !(given instanceof Date)
  if (isMark && given.column !== column.name) {
    throw badMark(shown, column, `is not ${quoteIdentifier(given.column)}, of which the last mark is`, RESTART)
  }
  if (isMark && given.type !== type.name) {
    throw badMark(shown, column, `is of type ${type.name}, but the last mark is of type ${given.type}`, RESTART)
  }
  const value = isMark ? given.high : given
  if (value === null) return none
  const isTime = [1082, 1114, 1184].includes(type.oid)
  const fits = !(value instanceof Date && !isTime) && !(isTime && typeof value !== 'string' && !(value instanceof Date))
  try {
    if (!fits) throw new TypeError('a value of another kind')
    const text = `select to_json(${literal(value)}::${typeName(catalogue, column)}::pg_catalog.text)::text`
    const high = await document<string>(client, text)
    return isMark ? { ...given, high } : { ...none, high }
  } catch (error) {
    // Class 22: what the server says of a value that is none of the type.
    const state = error instanceof Error && 'code' in error ? String(error.code) : ''
    if (fits && !state.startsWith('22')) throw error
    throw badMark(
      shown,
      column,
      `is of type ${column.declared}, which \`after\` is no value of`,
      `Give a value of ${column.declared}, as text where a number would lose digits.`,
      error,
    )
  }
}

const RESTART = 'Give `after` by hand once, or remove the state file to begin anew.'

/** The primary key, else every column: what makes a row that row. */
async function identityOf({ client, catalogue, relation }: Ground): Promise<readonly string[]> {
  const key = await document<string[] | null>(
    client,
    `select (select json_agg(a.attname order by k.n) from pg_catalog.pg_index i,
      unnest(i.indkey::int2[]) with ordinality k(attnum, n)
      join pg_catalog.pg_attribute a on a.attnum = k.attnum and a.attrelid = $1
      where i.indrelid = $1 and i.indisprimary and k.n <= i.indnkeyatts)::text`,
    [relation?.oid ?? 0],
  )
  const names = catalogue.columns.map((column) => column.name)
  return key ?? names
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
