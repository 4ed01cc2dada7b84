/** The queries of the rules of a watermark for SQL Server, and the condition of the rows of a run. */

import type { BoundSql, MarkRange, MarkSince, PlanRequest } from '../table.ts'
import { badMark, type MarkQuestions, type PlannedMark, planMark as planByRules } from '../watermark.ts'
import { type CatalogueColumn, exactText, readKeys } from './catalogue.ts'
import { canMark, constant, isText, markText, rowHash } from './constants.ts'
import { askOne, columnOf, type Ground, type Named } from './ground.ts'
import { joined, quoteIdentifier, sql, whereClause } from './sql.ts'

const TYPES =
  'tinyint, smallint, int, bigint, decimal, money, date, datetime, smalldatetime, datetime2, datetimeoffset, ' +
  'rowversion, char, varchar, nchar, nvarchar or uniqueidentifier'
/** A longer list of hashes is not searched from its beginning for each row. */
const LONG_LIST = 1000

/** @param own the conditions of `where` */
export async function planMark(
  ground: Ground,
  own: readonly BoundSql[],
  request: NonNullable<PlanRequest['watermark']>,
): Promise<PlannedMark> {
  return planByRules(questionsOf(ground, own, columnOf(ground, request.column)), request)
}

function questionsOf(ground: Ground, own: readonly BoundSql[], column: CatalogueColumn): MarkQuestions {
  const { from, before, ask, shown, columns } = ground
  const name = quoteIdentifier(column.name)
  const about = {
    shown,
    column: {
      name: column.name,
      quoted: name,
      declared: column.declared,
      type: column.type,
      nullable: column.nullable,
    },
  }
  if (!canMark(column)) throw badMark(about, `is of type ${column.declared}`, `Use a column of type ${TYPES}.`)
  return {
    ...about,
    columnNames: columns.map((each) => each.name),
    typed: async (value) => {
      const mark = markText(column, value)
      const isOne = mark !== undefined && (isText(column) || (await fits(ground, column, mark.text)))
      return isOne ? mark : undefined
    },
    hasNulls: async () => {
      const rows = sql`select 1 as one from ${from}${whereClause([...own, sql`${name} is null`])}`
      return Number(await askOne(ground, sql`select case when exists (${rows}) then 1 else 0 end`)) === 1
    },
    highest: async (after) => {
      const isRowVersion = column.type === 'timestamp'
      const conditions = [
        ...own,
        sql`${name} is not null`,
        ...(after === null ? [] : [sql`${name} >= ${constant(column, after)}`]),
        ...(isRowVersion ? [sql`${name} < ${constant(column, leastOf(ground))}`] : []),
      ]
      const value = isRowVersion ? `cast(${name} as binary(8))` : name
      const found = await askOne(
        ground,
        sql`select top (1) ${value} as mark from ${from}${whereClause(conditions)} order by ${name} desc`,
      )
      return found === null || found === undefined ? undefined : exactText(found)
    },
    identity: () => identityOf(ground),
    hashes: async (high, identity) => {
      const conditions = [...own, sql`${name} = ${constant(column, high)}`]
      const hash = hashOf(ground, identity)
      const rows = await ask(sql`${before}select ${hash} as mark from ${from}${whereClause(conditions)}`)
      return rows.map(([one]) => String(one)).toSorted()
    },
    // A row has no place that stays the same.
    copies: async () => [],
  }
}

function leastOf({ leastRowVersion }: Ground): string {
  if (leastRowVersion === undefined) throw new TypeError('The table was opened without the column of the mark.')
  return leastRowVersion
}

async function fits({ ask }: Ground, column: CatalogueColumn, text: string): Promise<boolean> {
  const tried = constant(column, text, 'try_convert')
  const [[missing] = []] = await ask(sql`select case when ${tried} is null then 1 else 0 end`)
  return Number(missing) === 0
}

/** The condition of the rows of a run. */
export function markCondition(named: Named, { watermark, since, isEmpty }: MarkRange): BoundSql {
  const { high, identity, rows } = watermark
  if (isEmpty || high === null) return sql`1 = 0`
  const column = columnOf(named, watermark.column)
  const name = quoteIdentifier(column.name)
  const limit = constant(column, high)
  return joined(
    [
      ...(since === null ? [] : [sinceCondition(named, column, since)]),
      // The next comparison implies this one, which an index can serve.
      sql`${name} <= ${limit}`,
      ...(rows === null ? [] : [sql`(${name} < ${limit} or ${isAmong(hashOf(named, identity), rows)})`]),
    ],
    ' and ',
  )
}

/** Rows that are greater than the last mark, and those with that mark that were not read. */
function sinceCondition(named: Named, column: CatalogueColumn, { high, identity, rows }: MarkSince): BoundSql {
  const name = quoteIdentifier(column.name)
  const after = constant(column, high)
  if (rows === null) return sql`${name} > ${after}`
  if (rows.length === 0) return sql`${name} >= ${after}`
  return sql`${name} >= ${after} and (${name} > ${after} or not ${isAmong(hashOf(named, identity), rows)})`
}

/** A list in one parameter, of any length. STRING_SPLIT needs a database of compatibility level 130. */
function isAmong(hash: string, rows: readonly string[]): BoundSql {
  const list: BoundSql = { sql: '?', values: [{ type: 'nvarchar', value: rows.join(',') }] }
  if (rows.length <= LONG_LIST) return sql`(charindex(${hash}, ${list}) > 0)`
  return sql`(${hash} in (select cast(s.value as char(16)) from string_split(${list}, ',') s))`
}

function hashOf(named: Named, identity: readonly string[]): string {
  return rowHash(identity.map((name) => columnOf(named, name)))
}

/** The primary key, else every column. */
async function identityOf({ ask, table, columns }: Ground): Promise<readonly string[]> {
  const primary = table === undefined ? [] : (await readKeys(ask, table)).primary
  return primary.length > 0 ? primary : columns.map((column) => column.name)
}
