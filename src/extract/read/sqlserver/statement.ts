/** The statement that reads rows: which of them, and as which expressions. */

import type { Statement } from '../../../drivers/sqlserver/bound-value.ts'
import { invalid } from '../sql/selection.ts'
import type { BoundSql, Choice, ValueRange } from '../table.ts'
import { constant } from './constants.ts'
import { columnOf, type Named } from './ground.ts'
import { markCondition } from './mark.ts'
import { compiled, type Derived, joined, quoteIdentifier, sql, whereClause, whole } from './sql.ts'

export function conditionOf(named: Named, choice: Choice): BoundSql {
  // A plan may come from a file: no text of it reaches beyond its brackets.
  if (typeof choice === 'string' || 'sql' in choice) return whole(choice)
  if ('mark' in choice) return markCondition(named, choice.mark)
  if ('range' in choice) return rangeCondition(named, choice.range)
  throw invalid('A part is a range of pages, which SQL Server cannot read.', 'Run a plan where it was made for.')
}

/** Rows without a value are in the first range. */
function rangeCondition(named: Named, { column: columnName, from, to }: ValueRange): BoundSql {
  const column = columnOf(named, columnName)
  const name = quoteIdentifier(column.name)
  const above = from === null ? [] : [sql`${name} >= ${constant(column, from)}`]
  const below = to === null ? [] : [sql`${name} < ${constant(column, to)}`]
  const both = from === null && to === null ? sql`1 = 1` : joined([...above, ...below], ' and ')
  return from === null ? sql`${both} or ${name} is null` : both
}

/** @param columns the expression of each, and its name */
export function selectStatement(
  { before, from }: Derived,
  columns: readonly { readonly expression: string; readonly name: string }[],
  conditions: readonly BoundSql[],
): Statement {
  const list = columns.map(({ expression, name }) => `${expression} as ${quoteIdentifier(name)}`)
  return compiled(sql`${before}select ${list.join(', ')} from ${from}${whereClause(conditions)}`)
}
