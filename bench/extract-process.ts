/**
 * One extract in a process of its own, so that its memory can be measured: prints time and memory as JSON.
 * `node bench/extract-process.ts '{"connection":{...},"table":"...","to":"...","format":"..."}'`
 */

import { join } from 'node:path'
import type { ConnectionObject } from '../src/connections/parse.ts'
import { type ExtractFormat, extractTable } from '../src/extract/extract-table.ts'
import { createEngine } from '../src/index.ts'

export interface Task {
  readonly connection: ConnectionObject
  readonly table: string
  readonly to: string
  readonly format: ExtractFormat
}

export interface Took {
  readonly seconds: number
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
const { rows, folder, files } = await extractTable(db, { table: task.table }, { to: task.to, format: task.format })
const took: Took = {
  seconds: (performance.now() - started) / 1000,
  rows,
  peakMegabytes: process.resourceUsage().maxRSS / 1024,
  file: join(folder, files[0]?.name ?? ''),
}
console.log(JSON.stringify(took))
