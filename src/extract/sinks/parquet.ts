/** Parquet through parquet-wasm: record batches go in as Arrow IPC, pages come out as a stream. */

import type { RecordBatch } from 'parquet-wasm'
import { loadPackage } from '../../optional-package.ts'
import type { OpenSink } from './sink.ts'

export const openParquetSink: OpenSink = async (_schema, output) => {
  const arrow = await loadPackage('apache-arrow', () => import('apache-arrow'), 'format=parquet')
  const parquet = await loadPackage('parquet-wasm', () => import('parquet-wasm/node'), 'format=parquet')
  const properties = new parquet.WriterPropertiesBuilder()
    .setCompression(parquet.Compression.ZSTD)
    .setMaxRowGroupBytes(16 << 20)
    .setDictionaryEnabled(false)
    .setCreatedBy('poolsmith')
    .build()
  const batches = new TransformStream<RecordBatch, RecordBatch>(undefined, undefined, { highWaterMark: 0 })
  const writer = batches.writable.getWriter()
  const done = (async () => {
    const pages: ReadableStream<Uint8Array> = await parquet.transformParquetStream(batches.readable, properties)
    for await (const bytes of pages) await output(bytes)
  })()
  // Whoever writes or closes hears of it.
  done.catch(() => undefined)
  return {
    async write(batch) {
      const ipc = arrow.RecordBatchStreamWriter.writeAll([batch]).toUint8Array(true)
      for (const part of parquet.Table.fromIPCStream(ipc).recordBatches()) {
        await Promise.race([writer.write(part), done])
      }
    },
    async close() {
      await Promise.all([writer.close(), done])
    },
  }
}
