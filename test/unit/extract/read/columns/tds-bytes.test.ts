import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TextDecoder } from 'node:util'
import * as arrow from 'apache-arrow'
import fc from 'fast-check'
import type { ColumnBuilder } from '../../../../../src/extract/read/columns/column.ts'
import { CodePageColumn, Utf16Column } from '../../../../../src/extract/read/columns/tds-bytes.ts'

/** Appends values as one run would hold them; gives the column's texts. */
function texts(builder: ColumnBuilder, values: readonly (Buffer | null)[]): (string | null)[] {
  const chunk = Buffer.concat(values.map((value) => value ?? Buffer.alloc(0)))
  let at = 0
  const fields = values.flatMap((value) => {
    const field = [at, value === null ? -1 : value.length]
    at += value?.length ?? 0
    return field
  })
  const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.length)
  builder.append(chunk, view, Int32Array.from(fields), 0, 2, values.length)
  return [...new arrow.Vector([builder.finish()])]
}

const utf16 = (text: string | null): Buffer | null => (text === null ? null : Buffer.from(text, 'utf16le'))
/** Short and long ones, ASCII and not. */
const anyText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.string({ unit: 'binary', minLength: 100, maxLength: 300 }),
  fc.string({ maxLength: 300 }),
)

test('UTF-16 becomes UTF-8', () => {
  const builder = new Utf16Column(arrow)
  fc.assert(
    fc.property(fc.array(fc.option(anyText)), (values) => {
      assert.deepEqual(texts(builder, values.map(utf16)), values)
    }),
  )
  assert.equal(builder.finding(), undefined)
})

test('halves of surrogate pairs are replaced and counted, in short and in long values', () => {
  const builder = new Utf16Column(arrow)
  const values = ['a\ud83d', '\ude00b', '\ud83dx', 'ok 😀', `${'x'.repeat(300)}\ud83d`]
  assert.deepEqual(
    texts(builder, values.map(utf16)),
    values.map((value) => value.toWellFormed()),
  )
  assert.match(builder.finding() ?? '', /in 4 values/)
})

test('every byte of Windows-1252 becomes UTF-8, also its undefined bytes', () => {
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))
  const decoder = new TextDecoder('windows-1252')
  const values = [bytes, Buffer.from('plain'), null, Buffer.alloc(0), Buffer.from([0x41, 0x80, 0x81, 0xe4])]
  const found = texts(new CodePageColumn(arrow, decoder), values)
  assert.deepEqual(found.slice(1), ['plain', null, '', 'A€\u0081ä'])
  assert.equal(found[0], decoder.decode(bytes))
  assert.equal(found[0]?.length, 256)
})
