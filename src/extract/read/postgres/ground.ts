/** The facts that planning and reading share: the table or query, its columns, and their types in SQL. */

import type { Client } from 'pg'
import { PoolsmithError } from '../../../errors.ts'
import { noColumn } from '../missing.ts'
import type { Catalogue, CatalogueColumn, CatalogueTable, CatalogueType } from './catalogue.ts'
import { quoteIdentifier, quoteText } from './sql.ts'

/** The columns of a table or query, and its name for errors. */
export interface Named {
  readonly catalogue: Catalogue
  readonly shown: string
}

/** A table or query, and the session that reads it. */
export interface Ground extends Named {
  readonly client: Client
  /** The name that its columns go by. */
  readonly name: string
  /** The item of the FROM clause. */
  readonly from: string
  /** Undefined for a query. */
  readonly table: CatalogueTable | undefined
}

/** @throws PoolsmithError COLUMN_NOT_FOUND */
export function columnOf({ catalogue, shown }: Named, name: string): CatalogueColumn {
  const found = catalogue.columns.find((column) => column.name === name)
  if (found !== undefined) return found
  const names = catalogue.columns.map((column) => column.name)
  throw noColumn(shown, name, names, quoteIdentifier)
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

/** The column's type, or the type that a domain stands for. */
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
