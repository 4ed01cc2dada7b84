/** `.timeout(ms, { cancel: true })` of knex ends its own statement only, on both databases. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { createEngine, type Engine } from '../../../src/index.ts'
import { postgresSide } from '../../support/sides/postgres.ts'
import type { Side, SideKind } from '../../support/sides/side.ts'
import { sqlServerSide } from '../../support/sides/sqlserver.ts'

/** It ends a moment after it was cancelled. */
const ENDS_LATE = `do $$ begin perform pg_sleep(60); exception when query_canceled then perform pg_sleep(0.3); end $$`

/** A statement that takes so many tenths of a second. */
const SLEEP: Readonly<Record<string, (tenths: number) => string>> = {
  PostgreSQL: (tenths) => `select pg_sleep(${tenths / 10})`,
  'SQL Server': (tenths) => `waitfor delay '00:00:0${Math.floor(tenths / 10)}.${tenths % 10}'`,
}

for (const kind of [postgresSide, sqlServerSide] as readonly SideKind[]) {
  const sleep = SLEEP[kind.name] as (tenths: number) => string

  describe(kind.name, () => {
    let side: Side
    let db: Engine

    before(async () => {
      side = await kind.start()
      db = await createEngine(side.connection, { pool_size: 1, max_overflow: 0 })
      await db.raw(kind.setUp)
    })
    after(async () => {
      await db.destroy()
      await side[Symbol.asyncDispose]()
    })

    for (const cancel of [true, false]) {
      test(`a statement whose limit passes while it waits is never sent and ends no other (cancel: ${cancel})`, async () => {
        await db.transaction(async (trx) => {
          const running = trx.raw(sleep(8)).then(() => 'done')
          const waiting = trx('marks').insert({ n: 1 }).timeout(100, { cancel })
          await assert.rejects(waiting.then(), { name: 'KnexTimeoutError', timeout: 100, phase: 'query' })
          assert.equal(await running, 'done')
          await trx('marks').insert({ n: 2 })
        })
        assert.deepEqual(await db('marks').pluck('n'), [2])
        await db('marks').del()
        assert.equal(db.pool.stats().counts.opened, 1, 'the connection was given up')
      })
    }

    test('a cancel request never ends the statement that follows', async () => {
      const raw = await db.pool.acquire().promise
      try {
        for (let round = 0; round < 15; round++) {
          // It ends by itself about when its limit passes.
          const first = db
            .raw(sleep(1))
            .connection(raw)
            .timeout(95 + round, { cancel: true })
          const outcome = first.then(
            () => 'done',
            (error: Error) => error.name,
          )
          const second = db.raw(sleep(1)).connection(raw)
          await second
          assert.match(await outcome, /^(done|KnexTimeoutError)$/)
        }
      } finally {
        db.pool.release(raw)
      }
      assert.equal(db.pool.stats().counts.opened, 1)
    })

    test('a running statement is cancelled, and its connection can be used again', async () => {
      const error = await db
        .raw(kind.slow)
        .timeout(100, { cancel: true })
        .then(
          () => assert.fail('it ended'),
          (thrown: Error) => thrown,
        )
      assert.match(error.message, /^Defined query timeout of 100ms exceeded/)
      assert.deepEqual(kind.rowsOf(await db.raw('select 1 as n')), [{ n: 1 }])
      assert.equal(db.pool.stats().counts.opened, 1)
    })
  })
}

test('PostgreSQL: a cancelled statement has ended on the server when its promise rejects', async () => {
  await using side = await postgresSide.start()
  await using db = await createEngine(side.connection)
  await using watcher = await createEngine(side.connection)
  const others =
    "select query from pg_stat_activity where state = 'active' and backend_type = 'client backend' and pid <> pg_backend_pid()"
  await watcher.raw(others)
  let left = 0
  const rounds = 4
  for (let round = 0; round < rounds; round++) {
    await assert.rejects(async () => db.raw(ENDS_LATE).timeout(100, { cancel: true }), { name: 'KnexTimeoutError' })
    left += (await watcher.raw(others)).rows.length
  }
  // The wait is limited to a second, which a busy machine may exceed now and then.
  assert.ok(left < rounds, `${left} of ${rounds} statements still ran`)
})
