import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as arrow from 'apache-arrow'
import fc from 'fast-check'
import { NumericColumn } from '../../../../../src/extract/read/columns/decimal.ts'
import { build } from './fields.ts'

/** As numeric_send writes it: groups of four digits, without zero groups at either end. */
function numericSend(unscaled: bigint, scale: number): Buffer {
  const digits = String(unscaled < 0n ? -unscaled : unscaled).padStart(scale + 1, '0')
  const whole = digits.slice(0, digits.length - scale)
  const fraction = digits.slice(digits.length - scale)
  const left = whole.padStart(Math.ceil(whole.length / 4) * 4, '0')
  const right = fraction.padEnd(Math.ceil(fraction.length / 4) * 4, '0')
  const groups = (left + right).match(/.{4}/g)?.map(Number) ?? []
  let weight = left.length / 4 - 1
  while (groups[0] === 0) {
    groups.shift()
    weight -= 1
  }
  while (groups.at(-1) === 0) groups.pop()
  const bytes = Buffer.alloc(8 + groups.length * 2)
  bytes.writeUInt16BE(groups.length, 0)
  bytes.writeInt16BE(groups.length === 0 ? 0 : weight, 2)
  bytes.writeUInt16BE(unscaled < 0n ? 0x4000 : 0, 4)
  bytes.writeUInt16BE(scale, 6)
  for (const [index, group] of groups.entries()) bytes.writeUInt16BE(group, 8 + index * 2)
  return bytes
}

function column(precision: number, scale: number): NumericColumn {
  const bits = precision > 38 ? 256 : 128
  return new NumericColumn(arrow, new arrow.Decimal(scale, precision, bits), { precision, scale, bits }, 'price')
}

function unscaled(data: arrow.Data): (bigint | null)[] {
  const vector = arrow.makeVector(data)
  const words = (data.type as arrow.Decimal).bitWidth / 32
  return Array.from({ length: data.length }, (_, row) => {
    if (!vector.isValid(row)) return null
    const value = (data.values as Uint32Array).subarray(row * words, (row + 1) * words)
    return BigInt.asIntN(
      words * 32,
      value.reduceRight((sum, word) => (sum << 32n) | BigInt(word), 0n),
    )
  })
}

test('decimals keep every digit of every declared precision', () => {
  const shapes = fc
    .integer({ min: 1, max: 76 })
    .chain((precision) => fc.tuple(fc.constant(precision), fc.integer({ min: 0, max: precision })))
  const cases = shapes.chain(([precision, scale]) => {
    const limit = 10n ** BigInt(precision) - 1n
    const short = fc.bigInt({ min: -9999n, max: 9999n }).map((value) => (value > limit || value < -limit ? 0n : value))
    const value = fc.oneof(fc.bigInt({ min: -limit, max: limit }), short, fc.constantFrom(limit, -limit, 0n))
    return fc.record({
      precision: fc.constant(precision),
      scale: fc.constant(scale),
      values: fc.array(fc.option(value)),
    })
  })
  fc.assert(
    fc.property(cases, ({ precision, scale, values }) => {
      const sent = values.map((value) => (value === null ? null : numericSend(value, scale)))
      assert.deepEqual(unscaled(build(column(precision, scale), sent)), values)
    }),
    { numRuns: 1000 },
  )
})

test('decimals whose lower half is zero keep every digit', () => {
  const values = [-(2n ** 32n), 2n ** 32n, -(2n ** 40n), -(2n ** 33n) + 1n, 0n, -1n]
  assert.deepEqual(
    unscaled(
      build(
        column(15, 2),
        values.map((value) => numericSend(value, 2)),
      ),
    ),
    values,
  )
})

test('a decimal that does not fit is an error, and never another number', () => {
  const failures: readonly [number, number, Buffer][] = [
    [5, 2, numericSend(100_000n, 2)],
    [5, 2, numericSend(1n, 3)],
    [5, 2, numericSend(12_345_678_901_234n, 12)],
    [15, 0, numericSend(10n ** 15n, 0)],
    [15, 0, numericSend(10n ** 300n, 0)],
    [38, 10, numericSend(10n ** 38n, 10)],
    [38, 10, numericSend(1n, 11)],
    [76, 0, numericSend(10n ** 76n, 0)],
    [38, 10, Buffer.from('00000000d0000000', 'hex')],
  ]
  for (const [precision, scale, bytes] of failures) {
    assert.throws(() => build(column(precision, scale), [bytes]), {
      code: 'VALUE_OUT_OF_RANGE',
      details: { column: 'price' },
    })
  }
})

test('NaN in a decimal column is NULL, and counted', () => {
  const numeric = column(10, 2)
  const nan = Buffer.from('00000000c0000000', 'hex')
  assert.deepEqual(unscaled(build(numeric, [nan, numericSend(150n, 2), null, nan])), [null, 150n, null, null])
  assert.match(numeric.finding() ?? '', /\(2 of them\)/)
})
