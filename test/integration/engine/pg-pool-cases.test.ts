/**
 * The cases of pg-pool's own test suite, over a real server: each runs over `pg.Pool` and over the pool of
 * `poolsmith/pg`. Options that only pg has (`maxUses`, `allowExitOnIdle`, `verify`, `log`, `pipeline`) are in
 * docs/migrating.md, and the differences (a syntax error costs pg its session, an `error` event without a listener ends
 * its process) in docs/pg.md.
 */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { createPgPool, type PgPoolOptions } from '../../../src/engine/pg/index.ts'
import { errorResponse, type Peer, startFakePostgres } from '../../support/fake-postgres.ts'
import { freePort } from '../../support/free-port.ts'
import { startPostgres } from '../../support/postgres.ts'

const server = await startPostgres()
after(() => server[Symbol.asyncDispose]())

interface Options {
  readonly max?: number
  readonly port?: number
  /** Milliseconds. */
  readonly connectTimeout?: number
  readonly idleTimeout?: number
  readonly maxLifetime?: number
  readonly onConnect?: (client: pg.Client) => Promise<void> | void
}

const place = { host: server.host, database: 'postgres' }

const POOLS: Record<string, (options: Options) => Promise<pg.Pool>> = {
  'pg.Pool': async ({ max, port = server.port, connectTimeout, idleTimeout, maxLifetime, onConnect }) =>
    new pg.Pool({
      ...place,
      port,
      user: server.superuser,
      password: server.superuserPassword,
      max,
      connectionTimeoutMillis: connectTimeout,
      idleTimeoutMillis: idleTimeout,
      maxLifetimeSeconds: maxLifetime && maxLifetime / 1000,
      onConnect,
    } as pg.PoolConfig),
  'poolsmith/pg': ({ max, port = server.port, connectTimeout, idleTimeout, maxLifetime, onConnect }) => {
    const options: PgPoolOptions = {
      pool_size: max,
      max_overflow: max === undefined ? undefined : 0,
      pool_timeout: connectTimeout && connectTimeout / 1000,
      pool_idle_timeout: idleTimeout && idleTimeout / 1000,
      pool_recycle: maxLifetime && maxLifetime / 1000,
      onSession: onConnect && ((session) => onConnect(session as pg.Client)),
    }
    const login = { login: server.superuser, password: server.superuserPassword }
    return createPgPool({ type: 'postgres', ...place, port, ...login }, options)
  },
}

/** The values that a callback gets. */
function called<T extends unknown[]>(run: (callback: (...values: T) => void) => unknown): Promise<T> {
  return new Promise((resolve) => {
    const returned = run((...values) => resolve(values))
    assert.equal(returned, undefined, 'a call with a callback returns no promise')
  })
}

type Connected = [error: Error | undefined, client: pg.PoolClient | undefined, release: (error?: unknown) => void]
const connect = (pool: pg.Pool): Promise<Connected> => called<Connected>((done) => pool.connect(done as never))

async function until(condition: () => boolean): Promise<void> {
  for (let tries = 0; !condition(); tries++) {
    assert.ok(tries < 1000, 'the condition is met within ten seconds')
    await sleep(10)
  }
}

const HI = 'select $1::text as name'

for (const [name, make] of Object.entries(POOLS)) {
  describe(name, () => {
    const pools: pg.Pool[] = []
    after(async () => {
      for (const pool of pools) if (!pool.ending) await pool.end()
    })
    const open = async (options: Options = {}): Promise<pg.Pool> => {
      const pool = await make(options)
      pools.push(pool)
      return pool
    }
    const name = async (pool: pg.Pool): Promise<unknown> => (await pool.query(HI, ['hi'])).rows

    describe('callbacks', () => {
      test('connect, query and end call back, and never before they return', async () => {
        const pool = await open()
        const [error, client, release] = await connect(pool)
        assert.equal(error, undefined)
        const [failure, result] = await called<[Error | null, pg.QueryResult]>((done) =>
          client?.query('select 1 as n', done),
        )
        assert.deepEqual([failure ?? undefined, result.rows], [undefined, [{ n: 1 }]])
        release()
        let isLater = false
        const again = connect(pool).then((values) => {
          assert.equal(isLater, true)
          values[2]()
        })
        isLater = true
        await again
        const [none, answer] = await called<[Error | undefined, pg.QueryResult]>((done) => pool.query(HI, ['hi'], done))
        assert.deepEqual([none, answer.rows], [undefined, [{ name: 'hi' }]])
        await called((done) => pool.end(done as () => void))
      })

      test('an error of the connection reaches the callback without a client, and no client stays', async () => {
        const pool = await open({ port: await freePort() })
        const [error, client, release] = await connect(pool)
        assert.ok(error instanceof Error)
        assert.equal(client, undefined)
        assert.equal(typeof release, 'function')
        const [failure, result] = await called<[Error, undefined]>((done) => pool.query('select 1', done as never))
        assert.ok(failure instanceof Error)
        assert.equal(result, undefined)
        assert.equal(pool.totalCount, 0)
      })
    })

    describe('pooling', () => {
      test('thirty callers share nine clients', async () => {
        const pool = await open({ max: 9 })
        const answers = await Promise.all(Array.from({ length: 30 }, () => name(pool)))
        assert.equal(answers.length, 30)
        assert.ok(pool.totalCount <= 9)
      })

      test('a pool of one sends one statement at a time', async () => {
        const pool = await open({ max: 1 })
        const running =
          "select count(*)::int as n from pg_stat_activity where query like '%one at a time%' and state = 'active' -- one at a time"
        const answers = await Promise.all(Array.from({ length: 20 }, () => pool.query(running)))
        assert.deepEqual(new Set(answers.map(({ rows }) => rows[0].n)), new Set([1]))
        assert.equal(pool.totalCount, 1)
      })

      test('a caller that waits gets the same client when it is released', async () => {
        const pool = await open({ max: 1 })
        const client = await pool.connect()
        const waiting = pool.connect()
        assert.equal(pool.waitingCount, 1)
        client.release()
        const next = await waiting
        assert.equal(next, client)
        assert.equal(pool.waitingCount, 0)
        next.release()
      })

      test('thirty statements that fail leave a pool that works', async () => {
        const pool = await open()
        const failures = await Promise.allSettled(Array.from({ length: 30 }, () => pool.query('select no_such_column')))
        assert.ok(failures.every(({ status }) => status === 'rejected'))
        assert.deepEqual(await name(pool), [{ name: 'hi' }])
      })

      test('a query that is null is an error', async () => {
        const pool = await open()
        await assert.rejects(async () => pool.query(null as unknown as string))
        assert.deepEqual(await name(pool), [{ name: 'hi' }])
      })
    })

    describe('time limits', () => {
      test('a server that never answers: each connect ends with an error', async () => {
        await using silent = await startFakePostgres(() => undefined)
        const pool = await open({ port: silent.port, connectTimeout: 50 })
        for (let round = 0; round < 5; round++) await assert.rejects(pool.connect())
        const [error, client] = await connect(pool)
        assert.ok(error instanceof Error)
        assert.deepEqual([client, pool.idleCount], [undefined, 0])
      })

      test('a pool that is in use: connect and query end with an error, and the pool recovers', async () => {
        const pool = await open({ max: 1, connectTimeout: 100 })
        const client = await pool.connect()
        await assert.rejects(pool.connect())
        await assert.rejects(pool.query('select now()'))
        assert.equal(pool.waitingCount, 0)
        client.release()
        assert.deepEqual(await name(pool), [{ name: 'hi' }])
      })

      test('a caller whose time ends takes nothing from those behind it', async () => {
        const pool = await open({ max: 1, connectTimeout: 300 })
        const client = await pool.connect()
        const first = assert.rejects(pool.connect())
        await sleep(200)
        const second = pool.connect()
        await first
        client.release()
        const served = await second
        assert.ok(served)
        served.release()
      })

      test('after a failure to connect the next caller is served', async () => {
        let refused = false
        await using closing = await startFakePostgres((peer: Peer) => {
          refused = true
          peer.send(errorResponse({ C: '57P03', M: 'the database system is starting up' }))
          peer.end()
        })
        const pool = await open({ max: 1, port: closing.port, connectTimeout: 300 })
        await assert.rejects(pool.connect())
        await assert.rejects(pool.connect())
        assert.equal(refused, true)
        assert.deepEqual([pool.totalCount, pool.waitingCount], [0, 0])
      })
    })

    describe('errors of clients', () => {
      test('an idle client whose session ends leaves the pool, with the event error', async () => {
        const pool = await open()
        const client = await pool.connect()
        const { pid } = (await client.query('select pg_backend_pid() as pid')).rows[0]
        client.release()
        const failed = once(pool, 'error') as Promise<[Error & { client?: unknown }, unknown]>
        await server.sql(`select pg_terminate_backend(${pid})`)
        const [error, dead] = await failed
        assert.equal(dead, client)
        assert.equal(error.client, client)
        await until(() => pool.totalCount === 0 && pool.idleCount === 0)
      })

      test('a client in use whose session ends stays until its release, without an event of the pool', async () => {
        const pool = await open({ max: 1 })
        const ofPool: unknown[] = []
        pool.on('error', (error) => ofPool.push(error))
        const client = await pool.connect()
        const { pid } = (await client.query('select pg_backend_pid() as pid')).rows[0]
        let errors = 0
        client.on('error', () => errors++)
        await server.sql(`select pg_terminate_backend(${pid})`)
        await until(() => errors > 0)
        assert.deepEqual([ofPool, pool.totalCount, pool.idleCount], [[], 1, 0])
        client.release()
        await until(() => pool.totalCount === 0)
        assert.deepEqual(await name(pool), [{ name: 'hi' }])
      })

      test('a client that its user has ended leaves the pool at its release', async () => {
        const pool = await open({ max: 1 })
        pool.on('error', () => undefined)
        const client = await pool.connect()
        client.on('error', () => undefined)
        void client.end()
        client.release()
        await until(() => pool.totalCount === 0)
        assert.deepEqual(await name(pool), [{ name: 'hi' }])
      })

      test('a session that ends under pool.query is the error of that query', async () => {
        const pool = await open({ max: 1 })
        pool.on('error', () => undefined)
        const slow = assert.rejects(pool.query('select pg_sleep(60) as under_a_query'))
        const kill =
          "select count(pg_terminate_backend(pid)) from pg_stat_activity where query like '%under_a_query' and state = 'active'"
        while ((await server.sql(kill)) === '0') await sleep(20)
        await slow
        assert.deepEqual(await name(pool), [{ name: 'hi' }])
      })

      test('a second release throws each time', async () => {
        const pool = await open()
        const client = await pool.connect()
        client.release()
        assert.throws(() => client.release(), /already been released/)
        assert.throws(() => client.release(), /already been released/)
        const [, , release] = await connect(pool)
        release()
        assert.throws(() => release(), /already been released/)
      })

      test('twenty clients that are released with an error are replaced', async () => {
        const pool = await open({ max: 1 })
        for (let round = 0; round < 20; round++) (await pool.connect()).release(new Error('condemned'))
        assert.deepEqual(await name(pool), [{ name: 'hi' }])
        await until(() => pool.totalCount === 1)
      })
    })

    describe('events', () => {
      test('connect comes before the caller, once for each session, and not after a failure', async () => {
        const pool = await open()
        const seen: unknown[] = []
        pool.on('connect', (client) => seen.push(client))
        const client = await pool.connect()
        assert.deepEqual(seen, [client])
        client.release()
        ;(await pool.connect()).release()
        assert.equal(seen.length, 1)
        const closed = await open({ port: await freePort() })
        closed.on('connect', () => assert.fail('there is no session'))
        await assert.rejects(closed.connect())
      })

      test('acquire and release come for each use, release with its error', async () => {
        const pool = await open()
        const seen: string[] = []
        pool.on('acquire', (client) => seen.push(client === undefined ? 'acquire of nothing' : 'acquire'))
        pool.on('release', (error, client) =>
          seen.push(`release${error ? ` with ${error.message}` : ''}${client ? '' : ' of nothing'}`),
        )
        const [, , release] = await connect(pool)
        release()
        await pool.query('select 1')
        ;(await pool.connect()).release(new Error('a problem'))
        assert.deepEqual(seen, ['acquire', 'release', 'acquire', 'release', 'acquire', 'release with a problem'])
      })
    })

    describe('limits of a session', () => {
      test('an idle client is removed after the idle time-out, and one in use is not', async () => {
        const pool = await open({ idleTimeout: 1000 })
        const used = await pool.connect()
        const idle = await pool.connect()
        const removed = once(pool, 'remove')
        idle.release()
        assert.deepEqual(await removed, [idle])
        assert.equal(pool.totalCount, 1)
        assert.deepEqual((await used.query(HI, ['hi'])).rows, [{ name: 'hi' }])
        used.release()
      })

      test('a client that is too old is removed, when it is idle or released, and another is opened', async () => {
        const pool = await open({ maxLifetime: 1000 })
        const removed = once(pool, 'remove')
        await pool.query('select pg_sleep(1.4)')
        await removed
        assert.deepEqual([pool.totalCount, pool.expiredCount], [0, 0])
        assert.deepEqual(await name(pool), [{ name: 'hi' }])
        assert.equal(pool.totalCount, 1)
      })
    })

    describe('a hook for each session', () => {
      test('it runs once for each client, before its first user, by connect and by query', async () => {
        let count = 0
        const pool = await open({
          max: 2,
          onConnect: async (client) => {
            count++
            await client.query("set application_name = 'hooked'")
          },
        })
        assert.equal((await pool.query('show application_name')).rows[0].application_name, 'hooked')
        const clients = [await pool.connect(), await pool.connect()]
        assert.equal(count, 2)
        for (const client of clients) client.release()
        await pool.query('select 1')
        assert.equal(count, 2)
      })

      test('its failure is an error of connect, leaves no client, and the next session may succeed', async () => {
        let failures = 0
        const pool = await open({
          max: 2,
          onConnect: async (client) => {
            if (failures++ < 5) await client.query('select no_such_column')
          },
        })
        for (let round = 0; round < 5; round++) await assert.rejects(pool.connect(), /no_such_column/)
        await until(() => pool.totalCount === 0)
        assert.deepEqual(await name(pool), [{ name: 'hi' }])
      })
    })

    describe('end', () => {
      test('of a pool that was never used, with a promise and with a callback', async () => {
        await (await open()).end()
        const pool = await open()
        await called((done) => pool.end(done as () => void))
        assert.deepEqual([pool.ending, pool.ended], [true, true])
      })

      test('statements that were given before are finished', async () => {
        const pool = await open({ max: 20 })
        const answers = Promise.all(Array.from({ length: 20 }, () => name(pool)))
        await pool.end()
        assert.equal((await answers).length, 20)
      })

      test('later calls are errors, with promises and with callbacks', async () => {
        const pool = await open()
        await pool.end()
        await assert.rejects(pool.connect())
        await assert.rejects(pool.query('select now()'))
        await assert.rejects(pool.end())
        assert.ok((await called<[Error]>((done) => pool.query('select 1', done as never)))[0] instanceof Error)
        assert.ok((await connect(pool))[0] instanceof Error)
        assert.ok((await called<[Error]>((done) => pool.end(done as never)))[0] instanceof Error)
      })
    })
  })
}
