/**
 * A process that runs statements under `required` until it is killed, each with a number as its request id, which it prints
 * when the answer has come.
 *
 * Arguments: the connection as JSON, the file.
 */

import { writeSync } from 'node:fs'
import { withAuditContext } from '../../src/audit/index.ts'
import { createPgPool } from '../../src/engine/pg/index.ts'

const [record = '', file = ''] = process.argv.slice(2)
const pool = await createPgPool(JSON.parse(record), { pool_size: 10, audit: { file, mode: 'required', chain: true } })
let next = 0

async function run(): Promise<never> {
  for (;;) {
    const number = `${next++}`
    await withAuditContext({ requestId: number }, () => pool.query('insert into done values ($1)', [number]))
    writeSync(1, `${number}\n`)
  }
}

await Promise.all(Array.from({ length: 20 }, run))
