/** Selecting, queries, hashes and CSV of an extract over SQL Server, in T-SQL alone. */

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { tableFromIPC } from 'apache-arrow'
import type { Knex } from 'knex'
import { extractTable } from '../../src/extract/extract-table.ts'
import { dataPath, dataText, failureOf } from './extract.ts'
import { temporaryFolder } from './folder.ts'

import { ids, type SqlServerTables } from './sqlserver-extract-tables.ts'

export function selectTests(tables: SqlServerTables): void {
  const { table, extract } = tables

  test('where works in every format with values of every kind, and the SQL text has none of the values', async () => {
    const attack = "g1' or 1=1 --"
    const where = (query: Knex.QueryBuilder): unknown =>
      query
        .whereIn('grp', ['g1', attack])
        .where('id', '<=', 10n as never)
        .where('amount', '<', 8.5)
        .where('b', true)
        .where('bin', '>', Buffer.from([0]))
        .where('moment', '>', new Date('2024-01-01T00:00:00.001Z'))
        .whereRaw("grp <> 'what\\?' /* ' */")
        .whereNotNull('amount')
    const { manifest, rows } = await extract({ table: tables.numbers }, { where })
    assert.deepEqual(ids(rows), [7])
    const [condition] = manifest.where ?? []
    assert.ok(typeof condition === 'object')
    assert.deepEqual(
      condition.values.map(({ type, value }) => `${type} ${value}`),
      [
        'varchar g1',
        `varchar ${attack}`,
        'bigint 10',
        'float 8.5',
        'bit 1',
        'varbinary AA==',
        'datetime2 2024-01-01T00:00:00.001Z',
      ],
    )
    assert.ok(!condition.sql.includes(attack))
    for (const format of ['arrow', 'csv', 'jsonl'] as const) {
      assert.equal((await extract({ table: tables.numbers }, { where, format })).manifest.rows, 1)
    }
  })

  test('a query of knex, raw or text, also one with WITH, is read with its columns and types', async () => {
    const grouped = tables
      .db(`${tables.numbers} as n`)
      .where('n.grp', '<>', 'g0')
      .groupBy('n.grp')
      .select('n.grp')
      .count('* as n')
      .sum('n.amount as total')
    const { manifest, rows } = await extract({ query: grouped, name: 'groups' })
    assert.match(manifest.folder, /query\.groups/)
    assert.deepEqual(rows.map((row) => `${row.grp} ${row.n}`).toSorted(), ['g1 1000', 'g2 1000'])
    assert.deepEqual(
      manifest.columns.slice(0, 2).map((column) => column.name),
      ['grp', 'n'],
    )
    assert.ok(typeof manifest.query === 'object' && manifest.query.values.length === 1)

    const raw = tables.db.raw('select n.id, n.amount from dbo.?? n where n.id between ? and ?', [tables.numbers, 5, 9])
    const only = await extract(
      { query: raw, name: 'some' },
      { columns: ['id'], where: (query) => query.where('id', '>', 6) },
    )
    assert.deepEqual(ids(only.rows), [7, 8, 9])
    assert.deepEqual(Object.keys(only.rows[0] ?? {}).slice(0, 2), ['id', '_extracted_at'])

    const text = `with few as (select id from dbo.[${tables.numbers}] where id < 4), same as (select id from few) select s.id, 'a?b' as t from same s -- the end`
    const described = await extract({ query: text, name: 'text' }, { where: (query) => query.where('id', '<>', 2) })
    assert.deepEqual(
      described.rows.map((row) => `${row.id} ${row.t}`),
      ['1 a?b', '3 a?b'],
    )
    assert.equal(described.manifest.query, text)
    const bound = tables.db.raw(
      `with few as (select id from dbo.[${tables.numbers}] where id < ?) select id from few where id > ?`,
      [9, 6],
    )
    assert.deepEqual(ids((await extract({ query: bound, name: 'bound' })).rows), [7, 8])
  })

  const wrong: readonly [string, string, RegExp, string][] = [
    ['a column that is not there', 'select nothing_of_it from dbo.[T]', /cannot be read/, 'QUERY_FAILED'],
    ['a table that is not there', 'select 1 as one from dbo.nowhere_at_all', /cannot be read/, 'QUERY_FAILED'],
    ['a column without a name', 'select id + 1 from dbo.[T]', /has no name/, 'CONFIG_INVALID'],
    ['two statements', 'select 1 as a; delete from dbo.[T]', /more than one statement/, 'CONFIG_INVALID'],
    ['a bracket too many', 'select 1 as a) as x, (select 2 as b', /closed that was not opened/, 'CONFIG_INVALID'],
    ['a comment that eats the rest', 'select 1 as a /*', /comment is not closed/, 'CONFIG_INVALID'],
  ]
  for (const [what, query, message, code] of wrong) {
    test(`a query with ${what}`, async () => {
      const error = await failureOf(extract({ query: query.replace('[T]', `[${tables.numbers}]`), name: 'wrong' }))
      assert.equal(error.code, code)
      assert.match(error.message, message)
      assert.ok(error.hint)
      assert.equal(tables.db.pool.stats().inUse, 0)
    })
  }

  test('where with an unknown column or a value of another kind is refused', async () => {
    const missing = await failureOf(extract({ table: tables.numbers }, { where: (query) => query.where('amuont', 1) }))
    assert.equal(missing.code, 'COLUMN_NOT_FOUND')
    assert.match(missing.message, /no column \[amuont\]\. Did you mean \[amount\]\?/)
    const object = await failureOf(
      extract({ table: tables.numbers }, { where: (query) => query.where('id', {} as never) }),
    )
    assert.equal(object.code, 'CONFIG_INVALID')
  })

  test('_row_hash has one definition in every format', async () => {
    const name = await table('id int, t nvarchar(40), d datetime2(7), n nvarchar(5), b bit, f float', [
      `1, 'two words', '2024-02-29 01:02:03.1234567', null, cast(1 as bit), 0.1`,
      `2, 'a"b\\c,(ä)', '0001-01-01 00:00:00.0000000', '', cast(0 as bit), 1e300`,
    ])
    const expected = [
      '(1,"two words","2024-02-29 01:02:03.1234567",,1,0.1)',
      '(2,"a""b\\\\c,(ä)","0001-01-01 00:00:00.0000000","",0,1e+300)',
    ].map((row) => createHash('sha256').update(row).digest('hex'))
    const { manifest, rows } = await extract({ table: name }, { rowHash: true })
    assert.deepEqual(
      rows.map((row) => row._row_hash),
      expected,
    )
    assert.deepEqual(manifest.columns[6], { name: '_row_hash', type: 'char(64)', arrow: 'Utf8' })
    await using folder = await temporaryFolder()
    const to = folder.path
    const csv = await dataText(await extractTable(tables.db, { table: name }, { to, format: 'csv', rowHash: true }))
    const json = await dataText(await extractTable(tables.db, { table: name }, { to, format: 'jsonl', rowHash: true }))
    const arrow = await extractTable(tables.db, { table: name }, { to, format: 'arrow', rowHash: true })
    const read = tableFromIPC(await readFile(dataPath(arrow))).getChild('_row_hash')
    for (const [index, hash] of expected.entries()) {
      assert.match(csv.split('\n')[index + 1] ?? '', new RegExp(`,${hash},`))
      assert.equal(JSON.parse(json.split('\n')[index] ?? '')._row_hash, hash)
      assert.equal(read?.get(index), hash)
    }
  })

  test('CSV: text that a spreadsheet would read as a formula is guarded, where the option is set', async () => {
    const name = await table('id int not null, t nvarchar(50), v varchar(50), n decimal(9,2)', [
      `-1, N'=cmd|x', '@sum(a,b)', -5`,
      `2, N'plain', '-x', null`,
      `3, N'＝x', '', 0.5`,
    ])
    await using folder = await temporaryFolder()
    const read = async (options: object): Promise<string[]> => {
      const all = { to: folder.path, format: 'csv', ...options } as const
      const text = await dataText(await extractTable(tables.db, { table: name }, all))
      const lines = text.split('\n').slice(1, -1)
      return lines.map((line) => line.slice(0, line.lastIndexOf(',20'))).toSorted()
    }
    assert.deepEqual(await read({ guardFormulas: true }), [
      `-1,'=cmd|x,"'@sum(a,b)",-5.00`,
      `2,plain,'-x,`,
      `3,'＝x,"",0.50`,
    ])
    assert.deepEqual(await read({}), [`-1,=cmd|x,"@sum(a,b)",-5.00`, `2,plain,-x,`, `3,＝x,"",0.50`])
  })
}
