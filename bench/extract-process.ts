/**
 * One extract in a process of its own, so that its memory can be measured: prints time and memory as JSON.
 * `node bench/extract-process.ts '{"connection":{...},"table":"...","to":"...","format":"..."}'`
 */

import { join } from 'node:path'
import type { ConnectionObject } from '../src/connections/parse.ts'
import { type ExtractFormat, extractTable } from '../src/extract/extract-table.ts'
import { createEngine } from '../src/index.ts'
// Loaded before the clock starts, as the modules of the other programs are; an extract loads them when it needs them.
import 'apache-arrow'
import '../src/extract/read/postgres/open.ts'
import '../src/extract/sinks/parquet/sink.ts'

export interface Task {
  readonly connection: ConnectionObject
  readonly table: string
  readonly to: string
  /** `batches`: as Arrow, discarded. */
  readonly format: ExtractFormat | 'batches'
}

export interface Took {
  readonly seconds: number
  /** Of this process alone. */
  readonly processorSeconds: number
  readonly rows: number
  readonly peakMegabytes: number
  /** The file's path. */
  readonly file: string
}

const task = JSON.parse(process.argv[2] ?? '') as Task
await using db = await createEngine(task.connection)
// Connected before the clock starts, as psql is not; that is a few milliseconds.
await db.raw('select 1')
const started = performance.now()
const used = process.cpuUsage()
const { rows, file } = await extracted(task)
const { user, system } = process.cpuUsage(used)
const took: Took = {
  seconds: (performance.now() - started) / 1000,
  processorSeconds: (user + system) / 1e6,
  rows,
  peakMegabytes: process.resourceUsage().maxRSS / 1024,
  file,
}
console.log(JSON.stringify(took))

async function extracted({ table, to, format }: Task): Promise<{ readonly rows: number; readonly file: string }> {
  if (format !== 'batches') {
    const { rows: written, folder, files } = await extractTable(db, { table }, { to, format })
    return { rows: written, file: join(folder, files[0]?.name ?? '') }
  }
  const read = await extractTable(
    db,
    { table },
    {
      to: async (batches) => {
        for await (const _batch of batches);
      },
    },
  )
  return { rows: read.rows, file: '' }
}
