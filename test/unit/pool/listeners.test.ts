/** Listeners run in the middle of the pool's work, and may call the pool or end a caller's wait from there. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { FakeConnection } from '../../support/fake-driver.ts'
import { settled } from '../../support/held-clock.ts'
import { attempt, setUp } from './set-up.ts'

test('an acquire that is aborted while it is answered gets its connection', async (t) => {
  const setup = setUp(t, { pool_size: 1, max_overflow: 0 })
  const { pool } = setup
  const first = await pool.acquire().promise
  const controller = new AbortController()
  const second = attempt(setup, { signal: controller.signal })
  pool.on('pool:acquired', () => controller.abort())
  pool.release(first)
  await settled()
  assert.equal(second.error, undefined)
  assert.equal(second.raw, first)
  assert.equal(pool.release(first), true)
  assert.equal(pool.stats().inUse, 0)
})

test('a connection that is acquired while others are closed stays open', async (t) => {
  const { pool, clock, closed } = setUp(t, { pool_size: 3, pool_idle_timeout: 60, pool_pre_ping: false })
  const all = await Promise.all([1, 2, 3].map(() => pool.acquire().promise))
  for (const raw of all) pool.release(raw)
  let taking: Promise<FakeConnection> | undefined
  pool.on('connection:closed', () => {
    taking ??= pool.acquire().promise
  })
  await clock.advance(61_000, 500)
  const raw = await taking
  assert.ok(raw)
  assert.equal(raw.end, undefined)
  assert.deepEqual(
    closed.filter(([id]) => id === raw.id),
    [],
  )
  assert.equal(pool.stats().inUse, 1)
  assert.equal(pool.stats().counts.closed, 2)
})
