/** What the parts of planning share: the table or query, its columns, and how to ask the server. */

import { PoolsmithError } from '../../errors.ts'
import { nearNames } from '../near-names.ts'
import type { BoundSql } from './reader.ts'
import { type Derived, sql } from './sqlserver-bound.ts'
import {
  type AskServer,
  didYouMean,
  quoteBrackets,
  type SnapshotSupport,
  type SqlServerColumn,
  type SqlServerTableId,
} from './sqlserver-catalogue.ts'

export interface SqlServerGround extends Derived {
  readonly ask: AskServer
  /** For errors. */
  readonly shown: string
  readonly columns: readonly SqlServerColumn[]
  /** Undefined for a query. */
  readonly table: SqlServerTableId | undefined
  readonly support: SnapshotSupport
  /** By the catalogue; undefined for a view or a query. */
  readonly estimatedRows: number | undefined
}

/** The first value of the first row. */
export async function askOne({ ask, before }: SqlServerGround, question: BoundSql): Promise<unknown> {
  const [[value] = []] = await ask(sql`${before}${question}`)
  return value
}

/** @throws PoolsmithError COLUMN_NOT_FOUND */
export function columnNamed(
  { columns, shown }: Pick<SqlServerGround, 'columns' | 'shown'>,
  name: string,
): SqlServerColumn {
  const found = columns.find((column) => column.name === name)
  if (found !== undefined) return found
  throw noColumn(
    shown,
    name,
    columns.map((column) => column.name),
  )
}

export function noColumn(shown: string, name: string, names: readonly string[], cause?: unknown): PoolsmithError {
  const near = nearNames(name, names)
  return new PoolsmithError(`${shown} has no column ${quoteBrackets(name)}.${didYouMean(near)}`, {
    code: 'COLUMN_NOT_FOUND',
    phase: 'query',
    hint: 'Give the column as the catalogue spells it; names are case-sensitive here.',
    details: { column: name, near },
    cause,
  })
}
