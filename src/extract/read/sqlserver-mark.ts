/**
 * The watermark of an incremental extract: what came after the last one, up to the highest mark that is seen now.
 *
 * Rows that share the highest mark are remembered by a hash each, and only those that are remembered are read: so the
 * next run can tell what is new among them, also where this one is not read at the moment at which it was planned.
 */

import { PoolsmithError } from '../../errors.ts'
import type { BoundSql, MarkValue, PlanRequest, Watermark } from './reader.ts'
import { joined, sql, whereClause } from './sqlserver-bound.ts'
import { exactText, quoteBrackets, readKeys, type SqlServerColumn } from './sqlserver-catalogue.ts'
import { canMark, constant, markText, rowHash } from './sqlserver-constants.ts'
import { askOne, columnNamed, type SqlServerGround } from './sqlserver-ground.ts'

const TYPES =
  'tinyint, smallint, int, bigint, decimal, money, date, datetime, smalldatetime, datetime2, datetimeoffset, ' +
  'rowversion, char, varchar, nchar, nvarchar or uniqueidentifier'
/** Rows with the highest mark that are remembered. */
const MOST_ROWS = 1000
const RESTART = 'Give `after` by hand once, or remove the state file to begin anew.'

export interface PlannedMark {
  readonly condition: BoundSql
  /** The mark that this run begins after. */
  readonly after: string | null
  readonly watermark: Watermark
  readonly notes: readonly string[]
}

export async function planMark(
  ground: SqlServerGround,
  own: readonly BoundSql[],
  request: NonNullable<PlanRequest['watermark']>,
): Promise<PlannedMark> {
  const { from, before, ask } = ground
  const column = columnNamed(ground, request.column)
  const name = quoteBrackets(column.name)
  if (!canMark(column)) {
    throw badMark(ground, column, `is of type ${column.declared}`, `Use a column of type ${TYPES}.`)
  }
  const last = await lastMark(ground, column, request.after)
  const after = last.high === null ? undefined : constant(column, last.high)

  if (column.nullable) {
    const nulls = sql`select case when exists (select 1 as one from ${from}${whereClause([...own, sql`${name} is null`])}) then 1 else 0 end`
    if (Number(await askOne(ground, nulls)) === 1) {
      throw badMark(
        ground,
        column,
        'is NULL in some rows, which would never be read',
        'Fill the column in and make it NOT NULL, or leave these rows out knowingly: where: (query) => ' +
          `query.whereNotNull(${JSON.stringify(column.name)}).`,
      )
    }
  }

  const upwards = [
    ...own,
    sql`${name} is not null`,
    ...(after === undefined ? [] : [sql`${name} >= ${after}`]),
    // What is not below it may yet be joined by smaller ones, of transactions that are still open.
    ...(column.type === 'timestamp' ? [sql`${name} < ${constant(column, ground.support.leastRowVersion)}`] : []),
  ]
  const value = column.type === 'timestamp' ? `cast(${name} as binary(8))` : name
  const found = await askOne(
    ground,
    sql`select top (1) ${value} as mark from ${from}${whereClause(upwards)} order by ${name} desc`,
  )
  if (found === null || found === undefined) {
    // Nothing new. Said in SQL too: the plan may be read later.
    return { condition: sql`1 = 0`, after: last.high, watermark: last, notes: [] }
  }

  const high = exactText(found)
  const limit = constant(column, high)
  const identity = await identityOf(ground)
  const hash = hashOf(ground, identity)
  const hashes = await ask(
    sql`${before}select top (${MOST_ROWS + 1}) ${hash} as mark from ${from}${whereClause([...own, sql`${name} = ${limit}`])}`,
  )
  const isTooMany = hashes.length > MOST_ROWS
  const rows = isTooMany ? null : hashes.map(([one]) => String(one)).toSorted()
  const known = knownRows(ground, last)
  const since = after === undefined ? [] : [sinceCondition(ground, name, after, last, known)]
  const upTo =
    rows === null
      ? sql`${name} <= ${limit}`
      : sql`(${name} < ${limit} or ${name} = ${limit} and ${isAmong(hash, rows)})`
  return {
    condition: joined([...since, upTo], ' and '),
    after: last.high,
    watermark: { column: column.name, type: column.type, high, identity, rows },
    notes: [
      ...(isTooMany
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

function sinceCondition(
  ground: SqlServerGround,
  name: string,
  after: BoundSql,
  last: Watermark,
  known: boolean,
): BoundSql {
  if (!known || last.rows === null) return sql`${name} > ${after}`
  const read = isAmong(hashOf(ground, last.identity), last.rows)
  // The first comparison alone would do for an index.
  return sql`${name} >= ${after} and (${name} > ${after} or not ${read})`
}

/** A list in one parameter, which no number of rows is too long for. */
function isAmong(hash: string, rows: readonly string[]): BoundSql {
  const list: BoundSql = { sql: '?', values: [{ type: 'nvarchar', value: rows.join(',') }] }
  return sql`(charindex(${hash}, ${list}) > 0)`
}

/** Whether the rows that the last run remembered can still be told apart. */
function knownRows({ columns }: SqlServerGround, last: Watermark): boolean {
  if (last.rows === null || last.rows.length === 0) return false
  return last.identity.every((name) => columns.some((column) => column.name === name))
}

function hashOf(ground: SqlServerGround, identity: readonly string[]): string {
  return rowHash(identity.map((name) => columnNamed(ground, name)))
}

/** The last run's mark in full, or a value that stands alone: then no row is known to have it. */
async function lastMark(
  ground: SqlServerGround,
  column: SqlServerColumn,
  given: MarkValue | Watermark | undefined,
): Promise<Watermark> {
  const none = { column: column.name, type: column.type, high: null, identity: [], rows: null }
  if (given === undefined) return none
  const isMark = typeof given === 'object' && !(given instanceof Date)
  if (isMark && given.column !== column.name) {
    const what = `is not ${quoteBrackets(given.column)}, of which the last mark is`
    throw badMark(ground, column, what, RESTART)
  }
  if (isMark && given.type !== column.type) {
    const what = `is of type ${column.type}, but the last mark is of type ${given.type}`
    throw badMark(ground, column, what, RESTART)
  }
  const value = isMark ? given.high : given
  if (value === null) return none
  const high = markText(column, value)
  const isOne = high !== undefined && (await fits(ground, column, high))
  if (isOne) return isMark ? { ...given, high } : { ...none, high }
  throw badMark(
    ground,
    column,
    `is of type ${column.declared}, which \`after\` is no value of`,
    `Give a value of ${column.declared}, as text where a number would lose digits.`,
  )
}

async function fits({ ask }: SqlServerGround, column: SqlServerColumn, text: string): Promise<boolean> {
  const tried = constant(column, text, 'try_convert')
  const [[missing] = []] = await ask(sql`select case when ${tried} is null then 1 else 0 end`)
  return Number(missing) === 0
}

/** The primary key, else every column: what makes a row that row. */
async function identityOf({ ask, table, columns }: SqlServerGround): Promise<readonly string[]> {
  const primary = table === undefined ? [] : (await readKeys(ask, table)).primary
  return primary.length > 0 ? primary : columns.map((column) => column.name)
}

function badMark({ shown }: SqlServerGround, column: SqlServerColumn, what: string, hint: string): PoolsmithError {
  return new PoolsmithError(`${shown}: the watermark column ${quoteBrackets(column.name)} ${what}.`, {
    code: 'WATERMARK_INVALID',
    phase: 'query',
    hint,
    details: { column: column.name, type: column.declared },
  })
}
