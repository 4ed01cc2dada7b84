import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { ColumnMetadata } from '../../../../../src/drivers/sqlserver/tedious-internals.ts'
import { CsvLines } from '../../../../../src/extract/read/sqlserver/csv.ts'
import { csvWriter, guardedCsvWriter, roomFor } from '../../../../../src/extract/read/sqlserver/csv-values.ts'
import { valueText } from '../../../../../src/extract/read/sqlserver/value-text.ts'
import { csvField, guardFormula } from '../../../../../src/extract/read/text/csv.ts'

const sent = (name: string, more: object = {}): ColumnMetadata =>
  ({ colName: 'c', type: { name }, ...more }) as ColumnMetadata

const little = (value: number | bigint, length: number): Buffer => {
  const buffer = Buffer.alloc(8)
  buffer.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)))
  return buffer.subarray(0, length)
}
const bytes = (length: number) =>
  fc.uint8Array({ minLength: length, maxLength: length }).map((some) => Buffer.from(some))
/** All, and the small ones, and those about the edges. */
const integers = (length: 2 | 4 | 8) =>
  fc
    .oneof(
      fc.bigInt(-(2n ** BigInt(length * 8 - 1)), 2n ** BigInt(length * 8 - 1) - 1n),
      fc.bigInt(-1000n, 1000n),
      fc.constantFrom(2n ** 31n - 1n, 2n ** 31n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 53n + 1n, -(2n ** 53n)),
    )
    .map((value) => little(value, length))
const days = fc.integer({ min: 0, max: 3_652_058 })
const scales = fc.integer({ min: 0, max: 7 })
const timeLength = (scale: number): number => (scale < 3 ? 3 : scale < 5 ? 4 : 5)
const time = (scale: number) =>
  fc.integer({ min: 0, max: 86_400 * 10 ** scale - 1 }).map((units) => little(units, timeLength(scale)))
const text = fc.oneof(
  fc.string({ maxLength: 40 }),
  fc.string({ unit: 'grapheme', maxLength: 40 }),
  fc.string({ unit: fc.constantFrom('a', ',', '"', '\r', '\n', ' ', 'ü', '€', '😀', '\ud800'), maxLength: 10 }),
)
const value = (column: ColumnMetadata) => (data: Buffer) => ({ column, data })
const decimals = fc.integer({ min: 0, max: 28 }).chain((scale) =>
  fc
    .tuple(fc.constantFrom(4, 8, 12, 16), fc.boolean(), bytes(16), fc.boolean())
    .map(([length, isSmall, magnitude, sign]) => {
      const shown = Buffer.from(magnitude.subarray(0, length))
      if (isSmall) shown.fill(0, 2)
      return { column: sent('DecimalN', { scale }), data: Buffer.concat([Buffer.from([sign ? 1 : 0]), shown]) }
    }),
)

const VALUES = fc.oneof(
  bytes(1).map(value(sent('IntN'))),
  integers(2).map(value(sent('IntN'))),
  integers(4).map(value(sent('IntN'))),
  integers(8).map(value(sent('BigInt'))),
  decimals,
  fc.constantFrom(0, 1).map((bit) => value(sent('BitN'))(Buffer.from([bit]))),
  bytes(8).map(value(sent('MoneyN'))),
  fc.double().map((number) => {
    const data = Buffer.alloc(8)
    data.writeDoubleLE(number)
    return value(sent('FloatN'))(data)
  }),
  days.map((day) => value(sent('Date'))(little(day, 3))),
  scales.chain((scale) => time(scale).map(value(sent('Time', { scale })))),
  scales.chain((scale) =>
    fc
      .tuple(time(scale), days)
      .map(([clock, day]) => value(sent('DateTime2', { scale }))(Buffer.concat([clock, little(day, 3)]))),
  ),
  scales.chain((scale) =>
    fc
      .tuple(time(scale), fc.integer({ min: 1, max: 3_652_057 }), fc.integer({ min: -840, max: 840 }))
      .map(([clock, day, offset]) =>
        value(sent('DateTimeOffset', { scale }))(Buffer.concat([clock, little(day, 3), little(offset, 2)])),
      ),
  ),
  fc
    .tuple(fc.integer({ min: -53_690, max: 2_958_463 }), fc.integer({ min: 0, max: 25_919_999 }))
    .map(([day, thirds]) => value(sent('DateTimeN'))(Buffer.concat([little(day, 4), little(thirds, 4)]))),
  fc
    .tuple(fc.integer({ min: 0, max: 65_535 }), fc.integer({ min: 0, max: 1439 }))
    .map(([day, minutes]) => value(sent('DateTimeN'))(Buffer.concat([little(day, 2), little(minutes, 2)]))),
  bytes(16).map(value(sent('UniqueIdentifier'))),
  fc.uint8Array({ maxLength: 50 }).map((some) => value(sent('VarBinary'))(Buffer.from(some))),
  text.map((some) => value(sent('NVarChar'))(Buffer.from(some, 'utf16le'))),
  text.map((some) => value(sent('VarChar', { collation: { codepage: 'utf-8' } }))(Buffer.from(some))),
  bytes(12).map(value(sent('VarChar', { collation: { codepage: 'CP1252' } }))),
)

test('every value is written as the field of its text', () => {
  fc.assert(
    fc.property(VALUES, fc.nat(9), ({ column, data }, before) => {
      const chunk = Buffer.concat([Buffer.alloc(before, 0xee), data, Buffer.alloc(9, 0xee)])
      const out = Buffer.alloc(before + roomFor(data.length))
      const end = csvWriter(column)(chunk, before, before + data.length, out, before)
      const expected = csvField(valueText(column).text(chunk, before, before + data.length))
      assert.equal(out.toString('utf8', before, end), Buffer.from(expected).toString())
      assert.ok(end <= out.length)
    }),
    { numRuns: 20_000 },
  )
})

test('with formulas guarded, text is as its guarded text, and other types are as before', () => {
  const first = fc.constantFrom('=', '+', '-', '@', '\t', '\n', '＝', '＠', 'a', '"', '')
  const guarded = fc.tuple(first, text).map(([begin, rest]) => begin + rest)
  const cases = fc.oneof(
    guarded.map((some) => value(sent('NVarChar'))(Buffer.from(some, 'utf16le'))),
    guarded.map((some) => value(sent('VarChar', { collation: { codepage: 'utf-8' } }))(Buffer.from(some))),
    VALUES,
  )
  fc.assert(
    fc.property(cases, ({ column, data }) => {
      const out = Buffer.alloc(roomFor(data.length))
      const end = guardedCsvWriter(column)(data, 0, data.length, out, 0)
      const plain = valueText(column).text(data, 0, data.length)
      const isText = /VarChar$/.test(column.type.name)
      const expected = csvField(isText ? guardFormula(plain) : plain)
      assert.equal(out.toString('utf8', 0, end), Buffer.from(expected).toString())
    }),
    { numRuns: 5000 },
  )
})

test('rows of any length are written completely', () => {
  const csv = new CsvLines({ suffix: ',end\n' }, false)
  csv.columns([sent('IntN'), sent('NVarChar')])
  const rows = Array.from({ length: 300 }, (_, index) => (index % 50 === 49 ? 'z'.repeat(400_000) : `"${index}"`))
  const lines = rows.flatMap((row, index) => {
    const note = Buffer.from(row, 'utf16le')
    const chunk = Buffer.concat([little(index, 4), note])
    return csv.take({ chunk, fields: Int32Array.of(0, index % 3 === 0 ? -1 : 4, 4, note.length), rows: 1 })
  })
  lines.push(...csv.end())
  const expected = rows.map((row, index) => `${index % 3 === 0 ? '' : index},${csvField(row)},end\n`)
  assert.equal(lines.map((block) => Buffer.from(block.bytes).toString()).join(''), expected.join(''))
  assert.equal(
    lines.reduce((sum, block) => sum + block.rows, 0),
    300,
  )
  assert.equal(csv.total, 300)
})
