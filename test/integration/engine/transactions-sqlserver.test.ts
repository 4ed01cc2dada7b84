/** A transaction of knex: a commit that did not happen is an error, in both forms and on both databases. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { createEngine, type Engine, PoolsmithError } from '../../../src/index.ts'
import { type Gate, startGate } from '../../support/gate.ts'
import { createPki } from '../../support/pki.ts'
import { type PostgresServer, startPostgres } from '../../support/postgres.ts'
import { startTdsServer, type TdsServer } from '../../support/tds/server.ts'
import { FORMS, failure, OPTIONS, sessionEnded } from '../../support/transactions.ts'

describe('SQL Server', () => {
  let postgres: PostgresServer
  let server: TdsServer
  let gate: Gate

  before(async () => {
    postgres = await startPostgres()
    const certificate = await (await createPki()).issue({ commonName: 'localhost', dns: ['localhost'] })
    server = await startTdsServer({ postgres, logins: { sa: 'pw' }, tls: certificate })
    gate = await startGate(server.port)
    await using db = await engine()
    await db.raw('create table marks (n int)')
  })
  after(async () => {
    await gate[Symbol.asyncDispose]()
    await server[Symbol.asyncDispose]()
    await postgres[Symbol.asyncDispose]()
  })

  const engine = (): Promise<Engine> =>
    createEngine(
      {
        type: 'mssql',
        host: 'localhost',
        port: gate.port,
        login: 'sa',
        password: 'pw',
        database: 'master',
        extra: { trust_server_certificate: true },
      },
      OPTIONS,
    )

  for (const [form, run] of Object.entries(FORMS)) {
    describe(form, () => {
      test('rejects when the server refuses to commit', async () => {
        await using db = await engine()
        const error = await failure(
          run(db, async (trx) => {
            await trx('marks').insert({ n: 1 })
            server.faults.add({ at: 'request', fault: { do: 'refuse', number: 3930, message: 'Doomed.' }, times: 1 })
          }),
        )
        assert.deepEqual([error.number, error.phase, error.transient], [3930, 'query', false])
        assert.deepEqual(await db('marks'), [])
        assert.equal(db.pool.stats().counts.opened, 1)
      })

      test('rejects when a swallowed error has ended the transaction, and sends no further statement', async () => {
        await using db = await engine()
        const error = await failure(
          run(db, async (trx) => {
            await trx('marks').insert({ n: 1 })
            server.faults.add({ at: 'request', fault: { do: 'refuse', number: 1205, message: 'Deadlock.' }, times: 1 })
            const victim = await failure(trx('marks').insert({ n: 2 }))
            assert.deepEqual([victim.number, victim.transient], [1205, true])
            // SQL Server would run and keep it on its own.
            assert.equal((await failure(trx('marks').insert({ n: 3 }))).code, 'TRANSACTION_ROLLED_BACK')
          }),
        )
        assert.deepEqual([error.code, error.cause?.number, error.transient], ['TRANSACTION_ROLLED_BACK', 1205, true])
        assert.deepEqual(await db('marks'), [])
      })

      test('rejects when the session has ended', async () => {
        await using db = await engine()
        const error = await failure(
          run(db, async (trx) => {
            await trx('marks').insert({ n: 1 })
            const ended = sessionEnded(trx)
            server.sessions()[0]?.kill()
            await ended
          }),
        )
        assert.deepEqual([error.code, error.phase, error.transient], ['CONNECTION_LOST', 'query', true])
        assert.match(error.message, /localhost:\d+ \(database master\)/)
        assert.deepEqual(await db('marks'), [])
      })

      test('reports an unknown outcome when the session ends between COMMIT and its answer', async () => {
        await using db = await engine()
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

      test('rejects when BEGIN fails, and runs nothing', async () => {
        await using db = await engine()
        await db.raw('select 1 as n')
        server.faults.add({ at: 'request', fault: { do: 'refuse', number: 3989, message: 'No.' }, times: 1 })
        let ran = false
        const error = await failure(
          run(db, async () => {
            ran = true
          }),
        )
        assert.deepEqual([error.number, error.phase, ran], [3989, 'query', false])
      })
    })
  }

  test('a savepoint cannot be released after the server has ended the transaction', async () => {
    await using db = await engine()
    const error = await failure(
      db.transaction(async (trx) => {
        const inner = await trx.transaction()
        server.faults.add({ at: 'request', fault: { do: 'refuse', number: 1205, message: 'Deadlock.' }, times: 1 })
        await failure(inner('marks').insert({ n: 2 }))
        assert.equal((await failure(inner.commit())).code, 'TRANSACTION_ROLLED_BACK')
      }),
    )
    assert.deepEqual([error.code, error.cause?.number], ['TRANSACTION_ROLLED_BACK', 1205])
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
  })

  test('a transaction that a statement has committed is told as that, and as rolled back where one has rolled it back', async () => {
    await using db = await engine()
    const ended = async (n: number, statement: string): Promise<string | undefined> => {
      const work = db.transaction(async (trx) => {
        await trx('marks').insert({ n })
        await trx.raw(statement)
        await failure(trx('marks').insert({ n: 0 }))
      })
      return (await failure(work)).code
    }
    assert.equal(await ended(41, 'rollback transaction'), 'TRANSACTION_ROLLED_BACK')
    assert.equal(await ended(42, 'commit transaction'), 'TRANSACTION_COMMITTED')
    assert.deepEqual(await db('marks').whereIn('n', [0, 41, 42]), [{ n: 42 }])
    await db('marks').delete()
  })
})
