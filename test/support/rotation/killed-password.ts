import assert from 'node:assert/strict'
import { rotate } from '../../../src/rotation/index.ts'
import { killAt } from './kill-at.ts'
import { load } from './load.ts'
import { fieldsIn, type Place } from './places.ts'
import { FIRST, type RotationSide } from './sides.ts'

const STEPS = ['read', 'login', 'pending', 'alter', 'verify', 'promote'] as const

/** Kills a rotation at each step, while ten callers use the password, and finishes it by the same call. */
export async function killAtEachStep(
  startSide: () => Promise<RotationSide>,
  startPlace: (() => Promise<Place>) | undefined,
): Promise<void> {
  assert.ok(startPlace)
  await using side = await startSide()
  await using place = await startPlace()
  const stores = { environment: place.environment }
  const extra = { ...side.record.extra, ...place.extra, password_from: `${place.secret}#password`, secrets_ttl: 1 }
  const record = { ...side.record, login: 'etl', extra }
  const others = Object.keys(await fieldsIn(place)).filter((name) => name !== 'password')
  await using stack = new AsyncDisposableStack()
  const callers = await load(record, { stores })
  stack.defer(callers.stop)
  await callers.reopened()
  let present: string = FIRST
  for (const step of STEPS) {
    await killAt(step, 'password', record, { stores })
    await callers.reopened()
    const between = await fieldsIn(place)
    assert.equal(between['password'], present)
    const isPending = !['read', 'login', 'pending'].includes(step)
    assert.equal(between['password_pending'] !== undefined, isPending, step)
    const isSet = step === 'verify' || step === 'promote'
    assert.equal(await side.accepts('etl', present), !isSet, step)
    if (isPending) assert.equal(await side.accepts('etl', String(between['password_pending'])), isSet, step)

    const { resumed, user } = await rotate(record, { stores })
    assert.deepEqual([resumed, user], [isPending, 'etl'])
    const after = await fieldsIn(place)
    assert.deepEqual(Object.keys(after).sort(), [...others, 'password'].sort())
    assert.notEqual(after['password'], present)
    if (isPending) assert.equal(after['password'], between['password_pending'])
    assert.equal(await side.accepts('etl', String(after['password'])), true)
    assert.equal(await side.accepts('etl', present), false)
    present = String(after['password'])
    await callers.reopened()
  }
  assert.ok((await callers.end()) > 0)
}
