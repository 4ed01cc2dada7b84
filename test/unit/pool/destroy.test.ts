import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ConnectionPool } from '../../../src/pool/pool.ts'
import { FakeDriver, FakeSource } from '../../support/fake-driver.ts'
import { settled } from '../../support/held-clock.ts'
import { attempt, setUp } from './set-up.ts'

const never = (): Promise<never> => new Promise(() => undefined)

test('destroy() closes idle connections with a goodbye, closes the source, and emits the events', async (t) => {
  const { pool, driver, source, closed } = setUp(t)
  await pool.use(() => undefined)
  let told = 0
  pool.on('pool:destroyed', () => told++)
  await pool.destroy()
  assert.equal(driver.connections[0]?.end, 'closed')
  assert.deepEqual(closed, [[1, 'drained']])
  assert.equal(source.closed, true)
  assert.equal(told, 1)
  assert.equal(pool.stats().closed, true)
})

test('destroy() runs once, however often it is called, and await using calls it', async () => {
  const driver = new FakeDriver()
  {
    await using pool = new ConnectionPool({ driver, source: new FakeSource() })
    await pool.use(() => undefined)
    assert.equal(pool.destroy(), pool.destroy())
  }
  assert.deepEqual(driver.alive, [])
})

test('waiting callers get POOL_CLOSED at once, and so do later ones', async (t) => {
  const setup = setUp(t, { pool_size: 1, max_overflow: 0 })
  const held = await setup.pool.acquire().promise
  const outcome = attempt(setup)
  const destroyed = setup.pool.destroy()
  await settled()
  assert.equal(outcome.error?.code, 'POOL_CLOSED')
  await assert.rejects(setup.pool.acquire().promise, { code: 'POOL_CLOSED' })
  setup.pool.release(held)
  await destroyed
})

test('destroy() waits for connections in use and closes them on return', async (t) => {
  const { pool, clock, closed } = setUp(t)
  const held = await pool.acquire().promise
  let ended = false
  const destroyed = pool.destroy().then(() => {
    ended = true
  })
  await clock.advance(5000, 500)
  assert.equal(ended, false)
  assert.equal(held.end, undefined)
  assert.equal(pool.release(held), true)
  await destroyed
  assert.equal(held.end, 'closed')
  assert.deepEqual(closed, [[1, 'drained']])
})

test('after drain_timeout connections in use are cut, also if the database no longer answers', async (t) => {
  const { pool, driver, clock, closed } = setUp(t, { drain_timeout: 3 })
  const held = await pool.acquire().promise
  await pool.use(() => undefined)
  driver.onClose = never
  const started = clock.now()
  let endedAt = 0
  const destroyed = pool.destroy().then(() => {
    endedAt = clock.now()
  })
  await clock.advance(5000, 500)
  await destroyed
  assert.equal(endedAt - started, 3000)
  assert.deepEqual(
    driver.connections.map(({ end }) => end),
    ['aborted', 'aborted'],
  )
  assert.deepEqual(closed, [
    [2, 'drained'],
    [1, 'drain-timeout'],
  ])
  assert.equal(pool.release(held), false)
})

test('a goodbye without an answer costs a second', async (t) => {
  const { pool, driver, clock } = setUp(t)
  await pool.use(() => undefined)
  driver.onClose = never
  let endedAt = 0
  const destroyed = pool.destroy().then(() => {
    endedAt = clock.now()
  })
  await clock.advance(1000)
  await destroyed
  assert.equal(endedAt, 1000)
  assert.equal(driver.connections[0]?.end, 'aborted')
})

test('attempts under way are aborted, and sessions that they still open are cut', async (t) => {
  const setup = setUp(t)
  let signal: AbortSignal | undefined
  setup.driver.onOpen = async (_, context) => {
    signal = context.signal
    await new Promise((resolve) => setTimeout(resolve, 500))
  }
  const outcome = attempt(setup)
  await settled()
  await setup.pool.destroy()
  assert.equal(signal?.aborted, true)
  assert.equal(outcome.error?.code, 'POOL_CLOSED')
  await setup.clock.advance(500)
  assert.equal(setup.driver.connections[0]?.end, 'aborted')
})

test('destroy() waits for a reset under way', async (t) => {
  const { pool, driver, clock, closed } = setUp(t)
  driver.onReset = () => new Promise((resolve) => setTimeout(resolve, 200))
  const raw = await pool.acquire().promise
  raw.dirty = true
  pool.release(raw)
  const destroyed = pool.destroy()
  await clock.advance(200)
  await destroyed
  assert.deepEqual(closed, [[1, 'drained']])
})

test('a reset that outlasts drain_timeout is cut, and its late end has no effect', async (t) => {
  const { pool, driver, clock, closed } = setUp(t, { drain_timeout: 1 })
  driver.onReset = () => new Promise((resolve) => setTimeout(resolve, 3000))
  const raw = await pool.acquire().promise
  raw.dirty = true
  pool.release(raw)
  const destroyed = pool.destroy()
  await clock.advance(1000)
  await destroyed
  await clock.advance(3000, 500)
  assert.deepEqual(closed, [[1, 'drain-timeout']])
  assert.equal(pool.stats().counts.closed, 1)
})

test('the last return does not cut a reset that is still under way', async (t) => {
  const { pool, driver, clock, closed } = setUp(t)
  driver.onReset = () => new Promise((resolve) => setTimeout(resolve, 500))
  const [dirty, held] = [await pool.acquire().promise, await pool.acquire().promise]
  dirty.dirty = true
  pool.release(dirty)
  const destroyed = pool.destroy()
  pool.release(held)
  await clock.advance(500)
  await destroyed
  assert.deepEqual(closed, [
    [2, 'drained'],
    [1, 'drained'],
  ])
})

test('destroy() at any moment of an opening leaves no connection behind', async () => {
  for (let turns = 0; turns < 25; turns++) {
    const driver = new FakeDriver()
    const pool = new ConnectionPool({ driver, source: new FakeSource(), options: { drain_timeout: 0 } })
    const outcome = pool.acquire().promise.then(
      () => 'acquired',
      (error) => error.code,
    )
    for (let turn = 0; turn < turns; turn++) await undefined
    await pool.destroy()
    assert.match(await outcome, /acquired|POOL_CLOSED/)
    await settled()
    assert.deepEqual(driver.alive, [], `after ${turns} turns`)
    const { counts, total } = pool.stats()
    assert.deepEqual([counts.closed, total], [counts.opened, 0], `after ${turns} turns`)
  }
})

test('a session that has just been opened is closed before destroy() resolves', async () => {
  const driver = new FakeDriver()
  const pool = new ConnectionPool({ driver, source: new FakeSource() })
  const waiting = pool.acquire().promise.catch((error: unknown) => error)
  while (driver.connections.length === 0) await Promise.resolve()
  await pool.destroy()
  assert.deepEqual(driver.alive, [])
  assert.ok((await waiting) instanceof Error)
})

test('destroy() leaves no timer and no session', async () => {
  const count = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
  const before = count()
  const driver = new FakeDriver()
  const pool = new ConnectionPool({
    driver,
    source: new FakeSource(),
    options: { pool_min_idle: 2, pool_keepalive: 1, leak_detection_threshold: 1 },
  })
  await Promise.all([1, 2, 3, 4].map(() => pool.use(() => new Promise((resolve) => setTimeout(resolve, 5)))))
  await pool.destroy()
  assert.equal(count(), before)
  assert.deepEqual(driver.alive, [])
})
