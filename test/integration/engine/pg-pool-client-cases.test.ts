/**
 * The cases of pg-pool's own test suite about its clients, over a real server: each runs over `pg.Pool` and over
 * `poolsmith/pg`. Options that only pg has (`maxUses`, `allowExitOnIdle`, `verify`, `log`, `pipeline`) are in
 * docs/migrating.md, and the differences (a syntax error costs pg its session, an `error` event without a listener ends
 * its process) in docs/pg.md.
 */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { freePort } from '../../support/free-port.ts'
import { bothPools, connect, HI, hi, opener, until } from '../../support/pg-pools.ts'
import { startPostgres } from '../../support/postgres.ts'

const server = await startPostgres()
after(() => server[Symbol.asyncDispose]())

for (const [name, make] of Object.entries(bothPools(server))) {
  describe(name, () => {
    const open = opener(make)

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
        assert.deepEqual(await hi(pool), [{ name: 'hi' }])
      })

      test('a client that its user has ended leaves the pool at its release', async () => {
        const pool = await open({ max: 1 })
        pool.on('error', () => undefined)
        const client = await pool.connect()
        client.on('error', () => undefined)
        void client.end()
        client.release()
        await until(() => pool.totalCount === 0)
        assert.deepEqual(await hi(pool), [{ name: 'hi' }])
      })

      test('a session that ends under pool.query is the error of that query', async () => {
        const pool = await open({ max: 1 })
        pool.on('error', () => undefined)
        const slow = assert.rejects(pool.query('select pg_sleep(60) as under_a_query'))
        const kill =
          "select count(pg_terminate_backend(pid)) from pg_stat_activity where query like '%under_a_query' and state = 'active'"
        while ((await server.sql(kill)) === '0') await sleep(20)
        await slow
        assert.deepEqual(await hi(pool), [{ name: 'hi' }])
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
        assert.deepEqual(await hi(pool), [{ name: 'hi' }])
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
        assert.deepEqual(await hi(pool), [{ name: 'hi' }])
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
        assert.deepEqual(await hi(pool), [{ name: 'hi' }])
      })
    })
  })
}
