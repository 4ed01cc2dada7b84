/** The statement that reads rows: which of them, and as which expressions. */

import { invalid } from '../sql/selection.ts'
import type { Choice, TableSlice, ValueRange } from '../table.ts'
import type { CatalogueColumn } from './catalogue.ts'
import { columnOf, constant, type Ground, type Named } from './ground.ts'
import { markCondition } from './mark.ts'
import { pagesCondition } from './places.ts'
import { fragment, quotedTable, quoteIdentifier, whereClause } from './sql.ts'

/** The FROM and the conditions of a statement. */
export interface Chosen {
  readonly from: string
  readonly conditions: readonly string[]
}

/** @param system columns of the system that the statement reads, where the rows are those of slices */
export function chosenRows(
  ground: Pick<Ground, 'catalogue' | 'shown' | 'name' | 'from'>,
  choices: readonly Choice[],
  system: readonly string[] = PLACE,
): Chosen {
  const { catalogue, name, from } = ground
  const slices = choices.flatMap((choice) => (typeof choice === 'object' && 'tables' in choice ? choice.tables : []))
  return {
    from: slices.length === 0 ? from : fromSlices(name, catalogue.columns, slices, system),
    conditions: choices.flatMap((choice) => conditionOf(ground, choice) ?? []),
  }
}

/** The columns of a row's place. */
const PLACE = ['tableoid', 'ctid'] as const

/** Undefined where the choice is no condition. */
function conditionOf(named: Named, choice: Choice): string | undefined {
  // A plan may come from a file: no text of it reaches beyond its brackets.
  if (typeof choice === 'string') return fragment(choice)
  if ('mark' in choice) return markCondition(named, choice.mark)
  if ('range' in choice) return rangeCondition(named, choice.range)
  if ('pages' in choice) return pagesCondition(choice.pages)
  if ('tables' in choice) return undefined
  throw invalid('A condition has its values in the form of SQL Server.', 'Run a plan where it was made for.')
}

/** Rows without a value are in the first range. */
function rangeCondition(named: Named, { column: columnName, from, to }: ValueRange): string {
  const column = columnOf(named, columnName)
  const name = quoteIdentifier(column.name)
  const above = from === null ? [] : [`${name} >= ${constant(named.catalogue, column, from)}`]
  const below = to === null ? [] : [`${name} < ${constant(named.catalogue, column, to)}`]
  const both = [...above, ...below].join(' and ') || 'true'
  return from === null ? `${both} or ${name} is null` : both
}

/**
 * The union of these tables under the table's name, with its columns and places, so that a condition means the same in
 * it as in the table.
 */
function fromSlices(
  name: string,
  columns: readonly CatalogueColumn[],
  slices: readonly TableSlice[],
  system: readonly string[],
): string {
  const list = [...system, ...columns.map((column) => quoteIdentifier(column.name))].join(', ')
  const selects = slices.map((slice) => {
    const condition = slice.pages === null ? undefined : pagesCondition(slice.pages)
    return `select ${list} from only ${quotedTable(slice)}${whereClause(condition === undefined ? [] : [condition])}`
  })
  return `(${selects.join(' union all ')}) as ${quoteIdentifier(name)}`
}

/**
 * @param expressions one for each name
 * @param form how the server writes the rows
 */
export function copyStatement(
  expressions: readonly string[],
  names: readonly string[],
  { from, conditions }: Chosen,
  form: 'binary' | 'csv',
): string {
  const list = expressions.map((expression, index) => `${expression} as ${quoteIdentifier(names[index] ?? '')}`)
  const select = `select ${list.join(', ')} from ${from}${whereClause(conditions)}`
  return `copy (${select}) to stdout (format ${form})`
}
