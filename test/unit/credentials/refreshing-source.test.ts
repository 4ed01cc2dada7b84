import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, mock, test } from 'node:test'
import type { Credential } from '../../../src/credentials/credential.ts'
import { PoolsmithError } from '../../../src/errors.ts'
import { down, hang, issuer, pass, passwordOf, refused, START, settle, throttled } from './held-issuer.ts'

beforeEach(() => mock.timers.enable({ apis: ['setTimeout', 'Date'], now: START }))
afterEach(() => mock.timers.reset())

test('an issuer that asks for a wait beyond every timer is not asked again at once', async () => {
  mock.timers.reset()
  const state = issuer()
  const details = { retryAfterMillis: 1e13 }
  state.answer = () =>
    Promise.reject(
      new PoolsmithError('later', { code: 'CREDENTIAL_FAILED', phase: 'credential', transient: true, details }),
    )
  await assert.rejects(state.source.get(AbortSignal.timeout(100)), { code: 'ABORTED' })
  assert.equal(state.fetches, 1)
  state.source.close()
})

describe('a refreshing source', () => {
  test('fetches nothing before the first call, and then once for a thousand callers waiting', async () => {
    const state = issuer({ lifeMillis: 900_000 })
    await pass(60_000)
    assert.equal(state.source.current(), undefined)
    assert.equal(state.fetches, 0)
    const all = await Promise.all(Array.from({ length: 1000 }, () => state.source.get()))
    assert.equal(new Set(all).size, 1)
    assert.equal(state.fetches, 1)
    assert.equal(state.source.current(), all[0])
    assert.equal(state.named('credential:refreshed').length, 1)
    state.source.close()
  })

  for (const [name, life] of [
    ['one second', 1000],
    ['15 minutes', 900_000],
    ['seven days', 7 * 86_400_000],
    ['60 days, more than a timer can wait', 60 * 86_400_000],
  ] as const) {
    test(`renews a credential of ${name} in the background while it is in use, and no caller waits`, async () => {
      const state = issuer({ lifeMillis: life })
      await state.source.get()
      for (let step = 0; step < 200; step++) {
        await pass(life / 20, 1)
        assert.notEqual(state.source.current(), undefined, `nothing to use at step ${step}`)
      }
      assert.ok(state.fetches >= 10 && state.fetches <= 15, `${state.fetches} fetches in ten lives`)
      state.source.close()
    })
  }

  test('no timer is longer than setTimeout can count, since a longer one fires at once', async (t) => {
    const set = t.mock.method(globalThis, 'setTimeout')
    const state = issuer({ lifeMillis: 60 * 86_400_000 })
    await state.source.get()
    const delays = set.mock.calls.map((call) => Number(call.arguments[1]))
    assert.equal(Math.max(...delays), 2 ** 31 - 1)
    state.source.close()
  })

  test('an idle source fetches nothing, and the next caller waits for one fetch', async () => {
    const state = issuer({ lifeMillis: 1000 })
    await state.source.get()
    await pass(60_000, 600)
    assert.ok(state.fetches <= 2, `${state.fetches} fetches`)
    assert.equal(state.source.current(), undefined)
    const before = state.fetches
    await state.source.get()
    assert.equal(state.fetches, before + 1)
    state.source.close()
  })

  test('a listener for changes keeps the credential renewed, and gets each new one', async () => {
    const state = issuer({ lifeMillis: 1000 })
    const told: (string | undefined)[] = []
    const stop = state.source.onChange((credential) => told.push(passwordOf(credential)))
    await state.source.get()
    await pass(3000, 120)
    assert.deepEqual(told.slice(0, 3), ['secret-1', 'secret-2', 'secret-3'])
    stop()
    const count = told.length
    state.source.current()
    await pass(1000, 40)
    assert.equal(told.length, count)
    state.source.close()
  })

  test('the old credential serves while its renewal hangs, and the hanging fetch is aborted', async () => {
    const state = issuer({ lifeMillis: 900_000, fetchTimeoutMillis: 5000 })
    const first = await state.source.get()
    state.source.current()
    state.answer = hang
    await pass(700_000, 7)
    assert.equal(state.source.current(), first)
    assert.equal(state.fetches, 2)
    await pass(6000)
    assert.equal(state.signals[1]?.aborted, true)
    assert.equal(state.named('credential:failed')[0]?.error.code, 'CREDENTIAL_TIMEOUT')
    assert.equal(await state.source.get(), first)
    state.source.close()
  })

  test('a renewal that meets a network fault is tried again with back-off while the old one serves', async () => {
    const state = issuer({ lifeMillis: 100_000 })
    const first = await state.source.get()
    state.answer = down
    for (let second = 0; second < 85; second++) {
      await pass(1000, 10)
      assert.equal(state.source.current(), first, `at ${second} s`)
    }
    const waits = state.named('credential:failed').map(({ retryInMillis }) => retryInMillis)
    assert.deepEqual(waits.slice(0, 4), [250, 500, 1000, 2000])
    assert.equal(state.source.failure?.code, 'CREDENTIAL_FAILED')
    state.answer = async () => state.issue('back')
    await pass(8000, 40)
    assert.equal(passwordOf(state.source.current()), 'back')
    assert.equal(state.source.failure, undefined)
    state.source.close()
  })

  test('a renewal that is refused is not tried again while the old one is good', async () => {
    const state = issuer({ lifeMillis: 100_000 })
    const first = await state.source.get()
    state.answer = refused
    for (let second = 0; second < 94; second++) {
      await pass(1000, 1)
      assert.equal(state.source.current(), first)
    }
    assert.equal(state.fetches, 2)
    await pass(10_000)
    state.answer = async () => state.issue('mended')
    assert.equal(passwordOf(await state.source.get()), 'mended')
    state.source.close()
  })

  test('a waiting caller gets the specific error after five tries with back-off', async () => {
    const state = issuer({ lifeMillis: 1000 })
    state.answer = down
    const waiting = state.source.get()
    const outcome = assert.rejects(waiting, (error: unknown) => {
      assert.ok(error instanceof PoolsmithError)
      assert.equal(error.code, 'CREDENTIAL_FAILED')
      assert.equal(error.phase, 'credential')
      assert.equal(error.transient, true)
      assert.match(error.message, /connect refused/)
      return true
    })
    await settle()
    for (const [fetches, wait] of [
      [1, 250],
      [2, 500],
      [3, 1000],
      [4, 2000],
    ] as const) {
      await pass(wait - 1, 1)
      assert.equal(state.fetches, fetches)
      await pass(1, 1)
    }
    await outcome
    assert.equal(state.fetches, 5)
    state.source.close()
  })

  test('a refusal is reported at once, and the issuer is not asked again within a second', async () => {
    const state = issuer()
    state.answer = refused
    for (let call = 0; call < 20; call++) await assert.rejects(state.source.get(), { code: 'CREDENTIAL_REFUSED' })
    assert.equal(state.fetches, 1)
    await pass(1001)
    state.answer = async () => state.issue('mended')
    assert.equal(passwordOf(await state.source.get()), 'mended')
    state.source.close()
  })

  test("waits as long as the issuer's Retry-After says", async () => {
    const state = issuer()
    state.answer = throttled
    const waiting = state.source.get()
    await settle()
    await pass(6900, 10)
    assert.equal(state.fetches, 1)
    state.answer = async () => state.issue('later')
    await pass(200, 2)
    assert.equal(passwordOf(await waiting), 'later')
    assert.equal(state.fetches, 2)
    state.source.close()
  })

  test('a long Retry-After does not keep an expired credential in use', async () => {
    const state = issuer({ lifeMillis: 10_000 })
    await state.source.get()
    state.source.current()
    state.answer = throttled
    await pass(9400, 40)
    assert.notEqual(state.source.current(), undefined)
    await pass(200, 2)
    assert.equal(state.source.current(), undefined)
    state.source.close()
  })

  test('an aborted caller leaves alone: the others get the credential of the same fetch', async () => {
    const state = issuer()
    const answer = Promise.withResolvers<Credential>()
    state.answer = () => answer.promise
    const leaving = new AbortController()
    const gone = state.source.get(leaving.signal)
    const stays = state.source.get(new AbortController().signal)
    leaving.abort()
    await assert.rejects(gone, { code: 'ABORTED', phase: 'credential' })
    assert.equal(state.signals[0]?.aborted, false)
    answer.resolve(state.issue('shared'))
    assert.equal(passwordOf(await stays), 'shared')
    assert.equal(state.fetches, 1)
    state.source.close()
  })

  test('when all callers have left, the fetch goes on and its result serves the next caller; retries stop', async () => {
    const state = issuer()
    const answer = Promise.withResolvers<Credential>()
    state.answer = () => answer.promise
    const leaving = new AbortController()
    const gone = state.source.get(leaving.signal)
    await settle()
    leaving.abort()
    await assert.rejects(gone, { code: 'ABORTED' })
    answer.resolve(state.issue('kept'))
    await settle()
    assert.equal(passwordOf(state.source.current()), 'kept')
    state.source.close()

    const other = issuer()
    other.answer = down
    const impatient = new AbortController()
    const left = other.source.get(impatient.signal)
    await settle()
    impatient.abort()
    await assert.rejects(left, /connect refused/, 'the abort says why the wait was in vain')
    await pass(60_000, 60)
    assert.ok(other.fetches <= 2, `${other.fetches} fetches with nobody waiting`)
    other.source.close()
  })

  test('an abort reason that is a PoolsmithError comes back as it is', async () => {
    const state = issuer()
    state.answer = hang
    const reason = new PoolsmithError('the pool gave up', { code: 'POOL_EXHAUSTED', phase: 'pool' })
    await assert.rejects(state.source.get(AbortSignal.abort(reason)), reason)
    const later = new AbortController()
    const waiting = state.source.get(later.signal)
    later.abort(reason)
    await assert.rejects(waiting, reason)
    state.source.close()
  })

  test('a thousand waits on one signal leave no listener behind', async () => {
    const state = issuer()
    const { signal } = new AbortController()
    const added = mock.method(signal, 'addEventListener')
    const removed = mock.method(signal, 'removeEventListener')
    await Promise.all(Array.from({ length: 1000 }, () => state.source.get(signal)))
    assert.ok(added.mock.callCount() > 0)
    assert.equal(removed.mock.callCount(), added.mock.callCount())
    state.source.close()
  })

  test('a fetch that throws before it awaits, or throws no error, is a failure like any other', async () => {
    for (const thrown of [new TypeError('bad option'), 'text', undefined]) {
      const state = issuer()
      state.answer = () => {
        throw thrown
      }
      await assert.rejects(state.source.get(), { code: 'CREDENTIAL_FAILED', phase: 'credential' })
      state.source.close()
    }
  })

  test('a credential that has expired on arrival is an error that shows both clocks', async () => {
    const state = issuer()
    state.answer = async () => state.issue('late', -1000)
    await assert.rejects(state.source.get(), { code: 'CREDENTIAL_EXPIRED', hint: /2025-12-31T23:59:59.*2026-01-01/ })
    state.source.close()
  })

  test('an issuer that answers from a cache of its own does not restart the life of the token', async () => {
    const state = issuer()
    const cached = state.issue('cached', 100_000)
    state.answer = async () => ({ ...cached, issuedAt: Date.now() })
    const told: unknown[] = []
    state.source.onChange((credential) => told.push(credential))
    const first = await state.source.get()
    for (let second = 0; second < 94; second++) {
      state.source.current()
      await pass(1000, 1)
    }
    assert.equal(state.source.current(), first)
    const early = state.fetches
    assert.ok(early > 1 && early < 8, `${early} fetches`)
    await pass(2000, 10)
    assert.equal(state.source.current(), first, 'the margin is given up when the issuer has no other')
    for (let step = 0; step < 40; step++) {
      state.source.current()
      await pass(100, 1)
    }
    assert.ok(state.fetches < early + 16, `${state.fetches - early} fetches towards the end`)
    assert.equal(state.source.current(), undefined)
    await assert.rejects(state.source.get(), { code: 'CREDENTIAL_EXPIRED' })
    assert.equal(told.length, 1)
    state.source.close()
  })

  test('a prolonged lease keeps its secret: it is used longer, and no change is reported', async () => {
    const state = issuer()
    state.answer = async () => state.issue('same', 1000)
    const told: unknown[] = []
    state.source.onChange((credential) => told.push(credential))
    await state.source.get()
    await pass(5000, 200)
    assert.equal(passwordOf(state.source.current()), 'same')
    assert.equal(told.length, 1)
    state.source.close()
  })

  test('a listener that throws is a warning, not a failed fetch', async (t) => {
    const warned = t.mock.method(process, 'emitWarning', () => undefined)
    const state = issuer()
    state.source.onChange(() => {
      throw new Error('bad listener')
    })
    assert.equal(passwordOf(await state.source.get()), 'secret-1')
    assert.equal(warned.mock.callCount(), 1)
    state.source.close()
  })
})
