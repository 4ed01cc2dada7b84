import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as arrow from 'apache-arrow'
import fc from 'fast-check'
import { BytesColumn } from '../../../../../src/extract/read/columns/bytes.ts'
import { Batches } from '../../../../../src/extract/read/postgres/batches.ts'

const HEADER = Buffer.from('PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0', 'latin1')
const TRAILER = Buffer.from([0xff, 0xff])

function tuple(values: readonly (string | null)[]): Buffer {
  const parts = values.map((value) => {
    const length = Buffer.alloc(4)
    length.writeInt32BE(value === null ? -1 : Buffer.byteLength(value))
    return Buffer.concat([length, Buffer.from(value ?? '')])
  })
  const count = Buffer.alloc(2)
  count.writeInt16BE(values.length)
  return Buffer.concat([count, ...parts])
}

function reader(columns: number, limits = { rows: 1000, bytes: 1 << 20 }): Batches {
  const names = Array.from({ length: columns }, (_, index) => `c${index}`)
  const schema = new arrow.Schema(names.map((name) => new arrow.Field(name, new arrow.Utf8(), true)))
  const builders = names.map(() => new BytesColumn(arrow, new arrow.Utf8()))
  return new Batches(builders, limits, (length) => {
    const children = builders.map((builder) => builder.finish())
    const type = new arrow.Struct(schema.fields)
    return new arrow.RecordBatch(schema, arrow.makeData({ type, length, nullCount: 0, children }))
  })
}

function feed(rows: Batches, messages: readonly Buffer[]): arrow.RecordBatch[] {
  const batches = messages.flatMap((message) => {
    // Each message in a buffer of its own, with something round it.
    const chunk = Buffer.concat([Buffer.from('xyz'), message, Buffer.from('xyz')])
    rows.data(chunk, 3, chunk.length - 3)
    return rows.flush()
  })
  return [...batches, ...rows.end()]
}

test('batches have the size asked for, however the messages are cut', () => {
  const row = fc.tuple(fc.option(fc.string({ unit: 'grapheme' })), fc.option(fc.string({ maxLength: 40 })))
  fc.assert(
    fc.property(
      fc.array(row, { maxLength: 50 }),
      fc.integer({ min: 1, max: 12 }),
      fc.boolean(),
      (rows, most, joined) => {
        const tuples = rows.map(tuple)
        const messages = joined
          ? [Buffer.concat([HEADER, ...tuples, TRAILER])]
          : [Buffer.concat([HEADER, ...tuples.slice(0, 1)]), ...tuples.slice(1), TRAILER]
        const found = reader(2, { rows: most, bytes: 1 << 20 })
        const batches = feed(found, messages)
        const sizes = batches.map((batch) => batch.numRows)
        assert.deepEqual(sizes.slice(0, -1), Array(Math.max(0, sizes.length - 1)).fill(most))
        const read = batches.flatMap((batch) =>
          Array.from({ length: batch.numRows }, (_, at) => [0, 1].map((column) => batch.getChildAt(column)?.get(at))),
        )
        assert.deepEqual(read, rows)
        assert.equal(found.total, rows.length)
      },
    ),
  )
})

test('a batch ends at its limit of bytes', () => {
  const rows = Array.from({ length: 10 }, () => tuple(['x'.repeat(100)]))
  const batches = feed(reader(1, { rows: 1000, bytes: 250 }), [HEADER, ...rows, TRAILER])
  assert.deepEqual(
    batches.map((batch) => batch.numRows),
    [3, 3, 3, 1],
  )
})

test('bytes that are no binary copy are an error', () => {
  const flags = Buffer.from(HEADER)
  flags.writeUInt32BE(1 << 16, 11)
  const cases: readonly (readonly [string, readonly Buffer[]])[] = [
    ['another signature', [Buffer.from('PGCOPY\n\xff\r\r\0\0\0\0\0\0\0\0\0', 'latin1'), TRAILER]],
    ['a short header', [HEADER.subarray(0, 15), TRAILER]],
    ['unknown flags', [flags, TRAILER]],
    ['another number of fields', [HEADER, tuple(['a']), TRAILER]],
    ['a row longer than its message', [HEADER, tuple(['a', 'bcd']).subarray(0, -1), TRAILER]],
    ['no trailer', [HEADER, tuple(['a', 'b'])]],
  ]
  for (const [what, messages] of cases) {
    assert.throws(() => feed(reader(2), messages), { code: 'EXTRACT_PROTOCOL', phase: 'query' }, what)
  }
})
