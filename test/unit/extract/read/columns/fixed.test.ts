import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as arrow from 'apache-arrow'
import fc from 'fast-check'
import { Int64Column } from '../../../../../src/extract/read/columns/fixed.ts'
import { build, int64 } from './fields.ts'

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
