/** Watermarks of an extract over SQL Server, in T-SQL alone. */

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import type { ExtractOptions } from '../../src/extract/options.ts'
import { failureOf } from './extract.ts'
import { temporaryFolder } from './folder.ts'

import { ids, type SqlServerTables, upTo } from './sqlserver-extract-tables.ts'

/** A type with rising values, and the literal for each. */
interface Marks {
  readonly type: string
  /** Rising; the last two are inserted later. */
  readonly values: readonly [string, string, string, string]
  /** The second value as the manifest has it. */
  readonly high: string
  readonly quoted?: false
}

const MARKS: readonly Marks[] = [
  { type: 'tinyint', values: ['1', '2', '3', '255'], high: '2', quoted: false },
  { type: 'int', values: ['-5', '2147483646', '2147483647', '2147483647'], high: '2147483646', quoted: false },
  {
    type: 'bigint',
    values: ['1', '9007199254740993', '9007199254740994', '9223372036854775807'],
    high: '9007199254740993',
    quoted: false,
  },
  {
    type: 'decimal(38,10)',
    values: [
      '0.1',
      '9999999999999999999999999998.9999999999',
      '9999999999999999999999999999',
      '9999999999999999999999999999.1',
    ],
    high: '9999999999999999999999999998.9999999999',
    quoted: false,
  },
  { type: 'money', values: ['-1', '1.0001', '1.0002', '922337203685477.5807'], high: '1.0001', quoted: false },
  { type: 'date', values: ['2024-01-01', '2024-02-29', '2024-03-01', '9999-12-31'], high: '2024-02-29' },
  {
    type: 'smalldatetime',
    values: ['2024-01-01 00:00:00', '2024-02-29 23:58:00', '2024-02-29 23:59:00', '2079-06-06 00:00:00'],
    high: '2024-02-29 23:58:00',
  },
  {
    type: 'datetime',
    values: [
      '2024-01-01 00:00:00.000',
      '2024-01-01 00:00:00.003',
      '2024-01-01 00:00:00.007',
      '2024-01-02 00:00:00.000',
    ],
    high: '2024-01-01 00:00:00.003',
  },
  {
    type: 'datetime2(7)',
    values: [
      '2024-01-01 00:00:00.0000001',
      '2024-01-01 00:00:00.0000002',
      '2024-01-01 00:00:00.0000003',
      '9999-12-31 23:59:59.9999999',
    ],
    high: '2024-01-01 00:00:00.0000002',
  },
  {
    type: 'datetime2(0)',
    values: ['2024-01-01 00:00:00', '2024-01-01 00:00:01', '2024-01-01 00:00:02', '2024-01-01 00:00:03'],
    high: '2024-01-01 00:00:01',
  },
  {
    type: 'datetimeoffset(7)',
    values: [
      '2024-01-01 23:00:00.0000001 +00:00',
      '2024-01-01 12:00:00.0000001 -12:00',
      '2024-01-02 00:00:00.0000002 +00:00',
      '2024-01-02 00:00:00.0000003 +00:00',
    ],
    high: '2024-01-01 12:00:00.0000001 -12:00',
  },
  { type: 'nvarchar(40)', values: ['a', "b'c", 'd', 'e'], high: "b'c" },
  { type: 'varchar(40)', values: ['a', 'b', 'd', 'e'], high: 'b' },
  {
    type: 'uniqueidentifier',
    values: [
      '00000000-0000-0000-0000-000000000001',
      '00000000-0000-0000-0000-000000000002',
      '00000000-0000-0000-0000-000000000003',
      '00000000-0000-0000-0000-000000000004',
    ],
    high: '00000000-0000-0000-0000-000000000002',
  },
]

export function markTests(tables: SqlServerTables): void {
  const { table, insert, extract } = tables

  for (const { type, values, high, quoted } of MARKS) {
    test(`a mark of ${type}: rows that share a value are read once`, async () => {
      const put = (id: number, index: number): string =>
        `${id}, cast(${quoted === false ? values[index] : `'${String(values[index]).replaceAll("'", "''")}'`} as ${type})`
      const name = await table(`id int not null primary key, m ${type} not null`, [put(1, 0), put(2, 1), put(3, 1)])
      await using folder = await temporaryFolder()
      const state = join(folder.path, 'state.json')
      const run = () => extract({ table: name }, { watermark: { column: 'm', state } })
      const first = await run()
      assert.deepEqual(ids(first.rows), [1, 2, 3])
      assert.equal(first.manifest.watermark?.high, high)
      assert.equal(first.manifest.watermark?.rows?.length, 2)
      assert.deepEqual(ids((await run()).rows), [], 'nothing is new')
      // One row has the same mark, and one has a higher mark.
      await insert(name, put(4, 1))
      await insert(name, put(5, 2))
      assert.deepEqual(ids((await run()).rows), [4, 5])
      await insert(name, put(6, 3))
      assert.deepEqual(ids((await run()).rows), [6])
      assert.deepEqual(ids((await run()).rows), [])
      // A value without a key: rows with that value count as read.
      const alone = await extract({ table: name }, { watermark: { column: 'm', after: high } })
      assert.deepEqual(ids(alone.rows), [5, 6])
    })
  }

  test('rows without a key are distinguished by all columns, also more than a thousand with one mark', async () => {
    const name = await table('id int, m int not null, t nvarchar(10), f float, x varbinary(9)', [
      `1, 1, 'a', 0.1, 0x01`,
      `2, 1, null, 0.1, null`,
    ])
    const { manifest } = await extract({ table: name }, { watermark: { column: 'm' } })
    assert.deepEqual(manifest.watermark?.identity, ['id', 'm', 't', 'f', 'x'])
    await insert(name, `2, 1, '', 0.1, null`)
    const after = manifest.watermark
    assert.ok(after)
    const next = await extract({ table: name }, { watermark: { column: 'm', after } })
    assert.deepEqual(
      next.rows.map((row) => row.t),
      [''],
    )

    const many = await table(
      'id int not null primary key, m int not null',
      upTo(1001).map((id) => `${id}, 7`),
    )
    const first = await extract({ table: many }, { watermark: { column: 'm' } })
    assert.deepEqual([first.manifest.rows, first.manifest.watermark?.rows?.length], [1001, 1001])
    await insert(many, '1002, 7')
    const last = first.manifest.watermark
    assert.ok(last)
    assert.deepEqual(ids((await extract({ table: many }, { watermark: { column: 'm', after: last } })).rows), [1002])
    assert.equal((await extract({ table: many }, { watermark: { column: 'm', from: 7 } })).rows.length, 1002)
    assert.equal((await extract({ table: many }, { watermark: { column: 'm', from: 8 } })).rows.length, 0)
  })

  test('a mark works with a condition and a query, in parts', async () => {
    const query = tables.db.raw('select id, amount from dbo.?? where id > ?', [tables.numbers, 100])
    const { manifest, rows } = await extract(
      { query, name: 'marked' },
      {
        watermark: { column: 'id', after: 200 },
        where: (q) => q.where('id', '<', 300),
        partitions: 2,
        partitionBy: 'id',
      },
    )
    assert.equal(manifest.files.length, 2)
    assert.deepEqual([rows.length, ids(rows)[0], ids(rows).at(-1), manifest.watermark?.high], [99, 201, 299, '299'])
    assert.match(manifest.notes.join(), /One session has read all parts.*the tables of a query are not known/)
  })

  test('columns and values that cannot be a mark are refused', async () => {
    const name = await table('id int not null primary key, m int, f float not null, d datetime2(0) not null', [
      `1, 1, 1.5, '2024-01-01 00:00:00'`,
      `2, null, 1.5, '2024-01-01 00:00:00'`,
    ])
    const cases: readonly [string, string, ExtractOptions['watermark'], RegExp][] = [
      ['WATERMARK_INVALID', 'NULL', { column: 'm' }, /\[m\] is NULL in some rows/],
      ['WATERMARK_INVALID', 'type', { column: 'f' }, /is of type float/],
      ['WATERMARK_INVALID', 'value', { column: 'id', after: 'yesterday' }, /`after` is no value of/],
      ['WATERMARK_INVALID', 'overflow', { column: 'id', after: 3_000_000_000 }, /`after` is no value of/],
      ['WATERMARK_INVALID', 'moment', { column: 'd', after: '2024-02-30' }, /`after` is no value of/],
      ['COLUMN_NOT_FOUND', 'column', { column: 'nope' }, /no column \[nope\]/],
      [
        'WATERMARK_INVALID',
        'another type',
        { column: 'id', after: { column: 'id', type: 'bigint', high: '1', identity: ['id'], rows: [] } },
        /is of type int, but the last mark is of type bigint/,
      ],
    ]
    for (const [code, what, watermark, message] of cases) {
      const error = await failureOf(extract({ table: name }, watermark === undefined ? {} : { watermark }))
      assert.deepEqual([what, error.code], [what, code])
      assert.match(error.message, message)
    }
    const known = await extract({ table: name }, { watermark: { column: 'm' }, where: (q) => q.whereNotNull('m') })
    assert.deepEqual(ids(known.rows), [1])
    const since = await extract(
      { table: name },
      { watermark: { column: 'd', after: new Date('2023-12-31T23:59:59.5Z') } },
    )
    assert.equal(since.rows.length, 2)
  })

  test('rowversion: rows of open transactions are left for the next run', async () => {
    const name = await table('id int not null primary key, v rowversion')
    await tables.db.raw(`insert into dbo.[${name}] (id) values (1), (2)`)
    const first = await extract({ table: name }, { watermark: { column: 'v' } })
    assert.deepEqual(ids(first.rows), [1, 2])
    assert.match(first.manifest.watermark?.high ?? '', /^0x[0-9A-F]{16}$/)
    assert.deepEqual([first.manifest.watermark?.type, first.manifest.columns[1]?.type], ['timestamp', 'timestamp'])
    await tables.db.raw(`insert into dbo.[${name}] (id) values (3)`)
    const after = first.manifest.watermark
    assert.ok(after)
    const next = await extract({ table: name }, { watermark: { column: 'v', after } })
    assert.deepEqual(ids(next.rows), [3])
    assert.equal((next.rows[0]?.v as Uint8Array | undefined)?.length, 8)
  })
}
