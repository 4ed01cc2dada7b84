/** The queries of the rules of a watermark for PostgreSQL, and the condition of the rows of a run. */

import { types } from 'node:util'
import { errorCode } from '../../../any-error.ts'
import type { MarkRange, MarkSince, MarkValue, PlanRequest } from '../table.ts'
import { badMark, type MarkQuestions, type PlannedMark, planMark as planByRules, type ReadMark } from '../watermark.ts'
import { type CatalogueColumn, type CatalogueType, document } from './catalogue.ts'
import { baseType, columnOf, constant, type Ground, type Named, typeName } from './ground.ts'
import { literal, quoteIdentifier, quoteText, whereClause } from './sql.ts'
import { rowHashExpression } from './types.ts'

/** Types whose values rise with time, or can: their oids (pg_type.dat). */
const ORDERED = new Set([20, 21, 23, 25, 1043, 1082, 1114, 1184, 1700, 2950, 5069])
const TYPES = 'smallint, integer, bigint, numeric, date, timestamp, timestamptz, text, varchar, uuid or xid8'
const TIMES = new Set([1082, 1114, 1184])
const TEXTS = new Set([25, 1043])
/** Hexadecimal, of each row that is remembered. */
const HASH_DIGITS = 16

/**
 * @param own the conditions of `where`
 * @param hasPlaces whether each row has a place of its own (ctid) in a table's file
 */
export async function planMark(
  ground: Ground,
  own: readonly string[],
  request: NonNullable<PlanRequest['watermark']>,
  hasPlaces: boolean,
): Promise<PlannedMark> {
  return planByRules(questionsOf(ground, own, columnOf(ground, request.column), hasPlaces), request)
}

function questionsOf(
  ground: Ground,
  own: readonly string[],
  column: CatalogueColumn,
  hasPlaces: boolean,
): MarkQuestions {
  const { client, catalogue, from, shown } = ground
  const type = baseType(catalogue, column)
  const name = quoteIdentifier(column.name)
  const about = {
    shown,
    column: {
      name: column.name,
      quoted: name,
      declared: column.declared,
      type: type.name,
      nullable: !column.notNull,
    },
  }
  if (!ORDERED.has(type.oid)) {
    throw badMark(about, `is of type ${column.declared}`, `Use a column of type ${TYPES}.`)
  }
  let isKey = false
  return {
    ...about,
    columnNames: catalogue.columns.map((each) => each.name),
    typed: async (value) => {
      const text = await typedText(ground, column, value)
      if (text === undefined) return undefined
      if (isEndless(type, text) && !text.startsWith('-')) {
        throw badMark(about, `cannot begin at ${text}, after which no value comes`, 'Give a finite value.')
      }
      return { text, isCut: false }
    },
    hasNulls: () =>
      document<boolean>(
        client,
        `select to_json(exists (select from ${from}${whereClause([...own, `${name} is null`])}))::text`,
      ),
    highest: async (after) => {
      const since = after === null ? [] : [`${name} >= ${constant(catalogue, column, after)}`]
      const high = await document<string | null>(
        client,
        `select to_json((select m::pg_catalog.text from (select ${name} as m ` +
          `from ${from}${whereClause([...own, `${name} is not null`, ...since])} order by 1 desc limit 1) q))::text`,
      )
      if (high === null) return undefined
      if (isEndless(type, high)) {
        const hint = 'Leave these rows out by `where`.'
        throw badMark(about, `is ${high} in some rows, after which no value comes`, hint)
      }
      return high
    },
    identity: async () => {
      const found = await identityOf(ground)
      isKey = found.isKey
      return found.identity
    },
    hashes: (high, identity) =>
      document<string[]>(
        client,
        `select coalesce(json_agg(h order by h), '[]')::text from (select ${rowHash(ground, identity)} as h ` +
          `from ${from}${whereClause([...own, `${name} = ${constant(catalogue, column, high)}`])}) q`,
      ),
    copies: async (last) => {
      if (!hasPlaces || isKey) return []
      return placesOfCopies(ground, [...own, `${name} = ${constant(catalogue, column, last.high)}`], last)
    },
  }
}

/** The value as the server writes it; undefined for what is no value of the type. */
async function typedText(
  { client, catalogue }: Ground,
  column: CatalogueColumn,
  value: MarkValue,
): Promise<string | undefined> {
  const isTime = TIMES.has(baseType(catalogue, column).oid)
  if (isTime ? !types.isDate(value) && typeof value !== 'string' : types.isDate(value)) return undefined
  const statement = `select to_json(${literal(value)}::${typeName(catalogue, column)}::pg_catalog.text)::text`
  try {
    return await document<string>(client, statement)
  } catch (error) {
    // Class 22 is what the server answers to a text that is no value of the type.
    const state = errorCode(error) ?? ''
    if (state.startsWith('22')) return undefined
    throw error
  }
}

/** A text may be such a word, and mean nothing by it. */
function isEndless({ oid }: CatalogueType, value: string): boolean {
  return !TEXTS.has(oid) && /^-?infinity$|^NaN$/i.test(value)
}

/** The condition of the rows of a run. */
export function markCondition(named: Named, { watermark, since, isEmpty }: MarkRange): string {
  const { high, identity, rows } = watermark
  if (isEmpty || high === null) return 'false'
  const column = columnOf(named, watermark.column)
  const name = quoteIdentifier(column.name)
  const limit = constant(named.catalogue, column, high)
  return [
    ...(since === null ? [] : [sinceCondition(named, name, constant(named.catalogue, column, since.high), since)]),
    // The next comparison implies this one, which an index can serve.
    `${name} <= ${limit}`,
    ...(rows === null ? [] : [`(${name} < ${limit} or ${isAmong(rowHash(named, identity), rows)})`]),
  ].join(' and ')
}

/** Rows that are greater than the last mark, and those with that mark that were not read. */
function sinceCondition(named: Named, name: string, after: string, since: MarkSince): string {
  const { identity, rows, copies } = since
  if (rows === null) return `${name} > ${after}`
  if (rows.length === 0) return `${name} >= ${after}`
  const others = copies.length === 0 ? '' : ` or ${isAmong(PLACE, copies)}`
  return `${name} >= ${after} and (${name} > ${after} or not ${isAmong(rowHash(named, identity), rows)}${others})`
}

const PLACE = 'pg_catalog.concat(tableoid, ctid)'

/**
 * The places of rows that came since and equal rows that were read in every column: of each kind, as many as there are
 * more now than were read.
 */
async function placesOfCopies(
  ground: Ground,
  conditions: readonly string[],
  { identity, rows }: ReadMark,
): Promise<readonly string[]> {
  const { client, from } = ground
  return document<string[]>(
    client,
    `select coalesce(json_agg(place), '[]')::text from (
      select h, ${PLACE} as place, row_number() over (partition by h order by tableoid, ctid) as n
      from (select tableoid, ctid, ${rowHash(ground, identity)} as h from ${from}${whereClause(conditions)}) same
    ) now join (select h, count(*) as n from ${listed(rows)} group by h) read using (h) where now.n > read.n`,
  )
}

/**
 * Whether a text is one of these. Every version of the server looks it up in a hash table, because it cannot see how
 * many they are (`offset 0`); seeing that, it may compare each row with all of them.
 */
function isAmong(expression: string, values: readonly string[]): string {
  return `${expression} in (select h from ${listed(values)})`
}

/** @param values without quotes and backslashes */
function listed(values: readonly string[]): string {
  const list = quoteText(`{${values.map((value) => `"${value}"`).join(',')}}`)
  return `(select pg_catalog.unnest(a) as h from (select ${list}::pg_catalog.text[] as a offset 0) list) listed`
}

function rowHash({ catalogue }: Named, identity: readonly string[]): string {
  return `pg_catalog.left(${rowHashExpression(catalogue, identity)}, ${HASH_DIGITS})`
}

interface Identity {
  readonly identity: readonly string[]
  readonly isKey: boolean
}

/**
 * The primary key, else every column, of those that the role may read. The key of a table that others inherit from does
 * not hold for their rows.
 */
async function identityOf({ client, catalogue, table }: Ground): Promise<Identity> {
  const key = await document<string[] | null>(
    client,
    `select (select json_agg(a.attname order by k.n) from pg_catalog.pg_index i,
      unnest(i.indkey::int2[]) with ordinality k(attnum, n)
      join pg_catalog.pg_attribute a on a.attnum = k.attnum and a.attrelid = $1
      where i.indrelid = $1 and i.indisprimary and k.n <= i.indnkeyatts
        and not exists (select from pg_catalog.pg_inherits h where h.inhparent = $1 and $2 <> 'p'))::text`,
    [table?.oid ?? 0, table?.kind ?? ''],
  )
  const readable = catalogue.columns.filter((column) => column.readable).map((column) => column.name)
  const isKey = key?.every((name) => readable.includes(name)) ?? false
  return { identity: isKey && key !== null ? key : readable, isKey }
}
