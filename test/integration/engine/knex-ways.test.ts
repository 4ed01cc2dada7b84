/** Features that programs on bare knex rely on, over our pool, on both databases. */

import assert from 'node:assert/strict'
import type { EventEmitter } from 'node:events'
import { after, before, describe, test } from 'node:test'
import knex, { type Knex } from 'knex'
import { ConfigError, createEngine, type Engine, type EngineOptions, PoolsmithError } from '../../../src/index.ts'
import { createPki } from '../../support/pki.ts'
import { startPostgres } from '../../support/postgres.ts'
import { startTdsServer } from '../../support/tds/server.ts'

/** Ends every session of the engine, from the server's side. */
const end: Record<'PostgreSQL' | 'SQL Server', () => Promise<unknown>> = {
  PostgreSQL: () => assert.fail('before'),
  'SQL Server': () => assert.fail('before'),
}
const words = {
  PostgreSQL: /terminating connection due to administrator command/,
  'SQL Server': /closed|hang up|ended/i,
}

type Make = (options?: EngineOptions, extra?: object) => Promise<Engine>

const resources = new AsyncDisposableStack()
const engines: Record<'PostgreSQL' | 'SQL Server', Make> = {
  PostgreSQL: () => assert.fail('before'),
  'SQL Server': () => assert.fail('before'),
}

before(async () => {
  const server = resources.use(await startPostgres())
  const tls = await (await createPki()).issue({ commonName: 'localhost', dns: ['localhost'] })
  const double = resources.use(await startTdsServer({ postgres: server, logins: { sa: 'pw' }, tls }))
  engines.PostgreSQL = (options = {}, extra = {}) =>
    createEngine(
      {
        type: 'postgres',
        host: server.host,
        port: server.port,
        login: server.superuser,
        password: server.superuserPassword,
        database: 'postgres',
        extra: { sslmode: 'disable', ...extra },
      },
      options,
    )
  end.PostgreSQL = () =>
    server.sql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'poolsmith'")
  end['SQL Server'] = async () => {
    for (const session of double.sessions()) session.kill()
  }
  engines['SQL Server'] = (options = {}, extra = {}) =>
    createEngine(
      {
        type: 'mssql',
        host: 'localhost',
        port: double.port,
        login: 'sa',
        password: 'pw',
        database: 'master',
        extra: { trust_server_certificate: true, ...extra },
      },
      options,
    )
})
after(() => resources.disposeAsync())

async function failure(work: PromiseLike<unknown>): Promise<Error & Record<string, unknown>> {
  try {
    await work
  } catch (error) {
    return error as Error & Record<string, unknown>
  }
  return assert.fail('it succeeded')
}

test('mapBinding of knex decides the type of a binding, also in a stream and a transaction', async () => {
  const { TYPES } = await import('tedious')
  const seen: unknown[] = []
  await using db = await engines['SQL Server']({
    knex: {
      connection: {
        options: {
          mapBinding: (value) => {
            seen.push(value)
            return value === 7 ? { value: 'seven', type: TYPES.VarChar } : undefined
          },
        },
      },
    },
  })
  assert.deepEqual(await db.raw('select ? as a, ? as b', [7, 'b']), [{ a: 'seven', b: 'b' }])
  assert.deepEqual(await db.raw('select ? as a', [7]).stream().toArray(), [{ a: 'seven' }])
  await db.transaction(async (trx) => {
    assert.deepEqual(await trx.raw('select ? as a', [7]), [{ a: 'seven' }])
  })
  assert.deepEqual(seen, [7, 'b', 7, 7])
})

for (const name of ['PostgreSQL', 'SQL Server'] as const) {
  describe(name, () => {
    test('the events of knex name the connection by the id that the pool gives it', async () => {
      await using db = await engines[name]({ pool_size: 2, max_overflow: 0 })
      const uids: unknown[] = []
      db.on('query', ({ __knexUid }) => uids.push(__knexUid))
      db.on('query-response', (_: unknown, { __knexUid }: { __knexUid: unknown }) => uids.push(__knexUid))
      db.on('query-error', (_: unknown, { __knexUid }: { __knexUid: unknown }) => uids.push(__knexUid))
      await db.raw('select 1 as one')
      await failure(db.raw('select * from missing_table'))
      assert.deepEqual(uids, ['__knexUid1', '__knexUid1', '__knexUid1', '__knexUid1'])
      await db.transaction(async (trx) => {
        uids.length = 0
        await Promise.all([trx.raw('select 2 as two'), db.raw('select 3 as three')])
        assert.deepEqual(new Set(uids), new Set(['__knexUid1', '__knexUid2']))
      })
    })

    test('acquireConnectionTimeout is pool_timeout, and its error is a KnexTimeoutError with the statement', async () => {
      const opened = Promise.withResolvers<unknown>()
      await using db = await engines[name]({
        pool_size: 1,
        max_overflow: 0,
        // Opened without the limit, and lent without a round trip.
        pool_min_idle: 1,
        pool_pre_ping: false,
        on: { 'connection:opened': opened.resolve },
        knex: { acquireConnectionTimeout: 50 },
      })
      await opened.promise
      const trx = await db.transaction()
      for (const work of [
        () => db('t').where({ a: 7 }),
        () => db('t').where({ a: 7 }).stream().toArray(),
        () => db.raw('select * from t where a = ?', [7]),
      ]) {
        let error = await failure(work())
        // On a busy machine the loop may stand still for most of 50 ms, and then the error says so.
        while ((error as { readonly code?: unknown }).code === 'EVENT_LOOP_STALLED') error = await failure(work())
        assert.ok(error instanceof knex.KnexTimeoutError && error instanceof PoolsmithError)
        assert.equal(error instanceof ConfigError, false)
        assert.deepEqual([error.code, error.phase, error.transient], ['POOL_EXHAUSTED', 'pool', true])
        assert.match(error.message, /within 50 ms \(pool_timeout\)/)
        assert.match(String(error.sql), /select \* from .?t.? where .?a.? = (\?|\$1|@p0)$/)
        assert.deepEqual(error.bindings, [7])
        assert.equal(error.toJSON().code, 'POOL_EXHAUSTED')
      }
      assert.ok((await failure(db.transaction())) instanceof knex.KnexTimeoutError)
      await trx.rollback()
    })

    test('a transaction whose session has ended says at the next statement what ended it', async () => {
      await using db = await engines[name]({ pool_size: 1, max_overflow: 0 })
      for (const next of [
        (trx: Knex.Transaction) => trx.raw('select 1 as one'),
        (trx: Knex.Transaction) => trx.raw('select 1 as one').stream().toArray(),
        (trx: Knex.Transaction) => trx.transaction(async () => undefined),
        (trx: Knex.Transaction) => trx.commit(),
      ]) {
        const trx = await db.transaction()
        trx.executionPromise.catch(() => undefined)
        const raw = (await trx.client.acquireConnection()) as EventEmitter
        const ended = new Promise((resolve) => raw.once('end', resolve))
        await end[name]()
        await ended
        const error = await failure(next(trx))
        assert.ok(error instanceof PoolsmithError, String(error))
        assert.deepEqual([error.code, error.phase, error.transient], ['CONNECTION_LOST', 'query', true])
        assert.match(error.message, words[name])
        await trx.rollback().catch(() => undefined)
      }
      assert.deepEqual(db.pool.stats().inUse, 0)
    })

    test('after destroy(), initialize() opens the engine again', async () => {
      await using db = await engines[name]({ pool_size: 1 })
      await db.raw('select 1 as one')
      const first = db.pool
      for (let round = 0; round < 3; round++) {
        await db.destroy()
        assert.equal((await failure(db.raw('select 1'))).code, 'POOL_CLOSED')
        db.initialize()
        await db.transaction(async (trx) => {
          await trx.raw('select 1 as one')
        })
      }
      assert.notEqual(db.pool, first)
      assert.equal(db.pool.stats().total, 1)
      const { client } = db
      assert.equal(client.pool.destroyed, false)
      await db.destroy()
      assert.equal(client.pool, undefined)
      db.initialize()
      // As in knex, programs that look at the pool find one at once.
      assert.deepEqual([client.pool.destroyed, client.pool.numUsed()], [false, 0])
      const ended = db.destroy()
      assert.equal(client.pool.destroyed, true)
      await ended
      assert.equal(client.pool, undefined)
      assert.equal(db.pool.stats().closed, true)
    })

    test('options that have another place are refused, each with that place', async () => {
      const given = {
        pool: { min: 2 },
        searchPath: ['a'],
        acquireConnectionTimeout: -1,
        connection: { host: 'db', options: { useUTC: false, mapBinding: 7 } },
      }
      const error = await failure(engines[name]({ knex: given } as unknown as EngineOptions))
      assert.ok(error instanceof ConfigError)
      assert.deepEqual(
        error.problems.map(({ path }) => path),
        [
          'knex.pool',
          'knex.searchPath',
          'knex.acquireConnectionTimeout',
          'knex.connection.host',
          'knex.connection.options.useUTC',
          'knex.connection.options.mapBinding',
        ],
      )
      assert.match(error.message, /pool_size.*extra\.use_utc/s)
    })
  })
}
