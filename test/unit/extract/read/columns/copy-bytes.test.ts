import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { copyBytes, viewed } from '../../../../../src/extract/read/columns/copy-bytes.ts'

test('bytes of every length are copied from and to every place, and none beside them is touched', () => {
  const place = fc.integer({ min: 0, max: 20 })
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), place, place, place, (bytes, before, after, at) => {
      const given = Buffer.concat([Buffer.alloc(before, 1), bytes, Buffer.alloc(after, 2)])
      const taken = Buffer.alloc(at + bytes.length + after, 3)
      const expected = Buffer.from(taken)
      expected.set(bytes, at)
      copyBytes(viewed(given), before, before + bytes.length, viewed(taken), at)
      assert.deepEqual(taken, expected)
    }),
    { numRuns: 500 },
  )
})
