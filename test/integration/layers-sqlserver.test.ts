/** TypeORM over a pool of SQL Server, under a token that is renewed every two seconds and a server that restarts. */

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { type Gate, startGate } from '../support/gate.ts'
import { LOST, type RunningExample, runAll, runExample } from '../support/layers/run-example.ts'
import { createPki } from '../support/pki.ts'
import { startPostgres } from '../support/postgres.ts'
import { startTdsServer, type TdsServer } from '../support/tds/server.ts'

const TOKEN_KEY = 'the key of the tokens'
const EXAMPLE = 'typeorm-sqlserver.ts'

const stack = new AsyncDisposableStack()
let server: TdsServer
let gate: Gate

before(async () => {
  const postgres = stack.use(await startPostgres())
  const tls = await (await createPki()).issue({ commonName: 'localhost', dns: ['localhost'] })
  const tokens = { keys: async () => new TextEncoder().encode(TOKEN_KEY) }
  server = stack.use(await startTdsServer({ postgres, tls, tokens, fedAuthRequired: true }))
  gate = stack.use(await startGate(server.port))
})
after(() => stack.disposeAsync())

function run(): RunningExample {
  const uri = new URL(`mssql://svc@localhost:${gate.port}/master`)
  uri.search = new URLSearchParams({
    auth_method: 'two_seconds',
    token_key: TOKEN_KEY,
    trust_server_certificate: 'true',
    retire_on: 'rotation',
    pool_size: '3',
    pool_timeout: '60',
  }).toString()
  return runExample(EXAMPLE, uri.href)
}

test(`${EXAMPLE}: no statement fails while tokens are renewed every two seconds`, async () => {
  const outcome = await (await runAll([run()])).get(EXAMPLE)
  assert.deepEqual(outcome?.failures, [])
  assert.ok(outcome.rounds > 2, `${outcome.rounds} rounds`)
  assert.ok(server.journal.logins.length >= 3, 'sessions with several tokens')
})

test(`${EXAMPLE}: only what was sent to a session that ended fails while the server restarts`, async () => {
  const outcomes = await runAll([run()], async () => {
    await gate.shut()
    await gate.open()
  })
  const outcome = await outcomes.get(EXAMPLE)
  for (const failure of outcome?.failures ?? []) assert.match(failure, LOST)
  assert.ok(outcome?.endedWell, outcome?.failures.at(-1))
  assert.ok(outcome.rounds - outcome.failures.length > 2, `${outcome.rounds} rounds`)
})
