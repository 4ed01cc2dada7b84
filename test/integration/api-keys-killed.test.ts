/** Work on API keys that is killed before and after each of its writes, in each kind of store that can be written. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PoolsmithError } from '../../src/errors.ts'
import { openApiKeys } from '../../src/rotation/index.ts'
import { killWrite } from '../support/rotation/kill-at.ts'
import { PLACES, type Place } from '../support/rotation/places.ts'

/** The key that callers of the service send now; undefined where they find none. */
async function sent({ keys: at, extra, environment }: Place): Promise<string | undefined> {
  using caller = await openApiKeys(at, { store: extra, environment })
  try {
    return (await caller.headersFor('billing'))['X-API-Key']
  } catch (error) {
    if (error instanceof PoolsmithError && ['API_KEY_MISSING', 'API_KEY_REVOKED'].includes(error.code)) return undefined
    throw error
  }
}

async function isValid({ keys: at, extra, environment }: Place, key: string): Promise<boolean> {
  using validator = await openApiKeys(at, { store: extra, environment })
  return (await validator.validate(key)) !== undefined
}

const ACTIONS = ['generate', 'rotate', 'revoke'] as const
/** The error of a call that was killed after its last write, and so had nothing left to do. */
const DONE = { generate: 'API_KEY_EXISTS', rotate: undefined, revoke: 'API_KEY_MISSING' } as const

for (const [name, start] of Object.entries(PLACES)) {
  for (const action of ACTIONS) {
    test(`${name}: ${action} of an API key that is killed at any write is finished by the same call`, {
      timeout: 120_000,
    }, async () => {
      let killed = 0
      for (let point = 0; ; point++) {
        await using place = await start()
        const options = { store: place.extra, environment: place.environment }
        using keys = await openApiKeys(place.keys, options)
        if (action !== 'generate') await keys.generate('billing')
        const before = await sent(place)
        const isKilled = await killWrite(point, { place: place.keys, options, action })
        if (!isKilled) break
        killed++
        const between = await sent(place)
        // Callers never send a key that is refused, but for one that is being revoked.
        if (between !== undefined && action !== 'revoke') assert.ok(await isValid(place, between), `${point}`)
        if (action === 'rotate') assert.ok(before !== undefined && (await isValid(place, before)), `${point}`)

        const code = await keys[action]('billing').then(
          () => undefined,
          (error: PoolsmithError) => error.code,
        )
        assert.ok(code === undefined || code === DONE[action], `${point}: ${code}`)
        const after = await sent(place)
        const states = (await keys.list('billing')).map(({ state }) => state)
        if (action === 'revoke') {
          assert.deepEqual([after, states], [undefined, ['revoked']], `${point}`)
          assert.equal(await isValid(place, before ?? ''), false)
          continue
        }
        assert.ok(after !== undefined && (await isValid(place, after)), `${point}`)
        assert.equal(states.filter((state) => state === 'current').length, 1, `${point}`)
        assert.equal(states.includes('pending'), false, `${point}`)
      }
      // Before and after each of the writes.
      assert.equal(killed, { generate: 6, rotate: 6, revoke: 4 }[action])
    })
  }
}
