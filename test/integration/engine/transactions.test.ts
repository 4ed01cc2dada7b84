/** A transaction of knex: a commit that did not happen is an error, in both forms and on both databases. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { Knex } from 'knex'
import type pg from 'pg'
import { createEngine, type Engine, PoolsmithError } from '../../../src/index.ts'
import { type Gate, startGate } from '../../support/gate.ts'
import { type PostgresServer, startPostgres } from '../../support/postgres.ts'
import { FORMS, failure, OPTIONS, sessionEnded } from '../../support/transactions.ts'

describe('PostgreSQL', () => {
  let server: PostgresServer
  let gate: Gate

  before(async () => {
    server = await startPostgres()
    gate = await startGate(server.port)
    await server.sql('create table marks (n int unique deferrable initially deferred)')
  })
  after(async () => {
    await gate[Symbol.asyncDispose]()
    await server[Symbol.asyncDispose]()
  })

  const engine = (port = server.port): Promise<Engine> =>
    createEngine(
      {
        type: 'postgres',
        host: server.host,
        port,
        login: server.superuser,
        password: server.superuserPassword,
        database: 'postgres',
        extra: { sslmode: 'disable' },
      },
      OPTIONS,
    )

  /** The process behind a transaction. */
  const processOf = async (trx: Knex.Transaction): Promise<number> =>
    (await trx.raw('select pg_backend_pid() as id')).rows[0].id

  for (const [form, run] of Object.entries(FORMS)) {
    describe(form, () => {
      test('rejects with the constraint that COMMIT violates', async () => {
        await using db = await engine()
        const error = await failure(
          run(db, async (trx) => {
            await trx('marks').insert([{ n: 1 }, { n: 1 }])
          }),
        )
        assert.deepEqual([error.code, error.phase, error.transient], ['23505', 'query', false])
        assert.deepEqual(await db('marks'), [])
        assert.equal(db.pool.stats().counts.opened, 1)
      })

      test('rejects when COMMIT was answered with ROLLBACK, with the swallowed error as cause', async () => {
        await using db = await engine()
        const error = await failure(
          run(db, async (trx) => {
            await trx('marks').insert({ n: 1 })
            await trx.raw('select 1/0').catch(() => undefined)
            // A consequence of the first error, which is its cause.
            const next = await failure(trx.raw('select 1'))
            assert.equal(next.code, '25P02')
            assert.equal(next.cause?.code, '22012')
          }),
        )
        assert.deepEqual([error.code, error.phase, error.cause?.code], ['TRANSACTION_ROLLED_BACK', 'query', '22012'])
        assert.ok(error instanceof PoolsmithError && error.hint !== undefined)
        assert.deepEqual(await db('marks'), [])
      })

      test('names the swallowed error of a stream as cause', async () => {
        await using db = await engine()
        const error = await failure(
          run(db, async (trx) => {
            await failure(
              (async () => {
                for await (const _ of trx.raw('select 1/(n-3) from generate_series(1, 5) n').stream());
              })(),
            )
          }),
        )
        assert.deepEqual([error.code, error.cause?.code], ['TRANSACTION_ROLLED_BACK', '22012'])
      })

      test('names no error of an earlier transaction', async () => {
        await using db = await engine()
        await failure(run(db, (trx) => trx.raw('select 1/0')))
        const error = await failure(
          run(db, async (trx) => {
            await trx.raw('select no_such_column').catch(() => undefined)
          }),
        )
        assert.equal(error.cause?.code, '42703')
      })

      test('rejects with the last error of the server that ended the session', async () => {
        await using db = await engine()
        const error = await failure(
          run(db, async (trx) => {
            await trx('marks').insert({ n: 1 })
            const ended = sessionEnded(trx)
            await server.sql(`select pg_terminate_backend(${await processOf(trx)})`)
            await ended
          }),
        )
        assert.deepEqual([error.code, error.phase, error.transient], ['CONNECTION_LOST', 'query', true])
        assert.equal(error.cause?.code, '57P01')
        assert.match(error.message, /127\.0\.0\.1:\d+ \(database postgres\)/)
        assert.deepEqual(await db('marks'), [])
        assert.equal(db.pool.stats().inUse, 0)
      })

      test('rejects with the limit of the server for idle transactions', async () => {
        await using db = await engine()
        const error = await failure(
          run(db, async (trx) => {
            await trx('marks').insert({ n: 1 })
            await trx.raw('set local idle_in_transaction_session_timeout = 50')
            await sessionEnded(trx)
          }),
        )
        assert.deepEqual([error.code, error.cause?.code], ['CONNECTION_LOST', '25P03'])
        assert.match((error as PoolsmithError).hint ?? '', /idle_in_transaction_session_timeout/)
        assert.deepEqual(await db('marks'), [])
      })

      test('reports an unknown outcome when the session ends between COMMIT and its answer', async () => {
        await using db = await engine(gate.port)
        const error = await failure(
          run(db, async (trx) => {
            await trx('marks').insert({ n: 1 })
            gate.freeze()
            setTimeout(() => {
              gate.reset()
              gate.thaw()
            }, 100)
          }),
        )
        assert.ok(error instanceof PoolsmithError)
        assert.deepEqual([error.code, error.transient, error.details.outcome], ['CONNECTION_LOST', false, 'unknown'])
      })

      test('rejects with the error of the statement during which the session ended', async () => {
        await using db = await engine()
        const error = await failure(
          run(db, async (trx) => {
            const id = await processOf(trx)
            setTimeout(() => server.sql(`select pg_terminate_backend(${id})`), 50)
            await trx.raw('select pg_sleep(60)')
          }),
        )
        assert.deepEqual([error.code, error.cause?.code], ['CONNECTION_LOST', '57P01'])
        assert.match(error.message, /^select pg_sleep/)
      })

      test('rejects when BEGIN fails, and runs nothing', async () => {
        await using db = await engine()
        const raw = (await db.pool.acquire().promise) as pg.Client
        await raw.query('begin; savepoint a')
        await raw.query('select 1/0').catch(() => undefined)
        let ran = false
        const error = await failure(
          db.transaction(
            async () => {
              ran = true
            },
            { connection: raw },
          ),
        )
        assert.equal(error.code, '25P02')
        assert.equal((await failure(db.transaction(undefined as never, { connection: raw }))).code, '25P02')
        assert.equal(ran, false)
        db.pool.release(raw)
      })
    })
  }

  test('nested transactions commit and roll back on their own, and a failed release rejects', async () => {
    await using db = await engine()
    await db.transaction(async (trx) => {
      await trx('marks').insert({ n: 1 })
      await trx.transaction((inner) => inner('marks').insert({ n: 2 }))
      await failure(
        trx.transaction(async (inner) => {
          await inner('marks').insert({ n: 3 })
          throw new Error('no')
        }),
      )
      const inner = await trx.transaction()
      await inner('marks').insert({ n: 4 })
      await inner.rollback()
      assert.equal((await failure(inner.commit())).code, 'TRANSACTION_ROLLED_BACK')
    })
    assert.deepEqual(await db('marks').orderBy('n').pluck('n'), [1, 2])
    const error = await failure(
      db.transaction(async (trx) => {
        const inner = await trx.transaction()
        await inner.raw('select 1/0').catch(() => undefined)
        const released = await failure(inner.commit())
        assert.deepEqual([released.code, released.cause?.code], ['25P02', '22012'])
      }),
    )
    assert.equal(error.code, 'TRANSACTION_ROLLED_BACK')
    await db('marks').del()
  })

  test('a statement after the one that failed the transaction is transient if that one was', async () => {
    await using db = await engine()
    const refuse = (sqlstate: string) => `do $$ begin raise exception 'no' using errcode = '${sqlstate}'; end $$`
    for (const [sqlstate, transient] of [
      ['40001', true],
      ['22012', false],
    ] as const) {
      const error = await failure(
        db.transaction(async (trx) => {
          await trx.raw(refuse(sqlstate)).catch(() => undefined)
          await trx.raw('select 1')
        }),
      )
      assert.deepEqual([error.code, error.cause?.code, error.transient], ['25P02', sqlstate, transient])
    }
  })

  test('a second commit resolves, and a commit after a rollback rejects', async () => {
    await using db = await engine()
    const trx = await db.transaction()
    await trx('marks').insert({ n: 1 })
    await trx.commit()
    await trx.commit()
    await db('marks').del()
    const other = await db.transaction()
    await other('marks').insert({ n: 2 })
    await other.rollback()
    assert.equal((await failure(other.commit())).code, 'TRANSACTION_ROLLED_BACK')
    assert.deepEqual(await db('marks'), [])
    // A function may end its transaction and return.
    assert.equal(await db.transaction(async (own) => void (await own.rollback())), undefined)
    await db.transaction(async (own) => void (await own.commit()))
  })
})
