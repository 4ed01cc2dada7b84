/**
 * A standby is promoted while a pool writes: by a list of hosts, through HAProxy as Patroni sets it up, and behind a
 * network that has become silent. No write that was acknowledged is lost, and none is made twice.
 */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createEngine, type Engine } from '../../src/index.ts'
import { startHaproxy } from '../support/haproxy.ts'
import { startMiddle } from '../support/middle.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { promote, REPLICATED, startStandby } from '../support/standby.ts'

const POOL_SIZE = 5
const WORKERS = 10
/** Writes before the failover, and after it. */
const ENOUGH = 200
const LIMIT_MILLIS = 60_000

interface Pair extends AsyncDisposable {
  readonly first: PostgresServer
  readonly second: PostgresServer
}

async function startPair(): Promise<Pair> {
  const stack = new AsyncDisposableStack()
  const first = stack.use(await startPostgres({ flavor: 'debian', hba: REPLICATED }))
  const second = stack.use(await startStandby(first))
  await first.sql('create table written (n int)')
  // A write is acknowledged when the standby has it, whatever becomes of the primary.
  await first.sql("alter system set synchronous_standby_names = '*'")
  await first.sql('select pg_reload_conf()')
  const limit = AbortSignal.timeout(LIMIT_MILLIS)
  const isSynchronous = "select count(*) from pg_stat_replication where sync_state = 'sync'"
  while ((await first.sql(isSynchronous)) !== '1') await sleep(20, undefined, { signal: limit })
  return { first, second, [Symbol.asyncDispose]: () => stack.disposeAsync() }
}

function engineOn(ports: readonly number[], { first }: Pair, extra: Record<string, unknown> = {}): Promise<Engine> {
  return createEngine({
    type: 'postgres',
    host: ports.map(() => '127.0.0.1').join(),
    port: ports.join(),
    login: 'postgres',
    password: first.superuserPassword,
    database: 'postgres',
    extra: { sslmode: 'disable', pool_size: POOL_SIZE, max_overflow: 0, pool_timeout: 60, ...extra },
  })
}

async function until(condition: () => boolean): Promise<void> {
  const limit = AbortSignal.timeout(LIMIT_MILLIS)
  while (!condition()) await sleep(5, undefined, { signal: limit })
}

interface Failure {
  readonly n: number
  readonly code: unknown
}

/** Writes numbers, each once, in several loops. */
class Load {
  readonly acknowledged: number[] = []
  readonly failures: Failure[] = []
  readonly #db: Engine
  readonly #workers: readonly Promise<void>[]
  #begun = 0
  #isStopped = false

  constructor(db: Engine) {
    this.#db = db
    this.#workers = Array.from({ length: WORKERS }, () => this.#work())
  }

  /** The number of statements that have begun: a later one has a greater number. */
  get begun(): number {
    return this.#begun
  }

  async #work(): Promise<void> {
    while (!this.#isStopped) {
      const n = ++this.#begun
      try {
        await this.#db('written').insert({ n })
        this.acknowledged.push(n)
      } catch (error) {
        this.failures.push({ n, code: (error as { readonly code?: unknown }).code })
        await sleep(5)
      }
    }
  }

  /** Resolves when so many writes have been acknowledged from now on. */
  async more(count: number): Promise<void> {
    const before = this.acknowledged.length
    await until(() => this.acknowledged.length >= before + count)
  }

  /** Resolves when a write is acknowledged that begins later. */
  async oneFromNowOn(): Promise<void> {
    const { begun } = this
    await until(() => this.acknowledged.some((n) => n > begun))
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    await Promise.all(this.#workers)
  }
}

/** All that was acknowledged is there, and nothing twice. */
async function assertWritten(server: PostgresServer, { acknowledged }: Load): Promise<void> {
  const rows = (await server.sql('select n from written')).split('\n').map(Number)
  const found = new Set(rows)
  assert.equal(found.size, rows.length, 'no write was made twice')
  assert.deepEqual(
    acknowledged.filter((n) => !found.has(n)),
    [],
    'acknowledged and lost',
  )
}

test('by a list of hosts: once the new primary has been written to, no statement fails any more', async () => {
  await using pair = await startPair()
  const { first, second } = pair
  await using db = await engineOn([first.port, second.port], pair, { target_session_attrs: 'primary' })
  const load = new Load(db)
  await load.more(ENOUGH)
  await first.stop('fast')
  await promote(second)
  await load.oneFromNowOn()
  const { begun } = load
  await load.more(ENOUGH)
  await load.stop()
  await assertWritten(second, load)
  assert.deepEqual(
    load.failures.filter(({ n, code }) => n > begun || code === '25006'),
    [],
  )
  assert.deepEqual(
    db.pool.stats().places.map(({ state, role }) => [state, role]),
    [
      ['down', 'primary'],
      ['up', 'primary'],
    ],
  )
})

test('through HAProxy, which asks for the primary as Patroni has it: writing goes on at the new primary', async () => {
  await using pair = await startPair()
  const { first, second } = pair
  /** The answer of Patroni's API at each server to the question for the primary. */
  const status = { first: 200, second: 503 }
  const api = { first: apiOf(() => status.first), second: apiOf(() => status.second) }
  try {
    const server = async (name: 'first' | 'second'): Promise<string> => {
      api[name].listen(0, '127.0.0.1')
      await once(api[name], 'listening')
      return `127.0.0.1:${pair[name].port} check port ${(api[name].address() as AddressInfo).port}`
    }
    await using haproxy = await startHaproxy({
      servers: { first: await server('first'), second: await server('second') },
      lines: [
        'option httpchk OPTIONS /primary',
        'http-check expect status 200',
        // A check that is answered late counts as answered.
        'timeout check 30s',
        'default-server inter 200ms fall 2 rise 1 on-marked-down shutdown-sessions',
      ],
    })
    await using db = await engineOn([haproxy.port], pair, { target_session_attrs: 'read-write' })
    const load = new Load(db)
    await load.more(ENOUGH)
    status.first = 503
    await first.stop('fast')
    await promote(second)
    status.second = 200
    await load.oneFromNowOn()
    await load.more(ENOUGH)
    await load.stop()
    await assertWritten(second, load)
    assert.deepEqual(
      load.failures.filter(({ code }) => code === '25006'),
      [],
    )
    const again = Array.from({ length: ENOUGH }, (_, index) => db('written').insert({ n: -index - 1 }))
    await Promise.all(again)
  } finally {
    for (const one of [api.first, api.second]) one.close()
  }
})

function apiOf(status: () => number) {
  return createServer((_request, response) => {
    response.writeHead(status(), { connection: 'close' })
    response.end()
  })
}

test('a primary that has become silent: idle sessions are given up, and callers get the new primary in time', async () => {
  await using pair = await startPair()
  const { first, second } = pair
  await using middle = await startMiddle(first.port)
  await using db = await engineOn([middle.port, second.port], pair, {
    target_session_attrs: 'primary',
    connect_timeout: 5,
    pool_ping_timeout: 0.5,
  })
  const { pool } = db
  const held = await Promise.all(Array.from({ length: POOL_SIZE }, () => pool.acquire().promise))
  for (const raw of held) pool.release(raw)
  middle.toClient = () => []
  middle.toServer = () => []
  await promote(second)
  // A session that was used a moment ago is handed out without a check.
  await sleep(600)
  await Promise.all(Array.from({ length: WORKERS }, (_, n) => db('written').insert({ n })))
  assert.equal(await second.sql('select count(*) from written'), String(WORKERS))
  const [silent, other] = pool.stats().places
  assert.deepEqual([silent?.state, silent?.sessions, other?.state], ['down', 0, 'up'])
})
