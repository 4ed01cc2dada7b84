/**
 * The cases of pg-pool's own test suite about its callers, over a real server: each runs over `pg.Pool` and over
 * `poolsmith/pg`. Options that only pg has (`maxUses`, `allowExitOnIdle`, `verify`, `log`, `pipeline`) are in
 * docs/migrating.md, and the differences (a syntax error costs pg its session, an `error` event without a listener ends
 * its process) in docs/pg.md.
 */

import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import { errorResponse, type Peer, startFakePostgres } from '../../support/fake-postgres.ts'
import { freePort } from '../../support/free-port.ts'
import { bothPools, called, connect, HI, hi, opener } from '../../support/pg-pools.ts'
import { startPostgres } from '../../support/postgres.ts'

const server = await startPostgres()
after(() => server[Symbol.asyncDispose]())

for (const [name, make] of Object.entries(bothPools(server))) {
  describe(name, () => {
    const open = opener(make)

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
        const answers = await Promise.all(Array.from({ length: 30 }, () => hi(pool)))
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
        assert.deepEqual(await hi(pool), [{ name: 'hi' }])
      })

      test('a query that is null is an error', async () => {
        const pool = await open()
        await assert.rejects(async () => pool.query(null as unknown as string))
        assert.deepEqual(await hi(pool), [{ name: 'hi' }])
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
        const pool = await open({ max: 1, connectTimeout: 1000 })
        const client = await pool.connect()
        await assert.rejects(pool.connect())
        await assert.rejects(pool.query('select now()'))
        assert.equal(pool.waitingCount, 0)
        client.release()
        assert.deepEqual(await hi(pool), [{ name: 'hi' }])
      })

      test('a caller whose time ends takes nothing from those behind it', async () => {
        const pool = await open({ max: 1, connectTimeout: 2000 })
        const client = await pool.connect()
        const first = assert.rejects(pool.connect())
        await sleep(1000)
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

    describe('end', () => {
      test('of a pool that was never used, with a promise and with a callback', async () => {
        await (await open()).end()
        const pool = await open()
        await called((done) => pool.end(done as () => void))
        assert.deepEqual([pool.ending, pool.ended], [true, true])
      })

      test('statements that were given before are finished', async () => {
        const pool = await open({ max: 20 })
        const answers = Promise.all(Array.from({ length: 20 }, () => hi(pool)))
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
