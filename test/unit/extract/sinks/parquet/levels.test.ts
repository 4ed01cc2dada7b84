import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  bitWidthOf,
  packed,
  packedBits,
  repeated,
  withLength,
} from '../../../../../src/extract/sinks/parquet/levels.ts'

/** Reads one run back, bit by bit. */
function unpack(bytes: Uint8Array, count: number, width: number): number[] {
  let header = 0
  let at = 0
  for (let shift = 0; ; shift += 7) {
    const byte = bytes[at] as number
    at += 1
    header |= (byte & 0x7f) << shift
    if (byte < 0x80) break
  }
  if ((header & 1) === 0) {
    assert.equal(header >> 1, count)
    let value = 0
    for (let byte = 0; byte * 8 < width; byte += 1) value += (bytes[at + byte] as number) * 256 ** byte
    return Array(count).fill(value)
  }
  assert.equal((header >> 1) * 8, Math.ceil(count / 8) * 8)
  return Array.from({ length: count }, (_, index) => {
    let value = 0
    for (let bit = 0; bit < width; bit += 1) {
      const place = at * 8 + index * width + bit
      if (((bytes[place >> 3] as number) >> (place & 7)) & 1) value += 2 ** bit
    }
    return value
  })
}

test('numbers of any width are read back', () => {
  const widths = fc.integer({ min: 1, max: 31 })
  const runs = widths.chain((width) => fc.tuple(fc.constant(width), fc.array(fc.nat(2 ** width - 1), { minLength: 1 })))
  fc.assert(
    fc.property(runs, ([width, values]) => {
      assert.deepEqual(unpack(packed(values, values.length, width), values.length, width), values)
      const [first = 0] = values
      assert.deepEqual(unpack(repeated(first, 300, width), 300, width), Array(300).fill(first))
    }),
  )
})

test('a validity bitmap is written as single bits', () => {
  assert.deepEqual(unpack(packedBits(Uint8Array.of(0b10110001, 0b1), 9), 9, 1), [1, 0, 0, 0, 1, 1, 0, 1, 1])
})

test('widths and lengths are encoded', () => {
  assert.deepEqual([0, 1, 2, 3, 4, 255, 256].map(bitWidthOf), [0, 1, 2, 2, 3, 8, 9])
  assert.deepEqual([...withLength(Uint8Array.of(7, 8))], [2, 0, 0, 0, 7, 8])
})
