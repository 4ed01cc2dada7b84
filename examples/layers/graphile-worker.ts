/** graphile-worker takes a `pg.Pool`. It holds one client for LISTEN. */

import { Logger, makeWorkerUtils, run } from 'graphile-worker'
import { createPgPool } from 'poolsmith/pg'
import { connection, rounds } from './rounds.ts'

await using pool = await createPgPool(connection)
// The end of a session is reported here; graphile-worker warns if the pool has no listener.
pool.on('error', (error) => console.error(error.message))
const logger = new Logger(() => () => undefined)
const done = new Set<number>()
const pet = async (payload: unknown): Promise<void> => {
  done.add((payload as { round: number }).round)
}
const utils = await makeWorkerUtils({ pgPool: pool, logger })
await utils.migrate()
const runner = await run({ pgPool: pool, logger, taskList: { pet }, noHandleSignals: true, pollInterval: 500 })
await rounds(async (round) => {
  await utils.addJob('pet', { round })
  while (!done.has(round)) await new Promise((resolve) => setTimeout(resolve, 10))
})
await runner.stop()
await utils.release()
