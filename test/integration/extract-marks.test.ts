import assert from 'node:assert/strict'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import type { Knex } from 'knex'
import { extractTable } from '../../src/extract/extract-table.ts'
import type { Manifest } from '../../src/extract/manifest.ts'
import type { ExtractOptions, WatermarkOptions } from '../../src/extract/options.ts'
import { planExtract } from '../../src/extract/plan-extract.ts'
import { csvRowsOf, failureOf, filesBelow, superuserEngine } from '../support/extract.ts'
import { FLIGHTS } from '../support/extract-tables.ts'
import { temporaryFolder } from '../support/folder.ts'
import { startPostgres } from '../support/postgres.ts'

const server = await startPostgres()
const db = await superuserEngine(server)
after(async () => {
  await db.destroy()
  await server[Symbol.asyncDispose]()
})
await server.sql(FLIGHTS)

const idsOf = async (manifest: Manifest): Promise<number[]> => (await csvRowsOf(manifest)).map((row) => Number(row.id))

describe('watermark', () => {
  const run = (
    table: string,
    to: string,
    watermark: WatermarkOptions,
    more: Partial<ExtractOptions> = {},
  ): Promise<Manifest> => extractTable(db, { table }, { format: 'csv', ...more, to, watermark })

  test('a run reads the rows since the last mark, and rows with the same mark once', async () => {
    await using folder = await temporaryFolder()
    await server.sql(`create table changes (id int primary key, at timestamptz not null);
      insert into changes values (1, '2024-01-01 00:00:00.000001Z'), (2, '2024-01-02Z'), (3, '2024-01-02Z')`)
    const first = await run('changes', folder.path, { column: 'at' })
    assert.deepEqual(await idsOf(first), [1, 2, 3])
    assert.deepEqual([first.watermark?.high, first.watermark?.after], ['2024-01-02 00:00:00+00', null])

    // The same mark again, committed later; and a new one.
    await server.sql("insert into changes values (4, '2024-01-02Z'), (5, '2024-01-02 00:00:00.000001Z')")
    const second = await run('changes', folder.path, { column: 'at', after: first.watermark })
    assert.deepEqual(await idsOf(second), [4, 5])
    assert.equal(second.watermark?.high, '2024-01-02 00:00:00.000001+00')

    const third = await run('changes', folder.path, { column: 'at', after: second.watermark })
    assert.deepEqual([third.rows, third.watermark?.high], [0, second.watermark?.high])
    await server.sql("insert into changes values (6, '2024-01-02 00:00:00.000001Z')")
    const fourth = await run('changes', folder.path, { column: 'at', after: third.watermark })
    assert.deepEqual(await idsOf(fourth), [6])
    const fifth = await run('changes', folder.path, { column: 'at', after: fourth.watermark })
    assert.equal(fifth.rows, 0)

    const byValue = await run('changes', folder.path, { column: 'at', after: new Date('2024-01-02Z') })
    assert.deepEqual(await idsOf(byValue), [5, 6], 'after a value alone comes what is greater')
  })

  test('rows without a key are told apart by all columns, also after a column was added', async () => {
    await using folder = await temporaryFolder()
    await server.sql(`create table log (n bigint not null, line text); insert into log values (9, 'a'), (9, 'b')`)
    const first = await run('log', folder.path, { column: 'n' })
    assert.equal(first.rows, 2)
    await server.sql("alter table log add column level int; insert into log values (9, 'c', 1)")
    const second = await run('log', folder.path, { column: 'n', after: first.watermark })
    assert.deepEqual(
      (await csvRowsOf(second)).map((row) => row.line),
      ['c'],
    )
    await server.sql('alter table log drop column line; insert into log values (10, 5)')
    const third = await run('log', folder.path, { column: 'n', after: first.watermark })
    assert.deepEqual(
      (await csvRowsOf(third)).map((row) => row.n),
      ['10'],
    )
    assert.match(third.notes.join(), /are gone/)
  })

  test('a mark works on an empty table and for numbers beyond a double', async () => {
    await using folder = await temporaryFolder()
    await server.sql('create table numbers (id bigint primary key)')
    const empty = await run('numbers', folder.path, { column: 'id' })
    assert.deepEqual([empty.rows, empty.watermark?.high], [0, null])
    await server.sql('insert into numbers values (9007199254740993)')
    const one = await run('numbers', folder.path, { column: 'id', after: empty.watermark })
    assert.deepEqual([one.rows, one.watermark?.high], [1, '9007199254740993'])
    const none = await run('numbers', folder.path, { column: 'id', after: 9007199254740993n })
    assert.equal(none.rows, 0)
  })

  test('the condition applies to the mark too', async () => {
    await using folder = await temporaryFolder()
    const where = (query: Knex.QueryBuilder): unknown => query.where('id', '<=', 500)
    const manifest = await run('flights', folder.path, { column: 'id', after: 490 }, { where })
    assert.deepEqual([manifest.rows, manifest.watermark?.high], [10, '500'])
  })

  const bad: readonly [string, string, WatermarkOptions, string, RegExp][] = [
    ['NULL in some rows', 'holes', { column: 'n' }, 'WATERMARK_INVALID', /is NULL in some rows/],
    ['no order', 'holes', { column: 'j' }, 'WATERMARK_INVALID', /is of type json/],
    ['infinite', 'holes', { column: 'at' }, 'WATERMARK_INVALID', /is infinity in some rows/],
    [
      'an end to begin from',
      'holes',
      { column: 'at', after: 'infinity' },
      'WATERMARK_INVALID',
      /cannot begin at infinity/,
    ],
    ['no number to begin from', 'holes', { column: 'x', after: Number.NaN }, 'WATERMARK_INVALID', /begin at NaN/],
    ['no such column', 'flights', { column: 'idd' }, 'COLUMN_NOT_FOUND', /Did you mean "id"/],
    ['text for a number', 'flights', { column: 'id', after: 'soon' }, 'WATERMARK_INVALID', /no value of/],
    ['a date for a number', 'flights', { column: 'id', after: new Date(0) }, 'WATERMARK_INVALID', /no value of/],
    ['a number for a time', 'flights', { column: 'at', after: 5 }, 'WATERMARK_INVALID', /no value of/],
    ['a fraction', 'flights', { column: 'id', after: 1.5 }, 'WATERMARK_INVALID', /no value of/],
    ['no value to begin from', 'flights', { column: 'id', from: 'soon' }, 'WATERMARK_INVALID', /`from` is no value of/],
    [
      'rows of another version',
      'flights',
      { column: 'id', after: { column: 'id', type: 'int4', high: '5', identity: ['id'], rows: ["'0"] } },
      'WATERMARK_INVALID',
      /no hashes/,
    ],
  ]
  for (const [name, table, watermark, code, message] of bad) {
    test(`refused: ${name}`, async () => {
      await server.sql(`create table if not exists holes as select 1 as n, '1'::json as j, timestamptz 'infinity' as at,
        1::numeric as x union all select null, null, 'epoch', 2`)
      await using folder = await temporaryFolder()
      const error = await failureOf(run(table, folder.path, watermark))
      assert.equal(error.code, code)
      assert.match(error.message, message)
      assert.ok(error.hint)
      assert.deepEqual(await filesBelow(folder.path), [])
    })
  }

  test('the mark of another column or type is refused, and rows without a mark can be left out', async () => {
    await using folder = await temporaryFolder()
    const mark = { column: 'id', type: 'int8', high: '5', identity: [], rows: null }
    assert.equal(
      (await failureOf(run('flights', folder.path, { column: 'id', after: mark }))).code,
      'WATERMARK_INVALID',
    )
    assert.match(
      (await failureOf(run('flights', folder.path, { column: 'at', after: mark }))).message,
      /is not the column of the last mark, "id"/,
    )
    const where = (query: Knex.QueryBuilder): unknown => query.whereNotNull('n')
    assert.equal((await run('holes', folder.path, { column: 'n' }, { where })).rows, 1)
  })

  test('a state file is replaced when the files are complete, and by one run only', async () => {
    await using folder = await temporaryFolder()
    await server.sql(`create table kept (id int primary key); insert into kept select generate_series(1, 10)`)
    const to = join(folder.path, 'bronze')
    const state = join(folder.path, 'state', 'kept.json')
    const watermark = { column: 'id', state }
    assert.equal((await run('kept', to, watermark)).rows, 10)
    const saved = await readFile(state, 'utf8')
    assert.equal(JSON.parse(saved).watermark.high, '10')
    await server.sql('insert into kept values (11)')

    const failing = (): never => {
      throw new Error('no')
    }
    await assert.rejects(run('kept', to, watermark, { onProgress: failing }))
    assert.equal(await readFile(state, 'utf8'), saved)

    const before = await filesBelow(to)
    const both = await Promise.allSettled([run('kept', to, watermark), run('kept', to, watermark)])
    const won = both.filter((result) => result.status === 'fulfilled')
    // Where they did not meet, the second found nothing new.
    const read = won.map((result) => result.value.rows).sort()
    assert.deepEqual(
      read.filter((rows) => rows > 0),
      [1],
    )
    for (const result of both) if (result.status === 'rejected') assert.equal(result.reason.code, 'STATE_CONFLICT')
    assert.equal((await filesBelow(to)).length, before.length + 2 * won.length, 'a run that lost leaves no files')
    assert.deepEqual(await readdir(join(folder.path, 'state')), ['kept.json'])
    assert.equal((await run('kept', to, watermark)).rows, 0)

    await writeFile(state, saved.slice(0, 20))
    assert.equal((await failureOf(run('kept', to, watermark))).code, 'STATE_INVALID')
    await writeFile(state, saved)
    assert.match((await failureOf(run('flights', to, watermark))).message, /is of public\.kept/)
    assert.equal((await planExtract(db, { table: 'kept' }, { watermark })).watermark?.after, '10')
    assert.equal((await failureOf(planExtract(db, { table: 'flights' }, { watermark }))).code, 'STATE_INVALID')
    assert.equal(db.pool.stats().inUse, 0)
  })
})
