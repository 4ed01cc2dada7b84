import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as arrow from 'apache-arrow'
import fc from 'fast-check'
import { DateColumn, Int64Column, TimestampColumn } from '../../../../../src/extract/read/columns/fixed.ts'
import { build, int64 } from './fields.ts'

const EPOCH = 946_684_800_000_000n
const MAX = 2n ** 63n - 1n

function valuesOf(data: arrow.Data): (bigint | number | null)[] {
  const vector = arrow.makeVector(data)
  return Array.from(data.values as BigInt64Array, (value, row) => (vector.isValid(row) ? value : null))
}

const int64s = fc.oneof(
  fc.bigInt({ min: -(2n ** 63n), max: MAX }),
  fc.constantFrom(-(2n ** 63n), -(2n ** 32n), -1n, 0n, 1n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 32n, MAX),
)

test('64-bit integers stay exact, with NULLs in between', () => {
  fc.assert(
    fc.property(fc.array(fc.option(int64s)), (numbers) => {
      const column = new Int64Column(arrow, new arrow.Int64())
      const data = build(
        column,
        numbers.map((number) => (number === null ? null : int64(number))),
      )
      assert.deepEqual(valuesOf(data), numbers)
      assert.equal(data.nullCount, numbers.filter((number) => number === null).length)
    }),
  )
})

test('timestamps count from 1970, and infinities become the ends of the range', () => {
  const finite = fc.bigInt({ min: -211_813_488_000_000_000n, max: MAX - EPOCH - 1n })
  const near = fc.bigInt({ min: -EPOCH - 2n ** 33n, max: -EPOCH + 2n ** 33n })
  const type = new arrow.TimestampMicrosecond()
  fc.assert(
    fc.property(fc.array(fc.option(fc.oneof(finite, near, fc.constantFrom(MAX, -MAX - 1n)))), (sent) => {
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
      const infinite = sent.filter((micros) => micros === MAX || micros === -MAX - 1n).length
      assert.equal(column.finding()?.includes(`(${infinite} of them)`) ?? false, infinite > 0)
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

test('dates', () => {
  const day = (days: number): Buffer => {
    const bytes = Buffer.alloc(4)
    bytes.writeInt32BE(days)
    return bytes
  }
  const column = new DateColumn(arrow)
  const sent = [0, -10957, 2145031948, -2451545, 2 ** 31 - 1, -(2 ** 31)]
  const data = build(column, [...sent.map(day), null])
  assert.deepEqual(valuesOf(data), [10957, 0, 2145042905, -2440588, 2 ** 31 - 1, -(2 ** 31) + 1, null])
})
