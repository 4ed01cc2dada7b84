/**
 * One stream of rows in a process of its own, so that its memory can be measured: prints time and memory as JSON.
 * `node bench/sqlserver-stream.ts '{"side":"ours","port":1433,"rows":100000,"slow":true}'`
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { bareKnex, engine, rowsOf } from './sqlserver-sides.ts'

export interface Task {
  readonly side: 'ours' | 'knex'
  readonly port: number
  readonly rows: number
  /** Pauses for ten milliseconds after every 2000 rows. */
  readonly slow: boolean
}

export interface Took {
  readonly millis: number
  readonly peakMegabytes: number
}

const task = JSON.parse(process.argv[2] ?? '') as Task
const db = task.side === 'ours' ? await engine(task.port, 1) : bareKnex(task.port, 1)
try {
  await db.raw('select 1')
  const started = performance.now()
  let rows = 0
  const stream = db.raw(rowsOf(task.rows)).stream()
  if (task.slow) {
    for await (const _ of stream) if (++rows % 2000 === 0) await sleep(10)
  } else {
    stream.on('data', () => {
      rows++
    })
    await new Promise((resolve, reject) => stream.once('end', resolve).once('error', reject))
  }
  if (rows !== task.rows) throw new Error(`${rows} rows instead of ${task.rows}`)
  const took: Took = {
    millis: performance.now() - started,
    peakMegabytes: process.resourceUsage().maxRSS / 1024,
  }
  console.log(JSON.stringify(took))
} finally {
  await db.destroy()
}
