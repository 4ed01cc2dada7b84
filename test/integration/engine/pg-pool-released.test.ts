/** A client of `poolsmith/pg` after its release: its session may be another caller's, so it takes no statement. */

import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import type pg from 'pg'
import Cursor from 'pg-cursor'
import { createPgPool } from '../../../src/engine/pg/index.ts'
import { startPostgres } from '../../support/postgres.ts'
import { superuserRecord } from '../../support/superuser-record.ts'

const server = await startPostgres()
after(() => server[Symbol.asyncDispose]())

const record = superuserRecord(server)

const RELEASED = { name: 'PoolsmithError', code: 'CLIENT_RELEASED', phase: 'query', details: { poolName: 'app' } }

test('every form of a statement is refused with CLIENT_RELEASED, and the session stays good', async () => {
  await using pool = await createPgPool(record, { pool_size: 1, max_overflow: 0, pool_name: 'app' })
  const client = await pool.connect()
  client.release()
  await assert.rejects(client.query('select 1'), RELEASED)
  await assert.rejects(client.query({ text: 'select $1::int', values: [1] }), RELEASED)
  await assert.rejects(client.query({ text: 'select 1', signal: AbortSignal.timeout(1000) }), RELEASED)
  const { promise, resolve } = Promise.withResolvers<Error>()
  assert.equal(
    client.query('select 1', (error) => resolve(error)),
    undefined,
  )
  assert.equal(((await promise) as Error & { code?: string }).code, 'CLIENT_RELEASED')
  await assert.rejects(client.query(new Cursor('select 1')).read(1), RELEASED)
  assert.deepEqual((await pool.query('select 1 as one')).rows, [{ one: 1 }])
  assert.equal(pool.poolsmith.stats().counts.closed, 0)
})

test('it serves its next user, and the pool itself all the time', async () => {
  await using pool = await createPgPool(record, {
    pool_size: 1,
    max_overflow: 0,
    pool_pre_ping: true,
    pool_reset_on_return: 'full',
    session_init: "set application_name = 'prepared'",
    onSession: async (session) => void (await (session as pg.Client).query("set work_mem = '5MB'")),
  })
  const first = await pool.connect()
  await first.query("set application_name = 'changed'")
  first.release()
  const second = await pool.connect()
  assert.equal(second, first)
  const { rows } = await second.query(
    "select current_setting('application_name') as name, current_setting('work_mem') as memory",
  )
  assert.deepEqual(rows, [{ name: 'prepared', memory: '5MB' }])
  second.release()
  assert.equal(await pool.poolsmith.use(async (client) => (await client.query('select 2 as two')).rows[0].two), 2)
})
