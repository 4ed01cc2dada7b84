/** Tables that consist of other tables, in parts; and all of it on a server that reads no ranges of places. */

import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import type { PoolsmithError } from '../../src/errors.ts'
import { extractPartition } from '../../src/extract/extract-partition.ts'
import { extractTable } from '../../src/extract/extract-table.ts'
import type { Manifest } from '../../src/extract/manifest.ts'
import type { ExtractOptions } from '../../src/extract/options.ts'
import { planExtract } from '../../src/extract/plan-extract.ts'
import type { Progress } from '../../src/extract/progress.ts'
import type { ExtractEngine, ExtractSource } from '../../src/extract/read/table.ts'
import { createEngine, type Engine } from '../../src/index.ts'
import { beforeWrites, columnOf, filesBelow, superuserEngine } from '../support/extract.ts'
import { temporaryFolder } from '../support/folder.ts'
import { startPostgres } from '../support/postgres.ts'

const ROWS = 20_000

for (const [flavor, version] of [
  ['embedded', 18],
  ['embedded-13', 13],
] as const) {
  describe(`PostgreSQL ${version}`, async () => {
    const server = await startPostgres({ flavor, config: { autovacuum: 'off' } })
    const db = await superuserEngine(server)
    after(async () => {
      await db.destroy()
      await server[Symbol.asyncDispose]()
    })
    const hasRanges = version >= 14
    // Of several levels; a column was dropped and another one added, so that no two tables have the same order.
    await server.sql(`create schema "Old Parts"; create table sales (gone int, id int, region text, filler text) partition by list (region);
      create table sales_eu partition of sales for values in ('eu') partition by range (id);
      create table sales_eu_1 partition of sales_eu for values from (0) to (5000);
      create table "Old Parts"."sales eu ""2""" partition of sales_eu for values from (5000) to (${ROWS + 1});
      create table sales_us (region text, id int, gone int, filler text); alter table sales attach partition sales_us for values in ('us');
      create table sales_none partition of sales for values in ('none');
      alter table sales drop column gone; alter table sales add column extra int default 7;
      insert into sales select g, case when g % 4 = 0 then 'us' else 'eu' end, repeat(md5(g::text), 3) from generate_series(1, ${ROWS}) g;
      create role reader login password 'reader'; grant select on sales to reader`)

    const run = (
      to: string,
      source: ExtractSource,
      options: Partial<ExtractOptions> = {},
      engine: ExtractEngine = db,
    ): Promise<Manifest> => extractTable(engine, source, { to, format: 'csv', partitions: 4, ...options })

    async function idsOf(manifest: Manifest | readonly Manifest[], column = 'id'): Promise<number[]> {
      const ids = await Promise.all([manifest].flat().map((one) => columnOf(one, column)))
      return ids
        .flat()
        .map(Number)
        .toSorted((a, b) => a - b)
    }

    const isAll = (found: readonly number[], first = 1, last = ROWS): void => {
      assert.equal(found.length, last - first + 1)
      assert.ok(found.every((id, index) => id === index + first))
    }

    const labelsOf = ({ files }: Manifest): string[] => files.map(({ label }) => label ?? '')

    function asReader(): Promise<Engine> {
      const { host, port } = server
      return createEngine({ type: 'postgres', host, port, login: 'reader', password: 'reader', database: 'postgres' })
    }

    test('each part reads its own tables, and empty tables take no part', async () => {
      await using folder = await temporaryFolder()
      const manifest = await run(folder.path, { table: 'sales' })
      isAll(await idsOf(manifest))
      const labels = labelsOf(manifest)
      if (hasRanges) {
        assert.equal(labels.length, 4)
        assert.match(labels[0] ?? '', /^sales_eu_1, sales eu "2" pages 0 to \d+$/)
        assert.match(labels[1] ?? '', /^sales eu "2" pages \d+ to \d+$/)
        assert.match(labels[3] ?? '', /sales_us/)
      } else {
        assert.deepEqual(labels, ['sales_eu_1', 'sales eu "2"', 'sales_us'])
      }
      for (const { rows } of manifest.files) assert.ok(rows > 0)
    })

    test('parts give the same rows as one reading, with columns, a condition, a hash and a watermark', async () => {
      await using folder = await temporaryFolder()
      const options: Partial<ExtractOptions> = {
        columns: ['extra', 'id'],
        rowHash: true,
        where: (query) => query.where('sales.region', 'eu').whereRaw('tableoid is not null and ctid is not null'),
        watermark: { column: 'id', after: 1000 },
      }
      const parts = await run(folder.path, { table: 'sales' }, options)
      const whole = await run(folder.path, { table: 'sales' }, { ...options, partitions: 1 })
      assert.ok(parts.files.length > 1)
      assert.deepEqual(await idsOf(parts), await idsOf(whole))
      assert.equal(parts.rows, 14_250)
      const hashes = async (manifest: Manifest): Promise<string[]> => (await columnOf(manifest, '_row_hash')).toSorted()
      assert.deepEqual(await hashes(parts), await hashes(whole))
      assert.deepEqual(parts.watermark, whole.watermark)
    })

    test('permissions and row-level policies of the partitioned table apply', async () => {
      await using folder = await temporaryFolder()
      await using reader = await asReader()
      const through = await run(folder.path, { table: 'sales' }, {}, reader)
      isAll(await idsOf(through))
      if (hasRanges) assert.match(labelsOf(through)[0] ?? '', /^pages 0 to \d+$/)
      else assert.match(through.notes.join(), /One part/)

      await server.sql('grant select on sales_eu_1, sales_us, sales_none to reader')
      const leaf = (await run(folder.path, { table: 'sales' }, {}, reader)).files
      assert.ok(
        leaf.every(({ label }) => /^pages|^all/.test(label ?? 'all rows')),
        'one table is missing',
      )
      await server.sql(
        'grant usage on schema "Old Parts" to reader; grant select on all tables in schema "Old Parts" to reader',
      )
      assert.match(labelsOf(await run(folder.path, { table: 'sales' }, {}, reader))[0] ?? '', /^sales_eu_1/)

      await server.sql('alter table sales_us enable row level security')
      isAll(await idsOf(await run(folder.path, { table: 'sales' }, {}, reader)))
      await server.sql(`alter table sales_us disable row level security; alter table sales enable row level security;
        create policy europe on sales using (region = 'eu')`)
      assert.equal((await run(folder.path, { table: 'sales' }, {}, reader)).rows, 15_000)
      await server.sql('alter table sales disable row level security')
    })

    test('a table that others inherit from is divided by those tables', async () => {
      await using folder = await temporaryFolder()
      await server.sql(`create table elder (id int, at date); create table heir (more text) inherits (elder); create table late () inherits (heir);
        insert into elder select g from generate_series(1, 5000) g; insert into heir select g from generate_series(5001, 12000) g;
        insert into late select g from generate_series(12001, ${ROWS}) g;
        create table husk (id int); create table kernel () inherits (husk); insert into kernel select generate_series(1, ${ROWS})`)
      await server.sql('analyze elder; analyze heir; analyze late')
      let estimate: number | undefined
      const onProgress = ({ estimatedRows }: Progress): void => {
        estimate = estimatedRows
      }
      isAll(await idsOf(await run(folder.path, { table: 'elder' }, { onProgress })))
      assert.equal(estimate, ROWS, 'of all of them')
      isAll(await idsOf(await run(folder.path, { table: 'husk' })))
      isAll(await idsOf(await run(folder.path, { table: 'heir' })), 5001)
    })

    test('a foreign partition is read as a whole', async () => {
      await using folder = await temporaryFolder()
      await server.sql(`create extension postgres_fdw; create server here foreign data wrapper postgres_fdw
        options (host '${server.socketDirectory}', port '${server.port}', dbname 'postgres');
        create user mapping for postgres server here options (user 'postgres');
        create table far_rows (id int, place text); insert into far_rows select g, 'far' from generate_series(1, 9000) g;
        create table spread (id int, place text) partition by list (place);
        create foreign table spread_far partition of spread for values in ('far') server here options (table_name 'far_rows');
        create table spread_near partition of spread for values in ('near');
        insert into spread select g, 'near' from generate_series(9001, ${ROWS}) g`)
      await server.sql('analyze spread_far')
      const manifest = await run(folder.path, { table: 'spread' }, { columns: ['id'] })
      isAll(await idsOf(manifest))
      assert.ok(manifest.files.length > 1)
      assert.ok(labelsOf(manifest).some((label) => label.startsWith('spread_far')))
      const marked = await run(folder.path, { table: 'spread' }, { watermark: { column: 'id', after: 100 } })
      isAll(await idsOf(marked), 101)
    })

    test('parts are of one snapshot while rows move from table to table', async () => {
      await using folder = await temporaryFolder()
      let moved: Promise<unknown> | undefined
      const { pool, connection } = db
      let sessions = 0
      const engine: ExtractEngine = {
        connection,
        pool: {
          acquire: (options) => {
            sessions += 1
            if (sessions === 1) return pool.acquire(options)
            moved ??= server.sql("update sales set region = case region when 'eu' then 'us' else 'eu' end")
            return { promise: moved.then(() => pool.acquire(options).promise) }
          },
          release: (raw) => pool.release(raw),
          invalidate: (raw) => pool.invalidate(raw),
          stats: () => pool.stats(),
        },
      }
      const manifest = await run(folder.path, { table: 'sales' }, {}, engine)
      assert.ok(sessions > 1)
      isAll(await idsOf(manifest))
      const regions = (await columnOf(manifest, 'region')).filter((region) => region === 'us').length
      assert.equal(regions, ROWS / 4, 'as it was')
      await server.sql("update sales set region = case region when 'eu' then 'us' else 'eu' end")
    })

    test('a plan of tables that have changed is refused', async () => {
      await using folder = await temporaryFolder()
      await server.sql(`create table grows (id int) partition by range (id); create table grows_1 partition of grows for values from (1) to (10000);
        create table grows_2 partition of grows for values from (10000) to (20001); insert into grows select generate_series(1, ${ROWS})`)
      const plan = await planExtract(db, { table: 'grows' }, { format: 'csv', partitions: 2 })
      const both = await Promise.all([0, 1].map((number) => extractPartition(db, plan, number, { to: folder.path })))
      isAll(await idsOf(both))
      const again = await planExtract(db, { table: 'grows' }, { format: 'csv', partitions: 2 })
      await server.sql('create table grows_3 partition of grows for values from (20001) to (30000)')
      await assert.rejects(extractPartition(db, again, 0, { to: folder.path }), { code: 'TABLE_CHANGED' })
      const third = await planExtract(db, { table: 'grows' }, { format: 'csv', partitions: 2 })
      await server.sql('alter table grows detach partition grows_1')
      await assert.rejects(extractPartition(db, third, 0, { to: folder.path }), { code: 'TABLE_CHANGED' })
      assert.equal((await filesBelow(folder.path)).length, 4)
    })

    test('an ordinary table is divided by pages, or by its key where pages cannot be read', async () => {
      await using folder = await temporaryFolder()
      await server.sql(`create table keyed (id int primary key, t text); create table loose (id int);
        insert into keyed select g, 'x' from generate_series(1, ${ROWS}) g; insert into loose select id from keyed`)
      const keyed = await run(folder.path, { table: 'keyed' })
      isAll(await idsOf(keyed))
      assert.equal(keyed.files.length, 4)
      assert.match(labelsOf(keyed)[1] ?? '', hasRanges ? /^pages \d+ to \d+$/ : /^from id 5\d+ below id 10\d+$/)
      const loose = await run(folder.path, { table: 'loose' })
      isAll(await idsOf(loose))
      assert.equal(loose.files.length, hasRanges ? 4 : 1)
    })

    test('a failed run is resumed part by part', async () => {
      await using folder = await temporaryFolder()
      await using single = await superuserEngine(server, { pool_size: 1, max_overflow: 0 })
      // Parts of one write each.
      for (const table of hasRanges ? ['keyed', 'sales'] : ['keyed']) {
        let large = 0
        {
          using _full = await beforeWrites(async (bytes) => {
            if (bytes.length > 100_000) large += 1
            if (large > 2) throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' })
          })
          await assert.rejects(run(folder.path, { table }, {}, single), (error: PoolsmithError) => {
            assert.deepEqual([error.code, error.details.partition, error.details.whole], ['DISK_FULL', 2, 2])
            return true
          })
        }
        const manifest = await run(folder.path, { table })
        isAll(await idsOf(manifest))
        const anew = manifest.files.filter(({ keptFrom }) => keptFrom === undefined)
        assert.deepEqual(
          anew.map(({ partition }) => partition),
          [2, 3],
        )
      }
    })

    test('every format gives the same rows', async () => {
      await using folder = await temporaryFolder()
      for (const format of ['parquet', 'arrow', 'jsonl'] as const) {
        const manifest = await run(folder.path, { table: 'sales' }, { format, batchRows: 1000 })
        isAll(await idsOf(manifest))
      }
    })
  })
}
