import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import type { FieldRun } from '../../../../src/drivers/sqlserver/row-fields.ts'
import { loadTediousParts } from '../../../../src/drivers/sqlserver/tedious-internals.ts'
import { tokenParserFactory } from '../../../../src/drivers/sqlserver/token-parser.ts'
import { colMetadata, DONE, doneToken, rowToken } from '../../../support/tds/tokens.ts'
import { COLLATION, type Column, decimal, intN, nvarchar, type TdsType, typeOf } from '../../../support/tds/types.ts'

const makeParser = tokenParserFactory(await loadTediousParts())

/** Reads one answer, cut into pieces as the network might; fields as hexadecimal, NULL as null. */
async function read(answer: Buffer, cuts: readonly number[]): Promise<(string | null)[][]> {
  const rows: (string | null)[][] = []
  let columns = 0
  const handler = {
    onColMetadata: (token: { columns: readonly unknown[] }) => {
      columns = token.columns.length
    },
    onRow: ({ columns: { chunk, fields, rows: count } }: { columns: FieldRun }) => {
      for (let row = 0; row < count; row += 1) {
        const values: (string | null)[] = []
        for (let slot = row * columns * 2; slot < (row + 1) * columns * 2; slot += 2) {
          const [start = 0, length = -1] = [fields[slot], fields[slot + 1]]
          values.push(length < 0 ? null : chunk.toString('hex', start, start + length))
        }
        rows.push(values)
      }
    },
    onDone: () => undefined,
  }
  const message = (async function* () {
    for (let at = 0, turn = 0; at < answer.length; turn += 1) {
      const next = at + (cuts[turn % cuts.length] ?? 1)
      // A copy: chunks of a value are moved together where they lie.
      yield Buffer.from(answer.subarray(at, next))
      at = next
    }
  })()
  const mode = { exact: true, bare: true, fields: true }
  const options = { tdsVersion: '7_4', useUTC: true }
  const parser = makeParser(message, { token: () => undefined }, handler, options, { kind: 'statement', mode })
  await once(parser, 'end')
  return rows
}

/** A column that is NOT NULL has a fixed type without lengths. */
const fixed = (info: number, bytes: Buffer): TdsType => ({
  info: Buffer.from([info]),
  encode: () => bytes,
  absent: Buffer.alloc(0),
})

/** text: a pointer, a stamp, a length. */
const text: TdsType = {
  info: Buffer.concat([Buffer.from([0x23, 0xff, 0xff, 0xff, 0x7f]), COLLATION, Buffer.from([1, 1, 0, 0x74, 0])]),
  encode: (value) => {
    const length = Buffer.alloc(4)
    length.writeUInt32LE(value.length)
    return Buffer.concat([Buffer.from([16]), Buffer.alloc(16 + 8, 0xee), length, Buffer.from(value, 'latin1')])
  },
  absent: Buffer.from([0]),
}

/** A value in chunks whose whole length is not said beforehand. */
const unknown: TdsType = {
  info: Buffer.concat([Buffer.from([0xe7, 0xff, 0xff]), COLLATION]),
  encode: (value) => {
    const parts = value.match(/.{1,7}/g) ?? []
    return Buffer.concat([
      Buffer.from('feffffffffffffff', 'hex'),
      ...parts.map((part) => Buffer.concat([Buffer.from([part.length * 2, 0, 0, 0]), Buffer.from(part, 'utf16le')])),
      Buffer.alloc(4),
    ])
  },
  absent: Buffer.alloc(8, 0xff),
}

const variant = typeOf(-1, -1, new Map([[-1, 'sql_variant']]))
const COLUMNS: readonly Column[] = [
  { name: 'i', type: intN(4) },
  { name: 'd', type: decimal(19, 2) },
  { name: 's', type: nvarchar(20) },
  { name: 'max', type: nvarchar(undefined) },
  { name: 'fixed', type: fixed(0x38, Buffer.from([1, 2, 3, 4])) },
  { name: 'text', type: text },
  { name: 'unknown', type: unknown },
  { name: 'variant', type: variant },
]
const wide = (value: string): string => Buffer.from(value, 'utf16le').toString('hex')
const ROWS: readonly (readonly (string | null)[])[] = [
  ['1', '1.00', 'ä', 'long '.repeat(40), 'x', 'abc', 'many chunks of seven', 'int:5'],
  ['2', null, 'b', 'c', 'x', '', '', 'int:6'],
  [null, null, null, null, 'x', null, null, null],
  ['-7', '-0.01', '', '', 'x', 'ÿ', 'one', 'bigint:1'],
  ['-8', null, 'end', 'x'.repeat(90_000), 'x', 'y', 'z'.repeat(5000), null],
]
const WANTED = [
  [
    '01000000',
    '016400000000000000',
    wide('ä'),
    wide('long '.repeat(40)),
    '01020304',
    '616263',
    wide('many chunks of seven'),
    '380005000000',
  ],
  ['02000000', null, wide('b'), wide('c'), '01020304', '', '', '380006000000'],
  [null, null, null, null, '01020304', null, null, null],
  ['f9ffffff', '000100000000000000', '', '', '01020304', 'ff', wide('one'), '7f000100000000000000'],
  ['f8ffffff', null, wide('end'), wide('x'.repeat(90_000)), '01020304', '79', wide('z'.repeat(5000)), null],
]

test('the fields of rows are found, wherever the network cuts them', async () => {
  const answer = Buffer.concat([
    colMetadata(COLUMNS),
    ...ROWS.map((row) => rowToken(COLUMNS, row)),
    doneToken(DONE.final, ROWS.length),
  ])
  for (const cuts of [[answer.length], [4096], [1000, 7], [65_521]]) assert.deepEqual(await read(answer, cuts), WANTED)
  const small = Buffer.concat([
    colMetadata(COLUMNS),
    ...ROWS.slice(0, 4).map((row) => rowToken(COLUMNS, row)),
    doneToken(DONE.final, 4),
  ])
  for (let cut = 1; cut < 60; cut += 1) assert.deepEqual(await read(small, [cut]), WANTED.slice(0, 4), `cut at ${cut}`)
})

test('a value of unknown length at the very end of an answer is not waited for in vain', async () => {
  const columns: readonly Column[] = [{ name: 'unknown', type: unknown }]
  const answer = Buffer.concat([colMetadata(columns), rowToken(columns, ['x'.repeat(700)]), doneToken(DONE.final, 1)])
  for (const cut of [1, 3, 64, 500]) assert.deepEqual(await read(answer, [cut]), [[wide('x'.repeat(700))]])
})

test('more rows than a run holds, and columns as many as there may be', async () => {
  const one: readonly Column[] = [{ name: 'i', type: intN(4) }]
  const many = Buffer.concat([
    colMetadata(one),
    ...Array.from({ length: 5000 }, (_, index) => rowToken(one, [String(index)])),
    doneToken(DONE.final, 5000),
  ])
  const rows = await read(many, [many.length])
  assert.equal(rows.length, 5000)
  assert.ok(rows.every(([value], index) => Buffer.from(value ?? '', 'hex').readInt32LE() === index))
  const broad = Array.from({ length: 4096 }, (_, index) => ({ name: `c${index}`, type: intN(1) }))
  const values = broad.map((_, index) => (index % 3 === 0 ? null : String(index % 256)))
  const answer = Buffer.concat([
    colMetadata(broad),
    ...Array.from({ length: 20 }, () => rowToken(broad, values)),
    doneToken(DONE.final, 20),
  ])
  const wanted = values.map((value) => (value === null ? null : Number(value).toString(16).padStart(2, '0')))
  assert.deepEqual(await read(answer, [5000]), Array(20).fill(wanted))
})

test('an answer that ends in the middle of a row is an error', async () => {
  const answer = Buffer.concat([colMetadata(COLUMNS), rowToken(COLUMNS, ROWS[0] ?? [])])
  await assert.rejects(read(answer.subarray(0, -3), [50]), /unexpected end of data/)
})
