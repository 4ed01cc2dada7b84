import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { type TestContext, test } from 'node:test'
import { PoolsmithError } from '../../../src/errors.ts'
import { inBackground, isOwnWork, traces, unobserved } from '../../../src/tracing.ts'
import { FakeDriver, FakeSource, passwordCredential } from '../../support/fake-driver.ts'
import { settled } from '../../support/held-clock.ts'
import { attempt, setUp } from './set-up.ts'

type Told = [event: string, context: object]

/** The messages of a channel while a test runs. */
function watch(t: TestContext, name: keyof typeof traces): Told[] {
  const told: Told[] = []
  const handlers = Object.fromEntries(
    ['start', 'end', 'asyncStart', 'asyncEnd', 'error'].map((event) => [
      event,
      (context: unknown) => told.push([event, context as object]),
    ]),
  )
  traces[name].subscribe(handlers as never)
  t.after(() => traces[name].unsubscribe(handlers as never))
  return told
}

const events = (told: readonly Told[]): string[] => told.map(([event]) => event)

test('an attempt and its steps are traced, with the pool and the credential', async (t) => {
  const connects = watch(t, 'connect')
  const phases = watch(t, 'connect:phase')
  const driver = new FakeDriver()
  driver.onOpen = (_, { enter }) => {
    for (const phase of ['dns', 'connect', 'tls', 'login'] as const) enter(phase)
  }
  const own = setUp(t, { pool_name: 'sales' }, { driver })
  await own.pool.acquire().promise
  assert.deepEqual(events(connects), ['start', 'end', 'asyncStart', 'asyncEnd'])
  const context = connects[0]?.[1]
  assert.deepEqual(
    { ...context },
    {
      poolName: context === undefined ? '' : Reflect.get(context, 'poolName'),
      system: undefined,
      host: undefined,
      port: undefined,
      database: undefined,
      credentialKind: 'password',
      identity: 'etl',
      logins: 1,
      result: undefined,
    },
  )
  const begun = phases.filter(([event]) => event === 'start').map(([, one]) => Reflect.get(one, 'phase'))
  assert.deepEqual(begun, ['connect', 'dns', 'connect', 'tls', 'login', 'query'])
  assert.equal(phases.filter(([event]) => event === 'asyncEnd').length, begun.length, 'each step ends')
  assert.ok(phases.every(([, one]) => Reflect.get(one, 'connect') === context))
})

test('an attempt that fails tells its error, and in which step', async (t) => {
  const connects = watch(t, 'connect')
  const phases = watch(t, 'connect:phase')
  const driver = new FakeDriver()
  const error = new PoolsmithError('refused', { code: 'LOGIN_REFUSED', phase: 'login' })
  driver.onOpen = (_, { enter }) => {
    enter('login')
    throw error
  }
  const own = setUp(t, {}, { driver })
  await assert.rejects(own.pool.acquire().promise)
  assert.deepEqual(events(connects), ['start', 'end', 'error', 'asyncStart', 'asyncEnd'])
  const [, told] = connects.at(-1) as [string, { error?: PoolsmithError }]
  assert.equal(told.error?.code, 'LOGIN_REFUSED')
  const failed = phases.filter(([event]) => event === 'error').map(([, one]) => Reflect.get(one, 'phase'))
  assert.deepEqual(failed, ['login'])
})

test('an acquire is traced when it waits, and only then', async (t) => {
  const acquires = watch(t, 'acquire')
  const own = setUp(t, { pool_size: 1, max_overflow: 0 })
  const raw = await own.pool.acquire().promise
  assert.deepEqual(events(acquires), ['start', 'end', 'asyncStart', 'asyncEnd'], 'it waited for the opening')
  own.pool.release(raw)
  own.pool.release(await own.pool.acquire().promise)
  assert.equal(acquires.length, 4, 'a session was ready')
  await own.pool.acquire().promise
  const late = attempt(own)
  await own.clock.advance(30_000, 1000)
  await settled()
  assert.equal(late.error?.code, 'POOL_EXHAUSTED')
  assert.deepEqual(events(acquires.slice(4)), ['start', 'end', 'error', 'asyncStart', 'asyncEnd'])
})

test('what the pool does for itself runs outside the context of the caller, who keeps it', async (t) => {
  const storage = new AsyncLocalStorage<string>()
  const seen: [string, string | undefined][] = []
  const note = (what: string) => () => void seen.push([what, storage.getStore()])
  const driver = new FakeDriver()
  driver.onOpen = note('open')
  driver.onPing = note('ping')
  driver.onReset = note('reset')
  driver.onClose = note('close')
  const source = new FakeSource(passwordCredential('x'))
  const own = setUp(t, { pool_size: 1, max_overflow: 0, pool_keepalive: 5 }, { driver, source })
  await storage.run('request A', async () => {
    const raw = await own.pool.acquire().promise
    assert.equal(storage.getStore(), 'request A')
    raw.dirty = true
    const next = own.pool.acquire().promise.then((other) => {
      assert.equal(storage.getStore(), 'request A', 'a caller that waited')
      own.pool.release(other)
    })
    storage.run('request B', () => own.pool.release(raw))
    await next
  })
  await own.clock.advance(6000, 500)
  await settled()
  assert.deepEqual(
    seen.map(([what]) => what),
    ['open', 'reset', 'ping'],
  )
  assert.ok(
    seen.every(([, store]) => store === undefined),
    JSON.stringify(seen),
  )
})

test('a session that listens is opened, made to listen and pinged outside the context of the caller', async (t) => {
  const storage = new AsyncLocalStorage<string>()
  const seen: [string, string | undefined, boolean][] = []
  const note = (what: string) => () => void seen.push([what, storage.getStore(), isOwnWork()])
  const driver = Object.assign(new FakeDriver(), { listen: async () => note('listen')() })
  driver.onOpen = note('open')
  driver.onPing = note('ping')
  const own = setUp(t, { pool_keepalive: 5 }, { driver })
  await storage.run('request A', () => own.pool.listen('jobs', () => undefined))
  await own.clock.advance(6000, 500)
  await settled()
  assert.deepEqual(seen, [
    ['open', undefined, false],
    ['listen', undefined, true],
    ['ping', undefined, true],
  ])
})

test('statements of the pool make no spans where OpenTelemetry has a context manager', (t) => {
  const API = Symbol.for('opentelemetry.js.api.1')
  const place = globalThis as { [API]?: unknown }
  const given = place[API]
  t.after(() => {
    place[API] = given
  })
  const values = new Map<symbol, unknown>()
  let active: unknown = 'none'
  const context = {
    active: () => ({ setValue: (key: symbol, value: unknown) => new Map(values).set(key, value) }),
    with: (next: unknown, work: () => unknown) => {
      active = next
      return work()
    },
  }
  place[API] = { context }
  assert.equal(
    unobserved(() => 7),
    7,
  )
  assert.deepEqual(active, new Map([[Symbol.for('OpenTelemetry SDK Context Key SUPPRESS_TRACING'), true]]))
  place[API] = undefined
  assert.equal(
    unobserved(() => 8),
    8,
  )
  assert.equal(
    inBackground(() => 9),
    9,
  )
})
