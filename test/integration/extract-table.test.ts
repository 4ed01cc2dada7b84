import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { tableFromIPC } from 'apache-arrow'
import { extractTable } from '../../src/extract/extract-table.ts'
import { EXTRACT_FORMATS } from '../../src/extract/formats.ts'
import type { Progress } from '../../src/extract/progress.ts'
import { readTable } from '../../src/extract/read-table.ts'
import { type ExtractTrace, traces } from '../../src/tracing.ts'
import { dataPath, dataText, filesBelow, superuserEngine } from '../support/extract.ts'
import { temporaryFolder } from '../support/folder.ts'
import { readParquetFile } from '../support/parquet.ts'
import { psql, startPostgres } from '../support/postgres.ts'

const server = await startPostgres()
const db = await superuserEngine(server)
after(async () => {
  await db.destroy()
  await server[Symbol.asyncDispose]()
})

async function gather<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = []
  for await (const item of items) found.push(item)
  return found
}

const NOON = new Date('2024-03-31T23:30:00.250Z')

async function rowsOf(path: string, format: string): Promise<Record<string, unknown>[]> {
  if (format === 'parquet') return [...(await readParquetFile(path)).rows]
  if (format === 'arrow')
    return tableFromIPC(await readFile(path))
      .toArray()
      .map((row) => ({ ...row }))
  const text = await readFile(path, 'utf8')
  const lines = text.split('\n').slice(0, -1)
  if (format === 'jsonl') return lines.map((line) => JSON.parse(line) as Record<string, unknown>)
  const [header = '', ...rest] = lines
  return rest.map((line) => Object.fromEntries(header.split(',').map((name, index) => [name, line.split(',')[index]])))
}

await server.sql(`create table plain (id int primary key, word text);
  insert into plain select g, 'word ' || g from generate_series(1, 1000) g; analyze plain`)

test('an extract is traced with its rows and bytes', async (t) => {
  await using folder = await temporaryFolder()
  const told: ExtractTrace[] = []
  const nothing = (): void => undefined
  const handlers = { start: nothing, end: nothing, asyncStart: nothing, error: nothing }
  const all = { ...handlers, asyncEnd: (given: object) => void told.push(given as ExtractTrace) }
  traces.extract.subscribe(all as never)
  t.after(() => traces.extract.unsubscribe(all as never))
  const source = { schema: 'public', table: 'plain' }
  const { rows, files } = await extractTable(db, source, { to: folder.path, format: 'csv' })
  const [trace] = told
  assert.deepEqual([trace?.table, trace?.rows, trace?.bytes], ['public.plain', rows, files[0]?.bytes])
  assert.deepEqual([trace?.poolName, trace?.system], [db.pool.name, 'postgresql'])
})

for (const format of EXTRACT_FORMATS) {
  test(`${format}: layout, bronze columns and manifest`, async () => {
    await using folder = await temporaryFolder()
    const reports: Progress[] = []
    const manifest = await extractTable(
      db,
      { schema: 'public', table: 'plain' },
      { to: folder.path, format, source: 'crm', extractedAt: NOON, onProgress: (report) => reports.push(report) },
    )
    const place = 'crm/public.plain/extract_date=2024-03-31'
    const name = `part-${manifest.batchId}.${format === 'arrow' ? 'arrows' : format}`
    assert.deepEqual(await filesBelow(folder.path), [`${place}/_manifest-${manifest.batchId}.json`, `${place}/${name}`])
    assert.match(manifest.batchId, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)

    const { folder: where, path, ...content } = manifest
    assert.equal(where, join(folder.path, place))
    assert.deepEqual(JSON.parse(await readFile(path, 'utf8')), content)
    const bytes = await readFile(dataPath(manifest))
    const sha256 = createHash('sha256').update(bytes).digest('hex')
    assert.deepEqual(manifest.files, [{ name, bytes: bytes.length, sha256, rows: 1000 }])
    assert.deepEqual([manifest.rows, manifest.bytes, manifest.format], [1000, bytes.length, format])
    assert.equal(manifest.extractedAt, NOON.toISOString())
    assert.ok(manifest.startedAt <= manifest.finishedAt)
    assert.deepEqual(
      manifest.columns.map(({ name: column, type }) => `${column} ${type}`),
      ['id integer', 'word text', '_extracted_at timestamp with time zone', '_source text', '_batch_id uuid'],
    )

    const rows = await rowsOf(dataPath(manifest), format)
    assert.equal(rows.length, 1000)
    for (const [index, row] of rows.entries()) {
      assert.deepEqual([Number(row.id), row.word], [index + 1, `word ${index + 1}`])
      assert.equal(row._source, 'crm')
      assert.equal(row._batch_id, manifest.batchId)
      const at = row._extracted_at
      const text = typeof at === 'bigint' ? new Date(Number(at / 1000n)) : new Date(at as string | number)
      assert.equal(text.toISOString(), NOON.toISOString())
    }
    const last = reports.at(-1)
    assert.deepEqual([last?.rows, last?.bytes, last?.estimatedRows, last?.done], [1000, bytes.length, 1000, true])
  })
}

test("CSV is the server's own, byte for byte, with the added columns", async () => {
  await server.sql(`create table awkward (a text, "b,c" numeric, d timestamptz, e text[], f bytea, g jsonb, h date);
    insert into awkward values ('x,"y"' || e'\\n' || 'z', 'NaN', '2024-03-31 02:30:00.123456+02', '{a,NULL}', '\\x00ff',
      '{"a": "\\\\ \\" é"}', 'infinity'), (null, 1.10, '-infinity', '{}', '', 'null', '4713-01-01 BC'),
      ('', null, null, null, null, null, null), ('\\.', 0, 'epoch', '{}', '', '[]', '2000-01-01')`)
  await using folder = await temporaryFolder()
  const manifest = await extractTable(
    db,
    { table: 'awkward' },
    { to: folder.path, format: 'csv', source: 'a "source", quoted', extractedAt: NOON },
  )
  const oracle = await psql(
    [
      '-h',
      server.socketDirectory,
      '-p',
      String(server.port),
      '-U',
      'postgres',
      '-c',
      `copy (select *, timestamptz '2024-03-31 23:30:00.250Z' as "_extracted_at", text 'a "source", quoted' as "_source",
        uuid '${manifest.batchId}' as "_batch_id" from awkward) to stdout (format csv, header)`,
    ],
    { PGTZ: 'UTC', PGDATESTYLE: 'ISO' },
  )
  assert.equal(oracle.stderr, '')
  assert.equal((await dataText(manifest)).replaceAll('23:30:00.250+00', '23:30:00.25+00'), oracle.stdout)
})

test("JSON Lines are the server's row_to_json, one line for each row", async () => {
  await server.sql(`create table documents (id int, raw json, deep json[], t text, n numeric, big bigint, at timestamptz);
    insert into documents values
      (1, e'{"a":\\n\\n 1.10,\\r\\n "b": "x\\\\ny"}', array[e'{"c":\\n2}'::json], e'line\\nbreak \\\\ "q" \\u0001', 1.10, 9007199254740993, '2024-01-01'),
      (2, null, null, '{}', 'NaN', -1, 'infinity')`)
  await using folder = await temporaryFolder()
  const manifest = await extractTable(db, { table: 'documents' }, { to: folder.path, format: 'jsonl' })
  const text = await dataText(manifest)
  const lines = text.trimEnd().split('\n')
  assert.equal(lines.length, 2)
  const [first, second] = lines.map((line) => JSON.parse(line) as Record<string, unknown>)
  assert.deepEqual(first?.raw, { a: 1.1, b: 'x\ny' })
  assert.deepEqual(first?.deep, [{ c: 2 }])
  assert.equal(first?.t, 'line\nbreak \\ "q" \u0001')
  assert.match(lines[0] ?? '', /"n":1\.10,"big":9007199254740993,"at":"2024-01-01T00:00:00\+00:00"/)
  assert.deepEqual([second?.raw, second?.n, second?.at], [null, 'NaN', 'infinity'])
})

describe('what can be extracted', () => {
  const NAMES = {
    'Upper Case': 'Übung "quoted"',
    'sch.em/a': '../../etc',
    '%41': "it's",
    'emoji 🦆': 'a=b',
  }

  test('names that need quoting work in the statement and in the path', async () => {
    await using folder = await temporaryFolder()
    for (const [schema, table] of Object.entries(NAMES)) {
      const quote = (name: string): string => `"${name.replaceAll('"', '""')}"`
      const column = `${table} column`
      await server.sql(`create schema ${quote(schema)};
        create table ${quote(schema)}.${quote(table)} (${quote(column)} int, "%s" text); insert into ${quote(schema)}.${quote(table)} values (7, 'x')`)
      for (const format of EXTRACT_FORMATS) {
        const manifest = await extractTable(db, { schema, table }, { to: folder.path, format })
        assert.equal(manifest.rows, 1)
        assert.equal(manifest.columns[0]?.name, column)
        if (format === 'csv') continue
        const [row] = await rowsOf(dataPath(manifest), format)
        assert.deepEqual([row?.[column], row?.['%s']], [7, 'x'])
      }
    }
    const places = new Set((await filesBelow(folder.path)).map((path) => path.split('/').slice(0, 2).join('/')))
    assert.deepEqual(
      [...places].sort(),
      [
        'postgres/%2541.it%27s',
        'postgres/Upper Case.Übung %22quoted%22',
        'postgres/emoji %F0%9F%A6%86.a%3Db',
        'postgres/sch%2Eem%2Fa.%2E%2E%2F%2E%2E%2Fetc',
      ].sort(),
    )
  })

  test('views, partitioned and foreign tables, generated and dropped columns are read', async () => {
    await server.sql(`create view a_view as select id, upper(word) as loud, 1.50::numeric(5,2) as price from plain;
      create materialized view a_copy as select * from plain;
      create table parts (id int, at date) partition by range (at);
      create table parts_1 partition of parts for values from ('2020-01-01') to ('2021-01-01');
      create table parts_2 partition of parts for values from ('2021-01-01') to ('2022-01-01');
      insert into parts select g, date '2020-12-30' + g from generate_series(1, 10) g; analyze parts;
      create extension postgres_fdw; create server here foreign data wrapper postgres_fdw
        options (host '${server.socketDirectory}', port '${server.port}', dbname 'postgres');
      create user mapping for postgres server here options (user 'postgres', password_required 'false');
      create foreign table far (id int, word text) server here options (table_name 'plain');
      create table generated (a int, gone text, b int generated always as (a * 2) stored, id int generated always as identity);
      insert into generated (a) values (21); alter table generated drop column gone`)
    const expected = { a_view: 1000, a_copy: 1000, parts: 10, far: 1000, generated: 1 }
    await using folder = await temporaryFolder()
    for (const [table, rows] of Object.entries(expected)) {
      for (const format of EXTRACT_FORMATS) {
        const manifest = await extractTable(db, { table }, { to: folder.path, format })
        assert.equal(manifest.rows, rows, `${table} ${format}`)
      }
    }
    const manifest = await extractTable(db, { table: 'generated' }, { to: folder.path, format: 'jsonl' })
    const [row] = await rowsOf(dataPath(manifest), 'jsonl')
    assert.deepEqual([row?.a, row?.b, row?.id], [21, 42, 1])
    const reports: Progress[] = []
    await extractTable(
      db,
      { table: 'parts' },
      { to: folder.path, format: 'csv', onProgress: (report) => reports.push(report) },
    )
    assert.equal(reports.at(-1)?.estimatedRows, 10)
  })

  test('an empty table keeps its schema, and a table without columns its rows', async () => {
    await server.sql(
      'create table nothing (a int, b numeric(10,2)); create table bare (); insert into bare select from generate_series(1, 3)',
    )
    await using folder = await temporaryFolder()
    const batches = await gather(readTable(db, { table: 'nothing' }))
    assert.deepEqual(
      batches.map((batch) => batch.numRows),
      [0],
    )
    assert.equal(String(batches[0]?.schema), 'Schema<{ 0: a: Int32, 1: b: Decimal[10e+2] }>')
    const bare = await gather(readTable(db, { table: 'bare' }))
    assert.deepEqual(
      bare.map((batch) => [batch.numRows, batch.numCols]),
      [[3, 0]],
    )
    for (const format of EXTRACT_FORMATS) {
      const empty = await extractTable(db, { table: 'nothing' }, { to: folder.path, format })
      assert.equal(empty.rows, 0)
      assert.deepEqual(await rowsOf(dataPath(empty), format), [])
      const without = await extractTable(db, { table: 'bare' }, { to: folder.path, format })
      assert.equal(without.rows, 3)
      const rows = await rowsOf(dataPath(without), format)
      assert.deepEqual(
        rows.map((row) => row._batch_id),
        Array(3).fill(without.batchId),
      )
    }
    assert.deepEqual(
      (
        await readParquetFile(
          (
            await filesBelow(folder.path)
          )
            .filter((name) => name.endsWith('parquet') && name.includes('nothing'))
            .map((name) => join(folder.path, name))[0] ?? '',
        )
      ).columns,
      ['a', 'b', '_extracted_at', '_source', '_batch_id'],
    )
  })

  test('a table of 1,600 columns is read', async () => {
    const columns = Array.from({ length: 1600 }, (_, index) => `c${index} int`)
    await server.sql(`create table wide (${columns.join(', ')}); insert into wide select from generate_series(1, 300);
      insert into wide select 1${', null'.repeat(1598)}, 1599`)
    await using folder = await temporaryFolder()
    for (const format of EXTRACT_FORMATS) {
      const manifest = await extractTable(db, { table: 'wide' }, { to: folder.path, format })
      assert.equal(manifest.rows, 301)
      assert.equal(manifest.columns.length, 1603)
    }
    const parquet = (await filesBelow(folder.path)).find((name) => name.endsWith('.parquet')) ?? ''
    const { rows } = await readParquetFile(join(folder.path, parquet))
    assert.deepEqual([rows[300]?.c0, rows[300]?.c1, rows[300]?.c1599], [1, null, 1599])
  })

  test('values of many megabytes are written completely', async () => {
    await server.sql(`create table large (id int, body text, raw bytea);
      insert into large select g, repeat(chr(64 + g) || 'é', 2000000 * g), decode(repeat('00ff', 3000000), 'hex') from generate_series(1, 3) g`)
    await using folder = await temporaryFolder()
    let id = 0
    for await (const batch of readTable(db, { table: 'large' })) {
      for (let row = 0; row < batch.numRows; row += 1) {
        id += 1
        const body = batch.getChild('body')?.get(row) as string
        assert.ok(body === `${String.fromCharCode(64 + id)}é`.repeat(2_000_000 * id))
        assert.equal(batch.getChild('raw')?.get(row).length, 6_000_000)
      }
    }
    assert.equal(id, 3)
    for (const format of ['csv', 'parquet'] as const) {
      const manifest = await extractTable(db, { table: 'large' }, { to: folder.path, format, columns: ['body', 'id'] })
      assert.deepEqual(
        manifest.columns.slice(0, 2).map((column) => column.name),
        ['body', 'id'],
      )
      assert.equal(manifest.rows, 3)
    }
  })

  test('notes about values are in the manifest', async () => {
    await server.sql(`create table odd (price numeric(10,2), at timestamp, day date, list int[]);
      insert into odd values ('NaN', 'infinity', '-infinity', '[0:1]={1,2}'), ('NaN', null, null, null), (1, now(), now(), '{1}')`)
    await using folder = await temporaryFolder()
    const manifest = await extractTable(db, { table: 'odd' }, { to: folder.path, format: 'parquet' })
    assert.deepEqual(
      manifest.notes.map((note) => note.replace(/:.*\(/s, ': ')),
      ['price: 2 of them)', 'at: 1 of them)', 'day: 1 of them)', 'list: 1 of them)'],
    )
  })
})

test("two runs at once do not touch each other's files", async () => {
  await using folder = await temporaryFolder()
  const manifests = await Promise.all(
    Array.from({ length: 4 }, () =>
      extractTable(db, { table: 'plain' }, { to: folder.path, format: 'parquet', source: 's' }),
    ),
  )
  assert.equal(new Set(manifests.map((manifest) => manifest.folder)).size, 1)
  for (const manifest of manifests) {
    const { rows } = await readParquetFile(dataPath(manifest))
    assert.deepEqual(new Set(rows.map((row) => row._batch_id)), new Set([manifest.batchId]))
    assert.equal(rows.length, 1000)
  }
  assert.equal((await filesBelow(folder.path)).length, 8)
})
