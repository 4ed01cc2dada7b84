/** Leak detection through the layers beside knex: the stack begins at the line of the program. */

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { after, before, describe, test } from 'node:test'
import { Kysely, sql } from 'kysely'
import { postgresDialect, sqlServerDialect } from '../../../src/engine/kysely/index.ts'
import { createPgPool } from '../../../src/engine/pg/index.ts'
import { createMssqlPool } from '../../../src/index.ts'
import { postgresSide } from '../../support/sides/postgres.ts'
import type { Side } from '../../support/sides/side.ts'
import { sqlServerSide } from '../../support/sides/sqlserver.ts'

/** The next leak, and what holds a connection until it was told. */
class Leaks {
  readonly options = {
    pool_size: 1,
    max_overflow: 0,
    leak_detection_threshold: 0.05,
    on: { 'connection:leaked': ({ stack = '' }) => this.#told.resolve(stack) },
  }
  #told = Promise.withResolvers<string>()

  /** Resolves with the stack of the leak. */
  async told(): Promise<string> {
    const stack = await this.#told.promise
    this.#told = Promise.withResolvers()
    return stack
  }
}

function beginsIn(stack: string, name: string): void {
  const [, first = ''] = stack.split('\n')
  assert.match(first, new RegExp(`at (async )?${name} \\(.*leak-sites\\.test\\.ts`), stack)
}

describe('PostgreSQL', () => {
  let side: Side
  before(async () => {
    side = await postgresSide.start()
  })
  after(() => side[Symbol.asyncDispose]())

  test('a pg.Pool names the line of connect and of query', async () => {
    const leaks = new Leaks()
    await using pool = await createPgPool(side.connection, leaks.options)
    async function byConnect(): Promise<string> {
      const client = await pool.connect()
      try {
        return await leaks.told()
      } finally {
        client.release()
      }
    }
    beginsIn(await byConnect(), 'byConnect')
    async function byQuery(): Promise<string> {
      const abort = new AbortController()
      const running = assert.rejects(pool.query({ text: postgresSide.slow, signal: abort.signal }), { code: 'ABORTED' })
      const stack = await leaks.told()
      abort.abort()
      await running
      return stack
    }
    beginsIn(await byQuery(), 'byQuery')
  })

  test('Kysely names the line of a transaction', async () => {
    const leaks = new Leaks()
    const db = new Kysely<object>({ dialect: postgresDialect(side.connection, leaks.options) })
    async function byTransaction(): Promise<string> {
      return await db.transaction().execute(() => leaks.told())
    }
    beginsIn(await byTransaction(), 'byTransaction')
    await db.destroy()
  })
})

describe('SQL Server', () => {
  let side: Side
  before(async () => {
    side = await sqlServerSide.start()
  })
  after(() => side[Symbol.asyncDispose]())

  test('Kysely names the line of a transaction', async () => {
    const leaks = new Leaks()
    const db = new Kysely<object>({ dialect: sqlServerDialect(side.connection, leaks.options) })
    async function byTransaction(): Promise<string> {
      return await db.transaction().execute(async (trx) => {
        await sql`select 1 as n`.execute(trx)
        return leaks.told()
      })
    }
    beginsIn(await byTransaction(), 'byTransaction')
    await db.destroy()
  })

  test('mssql names the line of a request, a transaction and a prepared statement, with several pools', async () => {
    await using other = await createMssqlPool(side.connection, new Leaks().options)
    const leaks = new Leaks()
    await using pool = await createMssqlPool(side.connection, leaks.options)
    assert.equal((await other.query('select 1 as n')).recordset.length, 1)
    async function byRequest(): Promise<string> {
      const request = new mssql.Request(pool)
      const running = assert.rejects(request.query(sqlServerSide.slow), { code: 'ECANCEL' })
      const stack = await leaks.told()
      request.cancel()
      await running
      return stack
    }
    beginsIn(await byRequest(), 'byRequest')
    async function byTransaction(): Promise<string> {
      const transaction = new mssql.Transaction(pool)
      await transaction.begin()
      const stack = await leaks.told()
      await transaction.rollback()
      return stack
    }
    beginsIn(await byTransaction(), 'byTransaction')
    async function byStatement(): Promise<string> {
      const statement = new mssql.PreparedStatement(pool)
      await statement.prepare('select 1 as n')
      const stack = await leaks.told()
      await statement.unprepare()
      return stack
    }
    beginsIn(await byStatement(), 'byStatement')
  })
})

const mssql = createRequire(import.meta.url)('mssql') as {
  readonly Request: new (pool: object) => { query(text: string): Promise<unknown>; cancel(): void }
  readonly Transaction: new (pool: object) => { begin(): Promise<void>; rollback(): Promise<void> }
  readonly PreparedStatement: new (pool: object) => { prepare(text: string): Promise<void>; unprepare(): Promise<void> }
}
