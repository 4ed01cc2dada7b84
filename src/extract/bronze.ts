/** The columns that every extracted row carries: when, from where, and by which run it was read. */

import type { Data, RecordBatch, Schema } from './arrow-types.ts'
import type { Arrow } from './read/columns/column.ts'
import type { TableColumn } from './read/table.ts'

export interface Bronze {
  readonly extractedAt: Date
  readonly source: string
  readonly batchId: string
}

export const BRONZE_COLUMNS = ['_extracted_at', '_source', '_batch_id'] as const

const DECLARED: Readonly<Record<(typeof BRONZE_COLUMNS)[number], string>> = {
  _extracted_at: 'timestamp with time zone',
  _source: 'text',
  _batch_id: 'uuid',
}

/** Adds the three columns to batches. Their values are constant, so text is a dictionary of one word. */
export function bronzeBatches(
  arrow: Arrow,
  schema: Schema,
  bronze: Bronze,
): { readonly schema: Schema; readonly add: (batch: RecordBatch) => RecordBatch } {
  const instant = new arrow.TimestampMicrosecond('UTC')
  const words = [bronze.source, bronze.batchId].map((text) => ({
    type: new arrow.Dictionary(new arrow.Utf8(), new arrow.Int32()),
    dictionary: arrow.vectorFromArray([text], new arrow.Utf8()),
  }))
  const types = [instant, ...words.map(({ type }) => type)]
  const wide = new arrow.Schema([
    ...schema.fields,
    ...types.map((type, index) => new arrow.Field(BRONZE_COLUMNS[index] as string, type, true)),
  ])
  const struct = new arrow.Struct(wide.fields)
  const micros = BigInt(bronze.extractedAt.getTime()) * 1000n

  // Shared by all batches, and so as long as the longest one.
  let instants = new BigInt64Array(0)
  let positions = new Int32Array(0)

  const add = (batch: RecordBatch): RecordBatch => {
    const length = batch.numRows
    if (length > instants.length) {
      instants = new BigInt64Array(length).fill(micros)
      positions = new Int32Array(length)
    }
    const constant: Data[] = [
      arrow.makeData({ type: instant, length, nullCount: 0, data: instants.subarray(0, length) }),
      ...words.map(({ type, dictionary }) =>
        arrow.makeData({ type, length, nullCount: 0, data: positions.subarray(0, length), dictionary }),
      ),
    ]
    const children = [...batch.data.children, ...constant]
    return new arrow.RecordBatch(wide, arrow.makeData({ type: struct, length, nullCount: 0, children }))
  }
  return { schema: wide, add }
}

/**
 * The columns as a manifest lists them.
 *
 * @param isArrow whether the rows are Arrow record batches
 */
export function bronzeManifestColumns(isArrow: boolean): readonly TableColumn[] {
  return BRONZE_COLUMNS.map((name) => ({
    name,
    type: DECLARED[name],
    ...(isArrow ? { arrow: name === '_extracted_at' ? 'Timestamp<MICROSECOND, UTC>' : 'Dictionary<Int32, Utf8>' } : {}),
  }))
}

/** The instant as PostgreSQL writes a timestamptz in UTC. */
export function bronzeInstantText(instant: Date): string {
  return instant.toISOString().replace('T', ' ').replace('Z', '+00')
}
