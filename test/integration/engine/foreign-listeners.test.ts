import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import type pg from 'pg'
import { createPgPool } from '../../../src/engine/pg/index.ts'
import { createEngine, type EngineOptions } from '../../../src/index.ts'
import { startPostgres } from '../../support/postgres.ts'
import { superuserRecord } from '../../support/superuser-record.ts'

const server = await startPostgres()
after(() => server[Symbol.asyncDispose]())

const record = superuserRecord(server)
const ONE: EngineOptions = { pool_size: 1, max_overflow: 0 }

for (const mode of ['rollback', 'full'] as const) {
  describe(`pool_reset_on_return=${mode}`, () => {
    test('after twelve uses that listen, a NOTIFY runs no handler of theirs, and the session listens to nothing', async () => {
      await using db = await createEngine(record, { ...ONE, pool_reset_on_return: mode })
      let handled = 0
      for (let uses = 0; uses < 12; uses++) {
        await db.pool.use(async (client: pg.Client) => {
          client.on('notification', () => handled++)
          client.on('notice', () => handled++)
          await client.query('listen jobs')
        })
      }
      await db.pool.use(async (client: pg.Client) => {
        const { rows } = await client.query('select count(*)::int as n from pg_listening_channels()')
        assert.deepEqual(rows, [{ n: 0 }])
        await client.query("listen jobs; notify jobs; do 'begin raise notice ''heard''; end'")
        // Notifications arrive before the answer to the next statement.
        await client.query('select 1')
        assert.deepEqual([client.listenerCount('notification'), client.listenerCount('notice')], [0, 0])
      })
      assert.equal(handled, 0)
    })

    test('listeners that onSession adds stay, once for each session', async () => {
      await using db = await createEngine(record, {
        ...ONE,
        pool_reset_on_return: mode,
        onSession: (client: pg.Client) => void client.on('notice', () => undefined),
      })
      for (let uses = 0; uses < 3; uses++) {
        await db.pool.use(async (client: pg.Client) => {
          client.on('notice', () => undefined)
          await client.query('select 1')
          assert.equal(client.listenerCount('notice'), 2)
        })
      }
    })

    test('listeners that are added at connect of a pg.Pool stay on its clients', async () => {
      await using pool = await createPgPool(record, { ...ONE, pool_reset_on_return: mode })
      pool.on('connect', (client) => client.on('notification', () => undefined))
      for (let uses = 0; uses < 3; uses++) {
        const client = await pool.connect()
        client.on('notification', () => undefined)
        await client.query('select 1')
        assert.equal(client.listenerCount('notification'), 2)
        client.release()
      }
    })
  })
}
