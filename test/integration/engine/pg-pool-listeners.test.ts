/** Listeners of the pool of `poolsmith/pg` that throw, and users that end a client: no session is lost or handed on. */

import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import type pg from 'pg'
import { createPgPool, type PgPool } from '../../../src/engine/pg/index.ts'
import { startPostgres } from '../../support/postgres.ts'
import { superuserRecord } from '../../support/superuser-record.ts'

const server = await startPostgres()
after(() => server[Symbol.asyncDispose]())

const record = superuserRecord(server)

/** With one session, so that one that is not returned is missed by the next caller. */
const open = (): Promise<PgPool> =>
  createPgPool(record, { pool_size: 1, max_overflow: 0, pool_timeout: 5, drain_timeout: 1 })

const ONE = [{ one: 1 }]
const one = async (pool: PgPool): Promise<unknown> => (await pool.query('select 1 as one')).rows

describe('a listener that throws', () => {
  for (const event of ['connect', 'acquire'] as const) {
    test(`to ${event}: the caller gets its error, and the session is closed`, async () => {
      await using pool = await open()
      const thrown = new Error('of the listener')
      pool.once(event, () => {
        throw thrown
      })
      await assert.rejects(pool.connect(), (error) => error === thrown)
      const { inUse, counts } = pool.poolsmith.stats()
      assert.deepEqual([inUse, counts.closed], [0, 1])
      assert.deepEqual(await one(pool), ONE)
    })
  }

  test('to release: the release throws its error, and the session is returned all the same', async () => {
    await using pool = await open()
    const client = await pool.connect()
    pool.once('release', () => {
      throw new Error('of the listener')
    })
    assert.throws(() => client.release(), /of the listener/)
    assert.equal(pool.poolsmith.stats().inUse, 0)
    assert.deepEqual(await one(pool), ONE)
  })
})

test('the end of an idle session is one error, whatever its client hears', async () => {
  await using pool = await open()
  const errors: Error[] = []
  pool.on('error', (error) => errors.push(error))
  const client = await pool.connect()
  const { rows } = await client.query('select pg_backend_pid() as pid')
  client.release()
  const removed = new Promise<void>((resolve) => pool.once('remove', () => resolve()))
  await server.sql(`select pg_terminate_backend(${rows[0].pid})`)
  await removed
  assert.deepEqual(
    errors.map((error) => (error as pg.DatabaseError).code),
    ['57P01'],
  )
})

describe('a client that its user ends', () => {
  test('is not handed on, also while it is still being closed', async () => {
    await using pool = await open()
    const client = await pool.connect()
    const ended = client.end()
    client.release()
    assert.deepEqual(await one(pool), ONE)
    await ended
    const idle = await pool.connect()
    idle.release()
    const closed = idle.end()
    assert.deepEqual(await one(pool), ONE)
    await closed
  })
})

test('a callback of null asks for a promise, as with pg', async () => {
  const pool = await open()
  const connect = pool.connect.bind(pool) as unknown as (callback: null) => Promise<pg.PoolClient>
  ;(await connect(null)).release()
  const end = pool.end.bind(pool) as unknown as (callback: null) => Promise<void>
  await end(null)
  assert.equal(pool.ended, true)
})
