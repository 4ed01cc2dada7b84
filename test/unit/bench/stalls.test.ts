import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Stalls } from '../../../bench/soak/stalls.ts'

test('the stalls within a time are added up, those before and after it are not', () => {
  const stalls = new Stalls()
  assert.equal(stalls.longest, 'none')
  for (const [from, to, workedMillis] of [
    [0, 1000, 990],
    [1950, 2070, 5],
    [2080, 2150, 5],
    // A timer that is a little late is no stall.
    [2160, 2168, 1],
    [2200, 2300, 5],
  ] as const) {
    stalls.note({ from, to, workedMillis })
  }
  assert.equal(stalls.during(2000, 2210), 70 + 70 + 10)
  assert.equal(stalls.during(1200, 1900), 0)
  assert.match(stalls.longest, /^1000 ms, with 990 ms of work: this thread was working$/)
})

test('a thread that got no processor is told from one that worked', () => {
  const stalls = new Stalls()
  stalls.note({ from: 0, to: 300, workedMillis: 4 })
  assert.match(stalls.longest, /^300 ms, with 4 ms of work: the machine gave this thread no processor$/)
})
