/**
 * The worker of compose.yaml: a query every ten seconds, for as long as the sidecar keeps the ticket alive. A renewed
 * ticket is used automatically. An expired one is reported, and the work goes on when there is a new one.
 */

import { env } from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { createEngine, PoolsmithError } from 'poolsmith'

const { DB_HOST: host = 'localhost', DB_PORT: port = '5432', DB_NAME: database = 'postgres', RUNS = 'Infinity' } = env
await using db = await createEngine({
  conn_type: 'postgres',
  host,
  port: Number(port),
  schema: database,
  extra: { auth_method: 'kerberos', gssencmode: 'require' },
})

const stop = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort())

for (let run = 1; !stop.signal.aborted; run++) {
  try {
    const { rows } = await db.raw('select current_user as who, now() as at')
    console.log(rows[0])
  } catch (error) {
    if (!(error instanceof PoolsmithError)) throw error
    console.error(`${error.message} ${error.hint ?? ''}`)
  }
  if (run >= Number(RUNS)) break
  await sleep(10_000, undefined, { signal: stop.signal }).catch(() => undefined)
}
