import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { backoffMillis, freshness, refreshAgainAt, schedule } from '../../../src/credentials/refresh-schedule.ts'

const SECOND = 1000
const DAY = 24 * 60 * 60 * SECOND

describe('schedule', () => {
  for (const [name, life, refreshAt, goodUntil] of [
    ['one second', SECOND, 750, 950],
    ['15 minutes (RDS)', 900 * SECOND, 675 * SECOND, 870 * SECOND],
    ['one hour (Entra)', 3600 * SECOND, 2700 * SECOND, 3570 * SECOND],
    ['one week', 7 * DAY, 5.25 * DAY, 7 * DAY - 30 * SECOND],
  ] as const) {
    test(`scales with a life of ${name}`, () => {
      assert.deepEqual(schedule({ issuedAt: 0, expiresAt: life }), { refreshAt, goodUntil })
    })
  }

  test('a credential without an end is never over, and looked at again only when told to', () => {
    assert.deepEqual(schedule({ issuedAt: 5 }), {
      refreshAt: Number.POSITIVE_INFINITY,
      goodUntil: Number.POSITIVE_INFINITY,
    })
    assert.equal(schedule({ issuedAt: 5 }, 100).refreshAt, 105)
  })

  test('a recheck comes before the renewal of a long life, and after that of a short one', () => {
    assert.equal(schedule({ issuedAt: 0, expiresAt: DAY }, 100).refreshAt, 100)
    assert.equal(schedule({ issuedAt: 0, expiresAt: 80 }, 100).refreshAt, 60)
  })

  test('for any life: renewal begins first, then the use ends, then the credential does', () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 400 * DAY }), (issuedAt, life) => {
        const expiresAt = issuedAt + life
        const plan = schedule({ issuedAt, expiresAt })
        assert.ok(issuedAt <= plan.refreshAt && plan.refreshAt <= plan.goodUntil && plan.goodUntil <= expiresAt)
        assert.equal(freshness(plan, issuedAt), 'fresh')
        assert.equal(freshness(plan, plan.refreshAt), 'due')
        assert.equal(freshness(plan, plan.goodUntil), 'over')
      }),
    )
  })

  test('an end before the beginning is over at once', () => {
    assert.equal(freshness(schedule({ issuedAt: 100, expiresAt: 50 }), 100), 'over')
  })
})

describe('refreshAgainAt', () => {
  test('comes closer to the end in few steps', () => {
    const hour = 3600 * SECOND
    let now = 0
    let steps = 0
    while (now < hour && steps < 100) {
      now = refreshAgainAt(hour, now)
      steps++
    }
    assert.ok(steps > 3 && steps < 20, `${steps} steps`)
  })

  test('is the recheck for what never ends', () => {
    assert.equal(refreshAgainAt(Number.POSITIVE_INFINITY, 7, 100), 107)
  })
})

describe('backoffMillis', () => {
  test('doubles from 250 ms to 30 s', () => {
    const waits = [1, 2, 3, 4, 8, 9, 1000].map((failures) => backoffMillis(failures, 0))
    assert.deepEqual(waits, [250, 500, 1000, 2000, 30_000, 30_000, 30_000])
  })

  test('is shortened by up to a half, at random', () => {
    assert.equal(backoffMillis(3, 1), 500)
    assert.equal(backoffMillis(3, 0.5), 750)
  })

  test('leaves room for several tries in what is left of the old credential', () => {
    assert.equal(backoffMillis(10, 0, 400), 100)
    assert.equal(backoffMillis(10, 0, 1), 25)
  })
})
