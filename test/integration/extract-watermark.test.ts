/** Rows that share the mark: each is read once, however many they are and whenever they are committed. */

import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import fc from 'fast-check'
import type { Knex } from 'knex'
import { extractPartition } from '../../src/extract/extract-partition.ts'
import { extractTable } from '../../src/extract/extract-table.ts'
import type { ManifestContent } from '../../src/extract/manifest.ts'
import type { BatchConsumer, ConsumeOptions, WatermarkOptions } from '../../src/extract/options.ts'
import { planExtract } from '../../src/extract/plan-extract.ts'
import type { ExtractSource } from '../../src/extract/read/table.ts'
import { superuserEngine } from '../support/extract.ts'
import { startPostgres } from '../support/postgres.ts'

/** Column `id` of every row that was given to a consumer. */
class Ids {
  readonly all: string[] = []
  readonly take: BatchConsumer = async (batches) => {
    for await (const batch of batches) {
      const ids = batch.getChild('id')
      for (let row = 0; row < batch.numRows; row += 1) this.all.push(String(ids?.get(row)))
    }
  }
}

for (const flavor of ['embedded', 'embedded-13'] as const) {
  describe(`PostgreSQL ${flavor === 'embedded' ? 18 : 13}`, async () => {
    const server = await startPostgres({ flavor })
    const db = await superuserEngine(server)
    after(async () => {
      await db.destroy()
      await server[Symbol.asyncDispose]()
    })

    interface Run {
      readonly ids: readonly string[]
      readonly mark: NonNullable<ManifestContent['watermark']>
    }

    async function run(
      source: ExtractSource,
      watermark: WatermarkOptions,
      options: Omit<ConsumeOptions, 'to'> = {},
    ): Promise<Run> {
      const ids = new Ids()
      const { watermark: mark } = await extractTable(db, source, { ...options, to: ids.take, watermark })
      assert.ok(mark)
      return { ids: ids.all.toSorted(), mark }
    }

    test('ten thousand rows with one mark, and later ones, are read once, in several parts too', async () => {
      await server.sql("create table days as select g as id, date '2024-03-31' as day from generate_series(1, 10000) g")
      const first = await run({ table: 'days' }, { column: 'day' })
      assert.deepEqual([first.ids.length, first.mark.rows?.length], [10_000, 10_000])
      await server.sql("insert into days values (20001, '2024-03-31'), (20002, '2024-04-01'), (1, '2024-03-30')")
      const second = await run({ table: 'days' }, { column: 'day', after: first.mark }, { partitions: 3 })
      assert.deepEqual(second.ids, ['20001', '20002'], 'a smaller mark is not looked for')
      await server.sql("alter table days add primary key (id, day); insert into days values (20003, '2024-03-31')")
      const third = await run({ table: 'days' }, { column: 'day', after: first.mark })
      assert.deepEqual(third.ids, ['20001', '20002', '20003'], 'known by what the last run knew them by')
      await server.sql('drop table days')
    })

    test('rows that are equal in every column are counted', async () => {
      await server.sql(`create table twins (id int, n int); insert into twins values (1, 5), (1, 5), (2, 5);
        create table parted (id int, n int) partition by list (id); create table parted_1 partition of parted for values in (1);
        create table parted_rest partition of parted default; insert into parted select * from twins;
        create view seen as select * from twins`)
      for (const table of ['twins', 'parted']) {
        const first = await run({ table }, { column: 'n' })
        assert.deepEqual(first.ids, ['1', '1', '2'])
        await server.sql(`insert into ${table} values (1, 5), (2, 5), (2, 5), (3, 5), (2, 6)`)
        const second = await run({ table }, { column: 'n', after: first.mark }, { partitions: 2 })
        assert.deepEqual(second.ids, ['1', '2', '2', '2', '3'], table)
        assert.deepEqual((await run({ table }, { column: 'n', after: second.mark })).ids, [])
      }
      const view = await run(
        { table: 'seen' },
        { column: 'n', after: { ...(await run({ table: 'seen' }, { column: 'n', from: 6 })).mark, high: '4' } },
      )
      assert.equal(view.ids.length, 8, 'a view has no places')
    })

    test('after a value alone all rows with it count as read, or none', async () => {
      await server.sql(
        'create table small (id int primary key, n int); insert into small values (1, 1), (2, 2), (3, 2), (4, 3)',
      )
      assert.deepEqual((await run({ table: 'small' }, { column: 'n', after: 2 })).ids, ['4'])
      const from = await run({ table: 'small' }, { column: 'n', from: 2 })
      assert.deepEqual(from.ids, ['2', '3', '4'])
      const beyond = await run({ table: 'small' }, { column: 'n', from: 9 })
      assert.deepEqual([beyond.ids, beyond.mark.high, beyond.mark.rows], [[], '9', []])
      await server.sql('insert into small values (9, 9)')
      assert.deepEqual((await run({ table: 'small' }, { column: 'n', after: beyond.mark, from: 1 })).ids, ['9'])
    })

    test('the key of a table does not hold for tables that inherit from it', async () => {
      await server.sql(`create table elder (id int primary key, n int); create table heir () inherits (elder);
        insert into elder values (1, 1)`)
      const first = await run({ table: 'elder' }, { column: 'n' })
      await server.sql('insert into heir values (1, 1)')
      assert.deepEqual((await run({ table: 'elder' }, { column: 'n', after: first.mark })).ids, ['1'])
    })

    test('rows that come after a plan with its highest mark are left to the next run', async () => {
      await server.sql('create table planned (id int, n int); insert into planned values (1, 1), (2, 2)')
      const plan = await planExtract(db, { table: 'planned' }, { watermark: { column: 'n' } })
      await server.sql('insert into planned values (3, 2), (4, 1), (5, 3)')
      const ids = new Ids()
      await extractPartition(db, plan, 0, { to: ids.take })
      assert.deepEqual(ids.all.toSorted(), ['1', '2', '4'])
      const next = await run({ table: 'planned' }, { column: 'n', after: plan.watermark })
      assert.deepEqual(next.ids, ['3', '5'])
    })

    const step = fc.oneof(
      fc.record({
        do: fc.constant('insert' as const),
        session: fc.nat(2),
        id: fc.nat(3),
        copies: fc.integer({ min: 1, max: 3 }),
      }),
      fc.record({ do: fc.constant('commit' as const), session: fc.nat(2) }),
      fc.record({ do: fc.constant('rollback' as const), session: fc.nat(2) }),
      fc.record({ do: fc.constant('rise' as const) }),
      fc.record({ do: fc.constant('extract' as const), partitions: fc.integer({ min: 1, max: 3 }) }),
    )

    /** Three sessions that write, and runs in between; then all that is committed was read once. */
    async function writersAndRuns(
      steps: readonly (typeof step extends fc.Arbitrary<infer Step> ? Step : never)[],
      columns: { readonly mark: string; readonly type: string },
      where?: (query: Knex.QueryBuilder) => unknown,
    ): Promise<void> {
      await server.sql(`drop table if exists written; create table written (id int, n int not null, ${columns.type})`)
      const open: (Knex.Transaction | undefined)[] = [undefined, undefined, undefined]
      const read: string[] = []
      let top = 1
      let mark: WatermarkOptions['after']
      const extract = async (partitions: number): Promise<void> => {
        const options = where === undefined ? { partitions } : { partitions, where }
        const found = await run(
          { table: 'written' },
          { column: columns.mark, ...(mark === undefined ? {} : { after: mark }) },
          options,
        )
        read.push(...found.ids)
        mark = found.mark
      }
      try {
        for (const one of steps) {
          if (one.do === 'insert') {
            const writer = open[one.session] ?? (await db.transaction())
            open[one.session] = writer
            for (let copy = 0; copy < one.copies; copy += 1) await writer('written').insert({ id: one.id, n: top })
          } else if (one.do === 'extract') {
            await extract(one.partitions)
          } else if (one.do === 'rise') {
            // A mark of a column can only be counted on while nobody holds a smaller one; one of transactions always.
            if (where !== undefined || open.every((writer) => writer === undefined)) top += 1
          } else {
            await open[one.session]?.[one.do]()
            open[one.session] = undefined
          }
        }
      } finally {
        for (const writer of open) await writer?.commit()
      }
      await extract(2)
      await extract(1)
      const expected = await server.sql('select id from written order by id::text')
      assert.equal(read.toSorted().join('\n'), expected)
    }

    test('no row is lost or doubled while writers commit', async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 25 }), (steps) =>
          writersAndRuns(steps, { mark: 'n', type: 'note text' }),
        ),
        { numRuns: 25 },
      )
    })

    test("with the transaction's number as the mark, rows that are committed late are found", async () => {
      const settled = (query: Knex.QueryBuilder): unknown =>
        query.whereRaw('tx < pg_snapshot_xmin(pg_current_snapshot())')
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 25 }), (steps) =>
          writersAndRuns(steps, { mark: 'tx', type: 'tx xid8 not null default pg_current_xact_id()' }, settled),
        ),
        { numRuns: 25 },
      )
    })
  })
}
