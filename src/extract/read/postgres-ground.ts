/** What the parts of planning share: the table, and the names of its columns and their types in SQL. */

import type { Client } from 'pg'
import { PoolsmithError } from '../../errors.ts'
import {
  type Catalogue,
  type CatalogueColumn,
  type CatalogueType,
  noColumn,
  quoteIdentifier,
  type Relation,
} from './postgres-catalogue.ts'
import { quoteText } from './postgres-literals.ts'

/** The columns of a table or query, and its name for errors. */
export interface Named {
  readonly catalogue: Catalogue
  readonly shown: string
}

/** What is planned for. */
export interface Ground extends Named {
  readonly client: Client
  /** The item of the FROM clause. */
  readonly from: string
  /** Undefined for a query. */
  readonly relation: Relation | undefined
}

/** Ends a statement; each condition on a line of its own, so that a comment in one ends with it. */
export function whereClause(conditions: readonly string[]): string {
  return conditions.length === 0 ? '' : ` where ${conditions.map((condition) => `(${condition}\n)`).join(' and ')}`
}

/** @throws PoolsmithError COLUMN_NOT_FOUND */
export function columnOf({ catalogue, shown }: Named, name: string): CatalogueColumn {
  const found = catalogue.columns.find((column) => column.name === name)
  if (found !== undefined) return found
  throw noColumn(
    shown,
    name,
    catalogue.columns.map((column) => column.name),
  )
}

/** A value as the column's base type has it. */
export function constant(catalogue: Catalogue, column: CatalogueColumn, value: string): string {
  return `${quoteText(value)}::${typeName(catalogue, column)}`
}

/** The base type as a cast takes it, without the precision that would round. */
export function typeName(catalogue: Catalogue, column: CatalogueColumn): string {
  const type = baseType(catalogue, column)
  return `${quoteIdentifier(type.schema)}.${quoteIdentifier(type.name)}`
}

export function baseType(catalogue: Catalogue, column: CatalogueColumn): CatalogueType {
  let found = catalogue.types.get(column.type)
  while (found?.kind === 'd') found = catalogue.types.get(found.baseType)
  if (found === undefined) {
    throw new PoolsmithError(`The catalogue has no type ${column.type}.`, {
      code: 'EXTRACT_PROTOCOL',
      phase: 'query',
      hint: 'Report this with the server version.',
    })
  }
  return found
}
