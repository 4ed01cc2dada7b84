/** The audit log over real PostgreSQL servers: each kind of line, from every data layer. */

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { type TestContext, test } from 'node:test'
import { Kysely, sql } from 'kysely'
import type pg from 'pg'
import Cursor from 'pg-cursor'
import { type AuditEvent, queryHash, withAuditContext } from '../../src/audit/index.ts'
import { postgresDialect } from '../../src/engine/kysely/index.ts'
import { createPgPool } from '../../src/engine/pg/index.ts'
import { createEngine } from '../../src/index.ts'
import { core, type Line, linesOf, recordOf } from '../support/audit.ts'
import { temporaryFolder } from '../support/folder.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'

const ONE = { pool_size: 1, max_overflow: 0, pool_name: 'sales', pool_reset_on_return: 'full' as const }

async function folder(t: TestContext): Promise<string> {
  const made = await temporaryFolder()
  t.after(() => made[Symbol.asyncDispose]())
  return made.path
}

/** The properties that every line of a pool has with the same value. */
function commonOf(server: PostgresServer): Line {
  return {
    pool: 'sales',
    system: 'postgresql',
    host: '127.0.0.1',
    database: 'postgres',
    method: 'password',
    identity: 'postgres',
    credential: 'password',
    user: 'postgres',
    authentication: 'scram-sha-256',
    encryption: 'none',
    server: `127.0.0.1:${server.port}`,
  }
}

const hash = (text: string): string => queryHash(text, 'postgresql')

for (const flavor of ['embedded', 'debian'] as const) {
  test(`${flavor}: logins, statements, refusals and failures each have their line`, async (t) => {
    await using server = await startPostgres({ flavor })
    await server.sql("create table flights (id int, carrier text); insert into flights values (1, 'AA'), (2, 'BB')")
    await server.sql('create role reader; create table secret_rows (x int)')
    const file = join(await folder(t), 'audit.jsonl')
    const db = await createEngine<pg.Client>(recordOf(server), { ...ONE, audit: { file } })
    await db('flights').where({ carrier: 'AA' })
    await withAuditContext({ requestId: 'r-1', endUser: 'ann', job: 7 }, async () =>
      db('flights').update({ carrier: 'CC' }),
    )
    await assert.rejects(async () => db.raw('select wrong from public.flights'), { code: '42703' })
    await db.pool.use(async (client) => {
      await client.query('set role reader')
      await assert.rejects(client.query('select * from secret_rows'), { code: '42501' })
      await client.query('reset role')
    })
    await db.destroy()

    const common = commonOf(server)
    const select = 'select * from "flights" where "carrier" = $1'
    assert.deepEqual(
      (await linesOf(file)).map((line) => core(line, common)),
      [
        { event: 'log', action: 'opened' },
        { event: 'authentication', outcome: 'success' },
        {
          event: 'data_access',
          outcome: 'success',
          rows: 1,
          operation: 'select',
          tables: ['flights'],
          query_hash: hash(select),
        },
        {
          event: 'data_access',
          outcome: 'success',
          rows: 2,
          operation: 'update',
          tables: ['flights'],
          query_hash: hash('update "flights" set "carrier" = $1'),
          request_id: 'r-1',
          end_user: 'ann',
          context: { job: 7 },
        },
        {
          event: 'data_access',
          outcome: 'failure',
          code: '42703',
          operation: 'select',
          tables: ['public.flights'],
          query_hash: hash('select wrong from public.flights'),
        },
        { event: 'data_access', outcome: 'success', operation: 'set', tables: [], query_hash: hash('set role reader') },
        {
          event: 'authorization',
          outcome: 'denied',
          code: '42501',
          operation: 'select',
          tables: ['secret_rows'],
          query_hash: hash('select * from secret_rows'),
        },
        { event: 'data_access', outcome: 'success', operation: 'reset', tables: [], query_hash: hash('reset role') },
        { event: 'log', action: 'closed' },
      ],
    )
  })
}

test('a refused login and a login that was never reached have a line with the code and the phase', async () => {
  await using server = await startPostgres()
  const events: AuditEvent[] = []
  const record = { ...recordOf(server), password: 'not-the-password' }
  const audit = { sink: (event: AuditEvent) => void events.push(event) }
  await using db = await createEngine(record, { ...ONE, audit })
  await assert.rejects(async () => db.raw('select 1'), { code: 'LOGIN_REFUSED' })
  await server.stop()
  await assert.rejects(async () => db.raw('select 1'))
  const { user, authentication, encryption, server: _, ...common } = commonOf(server)
  const [refused, unreached] = events.map((event) => core(event, common))
  const login = { event: 'authentication', outcome: 'failure' }
  assert.deepEqual(refused, { ...login, code: 'LOGIN_REFUSED', server_code: '28P01', phase: 'login' })
  assert.deepEqual(unreached, { ...login, code: 'CONNECT_REFUSED', phase: 'connect' })
})

test('statements that wait for each other in a transaction keep the contexts of their callers', async () => {
  await using server = await startPostgres()
  const events: AuditEvent[] = []
  const audit = { sink: (event: AuditEvent) => void events.push(event), query: 'values' as const }
  await using db = await createEngine(recordOf(server), { ...ONE, audit })
  await db.transaction(async (transaction) => {
    const ask = (id: string) => withAuditContext({ requestId: id }, async () => transaction.raw('select ?::text', [id]))
    await Promise.all(['a', 'b', 'c'].map(ask))
  })
  const told = events
    .filter(({ operation }) => operation === 'select')
    .map(({ values, request_id: id }) => [values, id])
  assert.deepEqual(told, [
    [['a'], 'a'],
    [['b'], 'b'],
    [['c'], 'c'],
  ])
})

test('every form of statement has one line: promises, callbacks, cursors, streams, Kysely, several at once', async () => {
  await using server = await startPostgres()
  const events: AuditEvent[] = []
  const audit = { sink: (event: AuditEvent) => void events.push(event), query: 'text' as const }
  await using pool = await createPgPool(recordOf(server), { ...ONE, audit })
  await pool.query('select 1')
  await pool.query({ text: 'select $1::int', values: [2] })
  await new Promise((resolve) => pool.query('select 3', resolve))
  const client = await pool.connect()
  await new Promise((resolve) => client.query({ text: 'select 4', callback: resolve } as never))
  const cursor = client.query(new Cursor('select n from generate_series(1, 5) n'))
  await cursor.read(2)
  await cursor.read(10)
  await cursor.close()
  await client.query('begin; delete from pg_description where false; rollback')
  client.release()
  await using db = await createEngine(recordOf(server), { ...ONE, audit })
  await db.transaction(async (transaction) => {
    await transaction.raw('select 5')
  })
  await pipeline(db.raw('select n from generate_series(1, 3) n').stream(), async (rows) => {
    for await (const _ of rows);
  })
  const kysely = new Kysely<object>({ dialect: postgresDialect(recordOf(server), { ...ONE, audit }) })
  await sql`select ${6}::int`.execute(kysely)
  await kysely.destroy()
  const told = events.filter(({ event }) => event === 'data_access').map(({ query, rows }) => [query, rows])
  assert.deepEqual(told, [
    ['select ?', 1],
    ['select $1::int', 1],
    ['select ?', 1],
    ['select ?', 1],
    ['select n from generate_series(?, ?) n', 5],
    ['begin; delete from pg_description where false; rollback', 0],
    ['BEGIN;', undefined],
    ['select ?', 1],
    ['COMMIT;', undefined],
    ['select n from generate_series(?, ?) n', 3],
    ['select $1::int', 1],
  ])
})
