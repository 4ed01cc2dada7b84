import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  DEFAULT_RENEWAL,
  DEFAULT_RETRY,
  isWorthRenewing,
  nextLook,
  renewalDueAt,
  retryWait,
} from '../../../src/kerberos/ticket-schedule.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE

test('there are ten attempts, with waits from 1 s, doubling to at most 30 s', () => {
  const waits = Array.from({ length: 10 }, (_, index) => retryWait(index + 1, DEFAULT_RETRY))
  assert.deepEqual(waits, [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000, 30_000, undefined])
})

test('the attempts can be set', () => {
  const policy = { firstWaitMillis: 10, longestWaitMillis: 25, attempts: 4 }
  assert.deepEqual(
    [1, 2, 3, 4].map((failed) => retryWait(failed, policy)),
    [10, 20, 25, undefined],
  )
  assert.equal(retryWait(1, { ...policy, attempts: 1 }), undefined)
})

test('a ticket is due 30 minutes before its end, a short one at half its life', () => {
  assert.equal(renewalDueAt({ startsAt: 0, expiresAt: 10 * HOUR }, DEFAULT_RENEWAL), 9.5 * HOUR)
  assert.equal(renewalDueAt({ startsAt: 0, expiresAt: 40 * MINUTE }, DEFAULT_RENEWAL), 20 * MINUTE)
  assert.equal(renewalDueAt({ startsAt: 0, expiresAt: 3000 }, DEFAULT_RENEWAL), 1500)
})

test('the ticket is checked every ten minutes, or when it is due if that is earlier', () => {
  const ticket = { startsAt: 0, expiresAt: 10 * HOUR }
  assert.equal(nextLook(ticket, DEFAULT_RENEWAL, 0), 10 * MINUTE)
  assert.equal(nextLook(ticket, DEFAULT_RENEWAL, 9.5 * HOUR - 1000), 1000)
  assert.equal(nextLook(undefined, DEFAULT_RENEWAL, 0), 10 * MINUTE)
})

test('there is a pause between two looks, however overdue the ticket is', () => {
  assert.equal(nextLook({ startsAt: 0, expiresAt: 1000 }, DEFAULT_RENEWAL, HOUR), 200)
})

test('a renewal is worth it when the ticket is then not due at once', () => {
  const ticket = { startsAt: 0, expiresAt: 10 * HOUR }
  const isWorth = (renewableUntil: number | undefined, given = ticket): boolean =>
    isWorthRenewing({ ...given, renewableUntil }, DEFAULT_RENEWAL)
  assert.equal(isWorth(7 * 24 * HOUR), true)
  assert.equal(isWorth(10 * HOUR + 30 * MINUTE), true)
  assert.equal(isWorth(10 * HOUR + 29 * MINUTE), false)
  assert.equal(isWorth(10 * HOUR), false)
  assert.equal(isWorth(undefined), false)
  const short = { startsAt: 0, expiresAt: 4000 }
  assert.equal(isWorth(6000, short), true)
  assert.equal(isWorth(5000, short), false)
  assert.equal(isWorth(0, { startsAt: 0, expiresAt: 0 }), false)
})
