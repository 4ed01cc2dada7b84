/** Changes between two runs on SQL Server, and servers that lack a feature. */

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { extractTable } from '../../src/extract/extract-table.ts'
import type { ExtractOptions } from '../../src/extract/options.ts'
import type { ExtractSource } from '../../src/extract/read/table.ts'
import type { Engine } from '../../src/index.ts'
import { columnOf, dataPath, dataText, failureOf } from '../support/extract.ts'
import { temporaryFolder } from '../support/folder.ts'
import { readParquetFile } from '../support/parquet.ts'
import { type SqlServerDouble, startDouble } from '../support/sqlserver-double.ts'

let double: SqlServerDouble
let db: Engine

before(async () => {
  double = await startDouble()
  db = await double.open()
})

after(async () => {
  await db.destroy()
  await double[Symbol.asyncDispose]()
})

async function idsOf(
  source: ExtractSource,
  options: Partial<Omit<ExtractOptions, 'to'>> = {},
): Promise<readonly string[]> {
  await using folder = await temporaryFolder()
  const manifest = await extractTable(db, source, { to: folder.path, format: 'csv', ...options })
  return (await columnOf(manifest, 'id')).sort()
}

test('a server without MIN_ACTIVE_ROWVERSION can be read, but for marks of that type', async () => {
  await db.raw('create table dbo.versioned (id int not null primary key, v rowversion)')
  await db.raw('insert into dbo.versioned (id) values (1), (2)')
  assert.deepEqual(await idsOf({ table: 'versioned' }, { watermark: { column: 'v' } }), ['1', '2'])
  await double.postgres.sql('alter function dbo.min_active_rowversion() rename to hidden')
  try {
    assert.deepEqual(await idsOf({ table: 'versioned' }), ['1', '2'])
    assert.deepEqual(await idsOf({ table: 'versioned' }, { watermark: { column: 'id', after: 1 } }), ['2'])
    const query = { query: 'select id, v from dbo.versioned', name: 'q' }
    assert.deepEqual(await idsOf(query, { watermark: { column: 'id', after: 1 } }), ['2'])
    for (const source of [{ table: 'versioned' }, query]) {
      assert.equal((await failureOf(idsOf(source, { watermark: { column: 'v' } }))).code, 'QUERY_FAILED')
    }
  } finally {
    await double.postgres.sql('alter function dbo.hidden() rename to min_active_rowversion')
  }
})

test('a column that was widened goes on with the rows that share the mark', async () => {
  await using folder = await temporaryFolder()
  for (const [from, to, same, later] of [
    ['int', 'bigint', '5', '6'],
    ['varchar(10)', 'nvarchar(20)', "'a'", "'b'"],
  ] as const) {
    const watermark = { column: 'mark', state: join(folder.path, `${from}.json`) }
    await db.raw(`create table dbo.widened (id int not null, mark ${from} not null)`)
    await db.raw(`insert into dbo.widened values (1, ${same})`)
    assert.deepEqual(await idsOf({ table: 'widened' }, { watermark }), ['1'])
    await db.raw('drop table dbo.widened')
    await db.raw(`create table dbo.widened (id int not null, mark ${to} not null)`)
    await db.raw(`insert into dbo.widened values (1, ${same}), (2, ${same}), (3, ${later})`)
    assert.deepEqual(await idsOf({ table: 'widened' }, { watermark }), ['2', '3'])
    await db.raw('drop table dbo.widened')
  }
})

test('a query may begin with a byte order mark, and end in a semicolon and a comment', async () => {
  for (const query of ['\ufeffselect 1 as id', 'select 1 as id; -- all\n', 'select 1 as id /* ; */ ;\n/* end */ ;']) {
    assert.deepEqual(await idsOf({ query, name: 'q' }), ['1'], query)
  }
})

test('asBytes gives the bytes of the stored value', async () => {
  await db.raw('create table dbo.words (id int not null primary key, word varchar(10))')
  await db.raw("insert into dbo.words values (1, 'ab'), (2, null)")
  await using folder = await temporaryFolder()
  const options = { to: folder.path, asBytes: ['word'] } as const
  const parquet = await extractTable(db, { table: 'words' }, { ...options, format: 'parquet' })
  const [row] = (await readParquetFile(dataPath(parquet))).rows
  assert.deepEqual(Buffer.from(row?.word as Uint8Array).toString(), 'ab')
  assert.match(parquet.columns.find(({ name }) => name === 'word')?.note ?? '', /its bytes/)
  const csv = await extractTable(db, { table: 'words' }, { ...options, format: 'csv' })
  assert.match(await dataText(csv), /^1,0x6162,/m)
})
