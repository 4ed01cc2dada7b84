/** The contract of a pool and an engine that work, over every database: resets, events, streams, transactions. */

import assert from 'node:assert/strict'
import type { EventEmitter } from 'node:events'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { ask, begun, engineOf, failure, placeOf, until } from './pool-sides.ts'
import type { Side, SideKind } from './sides/side.ts'

export function poolSuite(kind: SideKind): void {
  describe(`${kind.name}: a pool that works`, () => {
    let side: Side
    before(async () => {
      side = await kind.start()
      await using db = await engineOf(side)
      await ask(side, db, kind.setUp)
    })
    after(() => side[Symbol.asyncDispose]())

    for (const mode of ['rollback', 'full', 'none'] as const) {
      for (const { what, leave, look, clean, left, goneIn } of kind.traces) {
        const gone = goneIn.includes(mode)
        test(`reset ${mode}: ${what} is ${gone ? 'gone' : 'still there'}`, async () => {
          await using db = await engineOf(side, { pool_size: 1, max_overflow: 0, pool_reset_on_return: mode })
          await ask(side, db, leave)
          assert.equal(await ask(side, db, look), gone ? clean : left)
          assert.equal(db.pool.stats().counts.opened, 1, 'by the same session')
        })
      }
    }

    test('a statement that still runs on return is stopped before the next caller gets the session', async () => {
      await using db = await engineOf(side, { pool_size: 1, max_overflow: 0 })
      const raw = await db.pool.acquire().promise
      const stopped = assert.rejects(side.run(raw, kind.slow))
      db.pool.release(raw)
      assert.equal(await ask(side, db, 'select 1 as n'), 1)
      await stopped
      assert.equal(db.pool.stats().counts.opened, 1)
    })

    test('a session that is returned busy repeatedly gathers no listeners', async () => {
      await using db = await engineOf(side, { pool_size: 1, max_overflow: 0 })
      const counts: number[] = []
      for (let round = 0; round < 8; round++) {
        const raw = await db.pool.acquire().promise
        const emitter = raw as EventEmitter
        counts.push(emitter.eventNames().reduce((sum, name) => sum + emitter.listenerCount(name), 0))
        const stopped = assert.rejects(side.run(raw, kind.slow))
        db.pool.release(raw)
        await stopped
      }
      assert.equal(db.pool.stats().counts.opened, 1)
      // The first statement may load and set up more in the session.
      assert.equal(counts.at(-1), counts[1], String(counts))
    })

    test('a full pool and a dead database never give the same error', async () => {
      await using db = await engineOf(side, { pool_size: 1, max_overflow: 0, pool_timeout: 2 })
      const raw = await db.pool.acquire().promise
      const begin = performance.now()
      const error = await failure(db.pool.acquire().promise)
      assert.deepEqual([error.code, error.phase], ['POOL_EXHAUSTED', 'pool'])
      const { host, port, database } = placeOf(side)
      assert.match(
        error.message.replace(`${host}:${port} (database ${database})`, 'PLACE'),
        /^No connection to PLACE became free within 2 s \(pool_timeout\): 1 of 1 connections is in use, 1 caller is waiting; the longest use has lasted [\d.]+ s\.$/,
      )
      assert.match(error.hint ?? '', /transaction/)
      assert.deepEqual({ ...error.details, ...placeOf(side) }, error.details)
      assert.ok(performance.now() - begin >= 1990)
      db.pool.release(raw)
      assert.equal(await ask(side, db, 'select 4 as n'), 4)
    })

    test('a statement that destroy() cuts off at drain_timeout is told so, and not to run again on this pool', async () => {
      const db = await engineOf(side, { drain_timeout: 0.05 })
      const cut = failure(begun(db.raw(kind.slow)))
      while (!(await side.runsSlow())) await sleep(5)
      await db.destroy()
      const error = await cut
      assert.deepEqual([error.code, error.phase, error.transient], ['CONNECTION_LOST', 'query', true])
      assert.match(error.message, /has ended: the pool was destroyed, and drain_timeout passed$/)
      assert.match(error.hint ?? '', /drain_timeout/)
      assert.equal((error.cause as { code?: string }).code, 'POOL_CLOSED')
    })

    test('a caller that stops waiting gets no session and takes none from the others', async () => {
      await using db = await engineOf(side, { pool_size: 1, max_overflow: 0 })
      const raw = await db.pool.acquire().promise
      const abort = new AbortController()
      const waiting = failure(db.pool.acquire({ signal: abort.signal }).promise)
      abort.abort()
      assert.equal((await waiting).code, 'ABORTED')
      db.pool.release(raw)
      assert.equal(await ask(side, db, 'select 4 as n'), 4)
      assert.equal(db.pool.stats().inUse, 0)
    })

    test('a leak names the line of the program for raw, builders, streams, transactions and the pool', async () => {
      const db = await engineOf(side, { leak_detection_threshold: 0.05, drain_timeout: 0 })
      const stacks: string[] = []
      db.pool.on('connection:leaked', ({ stack = '' }) => stacks.push(stack))
      const ended: Promise<unknown>[] = []
      const begins = {
        async byRaw() {
          await db.raw(kind.slow)
        },
        async byBuilder() {
          await db.count('* as c').from(db.raw(`(${kind.numbers(20_000_000)}) as x`))
        },
        async byClone() {
          const base = db.count('* as c').from(db.raw(`(${kind.numbers(20_000_000)}) as x`))
          await base.clone().clone()
        },
        async byStream() {
          for await (const _ of db.raw(kind.numbers(100_000)).stream()) await sleep(1000)
        },
        async byTransaction() {
          await db.transaction(async (trx) => {
            await trx.raw('select 1 as n')
            await sleep(1000)
          })
        },
        async byPool() {
          await db.pool.use(() => sleep(1000))
        },
      }
      for (const [name, begin] of Object.entries(begins)) {
        const known = stacks.length
        ended.push(begin().catch(() => undefined))
        await until(() => stacks.length > known)
        const [, first = ''] = stacks.at(-1)?.split('\n') ?? []
        assert.match(first, new RegExp(`${name} .*pool-suite\\.ts`), stacks.at(-1))
      }
      await db.destroy()
      await Promise.all(ended)
    })

    test('emits events in the order in which things happen', async () => {
      const told: string[] = []
      const db = await engineOf(side, {
        pool_size: 1,
        max_overflow: 0,
        on: {
          'connection:opened': ({ identity }) => told.push(`opened as ${identity}`),
          'pool:acquired': () => told.push('acquired'),
          'pool:released': () => told.push('released'),
          'connection:closed': ({ reason }) => told.push(`closed, ${reason}`),
          'pool:destroyed': () => told.push('destroyed'),
        },
      })
      await db.raw('select 1 as n')
      await db.destroy()
      const opened = `opened as ${side.connection.login}`
      assert.deepEqual(told, [opened, 'acquired', 'released', 'closed, drained', 'destroyed'])
    })

    test('knex commits, rolls back, and returns every connection', async () => {
      await using db = await engineOf(side, { pool_size: 2, max_overflow: 0 })
      await db('marks').del()
      await db.transaction(async (trx) => {
        await Promise.all([1, 2, 3].map((n) => trx('marks').insert({ n })))
      })
      await assert.rejects(
        db.transaction(async (trx) => {
          await trx('marks').insert({ n: 4 })
          throw new Error('no')
        }),
        /^Error: no$/,
      )
      assert.deepEqual(await db('marks').orderBy('n').pluck('n'), [1, 2, 3])
      await db('marks').del()
      assert.equal(db.pool.stats().inUse, 0)
    })

    test('a stream that is left early or read to its end returns a clean connection', async () => {
      await using db = await engineOf(side, { pool_size: 1, max_overflow: 0, pool_timeout: 10 })
      for await (const row of db.raw(kind.numbers(1_000_000)).stream()) if (row.n === 3) break
      assert.deepEqual(kind.rowsOf(await db.raw('select 1 as n')), [{ n: 1 }])
      let rows = 0
      for await (const _ of db.raw(kind.numbers(5000)).stream()) rows++
      assert.equal(rows, 5000)
      assert.deepEqual(kind.rowsOf(await db.raw('select 2 as n')), [{ n: 2 }])
      assert.equal(db.pool.stats().counts.opened, 1)
    })

    test('an abandoned statement is cancelled, or its connection is not used again', async () => {
      await using db = await engineOf(side, { pool_size: 1, max_overflow: 0 })
      await assert.rejects(begun(db.raw(kind.slow).timeout(200, { cancel: true })), /timeout/i)
      assert.deepEqual(kind.rowsOf(await db.raw('select 1 as n')), [{ n: 1 }])
      assert.equal(db.pool.stats().counts.opened, 1)
      await assert.rejects(begun(db.raw(kind.slow).timeout(200)), /timeout/i)
      assert.deepEqual(kind.rowsOf(await db.raw('select 1 as n')), [{ n: 1 }])
      assert.equal(db.pool.stats().counts.opened, 2)
    })
  })
}
