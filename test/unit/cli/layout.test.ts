import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bytes, duration, moment, rows, wrap } from '../../../src/cli/layout.ts'

test('wrap breaks at spaces, keeps the indent of a paragraph and never a word in two', () => {
  assert.deepEqual(wrap('one two three', 7), ['one two', 'three'])
  assert.deepEqual(wrap('  - one two three', 9), ['  - one', '  two', '  three'])
  assert.deepEqual(wrap('a\nb', 10), ['a', 'b'])
  assert.deepEqual(wrap('supercalifragilistic x', 5), ['supercalifragilistic', 'x'])
  assert.deepEqual(wrap('left as it is', Number.POSITIVE_INFINITY), ['left as it is'])
})

test('rows aligns the values, indents continued lines and leaves out rows without a value', () => {
  assert.equal(
    rows(
      [
        ['a', 'one two three'],
        ['long', 'x'],
        ['none', undefined],
      ],
      16,
    ),
    ['  a     one two', '        three', '  long  x'].join('\n'),
  )
})

test('durations, moments and sizes read as people say them', () => {
  assert.deepEqual([8.4, 999, 1400, 200_000].map(duration), ['8 ms', '999 ms', '1.4 s', '3 min 20 s'])
  assert.deepEqual([0, 999, 1000, 999_949, 999_950, 1.5e9].map(bytes), [
    '0 B',
    '999 B',
    '1.0 kB',
    '999.9 kB',
    '1.0 MB',
    '1.5 GB',
  ])
  const now = Date.UTC(2026, 0, 31, 9)
  assert.equal(moment(now + 14 * 60_000, now), '2026-01-31 09:14:00Z (in 14 minutes)')
  assert.equal(moment(now - 3 * 86_400_000, now), '2026-01-28 09:00:00Z (3 days ago)')
  assert.equal(moment(now + 1000, now), '2026-01-31 09:00:01Z (in 1 second)')
})
