/** Parts, plans and drift of an extract over SQL Server, in T-SQL alone. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { extractPartition } from '../../src/extract/extract-partition.ts'
import { extractTable } from '../../src/extract/extract-table.ts'
import { checksumOf } from '../../src/extract/plan.ts'
import { planExtract } from '../../src/extract/plan-extract.ts'
import type { Engine } from '../../src/index.ts'
import type { PoolOptions } from '../../src/pool/options.ts'
import { dataPath, failureOf, filesBelow } from './extract.ts'
import { temporaryFolder } from './folder.ts'
import { readParquetFile } from './parquet.ts'

import { ids, type SqlServerTables, upTo } from './sqlserver-extract-tables.ts'

/** @param open a further engine on the same database */
export function partTests(tables: SqlServerTables, open: (options: PoolOptions) => Promise<Engine>): void {
  const { table, insert, extract } = tables

  const keys: readonly [string, (id: number) => string][] = [
    ['int', String],
    ['bigint', (id) => String(9007199254740993n + BigInt(id))],
    ['decimal(20,5)', (id) => `${id}.12345`],
    ['datetime2(7)', (id) => `'2024-01-01 00:00:00.${String(id).padStart(7, '0')}'`],
    [
      'datetimeoffset(0)',
      (id) =>
        `'2024-01-01 00:${String(Math.floor(id / 60)).padStart(2, '0')}:${String(id % 60).padStart(2, '0')} +00:00'`,
    ],
    ['date', (id) => `'${new Date(id * 86_400_000).toISOString().slice(0, 10)}'`],
    ['float', (id) => `${id / 7}`],
    ['nvarchar(20)', (id) => `'k${String(id).padStart(4, '0')}'`],
    ['varchar(20)', (id) => `'k${String(id).padStart(4, '0')}'`],
    ['uniqueidentifier', (id) => `'00000000-0000-0000-0000-${String(id).padStart(12, '0')}'`],
    ['varbinary(8)', (id) => `0x${id.toString(16).padStart(8, '0')}`],
  ]
  for (const [type, value] of keys) {
    test(`parts by ranges of ${type} have every row once, also rows with NULL`, async () => {
      const name = await table(`id int, k ${type}`, [
        ...upTo(400).map((id) => `${id}, cast(${value(id)} as ${type})`),
        '401, null',
      ])
      const { manifest, rows } = await extract({ table: name }, { partitions: 4, partitionBy: 'k' })
      assert.deepEqual(ids(rows), upTo(401))
      assert.deepEqual(
        manifest.files.map((file) => file.rows),
        [101, 100, 100, 100],
      )
      assert.match(manifest.files[1]?.label ?? '', /^from k .* below k /)
    })
  }

  test('parts are ranges of the key by default, and a column that cannot divide is refused', async () => {
    const { manifest, rows } = await extract({ table: tables.numbers }, { partitions: 3 })
    assert.deepEqual(
      manifest.files.map((file) => [file.label, file.rows]),
      [
        ['below id 1001', 1000],
        ['from id 1001 below id 2001', 1000],
        ['from id 2001', 1000],
      ],
    )
    assert.deepEqual(ids(rows), upTo(3000))
    assert.match(manifest.notes.join(), /3 sessions read at one moment: they began while the table was locked/)
    const bare = await table('id int', ['1', '2', '3'])
    const one = await extract({ table: bare }, { partitions: 3 })
    assert.deepEqual([one.manifest.files.length, one.rows.length], [1, 3])
    assert.match(one.manifest.notes.join(), /no key to divide by/)
    const odd = await failureOf(extract({ table: tables.numbers }, { partitions: 2, partitionBy: 'b' }))
    assert.equal(odd.code, 'CONFIG_INVALID')
    const none = await failureOf(extract({ table: tables.numbers }, { partitions: 2, partitionBy: 'idd' }))
    assert.equal(none.code, 'COLUMN_NOT_FOUND')
  })

  test('all parts show the same moment while rows move between them', async () => {
    const name = await table(
      'id int not null primary key, v int not null',
      upTo(400).map((id) => `${id}, 100`),
    )
    await using other = await open({ pool_size: 1, max_overflow: 0 })
    let stop = false
    const moving = (async () => {
      for (let round = 0; !stop; round += 1) {
        const [from, to] = [1 + (round % 100), 400 - (round % 100)]
        await other.transaction(async (trx) => {
          await trx(name).where('id', from).decrement('v', 1)
          await trx(name).where('id', to).increment('v', 1)
        })
      }
    })()
    try {
      for (let run = 0; run < 5; run += 1) {
        const { manifest, rows } = await extract({ table: name }, { partitions: 4 })
        assert.equal(rows.length, 400)
        assert.equal(
          rows.reduce((sum, row) => sum + Number(row.v), 0),
          40_000,
        )
        assert.match(manifest.notes.join(), /sessions read at one moment|One session has read all parts/)
      }
    } finally {
      stop = true
      await moving
    }
  })

  test('while other sessions lock the table, one session reads all parts, and the manifest says why', async () => {
    const name = await table(
      'id int not null primary key, v int not null',
      upTo(40).map((id) => `${id}, 1`),
    )
    await using other = await open({ pool_size: 1, max_overflow: 0 })
    await other.transaction(async (trx) => {
      await trx(name).where('id', 1).update({ v: 2 })
      const { manifest, rows } = await extract({ table: name }, { partitions: 2 })
      assert.equal(
        rows.reduce((sum, row) => sum + Number(row.v), 0),
        40,
      )
      assert.equal(manifest.files.length, 2)
      assert.match(
        manifest.notes.join(),
        /One session has read all parts.*other sessions keep changing it.*oneSnapshot: false/,
      )
    })
    await other(name).where('id', 2).update({ v: 3 })
    const apart = await extract({ table: name }, { partitions: 2, oneSnapshot: false })
    assert.match(apart.manifest.notes.join(), /Each part was read at a moment of its own/)
    assert.equal(apart.rows.length, 40)
    assert.equal(tables.db.pool.stats().inUse, 0)
  })

  test('a plan is read part by part on other sessions, and is checked', async () => {
    await using folder = await temporaryFolder()
    await using planned = await planExtract(
      tables.db,
      { table: tables.numbers },
      { format: 'parquet', partitions: 3, where: (query) => query.where('grp', 'g1'), rowHash: true },
    )
    const plan = JSON.parse(JSON.stringify(planned)) as typeof planned
    assert.match(plan.notes.join(), /Each part was read at a moment of its own/)
    const seen: number[] = []
    for (const number of plan.partitions.keys()) {
      const manifest = await extractPartition(tables.db, plan, number, { to: folder.path })
      assert.deepEqual(manifest.partition, { number, of: 3, plan: plan.checksum })
      seen.push(...ids((await readParquetFile(dataPath(manifest))).rows))
      assert.equal((await extractPartition(tables.db, plan, number, { to: folder.path })).startedAt, manifest.startedAt)
    }
    assert.equal(seen.length, 1000)
    assert.equal(new Set(seen).size, 1000)
    const touched = { ...plan, conditions: ['1 = 1) or (1 = 1'] }
    assert.equal((await failureOf(extractPartition(tables.db, touched, 0, { to: folder.path }))).code, 'PLAN_INVALID')
    const { checksum: _, ...content } = plan
    for (const elsewhere of [{ system: '0' }, { database: 'elsewhere' }]) {
      const moved = { ...content, fingerprint: { ...plan.fingerprint, ...elsewhere } }
      const other = { ...moved, checksum: checksumOf(moved) }
      const error = await failureOf(extractPartition(tables.db, other, 0, { to: folder.path }))
      assert.equal(error.code, 'PLAN_OTHER_DATABASE')
    }
    const held = await failureOf(
      planExtract(tables.db, { table: tables.numbers }, { format: 'csv', partitions: 2, holdSnapshot: true }),
    )
    assert.deepEqual([held.code, tables.db.pool.stats().inUse], ['SNAPSHOT_UNAVAILABLE', 0])
    assert.match(held.hint ?? '', /AS SNAPSHOT OF/)
  })

  test('a plan of a query keeps its values, and a plan of an altered table is refused', async () => {
    await using folder = await temporaryFolder()
    const query = tables.db.raw('select id, grp from dbo.?? where grp = ?', [tables.numbers, 'g2'])
    await using planned = await planExtract(
      tables.db,
      { query, name: 'planned' },
      { format: 'csv', partitions: 2, partitionBy: 'id' },
    )
    const plan = JSON.parse(JSON.stringify(planned)) as typeof planned
    const rows = await Promise.all(
      [0, 1].map((number) => extractPartition(tables.db, plan, number, { to: folder.path })),
    )
    assert.equal(
      rows.reduce((sum, manifest) => sum + manifest.rows, 0),
      1000,
    )

    const name = await table('id int not null primary key, a int', ['1, 1', '2, 2'])
    await using before = await planExtract(tables.db, { table: name }, { format: 'csv', partitions: 2 })
    await tables.db.raw(`alter table dbo.[${name}] add b int`)
    const error = await failureOf(extractPartition(tables.db, before, 1, { to: folder.path }))
    assert.deepEqual([error.code, error.details.partition], ['TABLE_CHANGED', 1])
  })

  test('rows that arrive after a plan with its highest mark are left for the next run', async () => {
    const name = await table('id int not null primary key, m int not null', ['1, 1', '2, 2', '3, 2'])
    await using folder = await temporaryFolder()
    await using planned = await planExtract(
      tables.db,
      { table: name },
      { format: 'parquet', watermark: { column: 'm' } },
    )
    const plan = JSON.parse(JSON.stringify(planned)) as typeof planned
    await insert(name, '4, 2')
    await insert(name, '5, 3')
    const manifest = await extractPartition(tables.db, plan, 0, { to: folder.path })
    assert.deepEqual(ids((await readParquetFile(dataPath(manifest))).rows), [1, 2, 3])
    const after = manifest.watermark
    assert.ok(after)
    assert.deepEqual(ids((await extract({ table: name }, { watermark: { column: 'm', after } })).rows), [4, 5])
  })

  test('drift is reported', async () => {
    const name = await table('id int not null primary key, a int', ['1, 1'])
    await using folder = await temporaryFolder()
    const to = folder.path
    await extractTable(tables.db, { table: name }, { to, format: 'csv' })
    await tables.db.raw(`alter table dbo.[${name}] add b int`)
    await tables.db.raw(`alter table dbo.[${name}] drop column a`)
    const { drift } = await extractTable(tables.db, { table: name }, { to, format: 'csv' })
    assert.deepEqual(
      [drift?.added.map(({ name: one }) => one), drift?.removed.map(({ name: one }) => one)],
      [['b'], ['a']],
    )
    assert.ok((await filesBelow(to)).length === 4)
  })
}
