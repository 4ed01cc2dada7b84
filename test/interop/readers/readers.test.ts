/** Our files as the readers of other projects read them: every value of every type, compared with the server's word. */

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { json, text } from 'node:stream/consumers'
import { after, before, describe, test } from 'node:test'
import { type ExtractOptions, extractTable } from '../../../src/extract/extract-table.ts'
import type { Engine } from '../../../src/index.ts'
import { dataPath, superuserEngine } from '../../support/extract.ts'
import { temporaryFolder } from '../../support/folder.ts'
import { pythonOf } from '../../support/interop.ts'
import { startPostgres } from '../../support/postgres.ts'
import {
  AS_TEXT,
  type Columns,
  type Kind,
  kindsOf,
  makeTables,
  TABLES,
  type TableName,
  type Value,
  valuesIn,
} from './values.ts'

type Format = ExtractOptions['format']

interface Reader {
  readonly parquet?: readonly TableName[]
  readonly arrow?: readonly TableName[]
  /** Columns of `plain` that the reader's types cannot hold, in Parquet. */
  readonly without?: readonly string[]
  readonly csv?: true
  /** The columns of `plain` that it does not read without a loss from JSON Lines. */
  readonly jsonl?: { readonly without: readonly string[] }
  /** The reader's form of a value that its types cannot tell from another one. */
  readonly sees?: (value: Value, kind: Kind, format: Format) => Value
}

type Sees = NonNullable<Reader['sees']>

/** In CSV, an empty string for a missing one. */
const emptyIsNull: Sees = (value, _, format) => (format === 'csv' && value === '' ? null : value)

/** In JSON Lines, `-0` for an integer. */
const minusZeroIsZero: Sees = (value, kind, format) =>
  format === 'jsonl' && kind.startsWith('float') && /^80*$/.test(String(value))
    ? String(value).replace('8', '0')
    : value

/** NaN for a missing value. */
const nanIsNull: Sees = (value, kind) => (kind.startsWith('float') && value === 'nan' ? null : value)

const EVERY = Object.keys(TABLES) as TableName[]

/** Numbers in JSON are floating-point numbers to most readers. */
const DECIMALS = ['cents', 'pieces', 'exact']

const READERS: Readonly<Record<string, Reader>> = {
  pyarrow: { parquet: EVERY, arrow: EVERY },
  nanoarrow: { arrow: EVERY },
  datafusion: { parquet: EVERY },
  duckdb: { parquet: EVERY, csv: true, jsonl: { without: DECIMALS }, sees: minusZeroIsZero },
  polars: { parquet: EVERY, arrow: EVERY, csv: true, jsonl: { without: DECIMALS }, sees: minusZeroIsZero },
  pandas: {
    parquet: ['plain', 'time'],
    without: ['counts'],
    csv: true,
    sees: (...seen) => nanIsNull(emptyIsNull(...seen), seen[1], seen[2]),
  },
  fastparquet: {
    parquet: ['plain'],
    // Its decimals are floating-point numbers, its dates nanoseconds, which end in 2262, and it gives no lists of text.
    without: [...DECIMALS, 'day', 'tags'],
    sees: (value, kind) => (value === null && kind.startsWith('float') ? 'nan' : value),
  },
  spark: { parquet: ['plain'] },
  python: {
    csv: true,
    jsonl: { without: [] },
    sees: (...seen) => minusZeroIsZero(emptyIsNull(...seen), seen[1], seen[2]),
  },
}

const server = await startPostgres()
const folder = await temporaryFolder()
let db: Engine
const stack = new AsyncDisposableStack()
stack.use(server)
stack.use(folder)
after(() => stack.disposeAsync())
before(async () => {
  db = stack.use(await superuserEngine(server))
  await makeTables(server)
})

interface Wanted {
  readonly title: string
  readonly path: string
  readonly format: Format
  readonly columns: Readonly<Record<string, Kind>>
  readonly expected: Columns
}

interface Answer {
  readonly version: string
  readonly files: readonly Columns[]
}

async function readBy(reader: string, files: readonly Wanted[]): Promise<Answer> {
  const child = spawn(pythonOf('readers'), [join(import.meta.dirname, 'read_files.py')], {
    stdio: ['pipe', 'pipe', 'pipe'],
    timeout: 600_000,
  })
  child.stdin.end(
    JSON.stringify({ reader, files: files.map(({ path, format, columns }) => ({ path, format, columns })) }),
  )
  const [answer, complaints] = await Promise.all([json(child.stdout).catch(() => undefined), text(child.stderr)])
  assert.ok(answer !== undefined, `${reader} failed:\n${complaints}`)
  return answer as Answer
}

const made = new Map<string, Promise<string>>()

/** A file of the table, made once for all readers. */
function fileOf(table: TableName, format: Format, name: string, options: Partial<ExtractOptions>): Promise<string> {
  const key = `${table}-${format}-${name}`
  const path =
    made.get(key) ??
    extractTable(db, { table }, { to: join(folder.path, key), format, ...options }).then((manifest) =>
      dataPath(manifest),
    )
  made.set(key, path)
  return path
}

/** The layouts of Parquet: one page and group, many pages and groups, and without compression. */
const LAYOUTS: Readonly<Record<string, Partial<ExtractOptions>>> = {
  whole: {},
  pages: { batchRows: 2 },
  groups: { batchRows: 2, rowGroupBytes: 1 },
  bare: { compression: 'none' },
}

async function wantedOf(reader: Reader): Promise<Wanted[]> {
  const { parquet = [], arrow = [], csv, jsonl, without, sees = (value) => value } = reader
  const wanted: Wanted[] = []
  const add = async (table: TableName, format: Format, kinds: Wanted['columns'], expected: Columns, name = 'whole') => {
    wanted.push({
      title: `${table} as ${format}, ${name}`,
      path: await fileOf(table, format, name, LAYOUTS[name] ?? {}),
      format,
      columns: kinds,
      expected: Object.fromEntries(
        Object.entries(kinds).map(([column, kind]) => {
          return [column, (expected[column] ?? []).map((value) => sees(value, kind, format))]
        }),
      ),
    })
  }
  for (const table of parquet) {
    const expected = await valuesIn(server, table)
    for (const name of Object.keys(LAYOUTS)) await add(table, 'parquet', kindsOf(table, without), expected, name)
  }
  for (const table of arrow) await add(table, 'arrow', kindsOf(table), await valuesIn(server, table))
  if (csv === true) await add('plain', 'csv', kindsOf('plain'), await valuesIn(server, 'plain', 'csv'))
  if (jsonl !== undefined) {
    const kinds = { ...kindsOf('plain', ['document', ...jsonl.without]), ...AS_TEXT }
    await add('plain', 'jsonl', kinds, await valuesIn(server, 'plain', 'json'))
  }
  return wanted
}

describe('every value is the one in the database', () => {
  for (const [name, reader] of Object.entries(READERS)) {
    test(`as ${name} reads it`, async (context) => {
      const wanted = await wantedOf(reader)
      const { version, files } = await readBy(name, wanted)
      context.diagnostic(`${name} ${version}: ${wanted.length} files`)
      assert.equal(files.length, wanted.length)
      for (const [index, { title, expected }] of wanted.entries()) {
        for (const [column, values] of Object.entries(expected)) {
          assert.deepEqual(files[index]?.[column], values, `${title}, column ${column}`)
        }
      }
    })
  }
})
