/** `pool_rebalance`: which session is closed, and when, so that the next one is opened at a better place. */

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Credential } from '../../../src/credentials/credential.ts'
import type { OpenContext } from '../../../src/drivers/driver.ts'
import { PoolsmithError } from '../../../src/errors.ts'
import { Place } from '../../../src/hosts/place.ts'
import type { PoolOptions } from '../../../src/pool/options.ts'
// Loaded here, so that the pool has it at once.
import '../../../src/pool/rebalancing.ts'
import { type FakeConnection, FakeDriver } from '../../support/fake-driver.ts'
import { settled } from '../../support/held-clock.ts'
import { setUp } from './set-up.ts'

const DOWN = new PoolsmithError('No.', { code: 'CONNECT_REFUSED', phase: 'connect' })

/** Opens sessions at the first place that is up, or in turn where both have the same rank. */
class PlacedDriver extends FakeDriver {
  readonly places = [new Place({ host: 'a', port: 1 }), new Place({ host: 'b', port: 1 })]
  readonly up = new Set(this.places)
  readonly asked: string[] = []
  ranks = new Map(this.places.map((place, index) => [place, index]))
  readonly #placeOf = new WeakMap<FakeConnection, Place>()

  override async open(credential: Credential, context: OpenContext): Promise<FakeConnection> {
    const place = context.at ?? this.places.find((one) => this.up.has(one))
    if (context.at !== undefined) this.asked.push(context.at.host)
    if (place === undefined || !this.up.has(place)) throw DOWN
    const raw = await super.open(credential, context)
    this.#placeOf.set(raw, place)
    return raw
  }

  placeOf(raw: FakeConnection): Place | undefined {
    return this.#placeOf.get(raw)
  }

  rankOf(place: Place): number {
    return this.ranks.get(place) ?? 0
  }
}

/** A pool whose sessions were all opened at b, while a was down. */
async function awayFromHome(t: TestContext, count: number, options: PoolOptions = {}) {
  const driver = new PlacedDriver()
  const [a, b] = driver.places as [Place, Place]
  driver.up.delete(a)
  const base = setUp(t, { pool_size: 4, pool_rebalance: 10, pool_pre_ping: false, ...options }, { driver })
  const raws: FakeConnection[] = []
  for (let opened = 0; opened < count; opened++) raws.push(await base.pool.acquire().promise)
  await settled()
  const at = (): number[] => base.pool.stats().places.map(({ sessions }) => sessions)
  assert.deepEqual(at(), [0, count])
  return { ...base, driver, raws, at, a, b }
}

test('a server that comes first again gets the sessions back one by one, and the idle ones first', async (t) => {
  const { pool, clock, driver, raws, at, closed, a } = await awayFromHome(t, 3)
  pool.release(raws[1] as FakeConnection)
  driver.up.add(a)
  await clock.advance(9_900)
  assert.deepEqual(closed, [])
  await clock.advance(200)
  assert.deepEqual([closed, at()], [[[2, 'rebalanced']], [0, 2]])
  assert.equal(pool.stats().inUse, 2)
  // One that is in use is closed when it is returned.
  await clock.advance(10_000)
  assert.equal(closed.length, 1)
  for (const raw of [raws[0], raws[2]]) pool.release(raw as FakeConnection)
  assert.deepEqual(closed[1]?.[1], 'rebalanced')
  assert.equal(closed.length, 2)
  await clock.advance(10_000)
  assert.deepEqual([closed.length, at()], [3, [0, 0]])
  await pool.use(() => undefined)
  assert.deepEqual(at(), [1, 0])
  await clock.advance(30_000)
  assert.equal(closed.length, 3)
})

test('while the better server does not answer, no session is closed', async (t) => {
  const { pool, clock, driver, raws, at, closed } = await awayFromHome(t, 2)
  for (const raw of raws) pool.release(raw)
  await clock.advance(30_100)
  assert.deepEqual([driver.asked, closed, at()], [['a', 'a', 'a'], [], [0, 2]])
})

test('a server that turns out to have another role gets none', async (t) => {
  const { pool, clock, driver, raws, at, closed, a } = await awayFromHome(t, 2)
  for (const raw of raws) pool.release(raw)
  driver.up.add(a)
  driver.onOpen = () => void driver.ranks.set(a, Number.POSITIVE_INFINITY)
  await clock.advance(30_100)
  assert.deepEqual([driver.asked, closed, at()], [['a'], [], [0, 2]])
})

test('servers that are taken by chance get equal numbers', async (t) => {
  const { pool, clock, driver, raws, at, closed, a, b } = await awayFromHome(t, 4)
  for (const raw of raws) pool.release(raw)
  driver.ranks = new Map([
    [a, 0],
    [b, 0],
  ])
  driver.up.add(a)
  for (let step = 0; step < 5; step++) {
    await clock.advance(10_000)
    // The next callers open what was closed, at a.
    const held = await Promise.all([0, 1, 2, 3].map(() => pool.acquire().promise))
    for (const raw of held) pool.release(raw)
  }
  assert.deepEqual([closed.length, at()], [2, [2, 2]])
})

test('without the option sessions stay where they are', async (t) => {
  const { pool, clock, driver, raws, closed, a } = await awayFromHome(t, 2, { pool_rebalance: 0 })
  for (const raw of raws) pool.release(raw)
  driver.up.add(a)
  await clock.advance(100_000, 1000)
  assert.deepEqual([driver.asked, closed], [[], []])
})
