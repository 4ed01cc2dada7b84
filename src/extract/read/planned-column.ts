/** The columns of a reading, as manifests list them. */

import type { DataType } from 'apache-arrow'
import type { ColumnBuilder } from './columns/column.ts'
import type { TableColumn } from './table.ts'

/** A column that is read as Arrow. */
export interface PlannedColumn {
  readonly name: string
  /** As in the table's declaration. */
  readonly declared: string
  readonly arrowType: DataType
  /** Why this is not the type that one might expect. */
  readonly note?: string | undefined
}

export function arrowColumns(plans: readonly PlannedColumn[]): readonly TableColumn[] {
  return plans.map(({ name, declared, arrowType, note }) => ({
    name,
    type: declared,
    arrow: String(arrowType),
    ...(note === undefined ? {} : { note }),
  }))
}

/** The columns of rows that are read as lines of text. */
export function lineColumns(
  columns: readonly Pick<PlannedColumn, 'name' | 'declared' | 'note'>[],
): readonly TableColumn[] {
  return columns.map(({ name, declared, note }) => ({ name, type: declared, ...(note === undefined ? {} : { note }) }))
}

/** The notes of the builders about their values. */
export function findingsOf(
  plans: readonly PlannedColumn[],
  builders: readonly ColumnBuilder[],
): readonly { readonly column: string; readonly note: string }[] {
  return builders.flatMap((builder, index) => {
    const note = builder.finding?.()
    return note === undefined ? [] : [{ column: plans[index]?.name ?? '', note }]
  })
}
