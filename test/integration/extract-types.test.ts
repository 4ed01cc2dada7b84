import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { after, before, describe, test } from 'node:test'
import { DataType, type RecordBatch, tableFromIPC, type Vector } from 'apache-arrow'
import { readParquet, Table } from 'parquet-wasm/node'
import pg from 'pg'
import { extractTable } from '../../src/extract/extract-table.ts'
import { readTable } from '../../src/extract/read-table.ts'
import { createEngine, type Engine } from '../../src/index.ts'
import { dataPath, dataText } from '../support/extract.ts'
import { temporaryFolder } from '../support/folder.ts'
import { readParquetFile } from '../support/parquet.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { CASES, type Case, compact } from '../support/postgres-types.ts'
import { ROWS, SETUP, tableText } from '../support/postgres-types-table.ts'

/** A value as it is stored: get() of the library would cut microseconds. */
function stored(vector: Vector, row: number): unknown {
  if (!vector.isValid(row)) return null
  const { type } = vector
  if (DataType.isDecimal(type)) {
    const words = vector.get(row) as Uint32Array
    return BigInt.asIntN(
      type.bitWidth,
      words.reduceRight((sum, word) => (sum << 32n) | BigInt(word), 0n),
    )
  }
  if (DataType.isTimestamp(type) || DataType.isDate(type) || DataType.isTime(type)) {
    // A slice's values begin where the slice does.
    return vector.data[0]?.values[row]
  }
  const value: unknown = vector.get(row)
  if (DataType.isList(type)) {
    const items = value as Vector
    return Array.from({ length: items.length }, (_, index) => stored(items, index))
  }
  return value
}

function check(name: string, row: number, value: unknown, expected: string | null): void {
  const one = CASES[name] as Case
  const where = `${name}, row ${row}`
  if (expected === null || value === null || value === undefined) {
    assert.equal(value ?? null, expected, where)
  } else if (one.asNumber) {
    const number = one.type === 'real' ? Math.fround(Number(expected)) : Number(expected)
    assert.ok(Object.is(value, number), `${where}: ${String(value)} is not ${expected}`)
  } else {
    const text = (one.text ?? String)(value)
    assert.equal(text, one.arrow.startsWith('List') ? compact(expected) : expected, where)
  }
}

for (const [flavor, version] of [
  ['embedded', 18],
  ['embedded-13', 13],
] as const)
  describe(`every type, value by value, of PostgreSQL ${version}`, () => {
    const names = Object.keys(CASES).filter((name) => ((CASES[name] as Case).since ?? 0) <= version)
    let server: PostgresServer
    let db: Engine
    let expected: (string | null)[][]

    before(async () => {
      server = await startPostgres({ flavor })
      await server.sql(SETUP + tableText(names))
      // Settings of the role must change nothing.
      await server.sql(`alter role postgres set timezone = 'America/St_Johns'; alter role postgres set datestyle = 'German';
      alter role postgres set intervalstyle = 'iso_8601'; alter role postgres set bytea_output = 'escape';
      alter role postgres set extra_float_digits = 0`)
      db = await createEngine({
        type: 'postgres',
        host: server.host,
        port: server.port,
        login: server.superuser,
        password: server.superuserPassword,
        database: 'postgres',
      })
      const client = new pg.Client({ host: server.socketDirectory, port: server.port, user: 'postgres' })
      await client.connect()
      await client.query(
        "set timezone = 'UTC'; set datestyle = 'ISO'; set intervalstyle = 'postgres'; set bytea_output = 'hex'; set extra_float_digits = 3",
      )
      const list = names.map((name) => {
        const sql = (CASES[name] as Case).expected
        if (sql === undefined) return `"${name}"`
        return `case when "${name}" is not null then (select ${sql} from (select "${name}" as c) s) end`
      })
      const answer = await client.query({
        text: `select ${list.join(', ')} from every_type order by pos`,
        rowMode: 'array',
        types: { getTypeParser: () => String },
      })
      expected = answer.rows as (string | null)[][]
      await client.end()
    })

    after(async () => {
      await db?.destroy()
      await server?.[Symbol.asyncDispose]()
    })

    test('every value is exact in Arrow batches', async () => {
      const batches: RecordBatch[] = []
      for await (const batch of readTable(db, { table: 'every_type' }, { batchRows: 3, decimals: 'wide' }))
        batches.push(batch)
      assert.deepEqual(
        batches.map((batch) => batch.numRows),
        [...Array(Math.floor(ROWS / 3)).fill(3), ROWS % 3].filter((n) => n > 0),
      )
      for (const [column, name] of names.entries()) {
        const field = batches[0]?.schema.fields[column + 1]
        assert.equal(field?.name, name)
        assert.equal(String(field?.type), (CASES[name] as Case).arrow, name)
        let row = 0
        for (const batch of batches) {
          const vector = batch.getChildAt(column + 1) as Vector
          for (let at = 0; at < batch.numRows; at += 1, row += 1) {
            check(name, row, stored(vector, at), expected[row]?.[column] ?? null)
          }
        }
      }
    })

    /** Read by Arrow's implementation in Rust. */
    function checkRust(table: Table): void {
      const rust = tableFromIPC(table.intoIPCStream())
      assert.equal(rust.numRows, ROWS)
      for (const [column, name] of names.entries()) {
        let row = 0
        for (const batch of rust.batches) {
          for (let at = 0; at < batch.numRows; at += 1, row += 1) {
            check(name, row, stored(batch.getChild(name) as Vector, at), expected[row]?.[column] ?? null)
          }
        }
      }
    }

    test('every value is exact in an Arrow file, read by another reader', async () => {
      await using folder = await temporaryFolder()
      const options = { to: folder.path, format: 'arrow', batchRows: 3, decimals: 'wide' } as const
      const manifest = await extractTable(db, { table: 'every_type' }, options)
      checkRust(Table.fromIPCStream(await readFile(dataPath(manifest))))
    })

    test('every value is exact in a Parquet file, read by two other readers', async () => {
      await using folder = await temporaryFolder()
      // Row groups of a few rows, pages of three.
      const options = {
        to: folder.path,
        format: 'parquet',
        batchRows: 3,
        rowGroupBytes: 10_000,
        decimals: 'wide',
      } as const
      const manifest = await extractTable(db, { table: 'every_type' }, options)
      const content = await readParquetFile(dataPath(manifest))
      assert.equal(content.rows.length, ROWS)
      for (const [column, name] of names.entries()) {
        for (const [row, values] of content.rows.entries())
          check(name, row, values[name], expected[row]?.[column] ?? null)
      }
      assert.ok(content.metadata.row_groups.length > 1)

      checkRust(readParquet(await readFile(dataPath(manifest))))
      for (const name of names) {
        const entry = manifest.columns.find((column) => column.name === name)
        assert.equal(entry?.note !== undefined, (CASES[name] as Case).noted === true, `${name}: ${entry?.note}`)
      }
    })

    test('a decimal of more than 38 digits is exact text by default, in a list too', async () => {
      await server.sql(`create table wide (n numeric(39,1), list numeric(76,0)[], narrow numeric(38,1));
        insert into wide values ('-${'9'.repeat(38)}.1', '{${'8'.repeat(76)},NULL}', 1.5)`)
      await using folder = await temporaryFolder()
      const manifest = await extractTable(db, { table: 'wide' }, { to: folder.path, format: 'parquet' })
      const [row] = (await readParquetFile(dataPath(manifest))).rows
      assert.deepEqual([row?.n, row?.list, row?.narrow], [`-${'9'.repeat(38)}.1`, ['8'.repeat(76), null], 15n])
      const [n, numbers, narrow] = manifest.columns
      assert.deepEqual([n?.arrow, numbers?.arrow, narrow?.arrow], ['Utf8', 'List<Utf8>', 'Decimal[38e+1]'])
      assert.match(n?.note ?? '', /more than 38 digits.*exact text/)
      assert.ok(numbers?.note)
    })

    test('rare moments are counted in the notes of the manifest', async () => {
      await server.sql(`create table rare (t time, d date, at timestamp, tz timestamptz, days date[]);
        insert into rare values
          ('24:00', '0001-01-01', '9999-12-31 23:59:59.999999', '0001-01-01 00:00+00', '{infinity,0044-03-15 BC}'),
          ('24:00', '9999-12-31', '10000-01-01', '0001-12-31 23:59:59+00 BC', null),
          ('23:59:59.999999', '10000-01-01', '12000-01-01', 'infinity', null),
          ('00:00', '0001-12-31 BC', '2024-01-01', '2024-01-01', null)`)
      await using folder = await temporaryFolder()
      for (const format of ['parquet', 'arrow'] as const) {
        const { notes } = await extractTable(db, { table: 'rare' }, { to: folder.path, format })
        assert.match(notes.find((note) => note.startsWith('t: ')) ?? '', /24:00.*\(2 of them\)/)
        assert.match(notes.find((note) => note.startsWith('d: ')) ?? '', /outside the years 1 to 9999.*\(2 of them\)/)
        assert.match(notes.find((note) => note.startsWith('at: ')) ?? '', /outside the years 1 to 9999.*\(2 of them\)/)
        assert.match(
          notes.find((note) => note.startsWith('tz: ')) ?? '',
          /infinite.*\(1 of them\); .*outside the years 1 to 9999.*\(1 of them\)/,
        )
        assert.match(
          notes.find((note) => note.startsWith('days: ')) ?? '',
          /infinite.*\(1 of them\); .*outside the years 1 to 9999.*\(1 of them\)/,
        )
      }
    })

    test('every value is exact as text, in every format', async () => {
      await using folder = await temporaryFolder()
      const plain = new pg.Client({ host: server.socketDirectory, port: server.port, user: 'postgres' })
      await plain.connect()
      await plain.query(
        "set timezone = 'UTC'; set datestyle = 'ISO'; set intervalstyle = 'postgres'; set bytea_output = 'hex'; set extra_float_digits = 3",
      )
      const own = await plain.query({
        text: `select ${names.map((name) => `"${name}"`).join(', ')} from every_type order by pos`,
        rowMode: 'array',
        types: { getTypeParser: () => String },
      })
      await plain.end()
      const options = { to: folder.path, asText: names, columns: names } as const
      const parquet = await extractTable(db, { table: 'every_type' }, { ...options, format: 'parquet' })
      const lines = await extractTable(db, { table: 'every_type' }, { ...options, format: 'jsonl' })
      const content = await readParquetFile(dataPath(parquet))
      const objects = (await dataText(lines)).trimEnd().split('\n')
      assert.equal(objects.length, ROWS)
      for (const [row, values] of (own.rows as (string | null)[][]).entries()) {
        const object = JSON.parse(objects[row] ?? '') as Record<string, unknown>
        for (const [column, name] of names.entries()) {
          assert.equal(content.rows[row]?.[name] ?? null, values[column], `${name}, row ${row}`)
          assert.equal(object[name] ?? null, values[column], `${name}, row ${row}, jsonl`)
        }
      }
    })
  })
