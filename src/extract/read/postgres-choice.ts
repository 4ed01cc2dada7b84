/** Which columns and rows are read, as the parts of the statement that reads them. */

import { type CatalogueColumn, noColumn, quotedRelation, quoteIdentifier, type Relation } from './postgres-catalogue.ts'
import { columnOf, constant, type Named, whereClause } from './postgres-ground.ts'
import { fragment } from './postgres-literals.ts'
import { markCondition } from './postgres-mark.ts'
import { pagesCondition } from './postgres-places.ts'
import type { Choice, ReadOptions, TableSlice, ValueRange } from './reader.ts'
import { invalid } from './selection.ts'

/** What stands in the FROM of every statement. */
export interface From {
  readonly schema: string
  readonly name: string
  readonly from: string
  /** One of the two is undefined. */
  readonly relation: Relation | undefined
  readonly query: string | undefined
}

/** What stands in the FROM of the statement that reads, and in its WHERE. */
export interface Chosen {
  readonly from: string
  readonly conditions: readonly string[]
}

export function chosenRows({ from, name }: From, named: Named, choices: readonly Choice[]): Chosen {
  const slices = choices.flatMap((choice) => (typeof choice === 'object' && 'tables' in choice ? choice.tables : []))
  return {
    from: slices.length === 0 ? from : fromSlices(name, named.catalogue.columns, slices),
    conditions: choices.flatMap((choice) => conditionOf(named, choice) ?? []),
  }
}

/** Undefined where the choice is no condition. */
function conditionOf(named: Named, choice: Choice): string | undefined {
  // A plan may come from a file: nothing in it reaches beyond its brackets.
  if (typeof choice === 'string') return fragment(choice)
  if ('mark' in choice) return markCondition(named, choice.mark)
  if ('range' in choice) return rangeCondition(named, choice.range)
  if ('pages' in choice) return pagesCondition(choice.pages)
  if ('tables' in choice) return undefined
  throw invalid('A condition has its values as SQL Server takes them.', 'Run a plan where it was made for.')
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

/** Goes by the table's name, and has its columns and places, so that conditions mean in it what they mean in the table. */
function fromSlices(name: string, columns: readonly CatalogueColumn[], slices: readonly TableSlice[]): string {
  const list = ['tableoid', 'ctid', ...columns.map((column) => quoteIdentifier(column.name))].join(', ')
  const selects = slices.map((slice) => {
    const condition = slice.pages === null ? undefined : pagesCondition(slice.pages)
    return `select ${list} from only ${quotedRelation(slice)}${whereClause(condition === undefined ? [] : [condition])}`
  })
  return `(${selects.join(' union all ')}) as ${quoteIdentifier(name)}`
}

export function selectStatement(
  expressions: readonly string[],
  names: readonly string[],
  { from, conditions }: Chosen,
): string {
  const list = expressions.map((expression, index) => `${expression} as ${quoteIdentifier(names[index] ?? '')}`)
  return `select ${list.join(', ')} from ${from}${whereClause(conditions)}`
}

export function chooseColumns(
  relation: { readonly schema: string; readonly name: string },
  columns: readonly CatalogueColumn[],
  options: ReadOptions,
): readonly CatalogueColumn[] {
  const byName = new Map(columns.map((column) => [column.name, column]))
  const pick = (name: string): CatalogueColumn => {
    const found = byName.get(name)
    if (found !== undefined) return found
    throw noColumn(quotedRelation(relation), name, [...byName.keys()])
  }
  for (const name of options.asText ?? []) pick(name)
  return options.columns === undefined ? columns : [...new Set(options.columns)].map(pick)
}
