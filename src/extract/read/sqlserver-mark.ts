/**
 * The watermark of an incremental extract: what came after the last one, up to the highest mark that is seen now.
 *
 * Rows that share the highest mark are remembered by a hash each, however many, and of that mark only these are read:
 * so the next run can tell what is new among them, also where this one is not read at the moment at which it was planned.
 */

import { PoolsmithError } from '../../errors.ts'
import type { BoundSql, MarkRange, MarkSince, PlanRequest, Watermark } from './reader.ts'
import { joined, sql, whereClause } from './sqlserver-bound.ts'
import { exactText, quoteBrackets, readKeys, type SqlServerColumn } from './sqlserver-catalogue.ts'
import { canMark, constant, isText, markText, rowHash } from './sqlserver-constants.ts'
import { askOne, columnNamed, type SqlServerGround } from './sqlserver-ground.ts'

const TYPES =
  'tinyint, smallint, int, bigint, decimal, money, date, datetime, smalldatetime, datetime2, datetimeoffset, ' +
  'rowversion, char, varchar, nchar, nvarchar or uniqueidentifier'
/** Beyond so many hashes a list is no longer searched from its beginning for each row. */
const LONG_LIST = 1000
const RESTART = 'Give `after` by hand once, or remove the state file to begin anew.'

type MarkRequest = NonNullable<PlanRequest['watermark']>

export interface PlannedMark {
  readonly range: MarkRange
  readonly notes: readonly string[]
}

export async function planMark(
  ground: SqlServerGround,
  own: readonly BoundSql[],
  request: MarkRequest,
): Promise<PlannedMark> {
  const { from, before, ask } = ground
  const column = columnNamed(ground, request.column)
  const name = quoteBrackets(column.name)
  if (!canMark(column)) {
    throw badMark(ground, column, `is of type ${column.declared}`, `Use a column of type ${TYPES}.`)
  }
  const last = await lastMark(ground, column, request)
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
    return { range: { watermark: last, since: null, isEmpty: true }, notes: [] }
  }

  const high = exactText(found)
  const identity = await identityOf(ground)
  const hash = hashOf(ground, identity)
  const hashes = await ask(
    sql`${before}select ${hash} as mark from ${from}${whereClause([...own, sql`${name} = ${constant(column, high)}`])}`,
  )
  const rows = hashes.map(([one]) => String(one)).toSorted()
  const isTold = isKnown(ground, last)
  return {
    range: {
      watermark: { column: column.name, type: column.type, high, identity, rows },
      since:
        last.high === null
          ? null
          : { high: last.high, identity: last.identity, rows: isTold ? last.rows : null, copies: [] },
      isEmpty: false,
    },
    notes:
      isTold || last.rows === null
        ? []
        : ['The columns that told rows with the same mark apart are gone: later rows with the last mark are not read.'],
  }
}

/** The condition of the rows of a run. */
export function markCondition(
  ground: Pick<SqlServerGround, 'columns' | 'shown'>,
  { watermark, since, isEmpty }: MarkRange,
): BoundSql {
  const { high, identity, rows } = watermark
  if (isEmpty || high === null) return sql`1 = 0`
  const column = columnNamed(ground, watermark.column)
  const name = quoteBrackets(column.name)
  const limit = constant(column, high)
  return joined(
    [
      ...(since === null ? [] : [sinceCondition(ground, column, since)]),
      // This comparison alone would do for an index.
      sql`${name} <= ${limit}`,
      ...(rows === null ? [] : [sql`(${name} < ${limit} or ${isAmong(hashOf(ground, identity), rows)})`]),
    ],
    ' and ',
  )
}

/** What is greater than the last mark, and what has that mark but was not read. */
function sinceCondition(
  ground: Pick<SqlServerGround, 'columns' | 'shown'>,
  column: SqlServerColumn,
  { high, identity, rows }: MarkSince,
): BoundSql {
  const name = quoteBrackets(column.name)
  const after = constant(column, high)
  if (rows === null) return sql`${name} > ${after}`
  if (rows.length === 0) return sql`${name} >= ${after}`
  return sql`${name} >= ${after} and (${name} > ${after} or not ${isAmong(hashOf(ground, identity), rows)})`
}

/** A list in one parameter, of any length. STRING_SPLIT takes a database of the compatibility level 130. */
function isAmong(hash: string, rows: readonly string[]): BoundSql {
  const list: BoundSql = { sql: '?', values: [{ type: 'nvarchar', value: rows.join(',') }] }
  if (rows.length <= LONG_LIST) return sql`(charindex(${hash}, ${list}) > 0)`
  return sql`(${hash} in (select cast(s.value as char(16)) from string_split(${list}, ',') s))`
}

/** Whether it is known which rows with the last mark were read, and they can still be told apart. */
function isKnown({ columns }: SqlServerGround, last: Watermark): boolean {
  return last.rows !== null && last.identity.every((name) => columns.some((column) => column.name === name))
}

function hashOf(ground: Pick<SqlServerGround, 'columns' | 'shown'>, identity: readonly string[]): string {
  return rowHash(identity.map((name) => columnNamed(ground, name)))
}

/** The last run's mark in full, or a value that stands alone: then all rows that have it count as read, or none. */
async function lastMark(
  ground: SqlServerGround,
  column: SqlServerColumn,
  { after, from }: MarkRequest,
): Promise<Watermark> {
  const none = {
    column: column.name,
    type: column.type,
    high: null,
    identity: [],
    rows: after === undefined ? [] : null,
  }
  const given = after ?? from
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
  const mark = markText(column, value)
  const isOne = mark !== undefined && (isText(column) || (await fits(ground, column, mark.text)))
  if (!isOne) {
    throw badMark(
      ground,
      column,
      `is of type ${column.declared}, which \`${after === undefined ? 'from' : 'after'}\` is no value of`,
      `Give a value of ${column.declared}, as text where a number would lose digits.`,
    )
  }
  if (isMark) return { ...given, high: mark.text }
  // No row has a value that was cut off: what it was cut off to lies before it.
  return { ...none, high: mark.text, rows: mark.isCut ? null : none.rows }
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
