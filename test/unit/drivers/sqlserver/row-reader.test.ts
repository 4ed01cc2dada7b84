import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import fc from 'fast-check'
import { type RowMode, rowModeFor, setRowMode } from '../../../../src/drivers/sqlserver/row-reader.ts'
import { loadTediousParts } from '../../../../src/drivers/sqlserver/tedious-internals.ts'
import { tokenParserFactory } from '../../../../src/drivers/sqlserver/token-parser.ts'
import { colMetadata, DONE, doneToken, rowToken } from '../../../support/tds/tokens.ts'
import { type Column, decimal, intN, nvarchar, type TdsType } from '../../../support/tds/types.ts'

const makeParser = tokenParserFactory(await loadTediousParts())

/** Reads one answer, cut into pieces as the network might, and gives its rows. */
async function read(answer: Buffer, mode: RowMode, cuts: readonly number[] = [answer.length]): Promise<unknown[]> {
  const rows: unknown[] = []
  const handler = {
    onColMetadata: () => undefined,
    onRow: (token: { columns: unknown }) => rows.push(token.columns),
    onDone: () => undefined,
  }
  const pieces: Buffer[] = []
  for (let at = 0, turn = 0; at < answer.length; turn++) {
    const next = at + (cuts[turn % cuts.length] ?? 1)
    pieces.push(answer.subarray(at, next))
    at = next
  }
  const message = (async function* () {
    yield* pieces
  })()
  const options = { tdsVersion: '7_4', useUTC: true }
  await once(makeParser(message, { token: () => undefined }, handler, options, { kind: 'statement', mode }), 'end')
  return rows
}

/** A column that is NOT NULL has a fixed type without lengths. */
const fixed = (info: number, bytes: Buffer): TdsType => ({
  info: Buffer.from([info]),
  encode: () => bytes,
  absent: Buffer.alloc(0),
})

const money = Buffer.alloc(8)
money.writeUInt32LE(12_345, 4)

const COLUMNS: readonly Column[] = [
  { name: 'i', type: intN(4) },
  { name: 'd', type: decimal(20, 2) },
  { name: 's', type: nvarchar(20) },
  { name: 'big', type: nvarchar(undefined) },
  { name: 'm', type: fixed(0x3c, money) },
]
const ROWS: readonly (readonly (string | null)[])[] = [
  ['1', '123456789012345678.90', 'ä', 'long '.repeat(40), 'x'],
  ['2', null, 'b', 'c', 'x'],
  [null, null, null, null, 'x'],
  ['-7', '-0.01', '', '', 'x'],
]
const ANSWER = Buffer.concat([
  colMetadata(COLUMNS),
  ...ROWS.map((row) => rowToken(COLUMNS, row)),
  doneToken(DONE.final, ROWS.length),
])
const EXACT = [
  [1, '123456789012345678.90', 'ä', 'long '.repeat(40), '1.2345'],
  [2, null, 'b', 'c', '1.2345'],
  [null, null, null, null, '1.2345'],
  [-7, '-0.01', '', '', '1.2345'],
]

test('rows are read whole, wherever the network cuts them', async () => {
  assert.deepEqual(await read(ANSWER, { exact: true, bare: true }), EXACT)
  assert.deepEqual(await read(ANSWER, { exact: true, bare: true }, [1]), EXACT)
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 8 }), async (cuts) => {
      assert.deepEqual(await read(ANSWER, { exact: true, bare: true }, cuts), EXACT)
    }),
    { numRuns: 50 },
  )
})

/** A column `nvarchar(max)` whose values are sent in these chunks, under this total length. */
function inChunks(chunks: readonly Buffer[], total: bigint): Column {
  const length = (bytes: number): Buffer => Buffer.from(Uint32Array.of(bytes).buffer)
  const parts = chunks.flatMap((chunk) => [length(chunk.length), chunk])
  const value = Buffer.concat([Buffer.from(BigUint64Array.of(total).buffer), ...parts, length(0)])
  return { name: 'big', type: { ...nvarchar(undefined), encode: () => value } }
}

test('a text in chunks is read in each form in which it may be sent, and refused if its length is another', async () => {
  const UNKNOWN = 0xffff_ffff_ffff_fffen
  const text = 'a text with ä, € and 😀'
  const bytes = Buffer.from(text, 'utf16le')
  const halves = [bytes.subarray(0, 11), bytes.subarray(11)]
  const answerOf = (column: Column): Buffer =>
    Buffer.concat([
      colMetadata([column]),
      rowToken([column], ['x']),
      rowToken([column], ['x']),
      doneToken(DONE.final, 2),
    ])
  const cuts = fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1, maxLength: 8 })
  for (const column of [
    inChunks([bytes], BigInt(bytes.length)),
    inChunks(halves, BigInt(bytes.length)),
    inChunks([bytes], UNKNOWN),
    inChunks(halves, UNKNOWN),
  ]) {
    await fc.assert(
      fc.asyncProperty(cuts, async (sizes) => {
        assert.deepEqual(await read(answerOf(column), { exact: true, bare: true }, sizes), [[text], [text]])
      }),
      { numRuns: 20 },
    )
  }
  for (const total of [BigInt(bytes.length) + 1n, BigInt(bytes.length) + (1n << 32n), 0n]) {
    await assert.rejects(read(answerOf(inChunks([bytes], total)), { exact: true, bare: true }))
  }
})

test('without exactness values are as tedious gives them, and with metadata where that is wanted', async () => {
  const [first] = (await read(ANSWER, { exact: false, bare: true })) as unknown[][]
  // A number, and so not the one that was sent.
  const [, lossy] = first ?? []
  assert.equal(typeof lossy, 'number')
  assert.deepEqual(first, [1, lossy, 'ä', 'long '.repeat(40), 1.2345])
  const [columns] = (await read(ANSWER, { exact: true, bare: false })) as { metadata: { colName: string } }[][]
  assert.deepEqual(
    columns?.map((column) => column.metadata.colName),
    ['i', 'd', 's', 'big', 'm'],
  )
})

test('an answer that ends too early is an error', async () => {
  await assert.rejects(read(ANSWER.subarray(0, ANSWER.length - 20), { exact: true, bare: true }))
})

test('a mode belongs to one request', () => {
  const request = {}
  setRowMode(request, { exact: true, bare: false })
  assert.deepEqual(rowModeFor({ request }), { exact: true, bare: false })
  assert.equal(rowModeFor({ request: {} }), undefined)
  assert.equal(rowModeFor(undefined), undefined)
})
