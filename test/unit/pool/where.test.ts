/** The errors of a pool name host, port and database, in their text and in their details. */

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { PoolsmithError } from '../../../src/errors.ts'
import { Place } from '../../../src/hosts/place.ts'
import { FakeDriver } from '../../support/fake-driver.ts'
import { settled } from '../../support/held-clock.ts'
import { attempt, type Setup, setUp } from './set-up.ts'

const PLACE = 'db.example.com:5432 (database sales)'

/** A driver that knows where it opens sessions. */
class PlacedDriver extends FakeDriver {
  readonly where = { system: 'postgresql', host: 'db.example.com', port: 5432, database: 'sales' } as const
}

const placed = (t: TestContext): Setup =>
  setUp(t, { pool_size: 1, max_overflow: 0, pool_timeout: 1 }, { driver: new PlacedDriver() })

function assertPlace(error: (Error & { code?: string }) | undefined, code: string): void {
  assert.equal(error?.code, code, error?.message)
  assert.ok(error?.message.includes(PLACE), error?.message)
  const { host, port, database } = (error as PoolsmithError).details
  assert.deepEqual({ host, port, database }, { host: 'db.example.com', port: 5432, database: 'sales' })
}

test('a full pool', async (t) => {
  const setup = placed(t)
  await setup.pool.acquire().promise
  const waiting = attempt(setup)
  await setup.clock.advance(1000)
  assertPlace(waiting.error, 'POOL_EXHAUSTED')
})

test('a suspended pool', async (t) => {
  const setup = placed(t)
  setup.pool.suspend()
  const waiting = attempt(setup)
  await setup.clock.advance(1000)
  assertPlace(waiting.error, 'POOL_SUSPENDED')
})

test('an attempt that hangs', async (t) => {
  const setup = placed(t)
  setup.driver.onOpen = (_, { enter }) => {
    enter('login')
    return new Promise(() => undefined)
  }
  const waiting = attempt(setup)
  await setup.clock.advance(1000)
  assertPlace(waiting.error, 'CONNECT_TIMEOUT')
})

test('an attempt that hangs at the one server that it was to reach', async (t) => {
  const places = [new Place({ host: 'db2.example.com', port: 5433 })]
  const { pool, driver, clock } = setUp(
    t,
    { pool_timeout: 1 },
    { driver: Object.assign(new PlacedDriver(), { places }) },
  )
  driver.onOpen = () => new Promise(() => undefined)
  const visits = pool.visitPlaces()
  // The code for visits is loaded at the first one.
  while (driver.opens === 0) await settled()
  await clock.advance(1000)
  const [visit] = await visits
  assert.equal(visit?.error?.code, 'CONNECT_TIMEOUT')
  assert.match(visit?.error?.message ?? '', /^No connection to db2\.example\.com:5433 \(database sales\) within /)
})

test('a caller that gives up', async (t) => {
  const setup = placed(t)
  await setup.pool.acquire().promise
  const giving = new AbortController()
  const waiting = attempt(setup, { signal: giving.signal })
  giving.abort()
  await setup.clock.advance(1)
  assertPlace(waiting.error, 'ABORTED')
})

test('a session that fails its ping, in the cause of connection:closed', async (t) => {
  const setup = placed(t)
  const causes: unknown[] = []
  setup.pool.on('connection:closed', ({ cause }) => causes.push(cause))
  setup.pool.release(await setup.pool.acquire().promise)
  await setup.clock.advance(600)
  setup.driver.onPing = () => Promise.reject(new Error('the socket is closed'))
  attempt(setup)
  await setup.clock.advance(1)
  assertPlace(causes[0] as Error, 'CONNECTION_LOST')
})

test('a pool that is closed', async (t) => {
  const setup = placed(t)
  await setup.pool.destroy()
  const late = attempt(setup)
  await setup.clock.advance(1)
  assertPlace(late.error, 'POOL_CLOSED')
})
