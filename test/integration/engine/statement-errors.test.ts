/** The error of a statement: the driver's own with phase, transient and a hint, or CONNECTION_LOST. */

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { after, before, describe, test } from 'node:test'
import { Kysely, sql as kyselySql } from 'kysely'
import type pg from 'pg'
import { DatabaseError } from 'pg'
import { RequestError } from 'tedious'
import { postgresDialect, sqlServerDialect } from '../../../src/engine/kysely/index.ts'
import {
  createEngine,
  createMssqlPool,
  type Engine,
  type MssqlConnectionPool,
  type MssqlPoolExtras,
  PoolsmithError,
} from '../../../src/index.ts'
import { until } from '../../support/driver-server.ts'
import { createPki } from '../../support/pki.ts'
import { type PostgresServer, startPostgres } from '../../support/postgres.ts'
import { sleepsSomewhere } from '../../support/sides/postgres.ts'
import { superuserRecord } from '../../support/superuser-record.ts'
import { startTdsServer, type TdsServer } from '../../support/tds/server.ts'

interface Failure extends Error {
  readonly code?: string
  readonly number?: number
  readonly phase?: string
  readonly transient?: boolean
  readonly hint?: string
  readonly cause?: Failure
  readonly originalError?: Failure
}

async function failure(work: PromiseLike<unknown>): Promise<Failure> {
  try {
    await work
  } catch (error) {
    return error as Failure
  }
  return assert.fail('it succeeded')
}

/** mssql has no types of its own. */
const sql = createRequire(import.meta.url)('mssql') as {
  readonly RequestError: typeof Error
  readonly TransactionError: typeof Error
  readonly Transaction: new (pool: object) => { begin(): Promise<void>; commit(): Promise<void> }
}

const OPTIONS = { pool_size: 1, max_overflow: 0 }

describe('PostgreSQL', () => {
  let server: PostgresServer
  let db: Engine

  before(async () => {
    server = await startPostgres()
    db = await createEngine(superuserRecord(server), OPTIONS)
  })
  after(async () => {
    await db.destroy()
    await server[Symbol.asyncDispose]()
  })

  test('an error of the server keeps its class and code', async () => {
    const error = await failure(db.raw('select no_such_column'))
    assert.ok(error instanceof DatabaseError)
    assert.deepEqual([error.code, error.phase, error.transient], ['42703', 'query', false])
    assert.match(error.message, /^select no_such_column - column "no_such_column" does not exist$/)
  })

  test('an error on a client that the pool lends has the same properties', async () => {
    const error = await failure(db.pool.use((client: pg.Client) => client.query('select 1/0')))
    assert.ok(error instanceof DatabaseError)
    assert.deepEqual([error.code, error.phase, error.transient], ['22012', 'query', false])
  })

  test("the server's own hint stays", async () => {
    const error = await failure(db.raw('select no_such_function(1)'))
    assert.equal(error.code, '42883')
    assert.match(error.hint ?? '', /No function matches the given name/)
  })

  test('an error that may not recur is transient and has a hint', async () => {
    await db.raw('create table if not exists locked (n int)')
    await using other = await createEngine(db.connection, { pool_size: 1 })
    await other.transaction(async (trx) => {
      await trx.raw('lock table locked')
      const error = await failure(
        db.transaction(async (own) => {
          await own.raw("set local lock_timeout = '50ms'")
          await own.raw('select * from locked')
        }),
      )
      assert.deepEqual([error.code, error.phase, error.transient], ['55P03', 'query', true])
      assert.match(error.hint ?? '', /lock_timeout/)
    })
  })

  test('a session that the server ends during a statement is CONNECTION_LOST with its last error', async () => {
    const id = (await db.raw('select pg_backend_pid() as id')).rows[0].id
    const running = failure(db.raw('select pg_sleep(60)'))
    await server.sql(`select pg_terminate_backend(${id})`)
    const error = await running
    assert.ok(error instanceof PoolsmithError)
    assert.deepEqual([error.code, error.phase, error.transient], ['CONNECTION_LOST', 'query', true])
    assert.deepEqual(
      [error.details.host, error.details.port, error.details.database, error.details.sqlstate],
      [server.host, server.port, 'postgres', '57P01'],
    )
    assert.ok(error.cause instanceof DatabaseError)
    assert.match(error.hint ?? '', /Run the transaction again/)
  })

  test('a session whose socket breaks during a statement is CONNECTION_LOST too', async () => {
    const raw = (await db.pool.acquire().promise) as pg.Client
    const running = failure(db.raw('select pg_sleep(60)').connection(raw))
    const { stream } = (
      raw as unknown as { connection: { stream: NodeJS.WritableStream & { destroy(e?: Error): void } } }
    ).connection
    stream.destroy(Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' }))
    const error = await running
    assert.deepEqual([error.code, error.cause?.code], ['CONNECTION_LOST', 'ECONNRESET'])
    // And so is each statement after it.
    const next = await failure(db.raw('select 1').connection(raw))
    assert.deepEqual([next.code, next.cause?.code], ['CONNECTION_LOST', 'ECONNRESET'])
    db.pool.release(raw)
  })
})

describe('PostgreSQL through Kysely', () => {
  let server: PostgresServer
  let kysely: Kysely<object>

  before(async () => {
    server = await startPostgres()
    kysely = new Kysely({
      dialect: postgresDialect(superuserRecord(server), OPTIONS),
    })
  })
  after(async () => {
    await kysely.destroy()
    await server[Symbol.asyncDispose]()
  })

  const idOf = async (db: Kysely<object>): Promise<number> => {
    const { rows } = await kyselySql<{ id: number }>`select pg_backend_pid() as id`.execute(db)
    return rows[0]?.id as number
  }
  /** Waits for the end of the session, and returns the error of a statement on it. */
  const lost = async (db: Kysely<object>): Promise<Failure> => {
    const id = await idOf(db)
    const running = failure(kyselySql`select pg_sleep(60)`.execute(db))
    await until(() => sleepsSomewhere(server), 'the statement runs')
    await server.sql(`select pg_terminate_backend(${id})`)
    return running
  }

  test("a transaction whose session ends during a statement rejects with the server's error", async () => {
    let told: Failure | undefined
    const error = await failure(
      kysely.transaction().execute(async (trx) => {
        told = await lost(trx)
        throw told
      }),
    )
    assert.equal(error, told)
    assert.deepEqual([error.code, error.phase, error.transient], ['57P01', 'query', true])
  })

  test('the error of the program is reported, and not that of the rollback', async () => {
    const own = new Error('mine')
    const error = await failure(
      kysely.transaction().execute(async (trx) => {
        await lost(trx)
        throw own
      }),
    )
    assert.equal(error, own)
  })

  test('a rollback of a session that has ended is done, and the pool opens another one', async () => {
    const trx = await kysely.startTransaction().execute()
    await lost(trx)
    await trx.rollback().execute()
    assert.equal(typeof (await idOf(kysely)), 'number')
  })
})

describe('SQL Server', () => {
  let postgres: PostgresServer
  let server: TdsServer
  let db: Engine
  let pool: MssqlConnectionPool & MssqlPoolExtras

  before(async () => {
    postgres = await startPostgres()
    const certificate = await (await createPki()).issue({ commonName: 'localhost', dns: ['localhost'] })
    server = await startTdsServer({ postgres, logins: { sa: 'pw' }, tls: certificate })
    const connection = {
      type: 'mssql',
      host: 'localhost',
      port: server.port,
      login: 'sa',
      password: 'pw',
      database: 'master',
      extra: { trust_server_certificate: true },
    }
    db = await createEngine(connection, OPTIONS)
    pool = await createMssqlPool(connection, OPTIONS)
  })
  after(async () => {
    await db.destroy()
    await pool.close()
    await server[Symbol.asyncDispose]()
    await postgres[Symbol.asyncDispose]()
  })

  test('an error of the server keeps its class and number', async () => {
    const error = await failure(db.raw('select no_such_column'))
    assert.ok(error instanceof RequestError)
    assert.deepEqual([error.code, error.phase, error.transient], ['EREQUEST', 'query', false])
    assert.equal(typeof error.number, 'number')
  })

  test('an error that may not recur is transient and has a hint', async () => {
    server.faults.add({ at: 'request', fault: { do: 'refuse', number: 1222, message: 'Lock.' }, times: 1 })
    const error = await failure(db.raw('select 1 as n'))
    assert.deepEqual([error.number, error.phase, error.transient], [1222, 'query', true])
    assert.match(error.hint ?? '', /lock_timeout/)
    server.faults.add({ at: 'request', fault: { do: 'refuse', number: 40501, message: 'Busy.' }, times: 1 })
    assert.equal((await failure(db.raw('select 1 as n'))).transient, true)
  })

  test('an error that ends the session is CONNECTION_LOST with the message of the server', async () => {
    const fault = { do: 'refuse', number: 596, class: 21, message: 'Cannot continue the execution.' } as const
    server.faults.add({ at: 'request', fault, times: 1 })
    const error = await failure(db.raw('select 1 as n'))
    assert.ok(error instanceof PoolsmithError)
    assert.deepEqual([error.code, error.transient, error.details.number], ['CONNECTION_LOST', true, 596])
    assert.match(error.message, /localhost:\d+ \(database master\) has ended: Cannot continue the execution/)
  })

  test('a session that is cut during a statement is CONNECTION_LOST', async () => {
    await db.raw('select 1 as n')
    server.faults.add({ at: 'request', fault: { do: 'reset' }, times: 1 })
    const error = await failure(db.raw('select 1 as n'))
    assert.deepEqual([error.code, error.phase, error.transient], ['CONNECTION_LOST', 'query', true])
    assert.match(error.cause?.message ?? '', /ECONNRESET/)
  })

  describe('through the package mssql', () => {
    test('an error of the server keeps its class and number', async () => {
      await pool.query('select 1 as n')
      server.faults.add({ at: 'request', fault: { do: 'refuse', number: 1205, message: 'Deadlock.' }, times: 1 })
      const error = await failure(pool.query('select 1 as n'))
      assert.ok(error instanceof sql.RequestError)
      assert.deepEqual([error.code, error.number, error.phase, error.transient], ['EREQUEST', 1205, 'query', true])
      assert.match(error.hint ?? '', /whole transaction again/)
    })

    test('a session that is cut during a statement has the code CONNECTION_LOST', async () => {
      server.faults.add({ at: 'request', fault: { do: 'reset' }, times: 1 })
      const error = await failure(pool.query('select 1 as n'))
      assert.ok(error instanceof sql.RequestError)
      assert.deepEqual([error.code, error.phase, error.transient], ['CONNECTION_LOST', 'query', true])
      assert.match(error.originalError?.cause?.message ?? '', /ECONNRESET/)
      assert.deepEqual((await pool.query('select 1 as n')).recordset, [{ n: 1 }])
    })

    test('a commit whose answer is lost is not transient', async () => {
      const transaction = new sql.Transaction(pool)
      await transaction.begin()
      server.faults.add({ at: 'request', fault: { do: 'reset' }, times: 1 })
      const error = await failure(transaction.commit())
      assert.ok(error instanceof sql.TransactionError)
      assert.deepEqual([error.code, error.phase, error.transient], ['CONNECTION_LOST', 'query', false])
      assert.match(error.message, /^It is not known whether the transaction was committed: /)
      assert.match(error.hint ?? '', /^Look whether its changes are there/)
    })

    test('a transaction whose begin is lost is transient', async () => {
      await pool.query('select 1 as n')
      server.faults.add({ at: 'request', fault: { do: 'reset' }, times: 1 })
      const error = await failure(new sql.Transaction(pool).begin())
      assert.ok(error instanceof sql.TransactionError)
      assert.deepEqual([error.code, error.phase, error.transient], ['CONNECTION_LOST', 'query', true])
    })
  })

  describe('through Kysely', () => {
    const losing = async (end: () => void): Promise<Failure> => {
      const kysely = new Kysely<object>({ dialect: sqlServerDialect(db.connection, OPTIONS) })
      try {
        return await failure(
          kysely.transaction().execute(async (trx) => {
            await kyselySql`select 1 as n`.execute(trx)
            end()
          }),
        )
      } finally {
        await kysely.destroy()
      }
    }

    test('a commit whose answer is lost is not transient', async () => {
      const error = await losing(() => server.faults.add({ at: 'request', fault: { do: 'reset' }, times: 1 }))
      assert.deepEqual([error.code, error.phase, error.transient], ['CONNECTION_LOST', 'query', false])
      assert.match(error.message, /^It is not known whether the transaction was committed: /)
      assert.equal((error as PoolsmithError).details.outcome, 'unknown')
    })

    test('the error of the program is reported, and not that of the rollback', async () => {
      const own = new Error('mine')
      const error = await losing(() => {
        server.faults.add({ at: 'request', fault: { do: 'reset' }, times: 1 })
        throw own
      })
      assert.equal(error, own)
    })
  })
})
