import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LimitExceeded, within } from '../../../src/pool/within.ts'
import { settled } from '../../support/held-clock.ts'

test('gives what the work gives', async () => {
  assert.equal(await within(Promise.resolve(1), 1000), 1)
  await assert.rejects(within(Promise.reject(new Error('own')), 1000), /own/)
})

test('rejects when the limit is over; what the work does after that is nobody’s unhandled rejection', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  let fail: (error: Error) => void = () => undefined
  const late = within(
    new Promise((_, reject) => {
      fail = reject
    }),
    50,
  )
  t.mock.timers.tick(50)
  await assert.rejects(late, LimitExceeded)
  fail(new Error('late'))
  await settled()
})
