import assert from 'node:assert/strict'
import { isUtf8 } from 'node:buffer'
import { test } from 'node:test'
import * as arrow from 'apache-arrow'
import fc from 'fast-check'
import { parquetMetadata, parquetReadObjects } from 'hyparquet'
import { compressors } from 'hyparquet-compressors'
import type { FormatSettings } from '../../../../../src/extract/sinks/format.ts'
import { parquet } from '../../../../../src/extract/sinks/parquet.ts'
import { packageVersion } from '../../../../../src/version.ts'

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

interface WordBounds {
  readonly min: Buffer | undefined
  readonly max: Buffer | undefined
  readonly isMinExact: boolean | undefined
  readonly isMaxExact: boolean | undefined
}

/** By default the reader takes bounds for UTF-8. */
const latin1 = (bytes: Uint8Array | undefined): string | undefined => bytes && Buffer.from(bytes).toString('latin1')

async function boundsOf(name: 'word' | 'blob', batches: readonly (readonly unknown[])[]): Promise<WordBounds> {
  const rows = batches.map((values) => values.map((value) => ({ ...NOTHING, [name]: value }) as Row))
  const { row_groups: groups } = parquetMetadata(await write(rows, {}), { parsers: { stringFromBytes: latin1 } })
  const { statistics } = groups[0]?.columns[NAMES.indexOf(name)]?.meta_data ?? {}
  const bytes = (value: unknown): Buffer | undefined => {
    if (value === undefined) return undefined
    assert.ok(typeof value === 'string')
    return Buffer.from(value, 'latin1')
  }
  return {
    min: bytes(statistics?.min_value),
    max: bytes(statistics?.max_value),
    isMinExact: statistics?.is_min_value_exact,
    isMaxExact: statistics?.is_max_value_exact,
  }
}

test('bounds of text are in the order of its bytes', async () => {
  const texts = async (words: readonly (string | null)[]): Promise<unknown[]> => {
    const { min, max, isMinExact, isMaxExact } = await boundsOf('word', [words])
    return [min?.toString(), isMinExact, max?.toString(), isMaxExact]
  }
  assert.deepEqual(await texts(['b', null, 'ä', 'B', '🦆', 'z']), ['B', true, '🦆', true])
  assert.deepEqual(await texts(['', 'a']), ['', true, 'a', true])
  assert.deepEqual(await texts([null]), [undefined, undefined, undefined, undefined])
  assert.deepEqual(await texts(['x'.repeat(64)]), ['x'.repeat(64), true, 'x'.repeat(64), true])
})

test('bounds of long text are cut between characters, lie outside all values and are marked as inexact', async () => {
  const long = (text: string, more = ''): string => `${text.repeat(40)}${more}`
  const cut = await boundsOf('word', [['m', long('ab'), long('zy')]])
  assert.deepEqual([cut.min?.toString(), cut.isMinExact], ['ab'.repeat(32), false])
  assert.deepEqual([cut.max?.toString(), cut.isMaxExact], [`${'zy'.repeat(31)}zz`, false])
  // The character of four bytes does not fit into what is left of 64.
  const wide = await boundsOf('word', [[`${'é'.repeat(31)}🦆tail`]])
  assert.equal(wide.min?.toString(), 'é'.repeat(31))
  assert.equal(wide.max?.toString(), `${'é'.repeat(30)}ê`)
  const edge = await boundsOf('word', [['\ud7ff'.repeat(22), `${'x'.repeat(60)}\u{10ffff}tail`]])
  assert.equal(edge.max?.toString(), `${'\ud7ff'.repeat(20)}\ue000`)
  assert.equal((await boundsOf('word', [[`${'x'.repeat(60)}\u{10ffff}tail`]])).max?.toString(), `${'x'.repeat(59)}y`)
})

test('bounds of long bytes are cut; where none is greater than all values, there is only a smallest', async () => {
  const ff = new Uint8Array(70).fill(0xff)
  const { min, max, isMinExact, isMaxExact } = await boundsOf('blob', [[ff]])
  assert.deepEqual([min, isMinExact, max, isMaxExact], [Buffer.from(ff.subarray(0, 64)), false, undefined, undefined])
  const mixed = Uint8Array.from({ length: 70 }, (_, at) => (at === 10 ? 7 : 0xff))
  assert.deepEqual((await boundsOf('blob', [[mixed]])).max, Buffer.from([...new Uint8Array(10).fill(0xff), 8]))
})

test('every value lies within the bounds of its row group, also over several pages', async () => {
  const words = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 8 }),
    fc
      .tuple(fc.constantFrom('a', 'é', '\ud7ff', '\u{10ffff}', '🦆'), fc.integer({ min: 14, max: 70 }), fc.string())
      .map(([unit, times, tail]) => unit.repeat(times) + tail),
  )
  const pages = fc.array(
    fc.array(
      words.filter((word) => word.isWellFormed()),
      { minLength: 1, maxLength: 4 },
    ),
    {
      minLength: 1,
      maxLength: 3,
    },
  )
  await fc.assert(
    fc.asyncProperty(pages, async (batches) => {
      const values = batches.flat().map((word) => Buffer.from(word))
      const sorted = values.toSorted(Buffer.compare)
      for (const name of ['word', 'blob'] as const) {
        const given = name === 'word' ? batches : batches.map((page) => page.map((word) => Buffer.from(word)))
        const { min, max, isMinExact, isMaxExact } = await boundsOf(name, given)
        const [least, most] = [sorted[0] as Buffer, sorted.at(-1) as Buffer]
        assert.ok(min !== undefined && Buffer.compare(min, least) <= 0 && min.length <= 64)
        assert.equal(isMinExact, least.length <= 64)
        if (isMinExact) assert.deepEqual(min, least)
        if (max === undefined) continue
        assert.ok(Buffer.compare(max, most) >= 0 && max.length <= 67)
        assert.equal(isMaxExact, most.length <= 64)
        if (isMaxExact) assert.deepEqual(max, most)
        if (name === 'word') assert.ok(isUtf8(min) && isUtf8(max))
      }
    }),
    { numRuns: 60 },
  )
})

test('the file names its writer in the form that readers parse', async () => {
  const { created_by: by } = parquetMetadata(await write([], {}))
  // parquet-java, VersionParser.
  const [, name, version, build] =
    /^(.*?)\s+version\s*(?:([^(]*?)\s*(?:\(\s*build\s*([^)]*?)\s*\))?)?$/.exec(by ?? '') ?? []
  assert.deepEqual([name, version, build], ['poolsmith', packageVersion(), `node-${process.version}`])
})
