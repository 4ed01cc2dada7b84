/** Our Parquet files as DuckDB reads them, which shares no code with us: values, lists, dictionaries, bounds. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api'
import { type ExtractOptions, extractTable } from '../../src/extract/extract-table.ts'
import type { Engine } from '../../src/index.ts'
import { dataPath, superuserEngine } from '../support/extract.ts'
import { temporaryFolder } from '../support/folder.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'

let server: PostgresServer
let db: Engine
let duck: DuckDBInstance
let connection: DuckDBConnection

before(async () => {
  server = await startPostgres()
  db = await superuserEngine(server)
  duck = await DuckDBInstance.create(':memory:')
  connection = await duck.connect()
  await connection.run("set timezone = 'UTC'")
})

after(async () => {
  connection.closeSync()
  duck.closeSync()
  await db.destroy()
  await server[Symbol.asyncDispose]()
})

async function ask(sql: string): Promise<unknown[][]> {
  return (await connection.runAndReadAll(sql)).getRows()
}

interface Case {
  /** DuckDB's type for the column. */
  readonly type: string
  /** PostgreSQL's type, and values in its own text form; NULL is added. */
  readonly declared: string
  readonly values: readonly string[]
  /** Of the column `c`, where DuckDB's text is another than PostgreSQL's. */
  readonly shown?: string
  /** Without bounds in the footer: what is larger or has no order. */
  readonly unbounded?: true
}

const CASES: Readonly<Record<string, Case>> = {
  smallint: { type: 'SMALLINT', declared: 'smallint', values: ['-32768', '0', '32767'] },
  integer: { type: 'INTEGER', declared: 'integer', values: ['-2147483648', '-1', '2147483647'] },
  bigint: { type: 'BIGINT', declared: 'bigint', values: ['-9223372036854775808', '9223372036854775807', '4294967296'] },
  boolean: { type: 'BOOLEAN', declared: 'boolean', values: ['true', 'false'], unbounded: true },
  real: { type: 'FLOAT', declared: 'real', values: ['-1.5', '0.1', '3.5'] },
  double: { type: 'DOUBLE', declared: 'double precision', values: ['-1.5', '0.1', '1234567.25'] },
  'numeric(9,2)': { type: 'DECIMAL(9,2)', declared: 'numeric(9,2)', values: ['-9999999.99', '0.00', '9999999.99'] },
  'numeric(18,4)': { type: 'DECIMAL(18,4)', declared: 'numeric(18,4)', values: ['-99999999999999.9999', '0.0001'] },
  'numeric(38,10)': {
    type: 'DECIMAL(38,10)',
    declared: 'numeric(38,10)',
    values: ['-9999999999999999999999999999.9999999999', '0.0000000001', '9999999999999999999999999999.9999999999'],
  },
  text: { type: 'VARCHAR', declared: 'text', values: ['', 'ä€😀', 'z', 'a"b'] },
  bytea: { type: 'BLOB', declared: 'bytea', values: ['\\x', '\\x00ff', '\\x6162'], shown: "'\\x' || lower(hex(c))" },
  uuid: { type: 'VARCHAR', declared: 'uuid', values: ['0e984725-c51c-4bf4-9960-e1c80e27aba0'] },
  date: { type: 'DATE', declared: 'date', values: ['0001-01-01', '1969-12-31', '9999-12-31', 'infinity', '-infinity'] },
  time: { type: 'TIME', declared: 'time', values: ['00:00:00', '23:59:59.999999'] },
  timestamp: {
    type: 'TIMESTAMP',
    declared: 'timestamp',
    values: [
      '0001-01-01 00:00:00.000001',
      '1969-12-31 23:59:59.999999',
      '9999-12-31 00:00:00',
      'infinity',
      '-infinity',
    ],
  },
  timestamptz: {
    type: 'TIMESTAMP WITH TIME ZONE',
    declared: 'timestamptz',
    values: ['1900-01-01 00:00:00.000001+00', '2024-02-29 23:59:59.5+00', 'infinity', '-infinity'],
  },
  enum: { type: 'VARCHAR', declared: 'mood', values: ['sad', 'ok', 'happy'], unbounded: true },
  'integer[]': {
    type: 'INTEGER[]',
    declared: 'integer[]',
    values: ['{}', '{1,NULL,-3}', '{7}'],
    shown: LIST(),
    unbounded: true,
  },
  'text[]': { type: 'VARCHAR[]', declared: 'text[]', values: ['{a,ä}', '{NULL}'], shown: LIST(), unbounded: true },
  'numeric(20,2)[]': {
    type: 'DECIMAL(20,2)[]',
    declared: 'numeric(20,2)[]',
    values: ['{123456789012345678.25,-0.01}'],
    shown: LIST(),
    unbounded: true,
  },
}

/** A list as PostgreSQL writes an array of simple elements. */
function LIST(): string {
  return "'{' || array_to_string(list_transform(c, e -> coalesce(e::varchar, 'NULL')), ',') || '}'"
}

async function extracted(
  table: string,
  check: (path: string) => Promise<void>,
  options: Partial<ExtractOptions> = {},
): Promise<void> {
  await using folder = await temporaryFolder()
  await check(dataPath(await extractTable(db, { table }, { to: folder.path, format: 'parquet', ...options })))
}

describe('values and bounds of every type', () => {
  before(() => server.sql("create type mood as enum ('sad', 'ok', 'happy')"))
  let tables = 0
  for (const [name, { type, declared, values, shown = 'c::varchar', unbounded = false }] of Object.entries(CASES)) {
    test(name, async () => {
      tables += 1
      const table = `duck_${tables}`
      const rows = values.map((value, index) => `(${index}, '${value}'::${declared})`)
      await server.sql(`create table ${table} (n int, c ${declared}); insert into ${table} values ${rows}, (99, null)`)
      // Dictionary pages, several pages, and several row groups must all say the same.
      for (const options of [
        {},
        { batchRows: 2 },
        { batchRows: 2, rowGroupBytes: 1 },
        { compression: 'none' as const },
      ]) {
        await extracted(
          table,
          async (path) => {
            const read = await ask(`select typeof(c), ${shown} from '${path}' order by n`)
            assert.deepEqual(
              read.map(([, text]) => text),
              [...values, null],
            )
            assert.equal(read[0]?.[0], type)
            await boundsHold(path, unbounded)
          },
          options,
        )
      }
    })
  }
})

/** The bounds in the footer against the values themselves, for each row group; and NULLs. */
async function boundsHold(path: string, unbounded: boolean): Promise<void> {
  const groups = await ask(`select row_group_id, row_group_num_rows, stats_min_value, stats_max_value, stats_null_count
    from parquet_metadata('${path}') where path_in_schema like 'c%' order by row_group_id`)
  assert.ok(groups.length > 0)
  let from = 0
  for (const [, rows, min, max, nulls] of groups) {
    // Rows stand in the file in the order of their groups.
    const [[least, most, missing] = []] = await ask(`select min(c)::varchar, max(c)::varchar, count(*) - count(c)
      from (select c from read_parquet('${path}', file_row_number = true)
        where file_row_number >= ${from} and file_row_number < ${from + Number(rows)})`)
    from += Number(rows)
    if (unbounded) {
      assert.deepEqual([min ?? null, max ?? null], [null, null])
      continue
    }
    assert.equal(Number(nulls), Number(missing))
    if (least === null) assert.deepEqual([min, max], [null, null])
    else assert.deepEqual([decoded(min), decoded(max)], [decoded(least), decoded(most)])
  }
}

/** Text bounds are shown as they are, numbers with or without their zeros. */
function decoded(text: unknown): unknown {
  return typeof text === 'string' && /^-?\d+\.\d+$/.test(text) && text.length < 16 ? Number(text) : text
}

test('NaN and infinities of floating-point numbers are read back, and a row group with NaN has no bounds', async () => {
  await server.sql(`create table floats (n int, c float8, d float4); insert into floats values
    (1, 'NaN', 'NaN'), (2, 'Infinity', 'Infinity'), (3, '-Infinity', '-Infinity'), (4, '-0', '0'), (5, null, null)`)
  await extracted('floats', async (path) => {
    assert.deepEqual(await ask(`select c::varchar, d::varchar from '${path}' order by n`), [
      ['nan', 'nan'],
      ['inf', 'inf'],
      ['-inf', '-inf'],
      ['-0.0', '0.0'],
      [null, null],
    ])
    // Bounds that left out what they must not would lose rows here.
    assert.deepEqual(await ask(`select count(*) from '${path}' where c = 'inf'::double`), [[1n]])
    assert.deepEqual(await ask(`select count(*) from '${path}' where c < -1e308`), [[1n]])
  })
})

test('a filter finds every row of a column with NaN, which readers put above all numbers', async () => {
  await server.sql(`create table holes as select g as n,
    case when g % 3 = 0 then 'NaN'::float8 else g end as c, case when g % 3 = 0 then 'NaN'::float4 else g end as d
    from generate_series(1, 3000) g`)
  await extracted(
    'holes',
    async (path) => {
      for (const column of ['c', 'd']) {
        for (const condition of [`${column} = 'NaN'`, `${column} > 1e9`]) {
          assert.deepEqual(await ask(`select count(*) from '${path}' where ${condition}`), [[1000n]], condition)
        }
        assert.deepEqual(await ask(`select count(*) from '${path}' where ${column} <= 1000`), [[667n]])
      }
      const bounded = `select count(*) from parquet_metadata('${path}')
        where path_in_schema in ('c', 'd') and (stats_min_value is not null or stats_max_value is not null)`
      assert.deepEqual(await ask(bounded), [[0n]])
    },
    { batchRows: 100, rowGroupBytes: 1 << 10 },
  )
})

test('readers skip row groups by their bounds without losing rows', async () => {
  await server.sql(`create table sorted as select g as n, g::bigint * 1000003 as b, 'text ' || lpad(g::text, 6, '0') as t,
    g::numeric(20,3) as d, date '2001-01-01' + g as day from generate_series(1, 20000) g`)
  await extracted(
    'sorted',
    async (path) => {
      const [[groups] = []] = await ask(`select count(distinct row_group_id) from parquet_metadata('${path}')`)
      assert.ok(Number(groups) > 5)
      for (const condition of [
        'n between 9990 and 10009',
        'b between 9990::bigint * 1000003 and 10009::bigint * 1000003',
        "t between 'text 009990' and 'text 010009'",
        'd between 9990.000 and 10009.000',
        "day between date '2001-01-01' + 9990 and date '2001-01-01' + 10009",
      ]) {
        assert.deepEqual(await ask(`select count(*), min(n), max(n) from '${path}' where ${condition}`), [
          [20n, 9990, 10009],
        ])
      }
    },
    { batchRows: 1000, rowGroupBytes: 1 << 16 },
  )
})

test('a filter finds every row of long text and bytes, whose bounds are cut', async () => {
  await server.sql(`create table lengthy as select g as n, case when g % 100 < 50 then 'short ' || lpad(g::text, 6, '0')
      else repeat('é', 60) || lpad(g::text, 6, '0') end as t,
    decode(repeat('ff', 70) || lpad(to_hex(g), 8, '0'), 'hex') as b from generate_series(1, 3000) g`)
  await extracted(
    'lengthy',
    async (path) => {
      for (const [condition, count] of [
        ["t = repeat('é', 60) || '000075'", 1],
        ["t > 'z'", 1500],
        ["t >= repeat('é', 60) || '002975'", 25],
        ["t between 'short 000010' and 'short 000019'", 10],
        ["t < 'short 000110'", 59],
        ["b = unhex(repeat('ff', 70) || '00000007')", 1],
        ["b >= unhex(repeat('ff', 64))", 3000],
      ] as const) {
        assert.deepEqual(await ask(`select count(*) from '${path}' where ${condition}`), [[BigInt(count)]], condition)
      }
      const without = `select count(*) from parquet_metadata('${path}') where path_in_schema = 't'
        and (stats_min_value is null or stats_max_value is null)`
      assert.deepEqual(await ask(without), [[0n]])
      const long = `select count(*) from parquet_metadata('${path}') where path_in_schema in ('t', 'b')
        and greatest(strlen(stats_min_value), strlen(stats_max_value)) > 4 * 67`
      assert.deepEqual(await ask(long), [[0n]])
    },
    { batchRows: 100, rowGroupBytes: 1 << 10 },
  )
})
