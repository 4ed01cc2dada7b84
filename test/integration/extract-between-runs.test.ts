/** Changes between two runs, and the notes of an extract about them. */

import assert from 'node:assert/strict'
import { mkdir, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { extractTable } from '../../src/extract/extract-table.ts'
import { EXTRACT_FORMATS } from '../../src/extract/formats.ts'
import type { Manifest } from '../../src/extract/manifest.ts'
import type { WatermarkOptions } from '../../src/extract/options.ts'
import { dataPath, dataText, extracting, failureOf, filesBelow, superuserEngine } from '../support/extract.ts'
import { temporaryFolder } from '../support/folder.ts'
import { readParquetFile } from '../support/parquet.ts'
import { startPostgres } from '../support/postgres.ts'

const server = await startPostgres()
const db = await superuserEngine(server)
after(async () => {
  await db.destroy()
  await server[Symbol.asyncDispose]()
})

describe('a watermark column that is altered between two runs', () => {
  test('a column that was widened goes on with the rows that share the mark', async () => {
    await using folder = await temporaryFolder()
    for (const [from, to, values] of [
      ['int', 'bigint', ['5', '6']],
      ['smallint', 'int', ['5', '6']],
      ['varchar(3)', 'text', ["'a'", "'b'"]],
      ['varchar(3)', 'varchar(9)', ["'a'", "'b'"]],
    ] as const) {
      const [same, later] = values
      const watermark = { column: 'mark', state: join(folder.path, `${from}-${to}.json`) }
      await server.sql(`drop table if exists widened; create table widened (id int, mark ${from});
        insert into widened values (1, ${same}), (2, ${same})`)
      assert.deepEqual((await extracting(db, { table: 'widened' }, { watermark })).ids, ['1', '2'])
      await server.sql(`alter table widened alter mark type ${to};
        insert into widened values (3, ${same}), (4, ${later})`)
      const { ids, manifest } = await extracting(db, { table: 'widened' }, { watermark })
      assert.deepEqual([ids, manifest.notes], [['3', '4'], []], `${from} to ${to}`)
      assert.deepEqual((await extracting(db, { table: 'widened' }, { watermark })).ids, [])
    }
  })

  test('a mark that does not fit stops the run, until `after` is given', async () => {
    await using folder = await temporaryFolder()
    const state = join(folder.path, 'state.json')
    const run = (watermark: WatermarkOptions): ReturnType<typeof extracting> =>
      extracting(db, { table: 'narrowed' }, { watermark })
    await server.sql(`create table narrowed (id int, mark int, day date);
      insert into narrowed values (1, 1, '2024-01-01'), (2, 2, '2024-01-02')`)
    await run({ column: 'mark', state })
    await server.sql('alter table narrowed alter mark type text')
    const stopped = await failureOf(run({ column: 'mark', state }))
    assert.equal(stopped.code, 'WATERMARK_INVALID')
    assert.match(stopped.hint ?? '', /Give `after` as a value once/)

    const { ids, manifest } = await run({ column: 'mark', state, after: '1' })
    assert.deepEqual(ids, ['2'])
    assert.match(manifest.notes.join(), /state file's mark was not used, because "mark" is of type text/)
    // The state fits again, so `after` does not count.
    assert.deepEqual((await run({ column: 'mark', state, after: '0' })).ids, [])
    // Another column.
    assert.equal((await failureOf(run({ column: 'day', state }))).code, 'WATERMARK_INVALID')
    assert.deepEqual((await run({ column: 'day', state, after: '2024-01-01' })).ids, ['2'])
    const bad = await failureOf(
      run({ column: 'mark', state, after: manifest.watermark && { ...manifest.watermark, column: 'id' } }),
    )
    assert.match(bad.message, /is not the column of the last mark, "id"/)
  })
})

test('columns in another order are drift', async () => {
  await using folder = await temporaryFolder()
  const options = { to: folder.path, format: 'csv', rowHash: true } as const
  await server.sql('create table ordered (id int, a int, b int); insert into ordered values (1, 2, 3)')
  await extractTable(db, { table: 'ordered' }, options)
  assert.equal((await extractTable(db, { table: 'ordered' }, options)).drift, undefined)
  await server.sql(`drop table ordered; create table ordered (id int, b int, a int, c int);
    insert into ordered values (1, 3, 2)`)
  const seen: boolean[] = []
  const onDrift = ({ reordered }: { readonly reordered: boolean }): unknown => seen.push(reordered)
  const { drift } = await extractTable(db, { table: 'ordered' }, { ...options, onDrift })
  assert.deepEqual([drift?.reordered, drift?.added.map(({ name }) => name), seen], [true, ['c'], [true]])
})

describe('errors of the server', () => {
  test('a column that the foreign server lacks is not transient', async () => {
    const { host, port, superuser, superuserPassword } = server
    await server.sql(`create extension if not exists postgres_fdw; create table remote (id int);
      create server twin foreign data wrapper postgres_fdw options (host '${host}', port '${port}', dbname 'postgres');
      create user mapping for public server twin options (user '${superuser}', password '${superuserPassword}');
      create foreign table distant (id int, gone int) server twin options (table_name 'remote');
      create foreign table nowhere (id int) server twin options (table_name 'missing')`)
    for (const table of ['distant', 'nowhere']) {
      const error = await failureOf(extracting(db, { table }))
      assert.deepEqual([error.code, error.transient], ['QUERY_FAILED', false], table)
      assert.match(error.hint ?? '', /ALTER FOREIGN TABLE/)
    }
    assert.deepEqual((await extracting(db, { table: 'distant' }, { columns: ['id'] })).ids, [])
  })

  test("the server's DETAIL and HINT are passed on, without control characters", async () => {
    await server.sql(`create function refuse() returns int language plpgsql as $$ begin
      raise exception 'no' using detail = e'the \\x1b[2J detail', hint = 'the advice'; end $$;
      create view refusing as select refuse() as id`)
    const error = await failureOf(extracting(db, { table: 'refusing' }))
    assert.equal(error.code, 'QUERY_FAILED')
    assert.match(error.hint ?? '', /The server's detail: the \\x1b\[2J detail The server's hint: the advice$/)
    const wrong = await failureOf(extracting(db, { query: 'select q.idd from widely q', name: 'w' }))
    assert.equal(wrong.code, 'QUERY_FAILED')
    await server.sql('create table widely (id int)')
    const near = await failureOf(extracting(db, { query: 'select q.idd from widely q', name: 'w' }))
    assert.match(near.hint ?? '', /The server's hint: Perhaps you meant/)
  })
})

test('text that is not in the encoding of the database is read as bytes, and the error says how', async () => {
  await server.sql("create database ascii encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C' template template0")
  const ascii = await superuserEngine(server, {}, 'ascii')
  try {
    await ascii.raw(`create table words (id int, word text, list text[]);
      insert into words values (1, convert_from('\\xff41'::bytea, 'SQL_ASCII'), null), (2, 'plain', null), (3, null, null)`)
    for (const format of EXTRACT_FORMATS) {
      const error = await failureOf(extracting(ascii, { table: 'words' }, { format }))
      assert.deepEqual([error.code, error.transient], ['QUERY_FAILED', false], format)
      assert.match(error.hint ?? '', /asBytes, --as-bytes/)
    }
    await using folder = await temporaryFolder()
    const options = { to: folder.path, asBytes: ['word'], rowHash: true } as const
    const parquet = await extractTable(ascii, { table: 'words' }, { ...options, format: 'parquet' })
    const rows = (await readParquetFile(dataPath(parquet))).rows
    assert.deepEqual(
      rows.map(({ word }) =>
        word === undefined || word === null ? null : Buffer.from(word as Uint8Array).toString('hex'),
      ),
      ['ff41', '706c61696e', null],
    )
    assert.match(parquet.columns.find(({ name }) => name === 'word')?.note ?? '', /bytes of its text in SQL_ASCII/)
    const json = await extractTable(ascii, { table: 'words' }, { ...options, format: 'jsonl' })
    const lines = (await dataText(json))
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    assert.deepEqual(
      lines.map(({ word }) => word),
      ['\\xff41', '\\x706c61696e', null],
    )
    const csv = await extractTable(ascii, { table: 'words' }, { ...options, format: 'csv', guardFormulas: true })
    assert.match(await dataText(csv), /^1,\\xff41,/m)
    assert.deepEqual(
      rows.map(({ _row_hash: hash }) => hash),
      lines.map(({ _row_hash: hash }) => hash),
    )
    // A mark by all columns, which are not UTF-8.
    const watermark = { column: 'id' }
    const first = await extractTable(ascii, { table: 'words' }, { ...options, format: 'csv', watermark })
    assert.equal(first.watermark?.rows?.length, 1)
  } finally {
    await ascii.destroy()
  }
  const both = await failureOf(extracting(db, { table: 'ordered' }, { asText: ['id'], asBytes: ['id'] }))
  assert.equal(both.code, 'CONFIG_INVALID')
})

test('a query may begin with a byte order mark, and end in a semicolon and a comment', async () => {
  for (const query of ['\ufeffselect 1 as id', 'select 1 as id; -- all\n', 'select 1 as id /* ; */ ;\n/* end */ ;']) {
    assert.deepEqual((await extracting(db, { query, name: 'q' })).ids, ['1'], query)
  }
  const two = await failureOf(extracting(db, { query: 'select 1 as id; -- x\n select 2 as id', name: 'q' }))
  assert.equal(two.code, 'CONFIG_INVALID')
})

describe('names of tables', () => {
  test('two tables that the file system does not tell apart share no folder', async () => {
    await server.sql(`create table "Twin" (id int); create table twin (id int); create table "caf\u00e9" (id int);
      create table "cafe\u0301" (id int)`)
    await using folder = await temporaryFolder()
    const options = { to: folder.path, source: 's', format: 'csv' } as const
    for (const [one, other] of [
      ['Twin', 'twin'],
      ['caf\u00e9', 'cafe\u0301'],
    ] as const) {
      const first = await extractTable(db, { table: one }, options)
      const second = await extractTable(db, { table: other }, options)
      assert.notEqual(first.folder, second.folder)
    }
    // As on a file system that takes both names for one.
    await mkdir(join(folder.path, 'folding', 's'), { recursive: true })
    await mkdir(join(folder.path, 'folding', 's', 'public.Twin'))
    await symlink('public.Twin', join(folder.path, 'folding', 's', 'public.twin'))
    const to = join(folder.path, 'folding')
    await extractTable(db, { table: 'Twin' }, { ...options, to })
    const before = await filesBelow(to)
    const error = await failureOf(extractTable(db, { table: 'twin' }, { ...options, to }))
    assert.equal(error.code, 'CONFIG_INVALID')
    assert.match(
      error.message,
      /holds extracts of public\.Twin, whose name the file system does not tell from public\.twin/,
    )
    assert.deepEqual(await filesBelow(to), before)
    await extractTable(db, { table: 'Twin' }, { ...options, to })
  })

  test('the longest names have a folder', async () => {
    const schema = '.'.repeat(63)
    const table = '"'.repeat(60)
    const quoted = `"${schema}"."${table.replaceAll('"', '""')}"`
    await server.sql(`create schema "${schema}"; create table ${quoted} (id int); insert into ${quoted} values (1)`)
    for (const mode of ['append', 'overwrite'] as const) {
      assert.deepEqual((await extracting(db, { schema, table }, { mode })).ids, ['1'])
    }
  })
})

test('JSON Lines say where a type has a cast to JSON of its own, and asText is exact', async () => {
  // As PostGIS has it: fewer digits than the value.
  await server.sql(`create type place as enum ('1.23456789');
    create function place_json(place) returns json language sql immutable as
      $$ select to_json(round($1::text::numeric, 2)) $$;
    create cast (place as json) with function place_json(place);
    create domain spot as place; create type trip as (n int, stops place[]);
    create table places (id int, p place, s spot, list place[], t trip, plain text);
    insert into places values (1, '1.23456789', '1.23456789', '{1.23456789}', row(1, array['1.23456789'::place]), 'x')`)
  await using folder = await temporaryFolder()
  const noted = await extractTable(db, { table: 'places' }, { to: folder.path, format: 'jsonl' })
  const { p, s, list } = JSON.parse(await dataText(noted))
  assert.deepEqual([p, s, list], [1.23, 1.23, [1.23]])
  const notesIn = (manifest: Manifest): string[] =>
    manifest.columns
      .filter(({ note }) => /by the cast of the type.*asText is exact/.test(note ?? ''))
      .map(({ name }) => name)
  assert.deepEqual(notesIn(noted), ['p', 's', 'list', 't'])
  const asText = ['p', 's', 'list', 't']
  const exact = await extractTable(db, { table: 'places' }, { to: folder.path, format: 'jsonl', asText })
  assert.equal(JSON.parse(await dataText(exact)).p, '1.23456789')
  assert.deepEqual(notesIn(exact), [])
  assert.deepEqual(notesIn(await extractTable(db, { table: 'places' }, { to: folder.path, format: 'csv' })), [])
})

test('JSON Lines of a value that PostGIS has no GeoJSON for are refused, with the remedy', async () => {
  await server.sql(`create type curve as enum ('CIRCULARSTRING(0 0,4 0,4 4)');
    create function curve_json(curve) returns json language plpgsql immutable as $$ begin
      raise exception using errcode = 'XX000',
        message = 'lwgeom_to_geojson: ''CurvePolygon'' geometry type not supported'; end $$;
    create cast (curve as json) with function curve_json(curve);
    create table curves (shape curve); insert into curves values ('CIRCULARSTRING(0 0,4 0,4 4)')`)
  await using folder = await temporaryFolder()
  const options = { to: folder.path, format: 'jsonl' } as const
  const { code, hint } = await failureOf(extractTable(db, { table: 'curves' }, options))
  assert.equal(code, 'QUERY_FAILED')
  assert.match(hint ?? '', /GeoJSON.*asText/)
  const manifest = await extractTable(db, { table: 'curves' }, { ...options, asText: ['shape'] })
  assert.equal(JSON.parse(await dataText(manifest)).shape, 'CIRCULARSTRING(0 0,4 0,4 4)')
})
