import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'
import { ConnectionPool } from '../../../src/pool/pool.ts'
import { Waiters } from '../../../src/pool/waiters.ts'
import { FakeDriver, FakeSource } from '../../support/fake-driver.ts'
import { socketPair } from '../../support/socket-pair.ts'
import { attempt, setUp } from './set-up.ts'

test('40,000 callers that wait under one signal cost constant work each, whether they are aborted or served', async () => {
  const callers = 40_000
  await using pool = new ConnectionPool({
    driver: new FakeDriver(),
    source: new FakeSource(),
    options: { pool_size: 1, max_overflow: 0, pool_timeout: 600 },
  })
  const held = await pool.acquire().promise
  const begin = process.threadCpuUsage()

  const aborting = new AbortController()
  const aborted = Array.from({ length: callers }, () => pool.use(() => undefined, { signal: aborting.signal }))
  assert.equal(getEventListeners(aborting.signal, 'abort').length, 1)
  const codes = Promise.allSettled(aborted)
  aborting.abort()
  for (const outcome of await codes) {
    assert.equal(outcome.status === 'rejected' && outcome.reason.code, 'ABORTED')
  }
  assert.equal(pool.stats().waiting, 0)

  const { signal } = new AbortController()
  let served = 0
  const waiting = Array.from({ length: callers }, () => pool.use(() => served++, { signal }))
  pool.release(held)
  await Promise.all(waiting)
  assert.equal(served, callers)
  assert.equal(getEventListeners(signal, 'abort').length, 0)
  // A listener on the signal for each caller takes minutes of this thread.
  const { user, system } = process.threadCpuUsage(begin)
  assert.ok(user + system < 30e6, `took ${Math.round((user + system) / 1000)} ms`)
})

test('a signal has no effect on a caller that has its session', async (t) => {
  const setup = setUp(t)
  const controller = new AbortController()
  const outcome = attempt(setup, { signal: controller.signal })
  await setup.clock.advance(50)
  assert.notEqual(outcome.raw, undefined)
  controller.abort()
  await setup.clock.advance(50)
  assert.equal(outcome.error, undefined)
  assert.equal(setup.pool.stats().inUse, 1)
})

test('in place of a signal anything else is refused, and takes no connection', async (t) => {
  const { pool } = setUp(t)
  pool.release(await pool.acquire().promise)
  for (const signal of [new AbortController(), {}, 5, 'now', null]) {
    const options = { signal } as never
    await assert.rejects(
      pool.use(() => assert.fail('it began'), options),
      { code: 'CONFIG_INVALID', message: /signal: is not an AbortSignal/, hint: /`signal` of an AbortController/ },
    )
  }
  assert.deepEqual([pool.stats().inUse, pool.stats().waiting], [0, 0])
})

test('a session that has arrived when pool_timeout ends is handed out', async (t) => {
  await using pair = await socketPair()
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const waiters = new Waiters<string>()
  pair.reader.once('data', () => waiters.first?.resolve('a session'))
  const waiting = waiters.add({
    since: 0,
    millis: 10,
    site: undefined,
    signal: undefined,
    onTimeout: () => new Error('nothing came'),
    onAbort: () => new Error('aborted'),
  })
  pair.writer.write('x')
  t.mock.timers.tick(10)
  assert.equal(await waiting, 'a session')
})
