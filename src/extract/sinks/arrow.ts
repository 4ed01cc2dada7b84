import { loadPackage } from '../../optional-package.ts'
import type { Schema } from '../arrow-types.ts'
import type { BatchFormat } from './format.ts'
import type { Output, Sink } from './sink.ts'

/** The Arrow IPC stream format, which every implementation of Arrow reads batch by batch. */
export const arrowStream: BatchFormat = {
  rows: 'batches',
  openSink: openArrowSink,
  // The writer may still hold the arrays of a batch.
  keepsBatches: true,
}

async function openArrowSink(schema: Schema, output: Output): Promise<Sink> {
  const arrow = await loadPackage('apache-arrow', () => import('apache-arrow'), 'format=arrow')
  const writer = new arrow.RecordBatchStreamWriter({ autoDestroy: false })
  writer.reset(undefined, schema)
  const chunks = writer[Symbol.asyncIterator]()
  // The writer queues without limit, so all that it has queued is written after each batch.
  let pending = chunks.next()
  const drain = async (): Promise<void> => {
    for (;;) {
      const next = await Promise.race([pending, Promise.resolve(undefined)])
      if (next === undefined || next.done) return
      await output([next.value])
      pending = chunks.next()
    }
  }
  return {
    async write(batch) {
      writer.write(batch)
      await drain()
    },
    async close() {
      writer.finish()
      writer.close()
      for (let next = await pending; !next.done; next = await chunks.next()) await output([next.value])
    },
    [Symbol.dispose]: () => undefined,
  }
}
