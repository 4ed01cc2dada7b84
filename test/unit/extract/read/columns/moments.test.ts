import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as arrow from 'apache-arrow'
import fc from 'fast-check'
import { DateColumn, TimeOfDayColumn, TimestampColumn } from '../../../../../src/extract/read/columns/moments.ts'
import { build, int64 } from './fields.ts'

const EPOCH = 946_684_800_000_000n
const MAX = 2n ** 63n - 1n
/** The first and the last microsecond of the years 1 to 9999, since 2000. */
const FIRST = BigInt(Date.parse('0001-01-01T00:00:00Z')) * 1000n - EPOCH
const LAST = BigInt(Date.parse('9999-12-31T23:59:59.999Z')) * 1000n + 999n - EPOCH

const isFar = (micros: bigint): boolean => micros < FIRST || micros > LAST
const around = (micros: bigint): fc.Arbitrary<bigint> => fc.bigInt({ min: micros - 2n ** 33n, max: micros + 2n ** 33n })

function valuesOf(data: arrow.Data): (bigint | number | null)[] {
  const vector = arrow.makeVector(data)
  return Array.from(data.values as BigInt64Array, (value, row) => (vector.isValid(row) ? value : null))
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

test('timestamps count from 1970, and infinities become the ends of the range', () => {
  const finite = fc.bigInt({ min: -211_813_488_000_000_000n, max: MAX - EPOCH - 1n })
  const near = fc.bigInt({ min: -EPOCH - 2n ** 33n, max: -EPOCH + 2n ** 33n })
  const ends = fc.oneof(around(FIRST), around(LAST))
  const type = new arrow.TimestampMicrosecond()
  fc.assert(
    fc.property(fc.array(fc.option(fc.oneof(finite, near, ends, fc.constantFrom(MAX, -MAX - 1n)))), (sent) => {
      const column = new TimestampColumn(arrow, type, 'at')
      const data = build(
        column,
        sent.map((micros) => (micros === null ? null : int64(micros))),
      )
      const expected = sent.map((micros) => {
        if (micros === null) return null
        if (micros === MAX) return MAX
        return micros === -MAX - 1n ? -MAX : micros + EPOCH
      })
      assert.deepEqual(valuesOf(data), expected)
      const isInfinite = (micros: bigint | null): boolean => micros === MAX || micros === -MAX - 1n
      const infinite = sent.filter(isInfinite).length
      const far = sent.filter((micros) => micros !== null && !isInfinite(micros) && isFar(micros)).length
      const counts = [...(column.finding() ?? '').matchAll(/\((\d+) of them\)/g)].map(([, count]) => Number(count))
      assert.deepEqual(
        counts,
        [infinite, far].filter((count) => count > 0),
      )
    }),
    { numRuns: 300 },
  )
})

test('a timestamp that does not fit is an error that names the column', () => {
  for (const sent of [MAX - EPOCH, MAX - 1n]) {
    const column = new TimestampColumn(arrow, new arrow.TimestampMicrosecond(), 'at')
    assert.throws(() => build(column, [int64(sent)]), { code: 'VALUE_OUT_OF_RANGE', details: { column: 'at' } })
  }
})

test('dates count from 1970, and infinities become the ends of the range', () => {
  const column = new DateColumn(arrow)
  const sent = [0, -10957, 2145031948, -2451545, 2 ** 31 - 1, -(2 ** 31)]
  const data = build(column, [...sent.map(int32), null])
  assert.deepEqual(valuesOf(data), [10957, 0, 2145042905, -2440588, 2 ** 31 - 1, -(2 ** 31) + 1, null])
  assert.match(column.finding() ?? '', /infinite dates .*\(2 of them\); .*years 1 to 9999.*\(2 of them\)/)
})

test('only dates outside the years 1 to 9999 are counted', () => {
  const days = (text: string): number => (Date.parse(`${text}T00:00Z`) - Date.parse('2000-01-01T00:00Z')) / 86_400_000
  const inside = [days('0001-01-01'), days('9999-12-31'), 0]
  const column = new DateColumn(arrow)
  build(column, inside.map(int32))
  assert.equal(column.finding(), undefined)
  build(column, [days('0001-01-01') - 1, days('9999-12-31') + 1].map(int32))
  assert.match(column.finding() ?? '', /\(2 of them\)/)
})

test('the time 24:00 is counted', () => {
  const column = new TimeOfDayColumn(arrow)
  const sent = [0n, 86_399_999_999n, 86_400_000_000n, null, 500_654_080n]
  const data = build(
    column,
    sent.map((micros) => (micros === null ? null : int64(micros))),
  )
  assert.deepEqual(valuesOf(data), sent)
  assert.match(column.finding() ?? '', /24:00 .*\(1 of them\)/)
})
