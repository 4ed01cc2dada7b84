import assert from 'node:assert/strict'
import test from 'node:test'
import { retryAfterMillis } from '../../src/retry-after.ts'

const NOW = Date.UTC(2026, 0, 1)

for (const [header, wait] of [
  ['3', 3000],
  ['0', undefined],
  ['-5', undefined],
  ['Thu, 01 Jan 2026 00:00:07 GMT', 7000],
  ['Wed, 31 Dec 2025 23:00:00 GMT', undefined],
  ['86400', 300_000],
  ['soon', undefined],
  ['', undefined],
  [undefined, undefined],
] as const) {
  test(`Retry-After ${header} is ${wait === undefined ? 'no wait' : `${wait} ms`}`, () => {
    assert.equal(retryAfterMillis(header, NOW), wait)
  })
}
