import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { PoolsmithError } from '../../../src/errors.ts'
import type { EventName } from '../../../src/events.ts'
import { Place, sharedPlace } from '../../../src/hosts/place.ts'
import { collectGarbage } from '../../support/collect-garbage.ts'

const NAME = { host: 'db1', port: 5432 }
const REFUSED = new PoolsmithError('No.', { code: 'CONNECT_REFUSED', phase: 'connect' })
const SILENT = new PoolsmithError('Nothing.', { code: 'CONNECT_TIMEOUT', phase: 'login' })
const PRIMARY = { address: '10.0.0.1', role: 'primary' } as const

function placeAt(start = 0) {
  const clock = { now: start }
  const place = new Place(NAME, () => clock.now)
  const told: [EventName, unknown][] = []
  const stop = place.listen((name, facts) => told.push([name, facts]))
  return { place, clock, told, stop }
}

test('a place that could not be reached comes last for ten seconds, and then one attempt tries it again', () => {
  const { place, clock } = placeAt()
  assert.equal(place.comesLast(), false)
  place.failed(REFUSED)
  clock.now = 9_999
  assert.equal(place.comesLast(), true)
  clock.now = 10_000
  assert.deepEqual([place.comesLast(), place.comesLast()], [false, true])
  place.answered(PRIMARY)
  assert.equal(place.comesLast(), false)
})

test('down and up are told once for each change, and not at the first login', () => {
  const { place, told, stop } = placeAt()
  place.answered(PRIMARY)
  place.failed(REFUSED)
  place.failed(SILENT)
  place.answered(PRIMARY)
  place.answered(PRIMARY)
  assert.deepEqual(told, [
    ['place:down', { ...NAME, error: REFUSED }],
    ['place:up', { ...NAME, ...PRIMARY }],
  ])
  stop()
  place.failed(REFUSED)
  assert.equal(told.length, 2)
})

test('a change of role is told, and casts doubt on the sessions that are open there', () => {
  const { place, told } = placeAt()
  place.hasRole('standby')
  place.hasRole(undefined)
  place.hasRole('standby')
  assert.deepEqual([told, place.doubts], [[], 0])
  place.answered(PRIMARY)
  assert.deepEqual(told, [['place:role', { ...NAME, role: 'primary', before: 'standby' }]])
  assert.equal(place.doubts, 1)
})

test('attempts that could go on give up when another one has reached its time limit, and on no other failure', () => {
  const { place } = placeAt()
  const told: string[] = []
  const first = place.attempt(() => told.push('first'))
  place.attempt(() => told.push('second'))
  place.failed(REFUSED)
  assert.deepEqual(told, [])
  first[Symbol.dispose]()
  place.failed(SILENT)
  assert.deepEqual(told, ['second'])
})

test('the facts have the error of the last attempt, until one succeeds', () => {
  const { place } = placeAt()
  assert.deepEqual(place.facts, {
    ...NAME,
    address: undefined,
    role: undefined,
    state: 'unknown',
    lastError: undefined,
  })
  place.refused(REFUSED)
  assert.deepEqual([place.facts.state, place.facts.lastError], ['unknown', REFUSED])
  place.failed(SILENT)
  assert.deepEqual([place.facts.state, place.facts.lastError], ['down', SILENT])
  place.answered(PRIMARY)
  assert.deepEqual(place.facts, { ...NAME, ...PRIMARY, state: 'up', lastError: undefined })
})

test('one name is one place, unless another way leads there', () => {
  const name = { host: 'DB1.example.com', port: 5432 }
  const place = sharedPlace(name, undefined, undefined)
  assert.equal(sharedPlace({ ...name, host: 'db1.example.com' }, undefined, undefined), place)
  for (const other of [
    sharedPlace({ ...name, port: 5433 }, undefined, undefined),
    sharedPlace(name, '10.0.0.5', undefined),
    sharedPlace(name, undefined, 'http://proxy:3128'),
  ])
    assert.notEqual(other, place)
})

test('a place that no engine keeps is forgotten', async () => {
  const name = { host: 'forgotten.example.com', port: 5432 }
  sharedPlace(name).failed(REFUSED)
  // Weak references hold until the turn of the event loop in which they were read has ended.
  const limit = AbortSignal.timeout(30_000)
  while (sharedPlace(name).state === 'down') {
    await sleep(1, undefined, { signal: limit })
    collectGarbage()
  }
})
