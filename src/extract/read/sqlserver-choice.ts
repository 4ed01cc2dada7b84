/** Which rows are read, as conditions of the statement that reads them. */

import type { BoundSql, Choice, ValueRange } from './reader.ts'
import { invalid } from './selection.ts'
import { joined, sql, whole } from './sqlserver-bound.ts'
import { quoteBrackets } from './sqlserver-catalogue.ts'
import { constant } from './sqlserver-constants.ts'
import { columnNamed, type SqlServerGround } from './sqlserver-ground.ts'
import { markCondition } from './sqlserver-mark.ts'

type Named = Pick<SqlServerGround, 'columns' | 'shown'>

export function conditionOf(named: Named, choice: Choice): BoundSql {
  // A plan may come from a file: nothing in it reaches beyond its brackets.
  if (typeof choice === 'string' || 'sql' in choice) return whole(choice)
  if ('mark' in choice) return markCondition(named, choice.mark)
  if ('range' in choice) return rangeCondition(named, choice.range)
  throw invalid('A part is a range of pages, which SQL Server does not read by.', 'Run a plan where it was made for.')
}

/** Rows without a value are in the first range. */
function rangeCondition(named: Named, { column: columnName, from, to }: ValueRange): BoundSql {
  const column = columnNamed(named, columnName)
  const name = quoteBrackets(column.name)
  const above = from === null ? [] : [sql`${name} >= ${constant(column, from)}`]
  const below = to === null ? [] : [sql`${name} < ${constant(column, to)}`]
  const both = from === null && to === null ? sql`1 = 1` : joined([...above, ...below], ' and ')
  return from === null ? sql`${both} or ${name} is null` : both
}
