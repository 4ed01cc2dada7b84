/** The tracing channel `poolsmith:query`, in this process. */

import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { createRequire } from 'node:module'
import { type TestContext, test } from 'node:test'
import { Kysely, sql } from 'kysely'
import Cursor from 'pg-cursor'
import { sqlServerDialect } from '../../src/engine/kysely/index.ts'
import { createPgPool } from '../../src/engine/pg/index.ts'
import { createEngine, createMssqlPool } from '../../src/index.ts'
import { type QueryTrace, traces } from '../../src/tracing.ts'
import { postgresSide } from '../support/sides/postgres.ts'
import { sqlServerSide } from '../support/sides/sqlserver.ts'

const ONE = { pool_size: 1, max_overflow: 0, pool_name: 'sales' }

interface MssqlRequest {
  query(text: string): Promise<unknown>
  query(text: string, callback: (error?: Error) => void): void
}
const { Request } = createRequire(import.meta.url)('mssql') as { readonly Request: new (pool: object) => MssqlRequest }

/** The statements that are told while a test runs, when they end: the text, and `failed`. */
function watch(t: TestContext): string[] {
  const told: string[] = []
  const nothing = (): void => undefined
  const handlers = {
    start: nothing,
    end: nothing,
    asyncStart: nothing,
    error: nothing,
    asyncEnd: (given: object) => {
      const { text, error, poolName } = given as QueryTrace
      assert.equal(poolName, 'sales')
      told.push(error === undefined ? text : `${text}: failed`)
    },
  }
  traces.query.subscribe(handlers as never)
  t.after(() => traces.query.unsubscribe(handlers as never))
  return told
}

test('statements of a pg.Pool are told in every form, and the work of the pool itself is not', async (t) => {
  await using side = await postgresSide.start()
  const told = watch(t)
  // A reset after each use, and a ping before each one.
  await using pool = await createPgPool(side.connection, { ...ONE, pool_reset_on_return: 'full' })
  await pool.query('select 1')
  await pool.query({ text: 'select $1::int', values: [2] })
  await new Promise((resolve) => pool.query('select 3', resolve))
  await assert.rejects(pool.query('select wrong'))
  await pool.query({ text: 'select 4', signal: new AbortController().signal })
  const client = await pool.connect()
  const cursor = client.query(new Cursor('select 5'))
  await cursor.read(1)
  await cursor.close()
  client.release()
  assert.deepEqual(told, ['select 1', 'select $1::int', 'select 3', 'select wrong: failed', 'select 4'])
})

test('statements of every layer over SQL Server are told, and the work of the pool itself is not', async (t) => {
  await using side = await sqlServerSide.start()
  const told = watch(t)
  const options = { ...ONE, pool_reset_on_return: 'full' as const }
  await using db = await createEngine(side.connection, options)
  await db.raw('select 1 as n')
  await assert.rejects(async () => db.raw('select wrong'))
  const kysely = new Kysely<object>({ dialect: sqlServerDialect(side.connection, options) })
  await sql`select 2 as n`.execute(kysely)
  await kysely.destroy()
  const pool = await createMssqlPool(side.connection, options)
  await new Request(pool).query('select 3 as n')
  await pool.close()
  assert.deepEqual(
    told.map((text) => text.trim()),
    ['select 1 as n', 'select wrong: failed', 'select 2 as n', 'select 3 as n'],
  )
})

test('callbacks of mssql run in the context of their caller, also of one that waited', async () => {
  await using side = await sqlServerSide.start()
  const storage = new AsyncLocalStorage<string>()
  const pool = await createMssqlPool(side.connection, ONE)
  const ask = (name: string): Promise<string | undefined> =>
    storage.run(
      name,
      () =>
        new Promise((resolve, reject) => {
          new Request(pool).query('select 1 as n', (error) => (error ? reject(error) : resolve(storage.getStore())))
        }),
    )
  assert.deepEqual(await Promise.all([ask('a'), ask('b'), ask('c')]), ['a', 'b', 'c'])
  await pool.close()
})
