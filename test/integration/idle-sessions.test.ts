/** The cost of an idle session: no look at the network, and little memory. `npm run bench -- idle` has the rest. */

import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Idle } from '../../bench/idle-side.ts'
import { acknowledgements } from '../../src/drivers/network/acknowledgement.ts'
import { startPostgres } from '../support/postgres.ts'
import { ask, postgresPool } from '../support/postgres-pool.ts'

const MOST_BYTES = 24 * 1024

const bench = (name: string): string => fileURLToPath(new URL(`../../bench/${name}`, import.meta.url))

test('an idle session takes at most 24 KB, in and outside the heap', async (t) => {
  const server = fork(bench('idle-server.ts'))
  t.after(() => server.kill())
  const [{ port }] = (await once(server, 'message')) as [{ readonly port: number }]
  const side = fork(bench('idle-side.ts'), ['ours', '1000', String(port)], { execArgv: ['--expose-gc'] })
  t.after(() => side.kill())
  const [{ bytesPerSession }] = (await once(side, 'message', { signal: AbortSignal.timeout(60_000) })) as [Idle]
  assert.ok(bytesPerSession > 0 && bytesPerSession <= MOST_BYTES, `${bytesPerSession} bytes`)
})

test('a session that has its answer is not looked after any more', async () => {
  await using server = await startPostgres()
  await using pool = postgresPool(server)
  assert.equal(await ask(pool, 'select 1'), 1)
  assert.equal(acknowledgements.active, true, 'right after the statement')
  while (acknowledgements.active) await sleep(100)
})
