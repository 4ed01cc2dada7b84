/** The places of a pool: what stats and events tell of them, and what engines on one record share. */

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Kysely, sql } from 'kysely'
import { postgresDialect } from '../../src/engine/kysely/index.ts'
import { createPgPool } from '../../src/engine/pg/index.ts'
import { createEngine, type EngineOptions } from '../../src/index.ts'
import { type ConnectTrace, type PhaseTrace, type QueryTrace, traces } from '../../src/tracing.ts'
import { type FakePostgres, type Peer, startFakePostgres } from '../support/fake-postgres.ts'
import { freePort } from '../support/free-port.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { driverFor, openSession, passwordCredential } from '../support/postgres-driver.ts'
import { promote, REPLICATED, startStandby } from '../support/standby.ts'

let primary: PostgresServer
let standby: PostgresServer

before(async () => {
  primary = await startPostgres({ flavor: 'debian', hba: REPLICATED })
  standby = await startStandby(primary)
  await primary.sql('create table written (n int)')
})
after(async () => {
  for (const server of [standby, primary]) await server?.[Symbol.asyncDispose]()
})

/** An engine on the servers at these ports. */
function engineOn(ports: readonly number[], extra: Record<string, unknown> = {}, options: EngineOptions = {}) {
  return createEngine(
    {
      type: 'postgres',
      host: ports.map(() => '127.0.0.1').join(','),
      port: ports.join(','),
      login: 'postgres',
      password: primary.superuserPassword,
      database: 'postgres',
      extra: { sslmode: 'disable', pool_size: 2, max_overflow: 0, ...extra },
    },
    options,
  )
}

/** Accepts connections and says nothing. */
function startSilent(): Promise<FakePostgres> {
  return startFakePostgres(async (peer: Peer) => {
    await peer.startup()
    peer.drain()
  })
}

const pid = (db: Awaited<ReturnType<typeof engineOn>>) =>
  db.raw('select pg_backend_pid() as pid').then(({ rows }) => rows[0].pid)

test('stats name every place with its role, state, sessions and last error, and a session its own place', async () => {
  const dead = await freePort()
  await using db = await engineOn([dead, primary.port, standby.port])
  const host = '127.0.0.1'
  const unknown = {
    host,
    address: undefined,
    role: undefined,
    state: 'unknown',
    sessions: 0,
    idle: 0,
    lastError: undefined,
  }
  assert.deepEqual(
    db.pool.stats().places.map(({ port, state, sessions }) => [port, state, sessions]),
    [dead, primary.port, standby.port].map((port) => [port, 'unknown', 0]),
  )
  const place = await db.pool.use((client) => db.pool.infoOf(client)?.place)
  assert.deepEqual(place, { host, port: primary.port, address: host, role: 'primary' })
  const [first, second, third] = db.pool.stats().places
  assert.deepEqual([first?.state, first?.sessions, first?.lastError?.code], ['down', 0, 'CONNECT_REFUSED'])
  assert.deepEqual(second, { ...place, state: 'up', sessions: 1, idle: 1, lastError: undefined })
  assert.deepEqual(third, { ...unknown, port: standby.port })
})

test('a refused login is the last error of its place, which is not down', async () => {
  await using db = await engineOn([primary.port, standby.port])
  await using wrong = await createEngine(
    `postgres://postgres:wrong@127.0.0.1:${primary.port},127.0.0.1:${standby.port}/postgres?sslmode=disable`,
  )
  await assert.rejects(Promise.resolve(wrong.raw('select 1')), { code: 'LOGIN_REFUSED' })
  const [place] = db.pool.stats().places
  assert.notEqual(place?.state, 'down')
  assert.equal(place?.lastError?.code, 'LOGIN_REFUSED')
})

test('target_session_attrs is an option of every data layer, beside the same record', async () => {
  const places = `127.0.0.1:${primary.port},127.0.0.1:${standby.port}`
  const login = `postgres:${encodeURIComponent(primary.superuserPassword)}`
  const record = `postgres://${login}@${places}/postgres?sslmode=disable&target_session_attrs=primary`
  const options = { target_session_attrs: 'prefer-standby', load_balance_hosts: 'random', pool_size: 1 } as const
  await using knex = await createEngine(record, options)
  await using pool = await createPgPool(record, options)
  await using kysely = new Kysely({ dialect: postgresDialect(record, options) })
  const text = 'select pg_is_in_recovery() as standby'
  const answers = [await knex.raw(text), await pool.query(text), await sql.raw(text).execute(kysely)]
  assert.deepEqual(
    answers.map(({ rows }) => rows),
    answers.map(() => [{ standby: true }]),
  )
  await assert.rejects(createEngine(record, { target_session_attrs: 'writer' as never }), {
    message: /options\.target_session_attrs/,
  })
})

test('traces, events and errors of a session name its server and not the whole list', async (t) => {
  const dead = await freePort()
  const told: unknown[][] = []
  const subscribe = (name: 'connect' | 'connect:phase' | 'query', tell: (facts: never) => unknown[]): void => {
    const nothing = (): void => undefined
    const on = (facts: unknown): void => void told.push([name, ...tell(facts as never)])
    const all = { start: nothing, end: nothing, asyncStart: nothing, error: nothing, asyncEnd: on }
    traces[name].subscribe(all as never)
    t.after(() => traces[name].unsubscribe(all as never))
  }
  subscribe('connect', ({ place }: ConnectTrace) => [place?.port, place?.role])
  subscribe('connect:phase', ({ phase, port }: PhaseTrace) => (phase === 'login' ? [port] : ['other']))
  subscribe('query', ({ port }: QueryTrace) => [port])
  await using db = await engineOn([dead, primary.port])
  db.pool.on('connection:opened', ({ host, port }) => told.push(['opened', host, port]))
  db.pool.on('connection:closed', ({ host, port }) => told.push(['closed', host, port]))
  await db.raw('select 1')
  const lost = Promise.resolve(db.raw('select pg_terminate_backend(pg_backend_pid())'))
  await assert.rejects(lost, { code: 'CONNECTION_LOST', message: new RegExp(`127.0.0.1:${primary.port} `) })
  assert.deepEqual(
    told.filter(([, what]) => what !== 'other'),
    [
      ['connect:phase', primary.port],
      ['connect', primary.port, 'primary'],
      ['opened', '127.0.0.1', primary.port],
      ['query', primary.port],
      ['query', primary.port],
      ['closed', '127.0.0.1', primary.port],
    ],
  )
})

test('a place that goes down and comes up again is told to every engine that names it', async () => {
  const port = await freePort()
  const told: unknown[][] = []
  const on: EngineOptions['on'] = {
    'place:down': ({ poolName, host, port: at, error }) => told.push([poolName, 'down', `${host}:${at}`, error.code]),
    'place:up': ({ poolName, host, port: at, address }) => told.push([poolName, 'up', `${host}:${at}`, address]),
  }
  await using list = await engineOn([port, primary.port], { pool_name: 'list', pool_size: 3 }, { on })
  await using one = await engineOn([port], { pool_name: 'one' }, { on })
  await assert.rejects(Promise.resolve(one.raw('select 1')), { code: 'CONNECT_REFUSED' })
  const at = `127.0.0.1:${port}`
  const down = ['list', 'one'].map((name) => [name, 'down', at, 'CONNECT_REFUSED'])
  assert.deepEqual(told.splice(0).toSorted(), down)
  assert.equal(await list.pool.use((client) => list.pool.infoOf(client)?.place?.port), primary.port)
  assert.deepEqual(told, [])
  await using _ = await startFakePostgres(
    async (peer) => {
      await peer.startup()
      peer.letIn()
      peer.drain()
    },
    { port },
  )
  await one.pool.use(() => undefined)
  assert.deepEqual(
    told.toSorted(),
    ['list', 'one'].map((name) => [name, 'up', at, '127.0.0.1']),
  )
})

test('attempts that wait at a place give up as soon as one of them has reached its time limit', async () => {
  await using silent = await startSilent()
  const host = `127.0.0.1:${silent.port},127.0.0.1:${primary.port}`
  const target = { host, login: 'postgres', database: 'postgres' }
  const credential = passwordCredential(primary.superuserPassword)
  const impatient = driverFor(target, { sslmode: 'disable', connect_timeout: 5 }).driver
  const patient = driverFor(target, { sslmode: 'disable', connect_timeout: 600 }).driver
  const limit = AbortSignal.timeout(60_000)
  for (const session of await Promise.all([
    openSession(patient, credential, limit),
    openSession(impatient, credential, limit),
  ]))
    await session[Symbol.asyncDispose]()
})

test('an engine does not wait at a place where another engine has waited', async () => {
  await using silent = await startSilent()
  const extra = { connect_timeout: 5 }
  await using writer = await engineOn([silent.port, primary.port], extra)
  await writer.raw('select 1')
  const { accepted } = silent
  const before = accepted()
  await using reader = await engineOn([silent.port, primary.port, standby.port], {
    ...extra,
    target_session_attrs: 'prefer-standby',
  })
  const { rows } = await reader.raw('select pg_is_in_recovery() as standby')
  assert.equal(rows[0].standby, true)
  // After ten seconds, which a slow machine may need, one opening tries it again.
  assert.ok(accepted() <= before + 1)
})

test('a write that is refused as read-only in one engine has the sessions of the others checked', async () => {
  await using first = await engineOn([primary.port, standby.port], { target_session_attrs: 'primary' })
  await using second = await engineOn([primary.port, standby.port], { pool_pre_ping: false })
  await using reader = await engineOn([standby.port], { pool_pre_ping: false })
  const before = { second: await pid(second), reader: await pid(reader) }
  await first.raw('select 1')
  await primary.sql('alter system set default_transaction_read_only = on')
  await primary.sql('select pg_reload_conf()')
  try {
    // A session hears of the new setting between two statements.
    while ((await second.raw('show transaction_read_only')).rows[0].transaction_read_only === 'off');
    await assert.rejects(
      (async () => {
        for (;;) await first('written').insert({ n: 1 })
      })(),
      { code: '25006' },
    )
    assert.notEqual(await pid(second), before.second, 'a session that was to write')
    assert.equal(await pid(reader), before.reader, 'a session that was opened at a standby')
  } finally {
    await primary.sql('alter system reset default_transaction_read_only')
    await primary.sql('select pg_reload_conf()')
  }
})

test('with pool_rebalance the sessions of readers return to a standby that is up again', async () => {
  await using reader = await engineOn([primary.port, standby.port], {
    target_session_attrs: 'prefer-standby',
    pool_rebalance: 0.05,
  })
  const { pool } = reader
  const reasons: string[] = []
  pool.on('connection:closed', ({ reason }) => reasons.push(reason))
  const useAll = async () => {
    const held = await Promise.all([pool.acquire().promise, pool.acquire().promise])
    for (const raw of held) pool.release(raw)
  }
  const at = () => pool.stats().places.map(({ sessions }) => sessions)
  await standby.stop()
  await useAll()
  assert.deepEqual(at(), [2, 0])
  await standby.start()
  const limit = AbortSignal.timeout(30_000)
  while (at()[1] !== 2) {
    await sleep(20, undefined, { signal: limit })
    await useAll()
  }
  assert.deepEqual(reasons, ['rebalanced', 'rebalanced'])
})

test('a promotion that a session hears of is told to every engine that names the server', async () => {
  const told: unknown[][] = []
  const on: EngineOptions['on'] = {
    'place:role': ({ poolName, port, role, before: was }) => told.push([poolName, port, was, role]),
  }
  const ports = [primary.port, standby.port]
  const writerOptions = { pool_name: 'writer', target_session_attrs: 'primary' }
  await using writer = await engineOn(ports, writerOptions, { on })
  await using reader = await engineOn(ports, { pool_name: 'reader', target_session_attrs: 'prefer-standby' }, { on })
  await writer.raw('select 1')
  await reader.raw('select 1')
  await promote(standby)
  // It is told with the answer to a statement, when the server process has heard of it.
  const limit = AbortSignal.timeout(30_000)
  while (told.length === 0) {
    limit.throwIfAborted()
    await reader.raw('select 1')
  }
  assert.deepEqual(
    told.toSorted(),
    ['reader', 'writer'].map((name) => [name, standby.port, 'standby', 'primary']),
  )
  assert.deepEqual(
    writer.pool.stats().places.map(({ role }) => role),
    ['primary', 'primary'],
  )
})
