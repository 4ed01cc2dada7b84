/** Too many bindings through the layers beside knex: refused by the driver, and the session stays. */

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { describe, test } from 'node:test'
import { Kysely, PostgresDialect, sql } from 'kysely'
import type pg from 'pg'
import PgCursor from 'pg-cursor'
import PgQueryStream from 'pg-query-stream'
import { sqlServerDialect } from '../../../src/engine/kysely/index.ts'
import { createPgPool } from '../../../src/engine/pg/index.ts'
import { createEngine, createMssqlPool } from '../../../src/index.ts'
import { postgresSide } from '../../support/sides/postgres.ts'
import { sqlServerSide } from '../../support/sides/sqlserver.ts'

interface MssqlRequest {
  input(name: string, type: unknown, value: unknown): unknown
  query(text: string): Promise<{ recordset: unknown[] }>
}

const mssql = createRequire(import.meta.url)('mssql') as {
  readonly Request: new (pool: object) => MssqlRequest
  readonly Int: unknown
}

const ONE = { pool_size: 1, max_overflow: 0 }

interface Refusal extends Error {
  readonly code?: string
  readonly transient?: boolean
  readonly phase?: string
  readonly hint?: string
  readonly originalError?: Refusal
}

/** Whether an error is the refusal; mssql wraps it. */
function refuses(count: number) {
  return (error: Refusal): boolean => {
    const { code, transient, phase, hint } = error.originalError ?? error
    assert.deepEqual([code, transient, phase], ['TOO_MANY_BINDINGS', false, 'query'], String(error))
    assert.deepEqual([error.phase, error.transient], ['query', false])
    assert.match(error.message, new RegExp(`has ${count} bindings, and .* at most (65535|2100)`))
    assert.match(hint ?? '', /fewer rows/)
    return true
  }
}

const rows = (count: number): { n: number }[] => Array.from({ length: count }, (_, n) => ({ n }))

describe('PostgreSQL', () => {
  const most = 65_535
  const refused = refuses(most + 1)
  const insert = (count: number): string => `insert into marks values ${rows(count).map(({ n }) => `($${n + 1}::int)`)}`
  const values = (count: number): number[] => rows(count).map(({ n }) => n)

  test('a pg.Pool refuses it in every form of a statement, and keeps the session', async () => {
    await using side = await postgresSide.start()
    await using pool = await createPgPool(side.connection, ONE)
    await pool.query(postgresSide.setUp)
    assert.equal((await pool.query(insert(most), values(most))).rowCount, most)
    const text = insert(most + 1)
    const bound = values(most + 1)
    await assert.rejects(pool.query(text, bound), refused)
    await assert.rejects(pool.query({ text, values: bound }), refused)
    const byCallback = new Promise((resolve, reject) => {
      pool.query(text, bound, (error: Error | undefined, result: unknown) => (error ? reject(error) : resolve(result)))
    })
    await assert.rejects(byCallback, refused)
    const client = await pool.connect()
    try {
      await assert.rejects(client.query(new PgCursor('select $1::int', bound)).read(1), refused)
      await assert.rejects(async () => {
        for await (const _ of client.query(new PgQueryStream('select $1::int', bound)));
      }, refused)
      assert.deepEqual((await client.query('select count(*)::int as n from marks')).rows, [{ n: most }])
    } finally {
      client.release()
    }
    assert.equal((await pool.query('select 1')).rowCount, 1)
    assert.equal(pool.poolsmith.stats().counts.opened, 1)
  })

  test('the client of pool.use and Kysely refuse it', async () => {
    await using side = await postgresSide.start()
    await using engine = await createEngine<pg.Client>(side.connection, ONE)
    await engine.raw(postgresSide.setUp)
    await assert.rejects(
      engine.pool.use((client) => client.query(insert(most + 1), values(most + 1))),
      refused,
    )
    assert.equal(engine.pool.stats().counts.opened, 1)

    await using pool = await createPgPool(side.connection, ONE)
    const db = new Kysely<{ marks: { n: number } }>({ dialect: new PostgresDialect({ pool }) })
    await assert.rejects(
      db
        .insertInto('marks')
        .values(rows(most + 1))
        .execute(),
      refused,
    )
    assert.equal((await sql<{ n: number }>`select 1 as n`.execute(db)).rows[0]?.n, 1)
    assert.equal(pool.poolsmith.stats().counts.opened, 1)
  })
})

describe('SQL Server', () => {
  const most = 2098

  test('Kysely and mssql refuse it, and keep the session', async () => {
    await using side = await sqlServerSide.start()
    const db = new Kysely<{ marks: { n: number } }>({ dialect: sqlServerDialect(side.connection, ONE) })
    await using pool = await createMssqlPool(side.connection, ONE)
    try {
      await pool.query(sqlServerSide.setUp)
      await db.insertInto('marks').values(rows(1000)).execute()
      const list = (count: number) =>
        sql`select count(*) as n from marks where n in (${sql.join(rows(count).map(({ n }) => n))})`
      assert.deepEqual((await list(most).execute(db)).rows, [{ n: '1000' }])
      await assert.rejects(list(most + 1).execute(db), refuses(most + 1))

      const request = (count: number): [MssqlRequest, string] => {
        const made = new mssql.Request(pool)
        for (const { n } of rows(count)) made.input(`v${n}`, mssql.Int, n)
        return [made, `select count(*) as n from marks where n in (${rows(count).map(({ n }) => `@v${n}`)})`]
      }
      const [fits, fitting] = request(most)
      assert.deepEqual((await fits.query(fitting)).recordset, [{ n: '1000' }])
      const [large, text] = request(most + 1)
      await assert.rejects(large.query(text), refuses(most + 1))
      assert.deepEqual((await pool.query('select 1 as n')).recordset, [{ n: 1 }])
      assert.equal(pool.connections.stats().counts.opened, 1)
    } finally {
      await db.destroy()
    }
  })
})
