import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ConnectionPool } from '../../../src/pool/pool.ts'
import { FakeDriver, FakeSource, passwordCredential } from '../../support/fake-driver.ts'
import { settled } from '../../support/held-clock.ts'
import { setUp } from './set-up.ts'

test('an idle pool wakes only when something is due', async (t) => {
  const { pool, clock, closed } = setUp(t, { pool_idle_timeout: 600, pool_recycle: 3600 })
  const all = await Promise.all([1, 2, 3].map(() => pool.acquire().promise))
  for (const raw of all) pool.release(raw)
  // Every sweep asks the source of an idle session's judgement, the driver, whether it is alive.
  const looks = t.mock.method(FakeDriver.prototype, 'isBroken')
  await clock.advance(599_000, 1000)
  assert.equal(looks.mock.callCount(), 0)
  await clock.advance(2000, 1000)
  assert.deepEqual(
    closed.map(([, reason]) => reason),
    ['idle', 'idle', 'idle'],
  )
})

test('work that is due at about the same time is done in one sweep', async (t) => {
  const { pool, driver, clock } = setUp(t, { pool_keepalive: 30, pool_size: 40, pool_idle_timeout: 0 })
  const all = await Promise.all(Array.from({ length: 40 }, () => pool.acquire().promise))
  // Returned over the course of one second.
  for (const raw of all) {
    pool.release(raw)
    await clock.advance(25, 25)
  }
  const looks = t.mock.method(FakeDriver.prototype, 'isBroken')
  await clock.advance(60_000, 100)
  assert.ok(driver.pings >= 40, `${driver.pings} keepalives`)
  // Each sweep looks at 40 sessions, and each keepalive at one.
  assert.ok(looks.mock.callCount() <= 10 * 40 + driver.pings, `${looks.mock.callCount()} looks in a minute`)
})

test('a pool in which nothing can be due has no timer', async () => {
  const count = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
  const before = count()
  await using pool = new ConnectionPool({
    driver: new FakeDriver(),
    source: new FakeSource(),
    options: { pool_idle_timeout: 0, pool_recycle: 0 },
  })
  await Promise.all([1, 2, 3].map(() => pool.use(() => undefined)))
  await settled()
  assert.equal(pool.stats().idle, 3)
  assert.equal(count(), before)
})

test('a session that was kept for pool_min_idle is closed as unused when another one becomes idle', async (t) => {
  const { pool, clock, closed } = setUp(t, { pool_idle_timeout: 10, pool_min_idle: 1 })
  await settled()
  const used = await pool.acquire().promise
  await clock.advance(30_000, 500)
  assert.deepEqual([pool.stats().idle, closed.length], [1, 0], 'another one was opened, and kept')
  pool.release(used)
  await clock.advance(1000)
  assert.deepEqual(closed, [[2, 'idle']])
})

test('a session that opens beyond pool_size makes the idle ones due', async (t) => {
  const { pool, clock, closed } = setUp(t, { pool_size: 1, max_overflow: 1, pool_idle_timeout: 0, pool_recycle: 0 })
  const [first, second] = [await pool.acquire().promise, await pool.acquire().promise]
  pool.release(first)
  await clock.advance(1000)
  assert.deepEqual(closed, [[1, 'overflow']])
  pool.release(second)
  await clock.advance(60_000, 1000)
  assert.equal(closed.length, 1)
})

test('an idle session that the server ends is closed at once, and replaced for pool_min_idle', async (t) => {
  const { pool, driver, closed } = setUp(t, { pool_min_idle: 2 })
  await settled()
  driver.connections[0]?.kill()
  await settled()
  assert.deepEqual(closed, [[1, 'broken']])
  assert.equal(pool.stats().idle, 2)
})

test('a session in use that the server ends is closed when it is returned', async (t) => {
  const { pool, closed } = setUp(t)
  const held = await pool.acquire().promise
  held.kill()
  assert.deepEqual(closed, [])
  pool.release(held)
  assert.deepEqual(closed, [[1, 'broken']])
})

test('an expired credential makes its idle session due, and a leak its session in use', async (t) => {
  const source = new FakeSource(passwordCredential('short', { expiresAt: Date.now() }))
  const { pool, clock, closed } = setUp(t, { retire_on: 'expiry', leak_detection_threshold: 100 }, { source })
  source.credential = passwordCredential('short', { expiresAt: Date.now() + 50_000 })
  const leaks: number[] = []
  pool.on('connection:leaked', ({ heldMillis }) => leaks.push(heldMillis))
  await pool.acquire().promise
  await pool.use(() => undefined)
  await clock.advance(49_000, 1000)
  assert.deepEqual(closed, [])
  await clock.advance(2000, 500)
  assert.deepEqual(closed, [[2, 'retired']])
  await clock.advance(48_000, 1000)
  assert.deepEqual(leaks, [])
  await clock.advance(2000, 500)
  assert.equal(leaks.length, 1)
})

test('leak detection says nothing about a connection that is meant to be held, and goes on when it is returned', async (t) => {
  const { pool, clock } = setUp(t, { leak_detection_threshold: 100, pool_size: 1, max_overflow: 0 })
  const leaks: number[] = []
  pool.on('connection:leaked', ({ heldMillis }) => leaks.push(heldMillis))
  const held = await pool.acquire({ longLived: true }).promise
  const waiting = pool.acquire({ longLived: true }).promise
  await clock.advance(20_000, 5000)
  pool.release(held)
  await waiting
  await clock.advance(200_000, 5000)
  assert.deepEqual(leaks, [])
  pool.release(held)
  await pool.acquire().promise
  await clock.advance(200_000, 5000)
  assert.equal(leaks.length, 1)
})
