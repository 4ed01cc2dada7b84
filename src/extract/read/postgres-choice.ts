/** Which columns and rows are read, as the parts of the statement that reads them. */

import { type CatalogueColumn, noColumn, quotedRelation, quoteIdentifier, type Relation } from './postgres-catalogue.ts'
import { whereClause } from './postgres-ground.ts'
import { fragment } from './postgres-literals.ts'
import type { Choice, ReadOptions, TableSlice } from './reader.ts'

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

/** @param columns all that the table has: a condition may be about one that is not read */
export function chosenRows(
  { from, name }: From,
  columns: readonly CatalogueColumn[],
  choices: readonly Choice[],
): Chosen {
  const slices = choices.flatMap((choice) => (typeof choice === 'object' && 'tables' in choice ? choice.tables : []))
  // A plan may come from a file: nothing in it reaches beyond its brackets.
  const conditions = choices.filter((choice) => typeof choice === 'string').map(fragment)
  return { from: slices.length === 0 ? from : fromSlices(name, columns, slices), conditions }
}

/** Goes by the table's name, and has its columns and places, so that conditions mean in it what they mean in the table. */
function fromSlices(name: string, columns: readonly CatalogueColumn[], slices: readonly TableSlice[]): string {
  const list = ['tableoid', 'ctid', ...columns.map((column) => quoteIdentifier(column.name))].join(', ')
  const selects = slices.map((slice) => {
    const conditions = slice.condition === null ? [] : [fragment(slice.condition)]
    return `select ${list} from only ${quotedRelation(slice)}${whereClause(conditions)}`
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
