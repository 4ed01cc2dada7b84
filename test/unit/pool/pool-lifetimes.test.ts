import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeDriver, FakeSource, passwordCredential } from '../../support/fake-driver.ts'
import { settled } from '../../support/held-clock.ts'
import { setUp } from './set-up.ts'

test('pool_recycle closes by age: when idle, or when returned', async (t) => {
  const { pool, clock, closed } = setUp(t, { pool_recycle: 60, pool_pre_ping: false })
  const kept = await pool.acquire().promise
  await pool.use(() => undefined)
  await clock.advance(59_000, 500)
  assert.deepEqual(closed, [])
  await clock.advance(1500, 500)
  assert.deepEqual(closed, [[2, 'recycled']])
  assert.equal(kept.end, undefined)
  pool.release(kept)
  assert.deepEqual(closed[1], [1, 'recycled'])
})

test('the jitter of pool_recycle only shortens, by up to a tenth', async (t) => {
  const { pool, clock } = setUp(t, { pool_recycle: 100 }, { random: () => 1 })
  await pool.use(() => undefined)
  await clock.advance(89_000, 500)
  assert.equal(pool.stats().total, 1)
  await clock.advance(1500, 500)
  assert.equal(pool.stats().total, 0)
})

test('pool_idle_timeout closes unused connections down to pool_min_idle', async (t) => {
  const { pool, clock, closed } = setUp(t, { pool_idle_timeout: 10, pool_min_idle: 1 })
  const all = await Promise.all([1, 2, 3].map(() => pool.acquire().promise))
  for (const raw of all) pool.release(raw)
  await clock.advance(9000, 500)
  assert.equal(closed.length, 0)
  await clock.advance(20_000, 500)
  assert.equal(pool.stats().idle, 1)
  assert.deepEqual(
    closed.map(([, reason]) => reason),
    ['idle', 'idle', 'idle'],
    'the last one stays, and is not replaced either',
  )
})

test('pool_keepalive pings an idle connection, which pool_idle_timeout does not count as use', async (t) => {
  const { pool, driver, clock, closed } = setUp(t, { pool_keepalive: 10, pool_idle_timeout: 35 })
  await pool.use(() => undefined)
  await clock.advance(31_500, 500)
  assert.equal(driver.pings, 3)
  assert.equal(pool.stats().idle, 1)
  await clock.advance(4500, 500)
  assert.deepEqual(closed, [[1, 'idle']])
})

test('a keepalive that fails closes the connection', async (t) => {
  const { pool, driver, clock, closed } = setUp(t, { pool_keepalive: 10 })
  await pool.use(() => undefined)
  driver.onPing = () => {
    throw new Error('gone')
  }
  await clock.advance(10_500, 500)
  assert.deepEqual(closed, [[1, 'ping-failed']])
})

test('pool_min_idle is warmed up from the start, kept filled, and within pool_size', async (t) => {
  const { pool } = setUp(t, { pool_min_idle: 3, pool_size: 4 })
  await settled()
  assert.equal(pool.stats().idle, 3)
  const taken = [await pool.acquire().promise, await pool.acquire().promise]
  await settled()
  // Of the two that are missing only one fits into pool_size.
  assert.deepEqual([pool.stats().inUse, pool.stats().idle, pool.stats().opening], [2, 1, 0])
  pool.invalidate()
  await settled()
  assert.equal(pool.stats().total, 4)
  for (const raw of taken) pool.release(raw)
  await settled()
  assert.equal(pool.stats().idle, 3)
})

test('pool_min_idle is kept after failures too, with growing pauses', async (t) => {
  const driver = new FakeDriver()
  let down = true
  const starts: number[] = []
  driver.onOpen = () => {
    starts.push(Date.now())
    if (down) throw new Error('down')
  }
  const { pool, clock } = setUp(t, { pool_min_idle: 2 }, { driver, random: () => 1 })
  await clock.advance(10_000)
  const pauses = starts.slice(2).map((at, index) => at - (starts[index + 1] as number))
  assert.deepEqual(pauses.slice(0, 6), [100, 200, 400, 800, 1600, 3200])
  down = false
  await clock.advance(5000)
  assert.equal(pool.stats().idle, 2)
})

test('invalidate(raw) closes an idle connection at once and one in use on its return', async (t) => {
  const { pool, closed } = setUp(t)
  const a = await pool.acquire().promise
  const b = await pool.acquire().promise
  pool.release(b)
  pool.invalidate(b)
  assert.deepEqual(closed, [[2, 'invalidated']])
  pool.invalidate(a)
  assert.equal(a.end, undefined)
  pool.release(a)
  assert.deepEqual(closed[1], [1, 'invalidated'])
})

test('invalidate() means every connection, also one that is being opened', async (t) => {
  const { pool, driver, closed } = setUp(t)
  let finish: () => void = () => undefined
  driver.onOpen = () =>
    new Promise((resolve) => {
      finish = resolve
    })
  const waiting = pool.acquire().promise
  await settled()
  pool.invalidate()
  driver.onOpen = () => undefined
  finish()
  assert.equal((await waiting).id, 2)
  assert.deepEqual(closed, [[1, 'invalidated']])
})

test('suspend() lets acquires wait, resume() serves them', async (t) => {
  const { pool } = setUp(t)
  const told: string[] = []
  pool.on('pool:suspended', () => told.push('suspended')).on('pool:resumed', () => told.push('resumed'))
  const held = await pool.acquire().promise
  await pool.use(() => undefined)
  pool.suspend()
  let served = 0
  const waiting = [pool.acquire(), pool.acquire()].map(({ promise }) => promise.then(() => served++))
  pool.release(held)
  await settled()
  assert.equal(served, 0)
  assert.equal(pool.stats().idle, 2)
  pool.resume()
  await Promise.all(waiting)
  assert.deepEqual(told, ['suspended', 'resumed'])
})

test('retire_on=rotation closes idle sessions at once and those in use on return', async (t) => {
  const { pool, source, closed } = setUp(t, { retire_on: 'rotation' })
  const held = await pool.acquire().promise
  await pool.use(() => undefined)
  source.change(passwordCredential('first'))
  assert.deepEqual(closed, [], 'the same password again is no rotation')
  source.change(passwordCredential('second'))
  assert.deepEqual(closed, [[2, 'retired']])
  assert.equal(held.end, undefined)
  pool.release(held)
  assert.deepEqual(closed[1], [1, 'retired'])
  assert.equal(await pool.use((raw) => raw.id), 3)
})

test('retire_on=expiry closes sessions whose credential has expired', async (t) => {
  const source = new FakeSource()
  const { pool, clock, closed } = setUp(t, { retire_on: 'expiry' }, { source })
  source.credential = passwordCredential('short', { expiresAt: Date.now() + 10_000 })
  const held = await pool.acquire().promise
  await pool.use(() => undefined)
  source.credential = passwordCredential('next')
  await clock.advance(9500, 500)
  assert.deepEqual(closed, [])
  await clock.advance(1000, 500)
  assert.deepEqual(closed, [[2, 'retired']])
  pool.release(held)
  assert.deepEqual(closed[1], [1, 'retired'])
})

test('retire_on=never keeps sessions, and listens to no source that would renew for an idle pool', async (t) => {
  const { pool, source, closed } = setUp(t)
  await pool.use(() => undefined)
  assert.equal(source.listeners, 0)
  source.change(passwordCredential('second'))
  source.credential = undefined
  assert.equal(await pool.use((raw) => raw.id), 1)
  assert.deepEqual(closed, [])
})

test('a leak is reported once, with the stack of its acquire', async (t) => {
  const { pool, clock } = setUp(t, { leak_detection_threshold: 2 })
  const leaks: { id: number; heldMillis: number; stack: string | undefined }[] = []
  pool.on('connection:leaked', (leak) => leaks.push(leak))
  async function forgetful() {
    await pool.acquire().promise
  }
  await forgetful()
  await pool.use(() => clock.advance(1500))
  assert.equal(leaks.length, 0)
  await clock.advance(5000)
  assert.equal(leaks.length, 1)
  assert.equal(leaks[0]?.id, 1)
  assert.match(leaks[0]?.stack ?? '', /forgetful/)
})

test('no stack is taken without leak detection', async (t) => {
  const { pool } = setUp(t)
  const capture = t.mock.method(Error, 'captureStackTrace')
  await pool.use(() => undefined)
  assert.equal(capture.mock.callCount(), 0)
})

test('infoOf describes the session and its credential', async (t) => {
  const { pool } = setUp(t)
  const raw = await pool.acquire().promise
  const info = pool.infoOf(raw)
  assert.equal(info?.identity, 'etl')
  assert.equal(info?.peer, 'fake:1')
  assert.equal(info?.id, 1)
  assert.deepEqual(Object.keys(info?.timings ?? {}), ['credential', 'login'])
})

test('every step in the life of a connection has its event', async (t) => {
  const { pool, clock } = setUp(t)
  const told: unknown[] = []
  pool.on('connection:opened', ({ id, identity }) => told.push(['opened', id, identity]))
  pool.on('pool:acquired', ({ id, waitedMillis }) => told.push(['acquired', id, waitedMillis]))
  pool.on('pool:released', ({ id, heldMillis }) => told.push(['released', id, heldMillis]))
  await pool.use(() => clock.advance(100))
  assert.deepEqual(told, [
    ['opened', 1, 'etl'],
    ['acquired', 1, 0],
    ['released', 1, 100],
  ])
})
