/** The Arrow IPC stream format: what every Arrow implementation reads, batch by batch. */

import type { Schema } from 'apache-arrow'
import { loadPackage } from '../../optional-package.ts'
import type { Output, Sink } from './sink.ts'

export async function openArrowSink(schema: Schema, output: Output): Promise<Sink> {
  const arrow = await loadPackage('apache-arrow', () => import('apache-arrow'), 'format=arrow')
  const writer = new arrow.RecordBatchStreamWriter({ autoDestroy: false })
  writer.reset(undefined, schema)
  const chunks = writer[Symbol.asyncIterator]()
  // The writer queues without limit; after each batch everything that it has queued goes out.
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
