/** Faults in parts of SQL Server's tables, and faults that only a test double can produce. */

import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { extractTable } from '../../src/extract/extract-table.ts'
import type { Manifest } from '../../src/extract/manifest.ts'
import type { ExtractOptions } from '../../src/extract/options.ts'
import type { Engine } from '../../src/index.ts'
import { runCli } from '../support/cli.ts'
import { failureOf, filesBelow, parquetRowsOf } from '../support/extract.ts'
import { temporaryFolder } from '../support/folder.ts'
import { locationOf, type SqlServerDouble, startDouble } from '../support/sqlserver-double.ts'
import type { FaultRule } from '../support/tds/faults.ts'

let double: SqlServerDouble
let db: Engine

before(async () => {
  double = await startDouble()
  db = await double.open()
  await db.raw('create table dbo.flights (id int not null primary key, filler nvarchar(200))')
  await double.postgres.sql(`insert into dbo.flights
    select g, repeat(md5(g::text), 5) from generate_series(1, 20000) g; analyze`)
})

after(async () => {
  await db.destroy()
  await double[Symbol.asyncDispose]()
})

describe('rowversion', () => {
  test('rows that an open transaction may still write are left for the next run', async () => {
    await db.raw('create table dbo.versions (id int not null primary key, v rowversion)')
    await db.raw('insert into dbo.versions (id) values (1), (2), (3)')
    const [{ v }] = (await db('versions').where('id', 2).select(db.raw('cast(v as binary(8)) as v'))) as [{ v: Buffer }]
    await double.postgres.sql(`alter database postgres set mssql.min_active = '${v.toString('hex')}'`)
    try {
      await using own = await double.start()
      await using engine = await double.open({}, own)
      await using folder = await temporaryFolder()
      const run = async (watermark: ExtractOptions['watermark']): Promise<[Manifest, unknown[]]> => {
        const options = watermark === undefined ? {} : { watermark }
        const manifest = await extractTable(
          engine,
          { table: 'versions' },
          { to: folder.path, format: 'parquet', ...options },
        )
        return [manifest, (await parquetRowsOf(manifest)).map((row) => row.id)]
      }
      const [first, rows] = await run({ column: 'v' })
      assert.deepEqual(rows, [1])
      await double.postgres.sql('alter database postgres reset all')
      await using fresh = await double.open()
      const after = first.watermark
      assert.ok(after)
      const next = await extractTable(
        fresh,
        { table: 'versions' },
        { to: folder.path, format: 'parquet', watermark: { column: 'v', after } },
      )
      assert.deepEqual(
        (await parquetRowsOf(next)).map((row) => row.id),
        [2, 3],
      )
    } finally {
      await double.postgres.sql('alter database postgres reset all')
    }
  })
})

describe('texts of every kind of collation, and smalldatetime', () => {
  const texts: Readonly<Record<string, string>> = {
    Cyrillic_General_CI_AS: 'Привет, "мир" Ђ№',
    Polish_CI_AS: 'Zażółć gęślą jaźń €',
    SQL_Latin1_General_CP1_CI_AS: 'Größe ñ € ™',
    Latin1_General_100_CI_AS_SC_UTF8: '漢字 😀 Größe',
    Greek_CI_AS: 'Ελλάδα',
  }
  test('texts are read as the server stores them, in files and as marks', async () => {
    const columns = Object.keys(texts).map((collation, index) => `c${index} varchar(60) collate ${collation}`)
    await db.raw(`create table dbo.collations (id int not null primary key, ${columns.join(', ')}, s smalldatetime)`)
    const values = Object.values(texts).map((text) => `'${text}'`)
    await db.raw(`insert into dbo.collations values (1, ${values.join(', ')}, '2079-06-06 23:59:00'),
      (2, ${values.map(() => "''").join(', ')}, '1900-01-01 00:00:00'), (3, ${values.map(() => 'null').join(', ')}, null)`)
    await using folder = await temporaryFolder()
    const options = { to: folder.path, rowHash: true }
    const manifest = await extractTable(db, { table: 'collations' }, { ...options, format: 'parquet' })
    const rows = await parquetRowsOf(manifest)
    const names = Object.keys(texts).map((_, index) => `c${index}`)
    assert.deepEqual(
      rows.map((row) => names.map((name) => row[name] ?? null)),
      [Object.values(texts), names.map(() => ''), names.map(() => null)],
    )
    assert.deepEqual(
      rows.map((row) => (row.s === undefined || row.s === null ? null : Number(row.s))),
      [Date.UTC(2079, 5, 6, 23, 59) * 1000, Date.UTC(1900, 0, 1) * 1000, null],
    )
    assert.deepEqual(
      manifest.columns.slice(1, 7).map(({ type }) => type.replace(/\(.*/, '')),
      ['varchar', 'varchar', 'varchar', 'varchar', 'varchar', 'smalldatetime'],
    )
    const csv = await extractTable(db, { table: 'collations' }, { ...options, format: 'csv' })
    const text = await readFile(join(csv.folder, csv.files[0]?.name ?? ''), 'utf8')
    assert.ok(
      text.includes('1,"Привет, ""мир"" Ђ№",Zażółć gęślą jaźń €,Größe ñ € ™,漢字 😀 Größe,Ελλάδα,2079-06-06 23:59:00,'),
    )
    assert.ok(text.includes('\n3,,,,,,,'))
    for (const name of names) {
      const where = (query: { whereNotNull(column: string): unknown }): unknown => query.whereNotNull(name)
      const marked = await extractTable(
        db,
        { table: 'collations' },
        { to: folder.path, format: 'parquet', watermark: { column: name }, where },
      )
      assert.equal(marked.watermark?.high, texts[Object.keys(texts)[names.indexOf(name)] ?? ''])
      const after = marked.watermark
      const next = await extractTable(
        db,
        { table: 'collations' },
        {
          to: folder.path,
          format: 'parquet',
          watermark: { column: name, ...(after === undefined ? {} : { after }) },
          where,
        },
      )
      assert.deepEqual([marked.rows, next.rows], [2, 0])
    }
  })
})

test("_row_hash is PostgreSQL's hash of the same row", async () => {
  await db.raw(
    'create table dbo.hashed (id int not null primary key, big bigint, amount decimal(20,5), t nvarchar(60), d date)',
  )
  const texts = [
    'plain',
    'two words',
    'a,b',
    '(x)',
    'q"uote',
    'back\\slash',
    '',
    'tab\there',
    'line\nend',
    'ä€😀',
    "it''s",
  ]
  await db.raw(
    `insert into dbo.hashed values ${texts
      .map((text, index) => `(${index}, ${index}000000000000, ${index}.5, '${text}', '2024-02-2${index % 10}')`)
      .join(', ')}, (99, null, null, null, null)`,
  )
  const expected = await double.postgres.sql(
    "select id || ' ' || encode(sha256(convert_to(row(id, big, amount, t, d)::text, 'UTF8')), 'hex') from dbo.hashed order by id",
  )
  await using folder = await temporaryFolder()
  const manifest = await extractTable(db, { table: 'hashed' }, { to: folder.path, format: 'parquet', rowHash: true })
  const rows = await parquetRowsOf(manifest)
  assert.deepEqual(rows.map((row) => `${row.id} ${row._row_hash}`).toSorted(), expected.trim().split('\n').toSorted())
})

describe('a part fails', () => {
  const SECOND = /where[\s\S]*>= convert\(int, @p0\)/
  const faults: readonly [string, string, FaultRule['fault']][] = [
    ['the connection is lost', 'CONNECTION_LOST', { do: 'reset' }],
    [
      'the table was dropped',
      'TABLE_CHANGED',
      { do: 'refuse', number: 208, message: "Invalid object name 'dbo.flights'." },
    ],
    [
      'the table was altered',
      'TABLE_CHANGED',
      { do: 'refuse', number: 3961, message: 'Snapshot isolation transaction failed' },
    ],
    ['a column is gone', 'TABLE_CHANGED', { do: 'refuse', number: 207, message: "Invalid column name 'filler'." }],
    ['a deadlock', 'QUERY_CANCELED', { do: 'refuse', number: 1205, class: 13, message: 'deadlock victim' }],
    [
      'the right is taken away',
      'PERMISSION_DENIED',
      { do: 'refuse', number: 229, class: 14, message: 'SELECT denied' },
    ],
    ['the server has no memory', 'QUERY_FAILED', { do: 'refuse', number: 701, class: 17, message: 'no memory' }],
  ]
  for (const [what, code, fault] of faults) {
    test(`${what}: the error names the part, no file looks complete, and the next run reads all parts`, async () => {
      await using own = await double.start()
      // One session: what comes before the part that fails is whole.
      await using engine = await double.open({ pool_size: 1, max_overflow: 0 }, own)
      await using folder = await temporaryFolder()
      const run = (): Promise<Manifest> =>
        extractTable(engine, { table: 'flights' }, { to: folder.path, format: 'parquet', partitions: 4 })
      own.faults.add({ at: 'request', sql: SECOND, after: 1, times: 1, fault })
      const error = await failureOf(run())
      assert.deepEqual([error.code, error.details.partition, error.details.whole], [code, 2, 2])
      assert.match(error.message, /^Partition 2 of 4 \(from id 10001 below id 15001\): /)
      assert.deepEqual(
        (await filesBelow(folder.path)).filter((name) => /\.parquet$|_manifest/.test(name)),
        [],
      )
      assert.equal(engine.pool.stats().inUse, 0)
      const manifest = await run()
      const kept = manifest.files.filter(({ keptFrom }) => keptFrom !== undefined)
      assert.deepEqual(kept, [], 'the server does not tell whether the table has changed')
      const rows = await parquetRowsOf(manifest)
      assert.equal(new Set(rows.map((row) => row.id)).size, 20_000)
      assert.equal(rows.length, 20_000)
    })
  }

  test('with a watermark the next run goes on: both have the rows up to the same mark', async () => {
    await using own = await double.start()
    await using engine = await double.open({ pool_size: 1, max_overflow: 0 }, own)
    await using folder = await temporaryFolder()
    const watermark = { column: 'id' }
    const run = (): Promise<Manifest> =>
      extractTable(engine, { table: 'flights' }, { to: folder.path, format: 'parquet', partitions: 4, watermark })
    const third = { sql: /select \[id\] as \[id\]/, after: 2, times: 1 }
    own.faults.add({ at: 'request', ...third, fault: { do: 'refuse', number: 1205, class: 13 } })
    const error = await failureOf(run())
    assert.deepEqual([error.details.partition, error.details.whole], [2, 2])
    assert.match(error.hint ?? '', /2 of 4 partitions are complete; the same call on the same day keeps them/)
    const before = own.journal.requests.length
    const manifest = await run()
    assert.deepEqual(
      manifest.files.map(({ keptFrom }) => keptFrom !== undefined),
      [true, true, false, false],
    )
    const reads = own.journal.requests.slice(before).filter((sql) => /^select \[id\] as/.test(sql))
    assert.equal(reads.length, 2)
    const ids = (await parquetRowsOf(manifest)).map((row) => row.id)
    assert.deepEqual([ids.length, new Set(ids).size], [20_000, 20_000])
  })

  test('an error midway through the rows leaves no file', async () => {
    await using own = await double.start()
    await using engine = await double.open({}, own)
    await engine.select(engine.raw('1 as one'))
    await using folder = await temporaryFolder()
    own.faults.add({ at: 'rows', after: 3000, times: 1, fault: { do: 'reset' } })
    const error = await failureOf(
      extractTable(engine, { table: 'flights' }, { to: folder.path, format: 'csv', partitions: 4 }),
    )
    assert.equal(error.code, 'CONNECTION_LOST')
    assert.ok(Number(error.details.partition) >= 0)
    assert.deepEqual(
      (await filesBelow(folder.path)).filter((name) => /\.csv$|_manifest/.test(name)),
      [],
    )
    assert.equal(engine.pool.stats().inUse, 0)
  })

  test('of two runs at once on one target, only one has the lock to go on', async () => {
    await using folder = await temporaryFolder()
    const run = (): Promise<Manifest> =>
      extractTable(db, { table: 'flights' }, { to: folder.path, format: 'csv', partitions: 2 })
    const [one, two] = await Promise.all([run(), run()])
    assert.notEqual(one?.batchId, two?.batchId)
    assert.deepEqual([one?.rows, two?.rows], [20_000, 20_000])
    assert.equal((await run()).rows, 20_000)
  })
})

describe('from a shell', () => {
  test('the command reads with where, parts and a hash, and one part of a plan', async () => {
    await using folder = await temporaryFolder()
    const extract = async (...args: readonly string[]): Promise<Record<string, unknown>> => {
      const { code, stdout, stderr } = await runCli(['extract', locationOf(double.server), ...args, '--json'])
      assert.equal(code, 0, stdout + stderr)
      return JSON.parse(stdout)
    }
    const to = ['--to', folder.path, '--format', 'csv']
    const all = await extract(
      'dbo.flights',
      ...to,
      '--where',
      "id <= 1000 and filler <> '?'",
      '--partitions',
      '2',
      '--row-hash',
    )
    assert.deepEqual([all.rows, (all.files as unknown[]).length], [1000, 2])
    const marked = await extract('dbo.flights', ...to, '--watermark', 'id', '--after', '19990')
    assert.equal(marked.rows, 10)
    const query = ['--query', 'with few as (select id from dbo.flights where id < 5) select id from few']
    assert.equal((await extract('few', ...to, ...query)).rows, 4)
    const apart = await extract('dbo.flights', ...to, '--partitions', '2', '--no-one-snapshot')
    assert.match(String(apart.notes), /Each part was read at a moment of its own/)

    const plan = join(folder.path, 'plan.json')
    await extract('dbo.flights', '--format', 'parquet', '--partitions', '4', '--plan', plan)
    const part = await extract('--partition', `${plan}#3`, '--to', folder.path)
    assert.equal(part.rows, 5000)
    await writeFile(plan, (await readFile(plan, 'utf8')).replace('"flights"', '"moved"'))
    const touched = await runCli([
      'extract',
      locationOf(double.server),
      '--partition',
      `${plan}#3`,
      '--to',
      folder.path,
    ])
    assert.notEqual(touched.code, 0)
    assert.match(touched.stderr, /was changed after it was written/)
  })
})
