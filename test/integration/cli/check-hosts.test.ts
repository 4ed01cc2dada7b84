/** `poolsmith check` on a list of hosts: a row for each, with role, lag and the time of the login. */

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { runCli } from '../../support/cli.ts'
import { freePort } from '../../support/free-port.ts'
import { type PostgresServer, startPostgres } from '../../support/postgres.ts'
import { REPLICATED, startStandby } from '../../support/standby.ts'

let primary: PostgresServer
let standby: PostgresServer
let dead: number
let input: string

before(async () => {
  primary = await startPostgres({ flavor: 'debian', hba: REPLICATED })
  standby = await startStandby(primary)
  dead = await freePort()
  const places = [dead, standby.port, primary.port].map((port) => `127.0.0.1:${port}`)
  const login = `postgres:${encodeURIComponent(primary.superuserPassword)}`
  input = `postgres://${login}@${places.join()}/postgres?sslmode=disable&target_session_attrs=primary`
})
after(async () => {
  for (const server of [standby, primary]) await server?.[Symbol.asyncDispose]()
})

interface Row {
  readonly port: number
  readonly role?: string
  readonly lagMillis?: number
  readonly openingMillis?: number
  readonly error?: { readonly code: string; readonly phase: string }
}

async function checked(): Promise<{ readonly server: { readonly role: string }; readonly places: readonly Row[] }> {
  const { code, stdout, stderr } = await runCli(['check', input, '--json'])
  assert.equal(code, 0, stdout + stderr)
  return JSON.parse(stdout)
}

/** Waits until the standby answers yes. */
async function untilTrue(question: string): Promise<void> {
  const limit = AbortSignal.timeout(30_000)
  while ((await standby.sql(question)) !== 't') await sleep(20, undefined, { signal: limit })
}

test('check shows each host with its role, lag and time of the login, or why there is no session', async () => {
  const { code, stdout, stderr } = await runCli(['check', input])
  assert.equal(code, 0, stdout + stderr)
  assert.match(stdout, /^3 hosts$/m)
  assert.match(stdout, new RegExp(`^ +127\\.0\\.0\\.1:${dead} +no session \\(connect\\): `, 'm'))
  assert.match(
    stdout,
    new RegExp(`^ +127\\.0\\.0\\.1:${standby.port} +standby, .*(not )?behind, login in \\d+ ms, version 15`, 'm'),
  )
  assert.match(stdout, new RegExp(`^ +127\\.0\\.0\\.1:${primary.port} +primary, login in \\d+ ms, version 15`, 'm'))
})

test('--json has the same facts, and the lag of a standby that does not replay', async () => {
  // It tells the age of what it has replayed once it has replayed a transaction.
  await primary.sql('create table replayed (n int)')
  await untilTrue("select to_regclass('replayed') is not null")
  await standby.sql('select pg_wal_replay_pause()')
  await untilTrue("select pg_get_wal_replay_pause_state() = 'paused'")
  await primary.sql('create table written (n int)')
  await untilTrue('select pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn()')
  const { server, places } = await checked()
  assert.equal(server.role, 'primary')
  assert.deepEqual(
    places.map(({ port, role, error }) => [port, role, error?.code, error?.phase]),
    [
      [dead, undefined, 'CONNECT_REFUSED', 'connect'],
      [standby.port, 'standby', undefined, undefined],
      [primary.port, 'primary', undefined, undefined],
    ],
  )
  const [, second, third] = places
  assert.ok((second?.lagMillis ?? 0) > 0, JSON.stringify(second))
  assert.equal(third?.lagMillis, undefined)
  for (const one of [second, third]) assert.equal(typeof one?.openingMillis, 'number')
})

test('a standby that has replayed everything is not behind, however long ago that was', async () => {
  await standby.sql('select pg_wal_replay_resume()')
  await untilTrue("select to_regclass('written') is not null and pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn()")
  const { places } = await checked()
  assert.equal(places.find(({ role }) => role === 'standby')?.lagMillis, 0)
})
