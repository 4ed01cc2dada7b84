import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import knex from 'knex'
import { createEngine, type Engine, withSignal } from '../../../src/index.ts'
import { aborted, onceRunning, REASON } from '../../support/running.ts'
import { postgresSide } from '../../support/sides/postgres.ts'
import type { Side } from '../../support/sides/side.ts'
import { sqlServerSide } from '../../support/sides/sqlserver.ts'

const ONE = { pool_size: 1, max_overflow: 0, pool_timeout: 20 }

for (const kind of [postgresSide, sqlServerSide]) {
  describe(`${kind.name}: withSignal`, () => {
    let side: Side
    before(async () => {
      side = await kind.start()
    })
    after(() => side[Symbol.asyncDispose]())

    const one = async (db: Engine): Promise<unknown> => kind.rowsOf(await db.raw('select 7 as n'))[0]?.n
    const session = (db: Engine): Promise<unknown> => db.pool.use((raw) => db.pool.infoOf(raw)?.id)

    test('an abort ends a raw statement, and the session is good for the next caller', async () => {
      await using db = await createEngine(side.connection, ONE)
      const id = await session(db)
      await aborted(withSignal(db.raw(kind.slow), onceRunning(side)))
      assert.equal(await one(db), 7)
      assert.equal(await session(db), id, 'the same session')
    })

    test('an abort ends the wait of a builder for a connection', async () => {
      await using db = await createEngine(side.connection, ONE)
      const raw = await db.pool.acquire().promise
      const controller = new AbortController()
      const waiting = aborted(Promise.resolve(withSignal(db('marks').select(), controller.signal)))
      while (db.pool.stats().waiting === 0) await new Promise(setImmediate)
      controller.abort(REASON)
      const error = await waiting
      assert.equal(error.phase, 'pool')
      db.pool.release(raw)
      assert.equal(await one(db), 7)
    })

    test('a signal that has aborted before lets no statement begin', async () => {
      await using db = await createEngine(side.connection, ONE)
      await aborted(withSignal(db.raw('select 1 as n'), AbortSignal.abort(REASON)))
      assert.equal(db.pool.stats().counts.acquired, 0)
      assert.deepEqual(
        kind.rowsOf(await withSignal(db.raw('select 7 as n'), new AbortController().signal)),
        [{ n: 7 }],
        'one that does not abort changes nothing',
      )
    })

    test('the signal of a transaction ends its running statement and rolls it back', async () => {
      await using db = await createEngine(side.connection, ONE)
      await db.raw(kind.setUp)
      const id = await session(db)
      const work = db.transaction(async (trx) => {
        await trx('marks').insert({ n: 1 })
        await trx.raw(kind.slow)
      })
      await aborted(Promise.resolve(withSignal(work, onceRunning(side))))
      assert.deepEqual(await db('marks').select('n'), [])
      assert.equal(await session(db), id, 'the same session')
      await withSignal(
        db.transaction((trx) => trx('marks').insert({ n: 2 })),
        new AbortController().signal,
      )
      assert.deepEqual(await db('marks').select('n'), [{ n: 2 }])
    })

    test('the signal of a transaction ends its wait for a connection', async () => {
      await using db = await createEngine(side.connection, ONE)
      const raw = await db.pool.acquire().promise
      const controller = new AbortController()
      const work = withSignal(
        db.transaction(async () => assert.fail('it began')),
        controller.signal,
      )
      const waiting = aborted(Promise.resolve(work))
      while (db.pool.stats().waiting === 0) await new Promise(setImmediate)
      controller.abort(REASON)
      await waiting
      db.pool.release(raw)
      assert.equal(await one(db), 7)
    })

    test('a signal given to trx counts in its savepoints, until the transaction ends', async () => {
      await using db = await createEngine(side.connection, ONE)
      const controller = new AbortController()
      const trx = await db.transaction()
      withSignal(trx, controller.signal)
      await trx.raw('select 1 as n')
      controller.abort(REASON)
      await aborted(trx.transaction((inner) => inner.raw('select 1 as n')))
      await aborted(trx.raw('select 1 as n'))
      await trx.rollback()
      assert.equal(await one(db), 7)
    })

    test('a statement that waits in its transaction is taken back, and the running one goes on', async () => {
      await using db = await createEngine(side.connection, ONE)
      const controller = new AbortController()
      await db.transaction(async (trx) => {
        const first = trx.raw('select 1 as n').then(kind.rowsOf)
        const second = aborted(withSignal(trx.raw(kind.slow), controller.signal))
        controller.abort(REASON)
        await second
        assert.deepEqual(await first, [{ n: 1 }])
        assert.deepEqual(kind.rowsOf(await trx.raw('select 2 as n')), [{ n: 2 }])
      })
    })

    test('an abort ends a stream with the error, and returns its connection', async () => {
      await using db = await createEngine(side.connection, ONE)
      const controller = new AbortController()
      const rows = withSignal(db.raw(kind.numbers(1_000_000)), controller.signal).stream()
      await aborted(
        (async () => {
          for await (const _ of rows) controller.abort(REASON)
        })(),
      )
      assert.equal(await one(db), 7)
      assert.equal(db.pool.stats().inUse, 0)
    })
  })
}

test('a statement that its own time limit ends is not reported as aborted', async () => {
  await using side = await postgresSide.start()
  await using db = await createEngine(side.connection, ONE)
  const slow = db.raw(postgresSide.slow).timeout(50, { cancel: true })
  await assert.rejects(withSignal(slow, new AbortController().signal), { name: 'KnexTimeoutError' })
})

test('a statement with something else than a signal is refused, and takes no connection', async () => {
  await using side = await postgresSide.start()
  await using db = await createEngine(side.connection, ONE)
  const controller = new AbortController() as never
  const refusal = { code: 'CONFIG_INVALID', message: /signal: is not an AbortSignal/ }
  await assert.rejects(async () => withSignal(db.raw('select 1'), controller), refusal)
  await assert.rejects(
    async () =>
      withSignal(
        db.transaction(async (trx) => trx.raw('select 1')),
        controller,
      ),
    refusal,
  )
  await assert.rejects(async () => db.transaction(async (trx) => withSignal(trx, controller).raw('select 1')), refusal)
  assert.equal(db.pool.stats().inUse, 0)
})

test('withSignal refuses what it cannot end', async () => {
  const stock = knex({ client: 'pg' })
  const { signal } = new AbortController()
  assert.throws(() => withSignal(stock('t'), signal), TypeError)
  assert.throws(() => withSignal({}, signal), TypeError)
  await using db = await createEngine('postgres://u:p@127.0.0.1:1/d?sslmode=disable')
  assert.throws(() => withSignal(db, signal), TypeError, 'the engine itself')
  assert.throws(() => withSignal(Promise.resolve(), signal), TypeError)
  const builder = db('t')
  assert.equal(withSignal(builder, undefined), builder)
})
