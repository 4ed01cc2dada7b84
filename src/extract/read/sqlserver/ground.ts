/** The facts that planning and reading share: the table or query, its columns, and how to ask the server. */

import { noColumn } from '../missing.ts'
import type { BoundSql } from '../table.ts'
import type { AskServer, CatalogueColumn, CatalogueTable, SnapshotSupport } from './catalogue.ts'
import { type Derived, quoteIdentifier, sql } from './sql.ts'

/** The columns of a table or query, and its name for errors. */
export interface Named {
  readonly columns: readonly CatalogueColumn[]
  readonly shown: string
}

/** A table or query, and the session that reads it. */
export interface Ground extends Named, Derived {
  readonly ask: AskServer
  /** Undefined for a query. */
  readonly table: CatalogueTable | undefined
  readonly support: SnapshotSupport
  /** Where the mark is a rowversion: rows from this one on may be of transactions that the snapshot does not show. */
  readonly leastRowVersion: string | undefined
  /** By the catalogue; undefined for a view or a query. */
  readonly estimatedRows: number | undefined
}

/** The first value of the first row. */
export async function askOne({ ask, before }: Ground, question: BoundSql): Promise<unknown> {
  const [[value] = []] = await ask(sql`${before}${question}`)
  return value
}

/** @throws PoolsmithError COLUMN_NOT_FOUND */
export function columnOf({ columns, shown }: Named, name: string): CatalogueColumn {
  const found = columns.find((column) => column.name === name)
  if (found !== undefined) return found
  const names = columns.map((column) => column.name)
  throw noColumn(shown, name, names, quoteIdentifier)
}
