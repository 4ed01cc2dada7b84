/** Tables of SQL Server into files, value by value, against the TDS server test double. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { RecordBatch } from 'apache-arrow'
import { PoolsmithError } from '../../src/errors.ts'
import { type ExtractOptions, extractTable } from '../../src/extract/extract-table.ts'
import type { ReadOptions } from '../../src/extract/read/table.ts'
import { readTable } from '../../src/extract/read-table.ts'
import { createEngine, type Engine } from '../../src/index.ts'
import { collectGarbage } from '../support/collect-garbage.ts'
import { dataPath, dataText, filesBelow } from '../support/extract.ts'
import { temporaryFolder } from '../support/folder.ts'
import { readParquetFile } from '../support/parquet.ts'
import { createPki, type IssuedCertificate } from '../support/pki.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { startTdsServer, type TdsServer } from '../support/tds/server.ts'

let postgres: PostgresServer
let certificate: IssuedCertificate
let server: TdsServer
let db: Engine

const start = (): Promise<TdsServer> => startTdsServer({ postgres, logins: { sa: 'pw' }, tls: certificate })

const engineFor = (to: TdsServer, extra: Readonly<Record<string, unknown>> = {}): Promise<Engine> =>
  createEngine(
    {
      type: 'mssql',
      host: 'localhost',
      port: to.port,
      login: 'sa',
      password: 'pw',
      database: 'master',
      extra: { trust_server_certificate: true, ...extra },
    },
    { pool_size: 2, max_overflow: 0 },
  )

before(async () => {
  postgres = await startPostgres()
  certificate = await (await createPki()).issue({ commonName: 'localhost', dns: ['localhost'] })
  server = await start()
  db = await engineFor(server)
  await db.raw('create table dbo.flights (id int, filler nvarchar(300), wide nvarchar(max))')
  await postgres.sql(`insert into dbo.flights
    select g, repeat(md5(g::text), 6), repeat('w', g % 50) from generate_series(1, 40000) g; analyze dbo.flights`)
})

after(async () => {
  await db.destroy()
  assert.deepEqual(server.complaints, [])
  await server[Symbol.asyncDispose]()
  await postgres[Symbol.asyncDispose]()
})

const scaled =
  (scale: number) =>
  (value: unknown): string => {
    const number = value as bigint
    const digits = String(number < 0n ? -number : number).padStart(scale + 1, '0')
    const whole = scale === 0 ? digits : `${digits.slice(0, -scale)}.${digits.slice(-scale)}`
    return `${number < 0n ? '-' : ''}${whole}`
  }
/** Microseconds since 1970 as the server writes a moment, with so many digits of the seconds. */
const moment =
  (digits: number) =>
  (value: unknown): string => {
    const micros = value as bigint
    const seconds = micros / 1_000_000n - (micros % 1_000_000n < 0n ? 1n : 0n)
    const rest = (micros - seconds * 1_000_000n).toString().padStart(6, '0')
    const clock = new Date(Number(seconds) * 1000).toISOString().slice(0, 19).replace('T', ' ')
    return digits === 0 ? clock : `${clock}.${rest.padEnd(7, '0').slice(0, digits)}`
  }
const clock =
  (digits: number) =>
  (value: unknown): string =>
    moment(digits)(value).slice(11)
const day = (value: unknown): string => new Date((value as number) * 86_400_000).toISOString().slice(0, 10)
const hex = (value: unknown): string =>
  `0x${Buffer.from(value as Uint8Array)
    .toString('hex')
    .toUpperCase()}`

interface Case {
  readonly type: string
  /** As the server writes them, which is how they are put in, too. */
  readonly values: readonly string[]
  readonly arrow: string
  /** The stored value as the server writes it. */
  readonly text?: (value: unknown) => string
  /** What is stored where it is less than what the server has. */
  readonly stored?: readonly string[]
  readonly note?: RegExp
  readonly finding?: RegExp
  /** The column's literal, where it is not a quoted text. */
  readonly literal?: (value: string) => string
}

const plain = (value: string): string => value
const LONG = 'ä€😀x'.repeat(30_000)

const CASES: Readonly<Record<string, Case>> = {
  tinyint: { type: 'tinyint', values: ['0', '128', '255'], arrow: 'Int16' },
  smallint: { type: 'smallint', values: ['-32768', '0', '32767'], arrow: 'Int16' },
  int: { type: 'int', values: ['-2147483648', '-1', '0', '2147483647'], arrow: 'Int32' },
  bigint: {
    type: 'bigint',
    values: ['-9223372036854775808', '-9007199254740993', '-1', '0', '9223372036854775807'],
    arrow: 'Int64',
  },
  bit: { type: 'bit', values: ['1', '0'], arrow: 'Bool', text: (value) => (value === true ? '1' : '0') },
  real: { type: 'real', values: ['0', '-1.5', '0.1', '3.4028235e+38', '1e-45'], arrow: 'Float32', text: real },
  float: {
    type: 'float',
    values: ['0', '-1.5', '0.1', '1.7976931348623157e+308', '5e-324', '123456789.123456'],
    arrow: 'Float64',
  },
  'decimal of 4 bytes': {
    type: 'decimal(9,2)',
    values: ['-9999999.99', '-0.01', '0.00', '9999999.99'],
    arrow: 'Decimal[9e+2]',
    text: scaled(2),
  },
  'decimal of 8 bytes': {
    type: 'decimal(19,0)',
    values: ['-9999999999999999999', '4294967296', '9999999999999999999'],
    arrow: 'Decimal[19e0]',
    text: scaled(0),
  },
  'decimal of 12 bytes': {
    type: 'decimal(28,28)',
    values: ['-0.9999999999999999999999999999', '0.0000000000000000000000000001'],
    arrow: 'Decimal[28e+28]',
    text: scaled(28),
  },
  'decimal of 16 bytes': {
    type: 'decimal(38,10)',
    values: ['-9999999999999999999999999999.9999999999', '0.0000000001', '9999999999999999999999999999.9999999999'],
    arrow: 'Decimal[38e+10]',
    text: scaled(10),
  },
  money: {
    type: 'money',
    values: ['-922337203685477.5808', '-0.0001', '0.0000', '922337203685477.5807'],
    arrow: 'Decimal[19e+4]',
    text: scaled(4),
  },
  smallmoney: {
    type: 'smallmoney',
    values: ['-214748.3648', '-0.0001', '214748.3647'],
    arrow: 'Decimal[10e+4]',
    text: scaled(4),
  },
  date: {
    type: 'date',
    values: ['0001-01-01', '1969-12-31', '2024-02-29', '9999-12-31'],
    arrow: 'Date32<DAY>',
    text: day,
  },
  'time(0)': { type: 'time(0)', values: ['00:00:00', '23:59:59'], arrow: 'Time64<MICROSECOND>', text: clock(0) },
  'time(3)': {
    type: 'time(3)',
    values: ['00:00:00.001', '23:59:59.999'],
    arrow: 'Time64<MICROSECOND>',
    text: clock(3),
  },
  'time(7)': {
    type: 'time(7)',
    values: ['00:00:00.0000010', '23:59:59.9999999'],
    stored: ['00:00:00.0000010', '23:59:59.9999990'],
    arrow: 'Time64<MICROSECOND>',
    text: clock(7),
    note: /seventh digit/,
    finding: /in 1 values/,
  },
  'datetime2(0)': {
    type: 'datetime2(0)',
    values: ['0001-01-01 00:00:00', '9999-12-31 23:59:59'],
    arrow: 'Timestamp<MICROSECOND>',
    text: moment(0),
  },
  'datetime2(3)': {
    type: 'datetime2(3)',
    values: ['1684-06-07 00:00:00.001', '1969-12-31 23:59:59.999', '2255-12-31 23:59:59.999'],
    arrow: 'Timestamp<MICROSECOND>',
    text: moment(3),
  },
  'datetime2(6)': {
    type: 'datetime2(6)',
    values: ['0001-01-01 00:00:00.000001', '1970-01-01 00:00:00.000000', '9999-12-31 23:59:59.999999'],
    arrow: 'Timestamp<MICROSECOND>',
    text: moment(6),
  },
  'datetime2(7)': {
    type: 'datetime2(7)',
    values: ['0001-01-01 00:00:00.0000001', '1969-12-31 23:59:59.9999990', '9999-12-31 23:59:59.9999999'],
    stored: ['0001-01-01 00:00:00.0000000', '1969-12-31 23:59:59.9999990', '9999-12-31 23:59:59.9999990'],
    arrow: 'Timestamp<MICROSECOND>',
    text: moment(7),
    note: /seventh digit/,
    finding: /in 2 values/,
  },
  datetimeoffset: {
    type: 'datetimeoffset(7)',
    values: [
      '2024-02-29 23:59:59.1234567 -05:30',
      '0001-01-02 00:00:00.0000010 +14:00',
      '2024-01-01 00:00:00.0000000 +00:00',
    ],
    stored: ['2024-03-01 05:29:59.1234560', '0001-01-01 10:00:00.0000010', '2024-01-01 00:00:00.0000000'],
    arrow: 'Timestamp<MICROSECOND, UTC>',
    text: moment(7),
    note: /in UTC/,
    finding: /2 are not \+00:00.*in 1 values/,
  },
  datetime: {
    type: 'datetime',
    values: ['1753-01-01 00:00:00.000', '1900-01-01 00:00:00.997', '9999-12-31 23:59:59.997'],
    arrow: 'Timestamp<MICROSECOND>',
    text: moment(3),
  },
  uniqueidentifier: {
    type: 'uniqueidentifier',
    values: ['0E984725-C51C-4BF4-9960-E1C80E27ABA0', '00000000-0000-0000-0000-000000000000'],
    arrow: 'Utf8',
  },
  nvarchar: {
    type: 'nvarchar(200)',
    values: ['', ' ', 'plain', 'häß', '€ 漢字', '😀', 'a"b,c', 'line\nbreak', 'z'.repeat(200), 'é'.repeat(150)],
    arrow: 'Utf8',
  },
  nchar: { type: 'nchar(3)', values: ['a  ', '漢字 '], arrow: 'Utf8' },
  'nvarchar(max)': { type: 'nvarchar(max)', values: ['', 'short', LONG], arrow: 'Utf8' },
  xml: { type: 'xml', values: ['<a b="ü">1</a>'], arrow: 'Utf8', note: /xml/ },
  varbinary: {
    type: 'varbinary(max)',
    values: ['0x', '0x00FF', `0x${'AB'.repeat(100_000)}`],
    arrow: 'Binary',
    text: hex,
    literal: plain,
  },
  geography: {
    type: 'geography',
    values: ['0xE6100000010C00'],
    arrow: 'Binary',
    text: hex,
    literal: (value) => `'${value.slice(2)}'`,
    note: /MS-SSCLRT/,
  },
}

/** The fewest digits that are this number of 32 bits again. */
function real(value: unknown): string {
  const number = value as number
  const digits = [1, 2, 3, 4, 5, 6, 7, 8, 9].find((count) => Math.fround(Number(number.toPrecision(count))) === number)
  return String(Number(number.toPrecision(digits)))
}

let tables = 0

/** A table of one numbered column; the last row is NULL. */
async function tableOf({
  type,
  values,
  literal = (value) => `'${value.replaceAll("'", "''")}'`,
}: Case): Promise<string> {
  tables += 1
  const table = `types ${tables}`
  await db.raw(`create table dbo.[${table}] (n int, c ${type})`)
  for (const [index, value] of [...values.map(literal), 'null'].entries()) {
    await db.raw(`insert into dbo.[${table}] values (${index}, cast(${value} as ${type}))`)
  }
  return table
}

/** CSV back into fields: `""` is the empty text, nothing at all is NULL. */
function fields(text: string): (string | null)[][] {
  const rows: (string | null)[][] = [[]]
  const pattern = /(?:"((?:[^"]|"")*)"|([^,\n]*))(,|\n)/gy
  for (let match = pattern.exec(text); match !== null; match = pattern.exec(text)) {
    const [, quoted, bare, end] = match
    rows.at(-1)?.push(quoted !== undefined ? quoted.replaceAll('""', '"') : bare === '' ? null : (bare ?? null))
    if (end === '\n') rows.push([])
  }
  rows.pop()
  return rows
}

describe('types, value by value', () => {
  for (const [name, one] of Object.entries(CASES)) {
    test(name, async () => {
      const table = await tableOf(one)
      await using folder = await temporaryFolder()
      const extract = (format: ExtractOptions['format'], options: ReadOptions = {}) =>
        extractTable(db, { table }, { to: folder.path, format, ...options })

      const manifest = await extract('parquet')
      const [, column] = manifest.columns
      assert.equal(column?.arrow, one.arrow)
      if (one.note === undefined) assert.equal(column?.note, undefined)
      else assert.match(column?.note ?? '', one.note)
      const findings = manifest.notes.filter((note) => note.startsWith('c: '))
      if (one.finding === undefined) assert.deepEqual(findings, [])
      else assert.match(findings.join(), one.finding)
      const { rows } = await readParquetFile(dataPath(manifest))
      const sorted = rows.toSorted((a, b) => Number(a.n) - Number(b.n)).map((row) => row.c)
      assert.deepEqual(
        sorted.map((value) => (value === null || value === undefined ? null : (one.text ?? String)(value))),
        [...(one.stored ?? one.values), null],
      )

      // The server's own text: in CSV, and in any column that is asked for as text.
      const csv = fields(await dataText(await extract('csv'))).slice(1)
      const texts = one.type === 'geography' ? one.values.map((value) => value.slice(2)) : one.values
      assert.deepEqual(
        csv.map(([, value]) => value),
        [...texts, null],
      )
      const asText = await readParquetFile(dataPath(await extract('parquet', { asText: ['c'] })))
      assert.deepEqual(
        asText.rows.map((row) => row.c ?? null),
        [...texts, null],
      )
      const lines = (await dataText(await extract('jsonl'))).trimEnd().split('\n')
      assert.equal(lines.length, one.values.length + 1)
      for (const line of lines) assert.equal(typeof JSON.parse(line), 'object')
    })
  }

  test('sql_variant is the exact text of each value', async () => {
    const table = await tableOf({
      type: 'sql_variant',
      values: [
        'int:-5',
        'bigint:9223372036854775807',
        'bit:1',
        'float:0.1',
        'decimal(20,4):-1.5000',
        'money:-922337203685477.5808',
        'datetime2(7):2024-02-29 01:02:03.1234567',
        'datetimeoffset(7):2024-02-29 01:02:03.1234567 +14:00',
        'uniqueidentifier:0E984725-C51C-4BF4-9960-E1C80E27ABA0',
        'varbinary:00FF',
        'nvarchar:häß',
      ],
      arrow: 'Utf8',
    })
    await using folder = await temporaryFolder()
    const manifest = await extractTable(db, { table }, { to: folder.path, format: 'parquet' })
    assert.match(manifest.columns[1]?.note ?? '', /sql_variant/)
    const { rows } = await readParquetFile(dataPath(manifest))
    assert.deepEqual(
      rows.map((row) => row.c ?? null),
      [
        '-5',
        '9223372036854775807',
        '1',
        '0.1',
        '-1.5000',
        '-922337203685477.5808',
        '2024-02-29 01:02:03.1234567',
        '2024-02-29 01:02:03.1234567 +14:00',
        '0E984725-C51C-4BF4-9960-E1C80E27ABA0',
        '0x00FF',
        'häß',
        null,
      ],
    )
  })

  test('hierarchyid is its path, and geography as text comes from the server', async () => {
    await db.raw('create table dbo.clr (h hierarchyid, g geography)')
    await db.raw("insert into dbo.clr values ('/1/2/', 'E610')")
    const [batch] = await batches('clr', { asText: ['g'] })
    assert.deepEqual([batch?.getChild('h')?.get(0), batch?.getChild('g')?.get(0)], ['/1/2/', 'E610'])
  })

  test('JSON Lines are as FOR JSON writes them', async () => {
    await db.raw(`create table dbo.json ([a "b"] int, d decimal(38,6), b bit, t nvarchar(20), dt datetime2(7),
      o datetimeoffset(0), bin varbinary(max), f float)`)
    await db.raw(`insert into dbo.json values (1, 12345678901234567890.000001, cast(1 as bit), 'a"ä',
      '2024-02-29 01:02:03.1234567', '2024-02-29 01:02:03 -05:30', 0x00ff, 1e300)`)
    await using folder = await temporaryFolder()
    const text = await dataText(await extractTable(db, { table: 'json' }, { to: folder.path, format: 'jsonl' }))
    assert.equal(
      text.slice(0, text.indexOf(',"_extracted_at"')),
      '{"a \\"b\\"":1,"d":12345678901234567890.000001,"b":true,"t":"a\\"ä","dt":"2024-02-29T01:02:03.1234567",' +
        '"o":"2024-02-29T01:02:03-05:30","bin":"AP8=","f":1e+300',
    )
  })
})

async function batches(table: string, options: ReadOptions = {}): Promise<RecordBatch[]> {
  const all: RecordBatch[] = []
  for await (const batch of readTable(db, { table }, options)) all.push(batch)
  return all
}

async function failureOf(work: Promise<unknown>): Promise<PoolsmithError> {
  try {
    await work
  } catch (error) {
    assert.ok(error instanceof PoolsmithError, String(error))
    return error
  }
  throw new assert.AssertionError({ message: 'It did not fail.' })
}

describe('tables', () => {
  test('names with brackets, chosen columns, views and empty tables are read', async () => {
    await db.raw('create table dbo.[odd]]name [x] (a int, [col[1]]] int, c int identity(1,1))')
    const [none] = await batches('odd]name [x')
    assert.equal(none?.numRows, 0)
    await db.raw('insert into dbo.[odd]]name [x] (a, [col[1]]]) values (7, 8)')
    const [some] = await batches('odd]name [x', { columns: ['c', 'col[1]'] })
    assert.deepEqual(
      some?.toArray().map((row) => ({ ...row.toJSON() })),
      [{ c: 1, 'col[1]': 8 }],
    )
    await db.raw('create view dbo.oddity as select a from dbo.[odd]]name [x]')
    assert.equal((await batches('oddity'))[0]?.getChild('a')?.get(0), 7)
  })

  test('1,000 columns', async () => {
    const names = Array.from({ length: 1000 }, (_, index) => `c${index}`)
    await db.raw(`create table dbo.wide (${names.map((name) => `${name} int`).join(', ')})`)
    await db.raw(`insert into dbo.wide (c0, c999) values (1, 2), (3, 4)`)
    const [batch] = await batches('wide')
    assert.deepEqual(
      [batch?.schema.fields.length, batch?.getChild('c999')?.get(1), batch?.getChild('c5')?.get(1)],
      [1000, 4, null],
    )
  })

  test('conditions are bound, never spliced', async () => {
    const quote = "x' or 1=1 --"
    const [batch] = await batches('flights', {
      where: (query) => query.where('id', '<', 4).whereNotIn('filler', [quote]),
    })
    assert.equal(batch?.numRows, 3)
    assert.ok(!server.journal.requests.some((sql) => sql.includes(quote)))
  })

  test('batches end at their limits of rows and bytes', async () => {
    const byRows = await batches('flights', { batchRows: 999 })
    assert.deepEqual(new Set(byRows.slice(0, -1).map((batch) => batch.numRows)), new Set([999]))
    assert.equal(
      byRows.reduce((sum, batch) => sum + batch.numRows, 0),
      40_000,
    )
    const byBytes = await batches('flights', { batchBytes: 1 << 20 })
    assert.ok(byBytes.length > 10 && byBytes.length < 40, String(byBytes.length))
    const ids = byBytes.flatMap((batch) => [...(batch.getChild('id')?.toArray() ?? [])]).toSorted((a, b) => a - b)
    assert.deepEqual([ids.length, ids[0], ids.at(-1), new Set(ids).size], [40_000, 1, 40_000, 40_000])
  })

  test('the estimate comes from the catalogue', async () => {
    await using folder = await temporaryFolder()
    const seen: (number | undefined)[] = []
    const onProgress = (progress: { readonly estimatedRows?: number | undefined }): void => {
      seen.push(progress.estimatedRows)
    }
    await extractTable(db, { table: 'flights' }, { to: folder.path, format: 'parquet', onProgress })
    assert.equal(seen[0], 40_000)
  })

  const names: readonly [string, { schema?: string; table: string }, ReadOptions, string, RegExp][] = [
    [
      'a table',
      { table: 'flihgts' },
      {},
      'TABLE_NOT_FOUND',
      /no table \[dbo\]\.\[flihgts\]\. Did you mean \[flights\]\?/,
    ],
    [
      'a schema',
      { schema: 'dboo', table: 'flights' },
      {},
      'SCHEMA_NOT_FOUND',
      /no schema \[dboo\]\. Did you mean \[dbo\]\?/,
    ],
    [
      'a column',
      { table: 'flights' },
      { columns: ['idd'] },
      'COLUMN_NOT_FOUND',
      /no column \[idd\]\. Did you mean \[id\]\?/,
    ],
    ['a column as text', { table: 'flights' }, { asText: ['nope'] }, 'COLUMN_NOT_FOUND', /no column \[nope\]/],
    ['an attack', { table: "x'; drop table flights; --" }, {}, 'TABLE_NOT_FOUND', /no table/],
  ]
  for (const [what, table, options, code, message] of names) {
    test(`${what} that does not exist`, async () => {
      await using folder = await temporaryFolder()
      const error = await failureOf(extractTable(db, table, { to: folder.path, format: 'csv', ...options }))
      assert.deepEqual([error.code, error.phase], [code, 'query'])
      assert.match(error.message, message)
      assert.ok(error.hint)
      assert.equal(db.pool.stats().inUse, 0)
    })
  }
})

describe('snapshots', () => {
  const settings = async (text: string): Promise<string[]> => {
    await postgres.sql(`alter database postgres ${text}`)
    try {
      await using own = await start()
      await using engine = await engineFor(own)
      await using folder = await temporaryFolder()
      const manifest = await extractTable(engine, { table: 'flights' }, { to: folder.path, format: 'csv' })
      assert.deepEqual(own.complaints, [])
      return [...manifest.notes]
    } finally {
      await postgres.sql('alter database postgres reset all')
    }
  }

  test('under snapshot isolation rows that are committed meanwhile are not read', async () => {
    await db.raw('create table dbo.counted (n int)')
    await postgres.sql('insert into dbo.counted select g from generate_series(1, 20000) g')
    let rows = 0
    for await (const batch of readTable(db, { table: 'counted' }, { batchRows: 500 })) {
      if (rows === 0) await postgres.sql('insert into dbo.counted select g from generate_series(1, 100) g')
      rows += batch.numRows
    }
    assert.equal(rows, 20_000)
    assert.equal(
      (await batches('counted')).reduce((sum, batch) => sum + batch.numRows, 0),
      20_100,
    )
    assert.deepEqual(await settings("set mssql.snapshot = '1'"), [])
  })

  test('without snapshots the manifest says what that means', async () => {
    assert.match((await settings("set mssql.snapshot = '0'"))[0] ?? '', /no snapshot.*ALLOW_SNAPSHOT_ISOLATION/)
  })

  test('READ_COMMITTED_SNAPSHOT is noted in the manifest', async () => {
    const text = "set mssql.snapshot = '0'; alter database postgres set mssql.rcsi = 'on'"
    assert.match((await settings(text))[0] ?? '', /READ_COMMITTED_SNAPSHOT/)
  })
})

describe('failures', () => {
  for (const format of ['parquet', 'csv'] as const) {
    test(`${format}: an abort midway cancels the statement, and the session is used again`, async () => {
      await using own = await start()
      await using engine = await engineFor(own)
      await using folder = await temporaryFolder()
      const abort = new AbortController()
      const error = await failureOf(
        extractTable(
          engine,
          { table: 'flights' },
          {
            to: folder.path,
            format,
            batchRows: 100,
            signal: abort.signal,
            onProgress: () => abort.abort(new Error('enough')),
          },
        ),
      )
      assert.deepEqual([error.code, (error.cause as Error).message], ['ABORTED', 'enough'])
      assert.deepEqual(await filesBelow(folder.path), [])
      assert.equal(own.journal.attentions, 1)
      assert.equal(own.journal.logins.length, 1)
      assert.deepEqual(await engine.select(engine.raw('@@trancount as open_transactions')), [{ open_transactions: 0 }])
      assert.equal(own.journal.logins.length, 1, 'it is the same session')
      assert.equal(engine.pool.stats().inUse, 0)
    })
  }

  test('leaving the loop early cancels the statement, and the consumer’s own error is thrown unchanged', async () => {
    const before = server.journal.attentions
    const own = new Error('mine')
    const consume = async (): Promise<void> => {
      for await (const _batch of readTable(db, { table: 'flights' }, { batchRows: 100 })) throw own
    }
    await assert.rejects(consume, (error) => error === own)
    assert.equal(server.journal.attentions, before + 1)
    assert.equal(db.pool.stats().inUse, 0)
  })

  test('an abort before the run begins is ABORTED', async () => {
    const error = await failureOf(batches('flights', { signal: AbortSignal.abort() }))
    assert.equal(error.code, 'ABORTED')
  })

  test('a login without SELECT is PERMISSION_DENIED', async () => {
    await postgres.sql(`create function dbo.forbidden() returns int language plpgsql as
      $$ begin raise insufficient_privilege using message = 'The SELECT permission was denied'; end $$;
      create view dbo.secret as select dbo.forbidden() as a`)
    const error = await failureOf(batches('secret'))
    assert.deepEqual([error.code, error.details.number, error.phase], ['PERMISSION_DENIED', 229, 'query'])
    assert.match(error.message, /\[dbo\]\.\[secret\]/)
  })

  test('a session that is killed midway is CONNECTION_LOST', async () => {
    await using own = await start()
    await using engine = await engineFor(own)
    let killed = false
    const read = async (): Promise<void> => {
      for await (const _batch of readTable(engine, { table: 'flights' }, { batchRows: 100 })) {
        if (!killed) own.sessions()[0]?.kill()
        killed = true
      }
    }
    const error = await failureOf(read())
    assert.deepEqual([error.code, error.transient], ['CONNECTION_LOST', true])
    assert.equal(engine.pool.stats().inUse, 0)
    assert.deepEqual(await engine.select(engine.raw('1 as one')), [{ one: 1 }])
  })

  test('an error of the server in the middle of the rows leaves no file', async () => {
    await using own = await start()
    await using engine = await engineFor(own)
    await engine.raw('select 1 as one')
    await using folder = await temporaryFolder()
    const refuse = { do: 'refuse', number: 1205, class: 13, message: 'deadlock victim' } as const
    own.faults.add({ at: 'rows', fault: refuse, after: 500, times: 1 })
    const error = await failureOf(
      extractTable(engine, { table: 'flights' }, { to: folder.path, format: 'parquet', batchRows: 100 }),
    )
    assert.deepEqual([error.code, error.details.number, error.transient], ['QUERY_CANCELED', 1205, true])
    assert.deepEqual(await filesBelow(folder.path), [])
  })

  test('a time limit of the connection does not end a long reading', async () => {
    await using own = await start()
    await using engine = await engineFor(own, { request_timeout: 1 })
    let rows = 0
    for await (const batch of readTable(engine, { table: 'flights' }, { batchRows: 10_000 })) {
      rows += batch.numRows
      await sleep(400)
    }
    assert.equal(rows, 40_000)
  })
})

test('a slow reader makes the server wait, and memory stays bounded', async () => {
  // 240 MB on the wire; whoever does not wait for the reader would hold them all. The double's own share is in it.
  await db.raw('create table dbo.heavy (id int, filler nvarchar(max))')
  await postgres.sql("insert into dbo.heavy select g, repeat('x', 10000) from generate_series(1, 12000) g")
  // What is alive, not what nobody has swept up yet.
  const held = (): number => {
    collectGarbage()
    return process.memoryUsage().arrayBuffers
  }
  let rows = 0
  let most = 0
  const before = held()
  for await (const batch of readTable(db, { table: 'heavy' }, { batchBytes: 1 << 20 })) {
    rows += batch.numRows
    if (rows < 600) {
      // Time enough for everything to come, if it came.
      await sleep(60)
      most = Math.max(most, held() - before)
    }
  }
  assert.equal(rows, 12_000)
  assert.ok(most < 80 << 20, `${most >> 20} MB`)
})

test('one session reads all parts of a memory-optimized table, on its own kind of snapshot', async () => {
  await db.raw('create table dbo.in_memory (id int not null primary key, v nvarchar(20))')
  await db.raw("insert into dbo.in_memory values (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd')")
  for (const allowed of ['1', '0']) {
    await using another = await startTdsServer({ postgres, logins: { sa: 'pw' }, tls: certificate })
    await postgres.sql(`alter database postgres set mssql.snapshot = '${allowed}'`)
    const engine = await engineFor(another)
    try {
      for (const partitions of [1, 2]) {
        await using folder = await temporaryFolder()
        const watermark = { column: 'id', after: 1 }
        const options: ExtractOptions = { to: folder.path, format: 'csv', partitions, watermark }
        const manifest = await extractTable(engine, { table: 'in_memory' }, options)
        assert.equal(manifest.rows, 3)
        assert.equal(manifest.files.length, partitions)
        assert.doesNotMatch(manifest.notes.join(), /READ.COMMITTED/)
        if (partitions > 1) assert.match(manifest.notes.join(), /One session .*memory-optimized/)
      }
    } finally {
      await engine.destroy()
      await postgres.sql('alter database postgres reset mssql.snapshot')
    }
  }
})
