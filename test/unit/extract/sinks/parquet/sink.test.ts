import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as arrow from 'apache-arrow'
import fc from 'fast-check'
import { parquetMetadata, parquetReadObjects } from 'hyparquet'
import { compressors } from 'hyparquet-compressors'
import type { FormatSettings } from '../../../../../src/extract/sinks/format.ts'
import { parquet } from '../../../../../src/extract/sinks/parquet/sink.ts'

const TYPES = {
  small: new arrow.Int16(),
  whole: new arrow.Int32(),
  big: new arrow.Int64(),
  float: new arrow.Float32(),
  double: new arrow.Float64(),
  flag: new arrow.Bool(),
  word: new arrow.Utf8(),
  blob: new arrow.Binary(),
  numbers: new arrow.List(new arrow.Field('item', new arrow.Int32(), true)),
}
const ROW = fc.record({
  small: fc.option(fc.integer({ min: -32768, max: 32767 })),
  whole: fc.option(fc.integer()),
  big: fc.option(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })),
  float: fc.option(fc.float()),
  double: fc.option(fc.double()),
  flag: fc.option(fc.boolean()),
  word: fc.option(fc.string({ unit: 'grapheme' })),
  blob: fc.option(fc.uint8Array()),
  numbers: fc.option(fc.array(fc.option(fc.integer()))),
})
type Row = typeof ROW extends fc.Arbitrary<infer T> ? T : never
const NAMES = Object.keys(TYPES) as (keyof typeof TYPES)[]
const SCHEMA = new arrow.Schema(NAMES.map((name) => new arrow.Field(name, TYPES[name], true)))

function batchOf(rows: readonly Row[]): arrow.RecordBatch {
  const children = NAMES.map((name) => {
    const vector = arrow.vectorFromArray<arrow.DataType>(
      rows.map((row) => row[name]),
      TYPES[name],
    )
    return vector.data[0] as arrow.Data
  })
  const type = new arrow.Struct(SCHEMA.fields)
  return new arrow.RecordBatch(SCHEMA, arrow.makeData({ type, length: rows.length, nullCount: 0, children }))
}

async function write(batches: readonly (readonly Row[])[], options: FormatSettings): Promise<ArrayBuffer> {
  const parts: Uint8Array[] = []
  const output = async (more: readonly Uint8Array[]): Promise<void> => {
    parts.push(...more.map((bytes) => bytes.slice()))
  }
  using sink = await parquet.openSink(SCHEMA, output, options)
  for (const rows of batches) await sink.write(batchOf(rows))
  await sink.close()
  const file = Buffer.concat(parts)
  return file.buffer.slice(file.byteOffset, file.byteOffset + file.length) as ArrayBuffer
}

const plain = (row: Row): Record<string, unknown> => ({ ...row, blob: row.blob && [...row.blob] })

for (const compression of ['zstd', 'gzip', 'none'] as const) {
  test(`${compression}: another reader reads back all values and bounds`, async () => {
    const options = fc.record({ rowGroupBytes: fc.integer({ min: 1, max: 3000 }) })
    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(ROW, { maxLength: 20 }), { maxLength: 5 }), options, async (batches, size) => {
        const file = await write(batches, { compression, ...size })
        const rows = batches.flat()
        const metadata = parquetMetadata(file)
        assert.equal(Number(metadata.num_rows), rows.length)
        const found = await parquetReadObjects({ file, metadata, compressors, utf8: false })
        // A NULL list comes as undefined from this reader.
        const read = found.map((row) => ({ ...row, blob: row.blob && [...row.blob], numbers: row.numbers ?? null }))
        assert.deepEqual(read, rows.map(plain))

        let start = 0
        for (const group of metadata.row_groups) {
          const here = rows.slice(start, start + Number(group.num_rows))
          start += here.length
          for (const [index, name] of NAMES.entries()) {
            const { statistics } = group.columns[index]?.meta_data ?? {}
            if (name === 'numbers' || name === 'flag' || name === 'blob') continue
            assert.equal(Number(statistics?.null_count), here.filter((row) => row[name] === null).length, name)
            const present = here.map((row) => row[name]).filter((value) => value !== null && !Number.isNaN(value))
            if (name === 'word') continue
            if (here.some((row) => Number.isNaN(row[name]))) {
              assert.deepEqual([statistics?.min_value, statistics?.max_value], [undefined, undefined], name)
              continue
            }
            const sorted = (present as (number | bigint)[]).sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))
            assert.equal(same(statistics?.min_value), same(sorted[0]), name)
            assert.equal(same(statistics?.max_value), same(sorted.at(-1)), name)
          }
        }
      }),
      { numRuns: 40 },
    )
  })
}

/** Both zeros are one here. */
function same(value: unknown): string {
  return value === 0 ? '0' : String(value)
}

const NOTHING: Row = {
  small: null,
  whole: null,
  big: null,
  float: null,
  double: null,
  flag: null,
  word: null,
  blob: null,
  numbers: null,
}

test('a zero in bounds covers both zeros, and a chunk with NaN has none', async () => {
  const boundsOf = async (values: readonly number[]): Promise<unknown[]> => {
    const rows = values.map((double) => ({ ...NOTHING, double, float: double }))
    const [group] = parquetMetadata(await write([rows], {})).row_groups
    return ['float', 'double'].flatMap((name) => {
      const { statistics } = group?.columns[NAMES.indexOf(name as keyof Row)]?.meta_data ?? {}
      return [statistics?.min_value, statistics?.max_value]
    })
  }
  assert.deepEqual(await boundsOf([0, 5]), [-0, 5, -0, 5])
  assert.deepEqual(await boundsOf([0, 5, Number.NaN]), [undefined, undefined, undefined, undefined])
  assert.deepEqual(await boundsOf([-0, -5]), [-5, 0, -5, 0])
  assert.deepEqual(await boundsOf([Number.NaN]), [undefined, undefined, undefined, undefined])
})

test('bounds of text are in the order of its bytes, and absent when they are long', async () => {
  const rows = (words: readonly (string | null)[]): Row[] => words.map((word) => ({ ...NOTHING, word }))
  const boundsOf = async (words: readonly (string | null)[]): Promise<unknown[]> => {
    const { row_groups: groups } = parquetMetadata(await write([rows(words)], {}))
    const { statistics } = groups[0]?.columns[NAMES.indexOf('word')]?.meta_data ?? {}
    return [statistics?.min_value, statistics?.max_value].map((value) =>
      value instanceof Uint8Array ? Buffer.from(value).toString() : value,
    )
  }
  assert.deepEqual(await boundsOf(['b', null, 'ä', 'B', '🦆', 'z']), ['B', '🦆'])
  assert.deepEqual(await boundsOf(['', 'a']), ['', 'a'])
  assert.deepEqual(await boundsOf(['a', 'x'.repeat(65)]), [undefined, undefined])
  assert.deepEqual(await boundsOf([null]), [undefined, undefined])
})
