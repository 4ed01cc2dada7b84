/**
 * The contract of an extract over SQL Server, in T-SQL alone. It runs over the test double always, and over a real
 * server where there is one.
 */

import assert from 'node:assert/strict'
import { createHash, randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { tableFromIPC } from 'apache-arrow'
import type { Knex } from 'knex'
import { PoolsmithError } from '../../src/errors.ts'
import { extractPartition } from '../../src/extract/extract-partition.ts'
import { extractTable } from '../../src/extract/extract-table.ts'
import type { Manifest } from '../../src/extract/manifest.ts'
import type { ExtractOptions } from '../../src/extract/options.ts'
import { checksumOf } from '../../src/extract/plan.ts'
import { planExtract } from '../../src/extract/plan-extract.ts'
import type { ExtractSource } from '../../src/extract/read/table.ts'
import type { Engine } from '../../src/index.ts'
import type { PoolOptions } from '../../src/pool/options.ts'
import { dataPath, dataText, filesBelow } from './extract.ts'
import { temporaryFolder } from './folder.ts'
import { readParquetFile } from './parquet.ts'

export interface SqlServerSide {
  readonly name: string
  /** The reason to skip the suite here. */
  readonly skip?: string | false
  open(options?: PoolOptions): Promise<Engine>
}

export async function failureOf(work: Promise<unknown>): Promise<PoolsmithError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof PoolsmithError, String(error))
  return error
}

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

export function sqlServerExtractSuite(side: SqlServerSide): void {
  const prefix = `poolsmith_${randomUUID().slice(0, 8)}`
  const made: string[] = []
  let db: Engine
  let numbers: string

  /** A table that only this run uses. */
  async function table(columns: string, rows: readonly string[] = []): Promise<string> {
    const name = `${prefix}_${made.length}`
    made.push(name)
    await db.raw(`create table dbo.[${name}] (${columns})`)
    for (let at = 0; at < rows.length; at += 500) {
      const some = rows.slice(at, at + 500)
      await db.raw(
        `insert into dbo.[${name}] values ${some.map((row) => `(${row})`).join(', ')}`.replaceAll('?', '\\?'),
      )
    }
    return name
  }

  const insert = (name: string, row: string): Promise<unknown> =>
    db.raw(`insert into dbo.[${name}] values (${row})`.replaceAll('?', '\\?')).then(String)

  /** Runs an extract into a new folder and returns the written files. */
  async function extract(
    source: ExtractSource,
    options: Partial<ExtractOptions> = {},
  ): Promise<{ manifest: Manifest; rows: Record<string, unknown>[] }> {
    await using folder = await temporaryFolder()
    const manifest = await extractTable(db, source, { to: folder.path, format: 'parquet', ...options })
    const rows: Record<string, unknown>[] = []
    if (manifest.format === 'parquet') {
      for (const { name } of manifest.files) rows.push(...(await readParquetFile(join(manifest.folder, name))).rows)
    }
    return { manifest, rows }
  }

  const ids = (rows: readonly Record<string, unknown>[]): number[] =>
    rows.map((row) => Number(row.id)).toSorted((a, b) => a - b)
  const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1)

  describe(`${side.name}: extract`, { skip: side.skip ?? false }, () => {
    before(async () => {
      db = await side.open()
      numbers = await table(
        'id int not null primary key, grp nvarchar(20), amount decimal(12,2), b bit, moment datetime2(3), bin varbinary(20)',
        upTo(3000).map(
          (id) =>
            `${id}, 'g${id % 3}', ${id}.25, cast(${id % 2} as bit), '2024-01-01 00:00:00.${String(id % 1000).padStart(3, '0')}', 0x0${id % 10}`,
        ),
      )
    })

    after(async () => {
      for (const name of made) await db.raw(`drop table dbo.[${name}]`)
      await db.destroy()
    })

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
      const { manifest, rows } = await extract({ table: numbers }, { where })
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
        assert.equal((await extract({ table: numbers }, { where, format })).manifest.rows, 1)
      }
    })

    test('a query of knex, raw or text, also one with WITH, is read with its columns and types', async () => {
      const grouped = db(`${numbers} as n`)
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

      const raw = db.raw('select n.id, n.amount from dbo.?? n where n.id between ? and ?', [numbers, 5, 9])
      const only = await extract(
        { query: raw, name: 'some' },
        { columns: ['id'], where: (query) => query.where('id', '>', 6) },
      )
      assert.deepEqual(ids(only.rows), [7, 8, 9])
      assert.deepEqual(Object.keys(only.rows[0] ?? {}).slice(0, 2), ['id', '_extracted_at'])

      const text = `with few as (select id from dbo.[${numbers}] where id < 4), same as (select id from few) select s.id, 'a?b' as t from same s -- the end`
      const described = await extract({ query: text, name: 'text' }, { where: (query) => query.where('id', '<>', 2) })
      assert.deepEqual(
        described.rows.map((row) => `${row.id} ${row.t}`),
        ['1 a?b', '3 a?b'],
      )
      assert.equal(described.manifest.query, text)
      const bound = db.raw(
        `with few as (select id from dbo.[${numbers}] where id < ?) select id from few where id > ?`,
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
        const error = await failureOf(extract({ query: query.replace('[T]', `[${numbers}]`), name: 'wrong' }))
        assert.equal(error.code, code)
        assert.match(error.message, message)
        assert.ok(error.hint)
        assert.equal(db.pool.stats().inUse, 0)
      })
    }

    test('where with an unknown column or a value of another kind is refused', async () => {
      const missing = await failureOf(extract({ table: numbers }, { where: (query) => query.where('amuont', 1) }))
      assert.equal(missing.code, 'COLUMN_NOT_FOUND')
      assert.match(missing.message, /no column \[amuont\]\. Did you mean \[amount\]\?/)
      const object = await failureOf(extract({ table: numbers }, { where: (query) => query.where('id', {} as never) }))
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
      const csv = await dataText(await extractTable(db, { table: name }, { to, format: 'csv', rowHash: true }))
      const json = await dataText(await extractTable(db, { table: name }, { to, format: 'jsonl', rowHash: true }))
      const arrow = await extractTable(db, { table: name }, { to, format: 'arrow', rowHash: true })
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
        const text = await dataText(await extractTable(db, { table: name }, all))
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
      const query = db.raw('select id, amount from dbo.?? where id > ?', [numbers, 100])
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
      await db.raw(`insert into dbo.[${name}] (id) values (1), (2)`)
      const first = await extract({ table: name }, { watermark: { column: 'v' } })
      assert.deepEqual(ids(first.rows), [1, 2])
      assert.match(first.manifest.watermark?.high ?? '', /^0x[0-9A-F]{16}$/)
      assert.deepEqual([first.manifest.watermark?.type, first.manifest.columns[1]?.type], ['timestamp', 'timestamp'])
      await db.raw(`insert into dbo.[${name}] (id) values (3)`)
      const after = first.manifest.watermark
      assert.ok(after)
      const next = await extract({ table: name }, { watermark: { column: 'v', after } })
      assert.deepEqual(ids(next.rows), [3])
      assert.equal((next.rows[0]?.v as Uint8Array | undefined)?.length, 8)
    })

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
      const { manifest, rows } = await extract({ table: numbers }, { partitions: 3 })
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
      const odd = await failureOf(extract({ table: numbers }, { partitions: 2, partitionBy: 'b' }))
      assert.equal(odd.code, 'CONFIG_INVALID')
      const none = await failureOf(extract({ table: numbers }, { partitions: 2, partitionBy: 'idd' }))
      assert.equal(none.code, 'COLUMN_NOT_FOUND')
    })

    test('all parts show the same moment while rows move between them', async () => {
      const name = await table(
        'id int not null primary key, v int not null',
        upTo(400).map((id) => `${id}, 100`),
      )
      await using other = await side.open({ pool_size: 1, max_overflow: 0 })
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
      await using other = await side.open({ pool_size: 1, max_overflow: 0 })
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
      assert.equal(db.pool.stats().inUse, 0)
    })

    test('a plan is read part by part on other sessions, and is checked', async () => {
      await using folder = await temporaryFolder()
      await using planned = await planExtract(
        db,
        { table: numbers },
        { format: 'parquet', partitions: 3, where: (query) => query.where('grp', 'g1'), rowHash: true },
      )
      const plan = JSON.parse(JSON.stringify(planned)) as typeof planned
      assert.match(plan.notes.join(), /Each part was read at a moment of its own/)
      const seen: number[] = []
      for (const number of plan.partitions.keys()) {
        const manifest = await extractPartition(db, plan, number, { to: folder.path })
        assert.deepEqual(manifest.partition, { number, of: 3, plan: plan.checksum })
        seen.push(...ids((await readParquetFile(dataPath(manifest))).rows))
        assert.equal((await extractPartition(db, plan, number, { to: folder.path })).startedAt, manifest.startedAt)
      }
      assert.equal(seen.length, 1000)
      assert.equal(new Set(seen).size, 1000)
      const touched = { ...plan, conditions: ['1 = 1) or (1 = 1'] }
      assert.equal((await failureOf(extractPartition(db, touched, 0, { to: folder.path }))).code, 'PLAN_INVALID')
      const { checksum: _, ...content } = plan
      for (const elsewhere of [{ system: '0' }, { database: 'elsewhere' }]) {
        const moved = { ...content, fingerprint: { ...plan.fingerprint, ...elsewhere } }
        const other = { ...moved, checksum: checksumOf(moved) }
        const error = await failureOf(extractPartition(db, other, 0, { to: folder.path }))
        assert.equal(error.code, 'PLAN_OTHER_DATABASE')
      }
      const held = await failureOf(
        planExtract(db, { table: numbers }, { format: 'csv', partitions: 2, holdSnapshot: true }),
      )
      assert.deepEqual([held.code, db.pool.stats().inUse], ['SNAPSHOT_UNAVAILABLE', 0])
      assert.match(held.hint ?? '', /AS SNAPSHOT OF/)
    })

    test('a plan of a query keeps its values, and a plan of an altered table is refused', async () => {
      await using folder = await temporaryFolder()
      const query = db.raw('select id, grp from dbo.?? where grp = ?', [numbers, 'g2'])
      await using planned = await planExtract(
        db,
        { query, name: 'planned' },
        { format: 'csv', partitions: 2, partitionBy: 'id' },
      )
      const plan = JSON.parse(JSON.stringify(planned)) as typeof planned
      const rows = await Promise.all([0, 1].map((number) => extractPartition(db, plan, number, { to: folder.path })))
      assert.equal(
        rows.reduce((sum, manifest) => sum + manifest.rows, 0),
        1000,
      )

      const name = await table('id int not null primary key, a int', ['1, 1', '2, 2'])
      await using before = await planExtract(db, { table: name }, { format: 'csv', partitions: 2 })
      await db.raw(`alter table dbo.[${name}] add b int`)
      const error = await failureOf(extractPartition(db, before, 1, { to: folder.path }))
      assert.deepEqual([error.code, error.details.partition], ['TABLE_CHANGED', 1])
    })

    test('rows that arrive after a plan with its highest mark are left for the next run', async () => {
      const name = await table('id int not null primary key, m int not null', ['1, 1', '2, 2', '3, 2'])
      await using folder = await temporaryFolder()
      await using planned = await planExtract(db, { table: name }, { format: 'parquet', watermark: { column: 'm' } })
      const plan = JSON.parse(JSON.stringify(planned)) as typeof planned
      await insert(name, '4, 2')
      await insert(name, '5, 3')
      const manifest = await extractPartition(db, plan, 0, { to: folder.path })
      assert.deepEqual(ids((await readParquetFile(dataPath(manifest))).rows), [1, 2, 3])
      const after = manifest.watermark
      assert.ok(after)
      assert.deepEqual(ids((await extract({ table: name }, { watermark: { column: 'm', after } })).rows), [4, 5])
    })

    test('drift is reported', async () => {
      const name = await table('id int not null primary key, a int', ['1, 1'])
      await using folder = await temporaryFolder()
      const to = folder.path
      await extractTable(db, { table: name }, { to, format: 'csv' })
      await db.raw(`alter table dbo.[${name}] add b int`)
      await db.raw(`alter table dbo.[${name}] drop column a`)
      const { drift } = await extractTable(db, { table: name }, { to, format: 'csv' })
      assert.deepEqual(
        [drift?.added.map(({ name: one }) => one), drift?.removed.map(({ name: one }) => one)],
        [['b'], ['a']],
      )
      assert.ok((await filesBelow(to)).length === 4)
    })
  })
}
