import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as arrow from 'apache-arrow'
import fc from 'fast-check'
import { BytesColumn, EnumColumn, UuidColumn } from '../../../../../src/extract/read/columns/bytes.ts'
import type { ColumnBuilder } from '../../../../../src/extract/read/columns/column.ts'
import { MoneyColumn } from '../../../../../src/extract/read/columns/decimal.ts'
import { BoolColumn, Int64Column, Uint32Column } from '../../../../../src/extract/read/columns/fixed.ts'
import { build, int64 } from './fields.ts'

const bytes = (minLength: number, maxLength: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ minLength, maxLength }).map((found) => Buffer.from(found))
const LABELS = ['low', 'high', 'somewhere in between']
const labels = arrow.vectorFromArray(LABELS, new arrow.Utf8())

/** The values that each kind reads, and how one is made. */
const KINDS: Record<string, [fc.Arbitrary<Buffer>, () => ColumnBuilder]> = {
  'bytes of any length': [bytes(0, 300), () => new BytesColumn(arrow, new arrow.Binary())],
  uuid: [bytes(16, 16), () => new UuidColumn(arrow)],
  enum: [
    fc.constantFrom(...LABELS).map((label) => Buffer.from(label)),
    () => new EnumColumn(arrow, new arrow.Dictionary(new arrow.Utf8(), new arrow.Int32()), labels, LABELS, 'level'),
  ],
  money: [
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(int64),
    () => new MoneyColumn(arrow, new arrow.Decimal(2, 19, 128), 128, 'price'),
  ],
  bigint: [bytes(8, 8), () => new Int64Column(arrow, new arrow.Int64())],
  'an unsigned number': [bytes(4, 4), () => new Uint32Column(arrow, new arrow.Int64())],
  boolean: [fc.constantFrom(0, 1).map((bit) => Buffer.of(bit)), () => new BoolColumn(arrow)],
}

/** The values, and the fixed-width arrays as they are, also where there is no value. */
function seen(data: arrow.Data): unknown {
  const isFixed = data.valueOffsets === undefined
  return { values: arrow.makeVector(data).toJSON(), array: isFixed ? Array.from(data.values as Int32Array) : undefined }
}

for (const [kind, [value, make]] of Object.entries(KINDS)) {
  test(`${kind}: a column that reuses arrays gives the same values as one that does not`, () => {
    const batches = fc.array(fc.array(fc.option(value), { maxLength: 200 }), { maxLength: 6 })
    fc.assert(
      fc.property(batches, (given) => {
        const reusing = make()
        for (const values of given) {
          const data = build(reusing, values)
          assert.deepEqual(seen(data), seen(build(make(), values)))
          reusing.reuse?.(data)
        }
      }),
    )
  })
}

test('bytes of any length are those that were sent', () => {
  fc.assert(
    fc.property(fc.array(fc.option(bytes(0, 300))), (sent) => {
      const column = arrow.makeVector(build(new BytesColumn(arrow, new arrow.Binary()), sent))
      assert.deepEqual(
        sent.map((_, row) => column.get(row) && Buffer.from(column.get(row))),
        sent,
      )
    }),
  )
})

test('a uuid is written with hyphens, in lower case', () => {
  fc.assert(
    fc.property(fc.array(fc.uuid()), (uuids) => {
      const sent = uuids.map((uuid) => Buffer.from(uuid.replaceAll('-', ''), 'hex'))
      assert.deepEqual(arrow.makeVector(build(new UuidColumn(arrow), sent)).toJSON(), uuids)
    }),
  )
})
