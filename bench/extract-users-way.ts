/**
 * The same work without poolsmith, in a process of its own: pg-query-stream into a JavaScript Parquet writer.
 * `node bench/extract-users-way.ts '{"connection":{...},"table":"...","to":"..."}'` prints time and memory as JSON.
 */

import { fileWriter, parquetWriteRows } from 'hyparquet-writer'
import pg from 'pg'
import QueryStream from 'pg-query-stream'

export interface UsersTask {
  readonly connection: pg.ClientConfig
  readonly table: string
  readonly to: string
}

const task = JSON.parse(process.argv[2] ?? '') as UsersTask
const client = new pg.Client(task.connection)
await client.connect()
const started = performance.now()
// Larger batches than this were no faster.
const rows = client.query(new QueryStream(`select * from ${task.table}`, [], { batchSize: 1000, highWaterMark: 1000 }))
let count = 0
async function* converted(): AsyncGenerator<Record<string, unknown>> {
  for await (const row of rows as AsyncIterable<Record<string, unknown>>) {
    row.big = BigInt(row.big as string)
    count++
    yield row
  }
}
await parquetWriteRows({
  writer: fileWriter(task.to),
  rows: converted(),
  columns: [
    { name: 'id', type: 'INT32' },
    { name: 'big', type: 'INT64' },
    { name: 'small', type: 'INT32' },
    { name: 'flag', type: 'BOOLEAN' },
    { name: 'ratio', type: 'DOUBLE' },
    { name: 'amount', type: 'STRING' },
    { name: 'day', type: 'TIMESTAMP' },
    { name: 'at', type: 'TIMESTAMP' },
    { name: 'carrier', type: 'STRING' },
    { name: 'hash', type: 'STRING' },
    { name: 'note', type: 'STRING' },
    { name: 'uid', type: 'STRING' },
  ],
})
const seconds = (performance.now() - started) / 1000
await client.end()
console.log(JSON.stringify({ seconds, rows: count, peakMegabytes: process.resourceUsage().maxRSS / 1024 }))
