import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ConnectionPool } from '../../../src/pool/pool.ts'
import { FakeDriver, FakeSource } from '../../support/fake-driver.ts'
import { settled } from '../../support/held-clock.ts'
import { attempt, setUp } from './set-up.ts'

test('a released connection is handed out again, the one used last first', async (t) => {
  const { pool, driver } = setUp(t)
  const a = await pool.acquire().promise
  const b = await pool.acquire().promise
  assert.notEqual(a, b)
  assert.equal(pool.release(a), true)
  assert.equal(pool.release(b), true)
  assert.equal(await pool.acquire().promise, b)
  assert.equal(await pool.acquire().promise, a)
  assert.equal(driver.opens, 2)
})

test('a connection is released once, and only by its pool', async (t) => {
  const { pool } = setUp(t)
  const a = await pool.acquire().promise
  assert.equal(pool.release(a), true)
  assert.equal(pool.release(a), false)
  const other = new ConnectionPool({ driver: new FakeDriver(), source: new FakeSource() })
  const stranger = await other.acquire().promise
  assert.equal(pool.release(stranger), false)
  assert.equal(pool.stats().idle, 1)
  other.release(stranger)
  await other.destroy()
})

test('no more are open than pool_size and max_overflow allow, and waiting callers are served in order', async (t) => {
  const { pool, driver } = setUp(t, { pool_size: 1, max_overflow: 1 })
  const first = await pool.acquire().promise
  const second = await pool.acquire().promise
  const order: string[] = []
  const third = pool.acquire().promise.then((raw) => order.push(`third ${raw.id}`))
  const fourth = pool.acquire().promise.then((raw) => order.push(`fourth ${raw.id}`))
  await settled()
  assert.equal(driver.opens, 2)
  assert.equal(pool.numPendingAcquires(), 2)
  pool.release(second)
  // It comes later than the waiting callers and must not overtake them.
  const fifth = pool.acquire().promise
  pool.release(first)
  await Promise.all([third, fourth])
  assert.deepEqual(order, ['third 2', 'fourth 1'])
  fifth.catch(() => undefined)
})

test('a caller that arrives while a connection is being opened does not overtake the one that waits for it', async () => {
  for (let turns = 0; turns < 25; turns++) {
    await using pool = new ConnectionPool({
      driver: new FakeDriver(),
      source: new FakeSource(),
      options: { pool_size: 1, max_overflow: 0 },
    })
    const order: string[] = []
    const first = pool.use(() => order.push('first'))
    for (let turn = 0; turn < turns; turn++) await undefined
    const second = pool.use(() => order.push('second'))
    await Promise.all([first, second])
    assert.deepEqual(order, ['first', 'second'], `after ${turns} turns`)
  }
})

test('overflow is closed when it has been idle for half a second, pool_size stays', async (t) => {
  const { pool, clock, closed } = setUp(t, { pool_size: 2, max_overflow: 3 })
  const all = await Promise.all([1, 2, 3, 4, 5].map(() => pool.acquire().promise))
  for (const raw of all) pool.release(raw)
  assert.equal(pool.stats().idle, 5)
  await clock.advance(400)
  assert.equal(pool.stats().idle, 5)
  await clock.advance(700)
  assert.equal(pool.stats().idle, 2)
  assert.deepEqual(
    closed.map(([, reason]) => reason),
    ['overflow', 'overflow', 'overflow'],
  )
})

test('use() releases the connection however fn ends', async (t) => {
  const { pool } = setUp(t)
  assert.equal(await pool.use((raw) => raw.id), 1)
  await assert.rejects(
    pool.use(() => {
      throw new Error('own')
    }),
    /own/,
  )
  assert.deepEqual([pool.stats().inUse, pool.stats().idle], [0, 1])
})

test('each acquire asks the source for its credential, and opens no second connection for it', async (t) => {
  const { pool, source } = setUp(t)
  await pool.use(() => undefined)
  const before = source.asked
  await pool.use(() => undefined)
  assert.equal(source.asked, before + 1)
})

test('an idle connection is pinged unless it was used within half a second', async (t) => {
  const { pool, driver, clock } = setUp(t)
  await pool.use(() => undefined)
  await clock.advance(500)
  await pool.use(() => undefined)
  assert.equal(driver.pings, 0)
  await clock.advance(501)
  assert.equal(await pool.use((raw) => raw.id), 1)
  assert.equal(driver.pings, 1)
  await pool.use(() => clock.advance(5000))
  await pool.use(() => undefined)
  assert.equal(driver.pings, 1, 'what counts is the end of its use')
})

test('a returned connection serves a caller that waits for the ping of another one', async (t) => {
  const setup = setUp(t, { pool_size: 2, max_overflow: 0 })
  const held = await setup.pool.acquire().promise
  await setup.pool.use(() => undefined)
  await setup.clock.advance(1000)
  setup.driver.onPing = () => new Promise(() => undefined)
  const first = attempt(setup)
  await settled()
  assert.equal(setup.driver.pings, 1)
  setup.pool.release(held)
  await settled()
  assert.equal(first.raw, held)
})

test('while a connection is being reset none is opened for the caller that will get it', async (t) => {
  const setup = setUp(t)
  const raw = await setup.pool.acquire().promise
  raw.dirty = true
  setup.driver.onReset = () => new Promise((resolve) => setTimeout(resolve, 100))
  setup.pool.release(raw)
  const next = attempt(setup)
  const afterNext = attempt(setup)
  await settled()
  assert.equal(afterNext.raw?.id ?? next.raw?.id, 2, 'the second of them is worth an opening')
  await setup.clock.advance(100)
  assert.notEqual(next.raw, undefined)
  assert.notEqual(afterNext.raw, undefined)
  assert.equal(setup.driver.opens, 2)
})

test('a connection that is reset while the pool is suspended is not handed out', async (t) => {
  const setup = setUp(t, { pool_size: 1, max_overflow: 0 })
  const raw = await setup.pool.acquire().promise
  raw.dirty = true
  setup.driver.onReset = () => new Promise((resolve) => setTimeout(resolve, 100))
  setup.pool.release(raw)
  const next = attempt(setup)
  setup.pool.suspend()
  await setup.clock.advance(200)
  assert.deepEqual(next, {})
  setup.pool.resume()
  await settled()
  assert.equal(next.raw, raw)
})

test('pool_pre_ping=false never pings', async (t) => {
  const { pool, driver, clock } = setUp(t, { pool_pre_ping: false })
  await pool.use(() => undefined)
  await clock.advance(5000)
  await pool.use(() => undefined)
  assert.equal(driver.pings, 0)
})

test('a connection that fails its ping is replaced', async (t) => {
  const { pool, driver, clock, closed } = setUp(t)
  await pool.use(() => undefined)
  await clock.advance(1000)
  driver.onPing = () => {
    throw new Error('gone')
  }
  assert.equal(await pool.use((raw) => raw.id), 2)
  assert.deepEqual(closed, [[1, 'ping-failed']])
  assert.equal(driver.connections[0]?.end, 'aborted')
})

test('after one ping without an answer no caller waits for the connections that were idle for longer', async (t) => {
  const { pool, driver, clock, closed } = setUp(t, { pool_size: 5, max_overflow: 0, pool_ping_timeout: 5 })
  const all = await Promise.all([1, 2, 3, 4, 5].map(() => pool.acquire().promise))
  for (const raw of all) pool.release(raw)
  await clock.advance(1000)
  driver.onPing = () => new Promise(() => undefined)
  const started = clock.now()
  const acquired = pool.acquire().promise.then((raw) => [raw.id, clock.now() - started])
  await clock.advance(6000)
  assert.deepEqual(await acquired, [6, 5000])
  assert.equal(driver.pings, 1)
  assert.deepEqual(
    closed.map(([, reason]) => reason),
    Array(5).fill('ping-failed'),
  )
})

test('sessions that are known to be dead cost no ping at all', async (t) => {
  const { pool, driver, closed } = setUp(t, { pool_size: 5 })
  const all = await Promise.all([1, 2, 3, 4, 5].map(() => pool.acquire().promise))
  for (const raw of all) pool.release(raw)
  for (const raw of all) raw.broken = true
  assert.equal(await pool.use((raw) => raw.id), 6)
  assert.equal(driver.pings, 0)
  assert.equal(closed.length, 5)
})

test('a connection that broke in use is not handed on', async (t) => {
  const { pool, closed } = setUp(t, { pool_size: 1, max_overflow: 0 })
  const raw = await pool.acquire().promise
  const next = pool.acquire().promise
  raw.broken = true
  assert.equal(pool.release(raw), true)
  assert.equal((await next).id, 2)
  assert.deepEqual(closed, [[1, 'broken']])
})

test('a dirty connection is reset before the next caller gets it', async (t) => {
  const { pool, driver } = setUp(t, { pool_size: 1, max_overflow: 0, pool_reset_on_return: 'full' })
  const raw = await pool.acquire().promise
  raw.dirty = true
  let finish: () => void = () => undefined
  driver.onReset = () =>
    new Promise((resolve) => {
      finish = resolve
    })
  pool.release(raw)
  const next = pool.acquire().promise
  await settled()
  assert.deepEqual(driver.resets, ['full'])
  assert.equal(pool.stats().checking, 1)
  assert.equal(pool.stats().waiting, 1)
  finish()
  assert.equal(await next, raw)
  assert.equal(raw.dirty, false)
})

test('pool_reset_on_return=none hands it on as it is', async (t) => {
  const { pool, driver } = setUp(t, { pool_reset_on_return: 'none' })
  const raw = await pool.acquire().promise
  raw.dirty = true
  pool.release(raw)
  assert.equal(await pool.acquire().promise, raw)
  assert.deepEqual(driver.resets, [])
})

test('a reset that fails or hangs closes the connection', async (t) => {
  const { pool, driver, clock, closed } = setUp(t, { pool_size: 1, max_overflow: 0 })
  for (const onReset of [() => Promise.reject(new Error('no')), () => new Promise<void>(() => undefined)]) {
    driver.onReset = onReset
    const raw = await pool.acquire().promise
    raw.dirty = true
    pool.release(raw)
    const next = pool.acquire().promise
    await clock.advance(5001)
    pool.release(await next)
  }
  assert.deepEqual(closed, [
    [1, 'reset-failed'],
    [2, 'reset-failed'],
  ])
})

test('a reset that hangs says nothing about the other connections', async (t) => {
  const { pool, driver, clock, closed } = setUp(t)
  const [dirty, other] = [await pool.acquire().promise, await pool.acquire().promise]
  dirty.dirty = true
  driver.onReset = () => new Promise(() => undefined)
  pool.release(other)
  pool.release(dirty)
  await clock.advance(5100)
  assert.deepEqual(closed, [[1, 'reset-failed']])
  assert.equal(pool.stats().idle, 1)
})
