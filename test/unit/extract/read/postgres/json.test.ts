import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { JsonLines, jsonTextColumn } from '../../../../../src/extract/read/postgres/json.ts'
import type { Lines } from '../../../../../src/extract/read/table.ts'

const HEADER = Buffer.from('PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0', 'latin1')
const TRAILER = Buffer.from([0xff, 0xff])
const COLUMNS = [jsonTextColumn('a', 'a'), jsonTextColumn('b "quoted"', 'b')]

function tuple(values: readonly (string | null)[]): Buffer {
  const count = Buffer.alloc(2)
  count.writeInt16BE(values.length)
  const parts = values.map((value) => {
    const length = Buffer.alloc(4)
    length.writeInt32BE(value === null ? -1 : Buffer.byteLength(value))
    return Buffer.concat([length, Buffer.from(value ?? '')])
  })
  return Buffer.concat([count, ...parts])
}

/** Each message in a buffer of its own; the lines are given back as soon as they have been looked at. */
function objects(messages: readonly Buffer[]): unknown[] {
  const rows = new JsonLines(COLUMNS, '}\n')
  const found: unknown[] = []
  const look = (some: readonly Lines[]): void => {
    for (const lines of some) {
      const texts = Buffer.from(lines.bytes).toString().split('\n').slice(0, -1)
      assert.equal(texts.length, lines.rows)
      found.push(...texts.map((text) => JSON.parse(text) as unknown))
      rows.reuse(lines)
    }
  }
  for (const message of messages) {
    rows.data(message, 0, message.length)
    look(rows.flush())
  }
  look(rows.end())
  return found
}

test('texts of any length are written into blocks that are reused', () => {
  const long = fc.tuple(fc.string({ maxLength: 3 }), fc.nat(400_000)).map(([text, times]) => text.repeat(times / 3))
  const text = fc.oneof(fc.string({ unit: 'binary' }), long)
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.option(text), fc.option(text)), { maxLength: 12 }), (rows) => {
      const found = objects([HEADER, ...rows.map(tuple), TRAILER])
      const sent = rows.map((row) => row.map((value) => value && Buffer.from(value).toString()))
      assert.deepEqual(
        found,
        sent.map(([a, b]) => ({ a, 'b "quoted"': b })),
      )
    }),
    { numRuns: 50 },
  )
})

test('a copy of other columns is an error', () => {
  const row = tuple(['one', 'two'])
  const damaged: Record<string, Buffer[]> = {
    'no header': [row, TRAILER],
    'no trailer': [HEADER, row],
    'fewer columns': [HEADER, tuple(['one']), TRAILER],
    'a value cut short': [HEADER, row.subarray(0, -1), TRAILER],
    'a length cut off': [HEADER, row.subarray(0, 11), TRAILER],
  }
  for (const [what, messages] of Object.entries(damaged)) {
    assert.throws(() => objects(messages), { code: 'EXTRACT_PROTOCOL' }, what)
  }
})
