import type { RecordBatch } from './arrow-types.ts'
import { openTable } from './read/open-table.ts'
import type { ExtractEngine, ExtractSource, ReadOptions } from './read/table.ts'

/**
 * Reads a table or a query as Apache Arrow record batches, exact to the last digit (docs/types.md), with the schema
 * that the catalogue gives it; an empty table is one empty batch. The server waits while a batch is being worked on.
 * Leaving the loop early cancels the statement.
 *
 * @throws PoolsmithError SCHEMA_NOT_FOUND, TABLE_NOT_FOUND, COLUMN_NOT_FOUND, PERMISSION_DENIED, TABLE_LOCKED,
 *   VALUE_OUT_OF_RANGE, CONNECTION_LOST, QUERY_CANCELED, QUERY_FAILED, ABORTED, PACKAGE_MISSING (apache-arrow)
 *
 * @example
 * for await (const batch of readTable(db, { schema: 'public', table: 'flights' })) {
 *   console.log(batch.numRows, String(batch.schema))
 * }
 */
export async function* readTable(
  db: ExtractEngine,
  source: ExtractSource,
  options: ReadOptions = {},
): AsyncGenerator<RecordBatch, void, undefined> {
  await using open = await openTable(db, source, options)
  const rows = await open.asArrow()
  yield* rows.batches()
}
