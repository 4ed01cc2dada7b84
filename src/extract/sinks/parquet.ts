import type { BatchFormat } from './format.ts'

/** Apache Parquet. The writer is loaded with the first file. */
export const parquet: BatchFormat = {
  rows: 'batches',
  async openSink(schema, output, settings) {
    const { openParquetSink } = await import('./parquet/sink.ts')
    return openParquetSink(schema, output, settings)
  },
  // Its pages are copies.
  keepsBatches: false,
}
