import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, mock, test } from 'node:test'
import type { Credential } from '../../../src/credentials/credential.ts'
import type { PoolsmithError } from '../../../src/errors.ts'
import { down, hang, issuer, pass, passwordOf, START, settle } from './held-issuer.ts'

beforeEach(() => mock.timers.enable({ apis: ['setTimeout', 'Date'], now: START }))
afterEach(() => mock.timers.reset())

describe('reject', () => {
  test('the next caller waits for a fresh credential, however many were refused with the old one', async () => {
    const state = issuer({ lifeMillis: 900_000 })
    const old = await state.source.get()
    await pass(1000)
    for (let login = 0; login < 20; login++) assert.equal(state.source.reject(old), true)
    assert.equal(state.source.current(), undefined)
    const fresh = await Promise.all(Array.from({ length: 20 }, () => state.source.get()))
    assert.equal(passwordOf(fresh[0]), 'secret-2')
    assert.equal(state.source.reject(old), true, 'a late refusal of the old one leaves the new one')
    assert.equal(state.source.current(), fresh[0])
    assert.equal(state.fetches, 2)
    state.source.close()
  })

  test('a fetch under way that brings the refused credential again is repeated', async () => {
    const state = issuer({ lifeMillis: 1000 })
    const old = await state.source.get()
    const slow = Promise.withResolvers<Credential>()
    state.answer = () => slow.promise
    state.source.current()
    await pass(800, 8)
    assert.equal(state.fetches, 2, 'the renewal is under way')
    state.source.reject(old)
    const waiting = state.source.get()
    state.answer = async () => state.issue('fresh')
    slow.resolve(state.issue(passwordOf(old) as string))
    assert.equal(passwordOf(await waiting), 'fresh')
    state.source.close()
  })

  test('repeated refusals ask the issuer at most five times a second', async () => {
    const state = issuer({ lifeMillis: 900_000 })
    let refusals = 0
    const login = async (): Promise<void> => {
      for (;;) {
        const credential = await state.source.get()
        refusals++
        state.source.reject(credential)
      }
    }
    const endless = login().catch((error: unknown) => error)
    await pass(10_000, 1000)
    assert.ok(refusals > 20, `${refusals} refusals`)
    assert.ok(state.fetches <= 52, `${state.fetches} fetches in ten seconds`)
    state.source.close()
    assert.equal(((await endless) as PoolsmithError).code, 'ABORTED')
  })

  test('a password that changes every few seconds costs at most one refused login each time', async () => {
    let password = 'p0'
    const state = issuer({ recheckMillis: 1000 })
    state.answer = async () => state.issue(password)
    let failed = 0
    for (let round = 1; round <= 50; round++) {
      password = `p${round}`
      for (let login = 0; login < 20; login++) {
        const first = state.source.current() ?? (await state.source.get())
        if (passwordOf(first) !== password) {
          assert.equal(state.source.reject(first), true)
          const next = state.source.get()
          await pass(200, 2)
          if (passwordOf(await next) !== password) failed++
        }
        await pass(100, 2)
      }
    }
    assert.equal(failed, 0)
    state.source.close()
  })
})

describe('close', () => {
  test('ends waiting callers, the fetch in flight and every timer; and is idempotent', async () => {
    const state = issuer({ lifeMillis: 1000 })
    state.answer = hang
    const waiting = state.source.get()
    await settle()
    state.source.close()
    state.source.close()
    await assert.rejects(waiting, { code: 'ABORTED', message: /closed/ })
    assert.equal(state.signals[0]?.aborted, true)
    await assert.rejects(state.source.get(), { code: 'ABORTED' })
    await pass(60_000, 60)
    assert.equal(state.fetches, 1)
    assert.equal(state.named('credential:failed').length, 0)
  })

  test('also during a back-off', async () => {
    const state = issuer()
    state.answer = down
    const waiting = state.source.get()
    await settle()
    state.source.close()
    await assert.rejects(waiting, { code: 'ABORTED' })
    await pass(60_000, 60)
    assert.equal(state.fetches, 1)
  })

  test('also when the renewal is still ahead', async () => {
    const state = issuer({ lifeMillis: 1000 })
    state.source.onChange(() => undefined)
    await state.source.get()
    state.source.close()
    await pass(60_000, 60)
    assert.equal(state.fetches, 1)
  })
})
