import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Phase, PoolsmithError } from '../../../src/errors.ts'
import { FakeDriver, FakeSource, passwordCredential } from '../../support/fake-driver.ts'
import { settled } from '../../support/held-clock.ts'
import { attempt, setUp } from './set-up.ts'

const never = (): Promise<never> => new Promise(() => undefined)

function refusal(message: string, transient: boolean): PoolsmithError {
  return new PoolsmithError(message, { code: 'CONNECT_FAILED', phase: 'connect', transient })
}

const full = (): PoolsmithError =>
  new PoolsmithError('too many clients', { code: 'SERVER_FULL', phase: 'login', transient: true })

test('a full pool: POOL_EXHAUSTED at pool_timeout, with the longest uses', async (t) => {
  const setup = setUp(t, { pool_size: 2, max_overflow: 0, pool_timeout: 3 })
  const first = await setup.pool.acquire().promise
  await setup.clock.advance(1000)
  await setup.pool.acquire().promise
  const outcome = attempt(setup)
  await setup.clock.advance(2950)
  assert.deepEqual(outcome, {})
  await setup.clock.advance(50)
  assert.equal(outcome.error?.code, 'POOL_EXHAUSTED')
  const { details } = outcome.error as unknown as PoolsmithError
  assert.deepEqual(details.longestHeld, [
    { id: 1, heldMillis: 4000 },
    { id: 2, heldMillis: 3000 },
  ])
  assert.deepEqual([details.max, details.inUse], [2, 2])
  // The caller that gave up is forgotten: the returned connection goes to the next one.
  setup.pool.release(first)
  assert.equal((await setup.pool.acquire().promise).id, 1)
})

test('a suspended pool: POOL_SUSPENDED at pool_timeout', async (t) => {
  const setup = setUp(t, { pool_timeout: 2 })
  await setup.pool.use(() => undefined)
  setup.pool.suspend()
  const outcome = attempt(setup)
  await setup.clock.advance(2000)
  assert.deepEqual([outcome.error?.code, outcome.at], ['POOL_SUSPENDED', 2000])
})

for (const phase of ['dns', 'connect', 'tls', 'login'] satisfies Phase[]) {
  test(`an attempt that hangs in ${phase}: CONNECT_TIMEOUT at pool_timeout, with the phase`, async (t) => {
    const setup = setUp(t, { pool_timeout: 4 })
    setup.driver.onOpen = (_, { enter }) => {
      enter(phase)
      return never()
    }
    const outcome = attempt(setup)
    await setup.clock.advance(4000)
    assert.deepEqual([outcome.error?.code, outcome.error?.phase, outcome.at], ['CONNECT_TIMEOUT', phase, 4000])
    await setup.clock.advance(100)
    assert.equal(setup.pool.stats().opening, 0, 'the attempt does not outlive its limit')
  })
}

test('a token endpoint that hangs: CREDENTIAL_TIMEOUT at pool_timeout', async (t) => {
  const source = new FakeSource()
  source.credential = undefined
  source.onGet = never
  const setup = setUp(t, { pool_timeout: 4 }, { source })
  const outcome = attempt(setup)
  await setup.clock.advance(4000)
  assert.deepEqual([outcome.error?.code, outcome.error?.phase, outcome.at], ['CREDENTIAL_TIMEOUT', 'credential', 4000])
})

test('the time for the credential and for the opening count together', async (t) => {
  const source = new FakeSource()
  source.credential = undefined
  source.onGet = () => new Promise((resolve) => setTimeout(() => resolve(passwordCredential('slow')), 3000))
  const setup = setUp(t, { pool_timeout: 5 }, { source })
  let signal: AbortSignal | undefined
  setup.driver.onOpen = (_, context) => {
    signal = context.signal
    context.enter('tls')
    return never()
  }
  const outcome = attempt(setup)
  await setup.clock.advance(5000)
  assert.deepEqual([outcome.error?.code, outcome.error?.phase, outcome.at], ['CONNECT_TIMEOUT', 'tls', 5000])
  assert.match(outcome.error?.message ?? '', /pool_timeout.*TLS/)
  assert.equal(signal?.aborted, true)
})

test('a connection that a driver opens after its time limit is cut', async (t) => {
  const setup = setUp(t, { pool_timeout: 2 })
  setup.driver.onOpen = () => new Promise((resolve) => setTimeout(resolve, 5000))
  const outcome = attempt(setup)
  await setup.clock.advance(5000)
  assert.equal(outcome.at, 2000)
  assert.equal(setup.driver.connections[0]?.end, 'aborted')
  assert.equal(setup.pool.stats().total, 0)
})

test('a frozen server behind an idle connection: the ping has its limit, then the attempt, and the answer comes in time', async (t) => {
  const setup = setUp(t, { pool_timeout: 6 })
  await setup.pool.use(() => undefined)
  await setup.clock.advance(1000)
  setup.driver.onPing = never
  setup.driver.onOpen = (_, { enter }) => {
    enter('login')
    return never()
  }
  const outcome = attempt(setup)
  await setup.clock.advance(3000)
  assert.deepEqual(setup.closed, [[1, 'ping-failed']])
  await setup.clock.advance(3000)
  assert.deepEqual([outcome.error?.code, outcome.error?.phase, outcome.at], ['CONNECT_TIMEOUT', 'login', 7000])
})

test('a refusal is reported at once to all waiting callers if no connection is in use', async (t) => {
  const setup = setUp(t, { pool_size: 3, max_overflow: 0 })
  setup.driver.onOpen = () => {
    throw refusal('no such host', false)
  }
  const outcomes = Array.from({ length: 10 }, () => attempt(setup))
  await settled()
  for (const outcome of outcomes) assert.equal(outcome.error?.message, 'no such host')
  assert.ok(setup.driver.opens <= 3, `no storm, but ${setup.driver.opens} attempts`)
})

test('one attempt that fails among others that succeed fails no caller when it is transient', async (t) => {
  const setup = setUp(t, { pool_size: 3, max_overflow: 0 })
  setup.driver.onOpen = () => {
    if (setup.driver.opens === 1) throw refusal('reset by peer', true)
  }
  const outcomes = Array.from({ length: 3 }, () => attempt(setup))
  await setup.clock.advance(200)
  assert.deepEqual(
    outcomes.map(({ error }) => error),
    [undefined, undefined, undefined],
  )
  assert.ok(outcomes.every(({ raw }) => raw !== undefined))
})

test('a database that fails slowly is reported to all waiting callers when the first attempts have failed', async (t) => {
  const setup = setUp(t, { pool_size: 3, max_overflow: 0, pool_timeout: 30 })
  setup.driver.onOpen = async () => {
    // One after the other, as a network has it.
    const millis = 5000 + 50 * setup.driver.opens
    await new Promise((resolve) => setTimeout(resolve, millis))
    throw refusal('no answer', true)
  }
  const outcomes = Array.from({ length: 3 }, () => attempt(setup))
  await setup.clock.advance(6000)
  for (const { error, at } of outcomes) assert.deepEqual([error?.message, at], ['no answer', 5150])
  // A caller that arrives later waits for no more than a probe.
  const later = attempt(setup)
  await setup.clock.advance(6000)
  assert.equal(later.error?.message, 'no answer')
})

test('a database that is down is probed by one attempt at a time, and the pool recovers by itself', async (t) => {
  const setup = setUp(t, { pool_size: 5, max_overflow: 0 })
  let inFlight = 0
  let most = 0
  let down = true
  setup.driver.onOpen = async () => {
    most = Math.max(most, ++inFlight)
    await new Promise((resolve) => setTimeout(resolve, 100))
    inFlight--
    if (down) throw refusal('connection refused', true)
  }
  const first = attempt(setup)
  await setup.clock.advance(100)
  assert.equal(first.error?.message, 'connection refused')
  most = 0
  const crowd = Array.from({ length: 50 }, () => attempt(setup))
  await setup.clock.advance(100)
  assert.equal(most, 1)
  assert.ok(crowd.every(({ error }) => error?.message === 'connection refused'))
  down = false
  const later = Array.from({ length: 5 }, () => attempt(setup))
  await setup.clock.advance(250)
  assert.ok(later.every(({ raw }) => raw !== undefined))
})

test('too many clients while connections are in use: a waiting caller is served by a return, and attempts keep their pauses', async (t) => {
  const setup = setUp(t, { pool_size: 5, max_overflow: 0 })
  const held = await setup.pool.acquire().promise
  setup.driver.onOpen = () => {
    throw full()
  }
  const served = attempt(setup)
  const starved = attempt(setup)
  await setup.clock.advance(1000)
  assert.deepEqual([served, starved], [{}, {}])
  assert.ok(setup.driver.opens < 10, `pauses grow, but ${setup.driver.opens} attempts in a second`)
  setup.pool.release(held)
  await settled()
  assert.equal(served.raw, held)
  await setup.clock.advance(29_000, 500)
  assert.equal(starved.error?.code, 'SERVER_FULL')
  assert.deepEqual(starved.error?.cause, full())
})

test('a refusal while connections are in use fails one waiting caller and leaves the others to the returns', async (t) => {
  const setup = setUp(t, { pool_size: 5, max_overflow: 0 })
  const held = await setup.pool.acquire().promise
  setup.driver.onOpen = () => {
    if (setup.driver.opens === 2) throw refusal('database does not exist', false)
    return never()
  }
  const [first, second] = [attempt(setup), attempt(setup)]
  await setup.clock.advance(100)
  assert.equal(first.error?.message, 'database does not exist')
  assert.deepEqual(second, {})
  setup.pool.release(held)
  await settled()
  assert.equal(second.raw, held)
})

test('while suspended a failed attempt fails no caller', async (t) => {
  const setup = setUp(t, { pool_timeout: 30 })
  setup.driver.onOpen = async () => {
    await new Promise((resolve) => setTimeout(resolve, 100))
    throw refusal('connection refused', true)
  }
  const outcome = attempt(setup)
  setup.pool.suspend()
  await setup.clock.advance(1000)
  assert.deepEqual(outcome, {})
  setup.driver.onOpen = () => undefined
  setup.pool.resume()
  await settled()
  assert.notEqual(outcome.raw, undefined)
})

test('an acquire that its caller aborts: ABORTED with the reason, and the connection stays in the pool', async (t) => {
  const setup = setUp(t, { pool_size: 1, max_overflow: 0 })
  const held = await setup.pool.acquire().promise
  const controller = new AbortController()
  const outcome = attempt(setup, { signal: controller.signal })
  controller.abort(new Error('user left'))
  await settled()
  assert.equal(outcome.error?.code, 'ABORTED')
  assert.deepEqual(outcome.error?.cause, new Error('user left'))
  assert.equal(setup.pool.stats().waiting, 0)
  setup.pool.release(held)
  assert.equal(await setup.pool.acquire().promise, held)
  assert.equal(attempt(setup, { signal: AbortSignal.abort() }).raw, undefined)
  await assert.rejects(
    setup.pool.use(() => undefined, { signal: AbortSignal.abort() }),
    { code: 'ABORTED' },
  )
})

test('a connection that is pinged for a caller that aborts goes to the next caller', async (t) => {
  const setup = setUp(t, { pool_size: 1, max_overflow: 0 })
  await setup.pool.use(() => undefined)
  await setup.clock.advance(1000)
  let answer: () => void = () => undefined
  setup.driver.onPing = () =>
    new Promise((resolve) => {
      answer = resolve
    })
  const controller = new AbortController()
  attempt(setup, { signal: controller.signal })
  const next = attempt(setup)
  await settled()
  // Both in one turn: the answer must neither be lost nor hand the connection to the caller that has left.
  answer()
  controller.abort()
  await settled()
  assert.equal(next.raw?.id, 1)
  assert.equal(setup.driver.opens, 1)
})

test('a timeout is an event and is counted', async (t) => {
  const setup = setUp(t, { pool_size: 1, max_overflow: 0, pool_timeout: 1 })
  await setup.pool.acquire().promise
  const told: string[] = []
  setup.pool.on('pool:timeout', ({ error }) => told.push(error.code))
  attempt(setup)
  await setup.clock.advance(1000)
  assert.deepEqual(told, ['POOL_EXHAUSTED'])
  assert.equal(setup.pool.stats().counts.timedOut, 1)
})

test('an error of a third-party driver becomes a PoolsmithError and an event', async (t) => {
  const driver = new FakeDriver()
  driver.onOpen = (_, { enter }) => {
    enter('tls')
    throw new TypeError('odd')
  }
  const setup = setUp(t, {}, { driver })
  const told: unknown[] = []
  setup.pool.on('connection:failed', ({ error, phase }) => told.push([error.code, phase]))
  await assert.rejects(setup.pool.acquire().promise, { code: 'CONNECT_FAILED', phase: 'tls' })
  assert.deepEqual(told, [['CONNECT_FAILED', 'tls']])
})
