import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { Kysely, sql } from 'kysely'
import type pg from 'pg'
import { postgresDialect, sqlServerDialect } from '../../../src/engine/kysely/index.ts'
import { createPgPool } from '../../../src/engine/pg/index.ts'
import { createEngine } from '../../../src/index.ts'
import { aborted, onceRunning, REASON } from '../../support/running.ts'
import { postgresSide } from '../../support/sides/postgres.ts'
import type { Side } from '../../support/sides/side.ts'
import { sqlServerSide } from '../../support/sides/sqlserver.ts'

const ONE = { pool_size: 1, max_overflow: 0, pool_timeout: 20 }

for (const kind of [postgresSide, sqlServerSide]) {
  describe(`${kind.name}: pool.use`, () => {
    let side: Side
    before(async () => {
      side = await kind.start()
    })
    after(() => side[Symbol.asyncDispose]())

    test('an abort ends the running statement on the server, and the session is good for the next caller', async () => {
      await using db = await createEngine(side.connection, ONE)
      const id = await db.pool.use((raw) => db.pool.infoOf(raw)?.id)
      await aborted(db.pool.use((raw) => side.run(raw, kind.slow), { signal: onceRunning(side) }))
      assert.equal(await db.pool.use((raw) => side.run(raw, 'select 7 as n')), 7)
      assert.equal(await db.pool.use((raw) => db.pool.infoOf(raw)?.id), id, 'the same session')
    })

    test('work that goes on after the abort is left behind, and its session is gone', async () => {
      await using db = await createEngine(side.connection, ONE)
      const controller = new AbortController()
      let raw: object | undefined
      await aborted(
        db.pool.use(
          (given) => {
            raw = given
            controller.abort(REASON)
            return new Promise(() => undefined)
          },
          { signal: controller.signal },
        ),
      )
      await assert.rejects(side.run(raw as object, 'select 1 as n'))
      assert.equal(await db.pool.use((other) => side.run(other, 'select 7 as n')), 7)
    })

    test('work that is complete gives its result, and a signal that has aborted before lets none begin', async () => {
      await using db = await createEngine(side.connection, ONE)
      const controller = new AbortController()
      const work = async (raw: object): Promise<unknown> => {
        const answer = await side.run(raw, 'select 7 as n')
        controller.abort(REASON)
        return answer
      }
      assert.equal(await db.pool.use(work, { signal: controller.signal }), 7)
      await aborted(db.pool.use(() => assert.fail('it began'), { signal: controller.signal }))
    })
  })
}

describe('a signal of a statement', () => {
  let side: Side
  before(async () => {
    side = await postgresSide.start()
  })
  after(() => side[Symbol.asyncDispose]())

  test('pool.query of a pg.Pool takes one, with a promise and with a callback', async () => {
    await using pool = await createPgPool(side.connection, ONE)
    const slow = (): pg.QueryConfig => ({ text: postgresSide.slow, signal: onceRunning(side) }) as pg.QueryConfig
    await aborted(pool.query(slow()))
    await aborted(
      new Promise((resolve, reject) => {
        pool.query(slow(), (error, result) => (error ? reject(error) : resolve(result)))
      }),
    )
    assert.deepEqual(
      (await pool.query({ text: 'select 1 as one', signal: new AbortController().signal } as pg.QueryConfig)).rows,
      [{ one: 1 }],
    )
  })

  test('client.query ends its own statement only, also one that waits', async () => {
    await using pool = await createPgPool(side.connection, ONE)
    const client = await pool.connect()
    const waiting = new AbortController()
    const running = new AbortController()
    const answers = [
      client.query({ text: postgresSide.slow, signal: running.signal } as pg.QueryConfig),
      client.query('select 1 as one'),
      client.query({ text: postgresSide.slow, signal: waiting.signal } as pg.QueryConfig),
      client.query('select 2 as two'),
    ] as const
    const outcome = Promise.allSettled(answers)
    waiting.abort(REASON)
    await aborted(answers[2])
    running.abort(REASON)
    await aborted(answers[0])
    assert.deepEqual(
      (await outcome).map((one) => (one.status === 'fulfilled' ? one.value.rows : 'aborted')),
      ['aborted', [{ one: 1 }], 'aborted', [{ two: 2 }]],
    )
    client.release()
  })

  test('what is no signal is refused, not ignored, and the pool is as before', async () => {
    await using pool = await createPgPool(side.connection, ONE)
    const config = { text: 'select 1 as one', signal: new AbortController() } as unknown as pg.QueryConfig
    const refusal = { code: 'CONFIG_INVALID', message: /signal: is not an AbortSignal/ }
    await assert.rejects(pool.query(config), refusal)
    const client = await pool.connect()
    await assert.rejects(client.query(config), refusal)
    client.release()
    assert.deepEqual((await pool.query({ ...config, signal: null } as pg.QueryConfig)).rows, [{ one: 1 }])
    assert.deepEqual([pool.idleCount, pool.waitingCount], [1, 0])
  })
})

describe('the signals of Kysely', () => {
  for (const kind of [postgresSide, sqlServerSide]) {
    test(`end a statement of ${kind.name} on the one session of a pool, which is good afterwards`, async () => {
      await using side = await kind.start()
      const dialect = kind === postgresSide ? postgresDialect : sqlServerDialect
      const db = new Kysely<object>({ dialect: dialect(side.connection, ONE) })
      try {
        const work = sql
          .raw(kind.slow)
          .execute(db, { signal: onceRunning(side), inflightQueryAbortStrategy: 'cancel query' })
        await assert.rejects(work, (error: Error) => error === REASON || error.cause === REASON)
        assert.deepEqual((await sql.raw('select 7 as n').execute(db)).rows, [{ n: 7 }])
      } finally {
        await db.destroy()
      }
    })
  }

  for (const kind of [postgresSide, sqlServerSide]) {
    test(`in a transaction of ${kind.name}, it is rolled back, and the reason of the signal is its error`, async () => {
      await using side = await kind.start()
      const dialect = kind === postgresSide ? postgresDialect : sqlServerDialect
      const db = new Kysely<object>({ dialect: dialect(side.connection, ONE) })
      try {
        await sql.raw(kind.setUp).execute(db)
        const work = db.transaction().execute(async (trx) => {
          await sql.raw('insert into marks values (1)').execute(trx)
          const abort = { signal: onceRunning(side), inflightQueryAbortStrategy: 'cancel query' } as const
          await sql.raw(kind.slow).execute(trx, abort)
        })
        await assert.rejects(work, (error: Error) => error === REASON || error.cause === REASON)
        const { rows } = await sql.raw<{ n: unknown }>('select count(*) as n from marks').execute(db)
        assert.equal(Number(rows[0]?.n), 0)
      } finally {
        await db.destroy()
      }
    })
  }

  test('can end the session of a statement', async () => {
    await using side = await postgresSide.start()
    const db = new Kysely<object>({ dialect: postgresDialect(side.connection, ONE) })
    try {
      const work = sql
        .raw(postgresSide.slow)
        .execute(db, { signal: onceRunning(side), inflightQueryAbortStrategy: 'kill session' })
      await assert.rejects(work, (error: Error) => error === REASON || error.cause === REASON)
      assert.deepEqual((await sql.raw('select 7 as n').execute(db)).rows, [{ n: 7 }])
    } finally {
      await db.destroy()
    }
  })
})
