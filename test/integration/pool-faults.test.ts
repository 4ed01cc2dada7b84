import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { PoolsmithError } from '../../src/errors.ts'
import { createEngine } from '../../src/index.ts'
import type { ConnectionPool } from '../../src/pool/pool.ts'
import { errorResponse, startFakePostgres } from '../support/fake-postgres.ts'
import { startGate } from '../support/gate.ts'
import { createPki } from '../support/pki.ts'
import { startPostgres } from '../support/postgres.ts'
import { ask, postgresPool } from '../support/postgres-pool.ts'
import { startTdsServer } from '../support/tds/server.ts'

/** Opens `count` connections and leaves them idle for so long that the next acquire pings. */
async function idlePool(pool: ConnectionPool<import('pg').Client>, count: number): Promise<void> {
  const all = await Promise.all(Array.from({ length: count }, () => pool.acquire().promise))
  for (const raw of all) pool.release(raw)
  await sleep(600)
}

async function until(condition: () => boolean): Promise<void> {
  const limit = performance.now() + 20_000
  while (!condition()) {
    assert.ok(performance.now() < limit, 'it did not come about within 20 s')
    await sleep(20)
  }
}

async function failure(work: Promise<unknown>): Promise<PoolsmithError> {
  try {
    await work
  } catch (error) {
    if (error instanceof PoolsmithError) return error
    throw error
  }
  throw new assert.AssertionError({ message: 'The acquire succeeded.' })
}

/** A port in front of the server that can be told to swallow what arrives. */
async function blackHole() {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('No port')
  return {
    port: address.port,
    async [Symbol.asyncDispose]() {
      server.close()
    },
  }
}

describe('a server that fails', () => {
  test('a restart fails no statement, and no caller waits for a ping', async () => {
    await using server = await startPostgres()
    await using pool = postgresPool(server, { pool_size: 5, max_overflow: 0 })
    await idlePool(pool, 5)
    await server.restart('immediate')
    const begin = performance.now()
    assert.equal(await ask(pool, 'select 42'), 42)
    assert.ok(performance.now() - begin < 4000)
    const counts = await Promise.all(Array.from({ length: 20 }, () => ask(pool, 'select 1')))
    assert.deepEqual(new Set(counts), new Set([1]))
  })

  test('a port that accepts and never answers is CONNECT_TIMEOUT with the phase that hangs', async () => {
    await using hole = await blackHole()
    const target = { host: '127.0.0.1', port: hole.port, superuser: 'x', superuserPassword: 'x' }
    for (const [sslmode, phase] of [
      ['disable', 'login'],
      ['require', 'tls'],
    ]) {
      await using pool = postgresPool(target, { pool_timeout: 1 }, { driver: { sslmode } })
      const error = await failure(pool.acquire().promise)
      assert.deepEqual([error.code, error.phase], ['CONNECT_TIMEOUT', phase])
    }
  })

  test('a server that refuses is reported at once beside a LISTEN worker, whose session goes on', async () => {
    await using server = await startPostgres()
    await using gate = await startGate(server.port)
    await using pool = postgresPool({ ...server, host: '127.0.0.1', port: gate.port }, { pool_timeout: 20 })
    const listener = await pool.acquire().promise
    await listener.query('listen jobs')
    // A session that was taken a moment ago may come back; a worker that listens does not.
    await sleep(1100)
    gate.refuse()
    const begin = performance.now()
    const errors = await Promise.all(Array.from({ length: 5 }, () => failure(pool.acquire().promise)))
    assert.deepEqual(new Set(errors.map(({ code }) => code)), new Set(['CONNECT_REFUSED']))
    assert.ok(performance.now() - begin < 5000)
    await gate.open()
    assert.equal(await ask(pool, 'select 1'), 1)
    assert.deepEqual((await listener.query('select 2 as n')).rows, [{ n: 2 }])
    pool.release(listener)
  })

  test('callers wait for a full server also while the pool has no session yet', async () => {
    await using server = await startPostgres({ config: { max_connections: '5', superuser_reserved_connections: '0' } })
    await using others = postgresPool(server, { pool_size: 5, max_overflow: 0 })
    const taken = await Promise.all(Array.from({ length: 5 }, () => others.acquire().promise))
    await using pool = postgresPool(server, { pool_size: 2, max_overflow: 0, pool_timeout: 20 })
    const waiting = Array.from({ length: 4 }, () => ask(pool, 'select 1'))
    const settled = Promise.allSettled(waiting)
    await until(() => pool.stats().counts.failed >= 3)
    for (const raw of taken.slice(0, 3)) others.invalidate(raw)
    for (const raw of taken) others.release(raw)
    await settled
    assert.deepEqual(await Promise.all(waiting), [1, 1, 1, 1])
  })

  test('a server that stays full is reported as full at pool_timeout', async () => {
    await using server = await startPostgres({ config: { max_connections: '3', superuser_reserved_connections: '0' } })
    await using others = postgresPool(server, { pool_size: 3, max_overflow: 0 })
    const taken = await Promise.all(Array.from({ length: 3 }, () => others.acquire().promise))
    await using pool = postgresPool(server, { pool_timeout: 2 })
    const error = await failure(pool.acquire().promise)
    assert.deepEqual([error.code, error.transient], ['SERVER_FULL', true])
    assert.match(error.message, /pool_timeout/)
    for (const raw of taken) others.release(raw)
  })

  test('callers wait for a starting server also while the pool has no session yet', async () => {
    let starting = true
    await using server = await startFakePostgres(async (peer) => {
      await peer.startup()
      if (starting) peer.send(errorResponse({ C: '57P03', M: 'the database system is starting up' }))
      else peer.letIn()
    })
    const target = { host: server.host, port: server.port, superuser: 'x', superuserPassword: 'x' }
    await using pool = postgresPool(target, { pool_timeout: 20 })
    const waiting = pool.acquire().promise
    await until(() => pool.stats().counts.failed >= 3)
    starting = false
    pool.release(await waiting)
  })

  test('callers wait for a busy SQL Server up to pool_timeout, also beyond connect_timeout', async () => {
    await using postgres = await startPostgres()
    const tls = await (await createPki()).issue({ commonName: 'localhost', dns: ['localhost'] })
    await using server = await startTdsServer({ postgres, logins: { sa: 'pw' }, tls })
    const busy = {
      do: 'refuse',
      number: 10_928,
      message: 'The request limit for the database has been reached.',
    } as const
    server.faults.add({ at: 'login', fault: busy })
    await using db = await createEngine(
      {
        type: 'mssql',
        host: 'localhost',
        port: server.port,
        login: 'sa',
        password: 'pw',
        extra: { trust_server_certificate: true, connect_timeout: 1 },
      },
      { pool_timeout: 30 },
    )
    const waiting = db.pool.acquire().promise
    await until(() => db.pool.stats().counts.failed >= 2)
    server.faults.clear()
    db.pool.release(await waiting)
  })

  test('destroy() at drain_timeout leaves nothing running on the server', async () => {
    await using server = await startPostgres()
    const running =
      "select count(*)::int from pg_stat_activity where query like 'select pg_sleep%' and state = 'active'"
    await using watch = postgresPool(server)
    const count = 3
    const pool = postgresPool(server, { drain_timeout: 0.1 })
    const clients = await Promise.all(Array.from({ length: count }, () => pool.acquire().promise))
    const ended = Promise.allSettled(clients.map((client) => client.query('select pg_sleep(600)')))
    while ((await ask(watch, running)) !== count) await sleep(10)
    await pool.destroy()
    const limit = performance.now() + 5000
    while ((await ask(watch, running)) !== 0) assert.ok(performance.now() < limit, 'a statement runs on')
    for (const { status } of await ended) assert.equal(status, 'rejected')
  })

  test('returns serve the waiting callers when the server accepts no more clients', async () => {
    await using server = await startPostgres({ config: { max_connections: '8', superuser_reserved_connections: '0' } })
    await using pool = postgresPool(server, { pool_size: 20, max_overflow: 0 })
    const answers = await Promise.all(Array.from({ length: 40 }, () => ask(pool, 'select 1 from pg_sleep(0.05)')))
    assert.deepEqual(new Set(answers), new Set([1]))
  })
})
