/** Cursors, query streams and copy streams on `poolsmith/pg`: each ends, and none keeps its connection. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { after, before, test } from 'node:test'
import type pg from 'pg'
import copy from 'pg-copy-streams'
import Cursor from 'pg-cursor'
import QueryStream from 'pg-query-stream'
import { createPgPool, type PgPool } from '../../../src/engine/pg/index.ts'
import { type PostgresServer, startPostgres } from '../../support/postgres.ts'

const LIMIT = { timeout: 60_000 }
const ROWS = 'select generate_series(1, 1000) as n'
const FAILS = 'select 1 / 0'
const DIVIDED_BY_ZERO = { code: '22012' }

let server: PostgresServer
let pool: PgPool

before(async () => {
  server = await startPostgres()
  await server.sql('create table target (n int)')
  const { host, port, superuser: login, superuserPassword: password } = server
  pool = await createPgPool(
    { type: 'postgres', host, port, login, password, database: 'postgres', extra: { sslmode: 'disable' } },
    { pool_size: 1, max_overflow: 0 },
  )
})
after(async () => {
  await pool?.end()
  await server?.[Symbol.asyncDispose]()
})

/** The only connection serves the next statement. */
async function assertFree(): Promise<void> {
  assert.deepEqual((await pool.query('select 1 as one')).rows, [{ one: 1 }])
}

/** The client, once it is ready for the next statement after the one that was given to it. */
async function whenReady(client: pg.Client, statement: pg.Submittable): Promise<void> {
  const ready = once(client, 'drain')
  client.query(statement)
  await ready
}

test('a cursor whose statement failed is closed, also when its client is ready again', LIMIT, async () => {
  const client = await pool.connect()
  try {
    const cursor = new Cursor(FAILS)
    await whenReady(client, cursor)
    await assert.rejects(cursor.read(1), DIVIDED_BY_ZERO)
    await cursor.close()
    assert.deepEqual((await client.query('select $1::int as two', [2])).rows, [{ two: 2 }])
  } finally {
    client.release()
  }
  await assertFree()
})

test('a query stream ends with its error, also when it is read after its client is ready again', LIMIT, async () => {
  const client = await pool.connect()
  try {
    const stream = new QueryStream(FAILS)
    await whenReady(client, stream)
    await assert.rejects(stream.toArray(), DIVIDED_BY_ZERO)
    assert.deepEqual((await client.query('select $1::int as two', [2])).rows, [{ two: 2 }])
  } finally {
    client.release()
  }
  await assertFree()
})

const read = (stream: Readable): Promise<unknown> =>
  pipeline(stream, new Writable({ write: (_chunk, _, next) => next(), objectMode: true }))

const WAYS: Readonly<
  Record<string, () => { readonly statement: pg.Submittable; readonly use: () => Promise<unknown> }>
> = {
  'a cursor': () => {
    const statement = new Cursor(ROWS)
    return { statement, use: () => statement.read(10).then(() => statement.close()) }
  },
  'a query stream': () => {
    const statement = new QueryStream(ROWS)
    return { statement, use: () => read(statement) }
  },
  'a copy stream that reads': () => {
    const statement = copy.to(`copy (${ROWS}) to stdout`)
    return { statement, use: () => read(statement) }
  },
  'a copy stream that writes': () => {
    const statement = copy.from('copy target from stdin')
    return { statement, use: () => pipeline(['1\n', '2\n'], statement) }
  },
}

for (const [what, make] of Object.entries(WAYS)) {
  test(`pool.query returns the connection when ${what} has ended`, LIMIT, async () => {
    const { statement, use } = make()
    const answer = pool.query(statement as unknown as string)
    await use()
    await answer
    await assertFree()
  })
}

test('pool.query rejects when the session of a cursor is lost', LIMIT, async () => {
  const cursor = new Cursor(ROWS)
  const answer = pool.query(cursor as unknown as string)
  const lost = assert.rejects(answer)
  await cursor.read(10)
  await server.sql('select pg_terminate_backend(pid) from pg_stat_activity where client_addr is not null')
  await lost
  await assertFree()
})
