/** Values of SQL Server through knex, as they are bound and read, against the TDS server test double. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { Knex } from 'knex'
import { typed } from '../../../src/index.ts'
import { createPki, type IssuedCertificate } from '../../support/pki.ts'
import { type PostgresServer, startPostgres } from '../../support/postgres.ts'
import { password } from '../../support/tds/driver.ts'
import { type TestEngine, testEngine } from '../../support/tds/engine.ts'
import type { TdsServerOptions } from '../../support/tds/options.ts'
import { startTdsServer, type TdsServer } from '../../support/tds/server.ts'

let postgres: PostgresServer
let certificate: IssuedCertificate

before(async () => {
  postgres = await startPostgres()
  certificate = await (await createPki()).issue({ commonName: 'localhost', dns: ['localhost'] })
})

after(() => postgres[Symbol.asyncDispose]())

const start = (options: Partial<TdsServerOptions> = {}): Promise<TdsServer> =>
  startTdsServer({ postgres, logins: { sa: 'pw' }, tls: certificate, ...options })

const engine = (
  server: TdsServer,
  extra: Readonly<Record<string, unknown>> = {},
  options: Parameters<typeof testEngine>[3] = {},
): Promise<TestEngine> => testEngine(server.port, password('sa', 'pw'), extra, options)

const EXACT = {
  big: ["cast('9223372036854775807' as bigint)", '9223372036854775807'],
  dec: ["cast('12345678901234567890123456789012.345678' as decimal(38,6))", '12345678901234567890123456789012.345678'],
  neg: ["cast('-0.000001' as decimal(38,6))", '-0.000001'],
  small: ["cast('-12.50' as decimal(5,2))", '-12.50'],
  cash: ["cast('922337203685477.5807' as money)", '922337203685477.5807'],
  debt: ["cast('-922337203685477.5808' as money)", '-922337203685477.5808'],
  coin: ["cast('-0.0001' as smallmoney)", '-0.0001'],
  day: ["cast('0001-01-01' as date)", '0001-01-01'],
  clock: ["cast('23:59:59.9999999' as time(7))", '23:59:59.9999999'],
  dt2: ["cast('9999-12-31 23:59:59.9999999' as datetime2(7))", '9999-12-31 23:59:59.9999999'],
  dt0: ["cast('2024-02-29 01:02:03' as datetime2(0))", '2024-02-29 01:02:03'],
  dto: ["cast('2024-02-29 23:59:59.1234567 -05:30' as datetimeoffset(7))", '2024-02-29 23:59:59.1234567 -05:30'],
  east: ["cast('0001-01-02 00:00:00.0000001 +14:00' as datetimeoffset(7))", '0001-01-02 00:00:00.0000001 +14:00'],
  old: ["cast('1900-01-01 00:00:00.997' as datetime)", '1900-01-01 00:00:00.997'],
  id: ["cast('6f9619ff-8b86-d011-b42d-00c04fc964ff' as uniqueidentifier)", '6F9619FF-8B86-D011-B42D-00C04FC964FF'],
  v1: [
    "cast('decimal(38,10):1234567890123456789012345678.0123456789' as sql_variant)",
    '1234567890123456789012345678.0123456789',
  ],
  v2: [
    "cast('datetimeoffset(7):2024-02-29 23:59:59.1234567 +02:00' as sql_variant)",
    '2024-02-29 23:59:59.1234567 +02:00',
  ],
  v3: ["cast('money:0.0001' as sql_variant)", '0.0001'],
  v4: ["cast('int:5' as sql_variant)", 5],
  v5: ["cast('nvarchar:ä' as sql_variant)", 'ä'],
  x: ["cast('<a>ä</a>' as xml)", '<a>ä</a>'],
  words: ["cast('' as nvarchar(max))", ''],
  none: ['cast(null as decimal(10,2))', null],
} as const

describe('values', () => {
  const columns = Object.entries(EXACT).map(([name, [sql]]) => `${sql} as ${name}`)
  const expected = Object.fromEntries(Object.entries(EXACT).map(([name, [, value]]) => [name, value]))

  test('keep every digit and byte on request, in results and in streams', async () => {
    await using server = await start()
    await using own = await engine(server)
    const sql = `select ${columns.join(', ')}`
    const options = { exactValues: true }
    assert.deepEqual(await own.db.raw(sql).options(options), [expected])
    const streamed: unknown[] = []
    for await (const row of own.db.raw(sql).options(options).stream()) streamed.push(row)
    assert.deepEqual(streamed, [expected])
    await using exact = await engine(server, { exact_values: true })
    assert.deepEqual(await exact.db.raw(sql), [expected])
    // Without this option they are as in stock knex.
    const [plain] = await own.db.raw(sql)
    assert.equal(plain.small, -12.5)
    assert.ok(plain.dto instanceof Date)
    assert.deepEqual(server.complaints, [])
  })

  test('are bound with the type that is asked for: by typed and by unicode_strings', async () => {
    await using server = await start()
    const declared = async (own: { readonly db: Knex }, work: (db: Knex) => PromiseLike<unknown>): Promise<string> => {
      server.journal.declarations.length = 0
      await work(own.db)
      return server.journal.declarations.join()
    }
    await using stock = await engine(server)
    await stock.db.raw('create table parts (code varchar(20), price decimal(38, 10))')
    assert.match(await declared(stock, (db) => db('parts').where({ code: 'A-17' })), /^@p0 nvarchar/)
    assert.match(await declared(stock, (db) => db('parts').where({ code: typed('varchar', 'A-17') })), /^@p0 varchar/)
    const price = typed('decimal', '0.0000000001', { precision: 38, scale: 10 })
    assert.match(
      await declared(stock, (db) => db('parts').insert({ code: typed('char', 'B', { length: 20 }), price })),
      /^@p0 char\(20\), @p1 decimal\(38, ?10\)$/,
    )
    assert.deepEqual(await stock.db('parts').where({ price }).pluck('code'), ['B'])
    assert.throws(() => typed('text' as never, 'x'), /typed: text is no type; use one of bigint, /)
    await using narrow = await engine(server, { unicode_strings: false })
    assert.match(await declared(narrow, (db) => db('parts').where({ code: 'A-17' })), /^@p0 varchar/)
    assert.match(await declared(narrow, (db) => db('parts').where({ code: 'Ä-17' })), /^@p0 nvarchar/)
    assert.match(await declared(narrow, (db) => db('parts').where({ code: '' })), /^@p0 varchar/)
    assert.deepEqual(await narrow.db.raw('select ? as a, ? as b, ? as c', ['plain', 'Ä🐘', '']), [
      { a: 'plain', b: 'Ä🐘', c: '' },
    ])
    await stock.db.raw('drop table parts')
    assert.deepEqual(server.complaints, [])
  })

  test('of date and time are read and bound in local time under use_utc=false, and guids in lower case', async (t) => {
    const { TZ } = process.env
    t.after(() => {
      if (TZ === undefined) delete process.env.TZ
      else process.env.TZ = TZ
    })
    process.env.TZ = 'America/New_York'
    await using server = await start()
    const local = new Date(2024, 1, 29, 23, 59, 59, 120)
    await using own = await engine(server, { use_utc: false, lower_case_guids: true })
    const sql = `select cast('2024-02-29 23:59:59.1200000' as datetime2) as t,
      cast('6F9619FF-8B86-D011-B42D-00C04FC964FF' as uniqueidentifier) as g`
    const expected = [{ t: local, g: '6f9619ff-8b86-d011-b42d-00c04fc964ff' }]
    assert.deepEqual(await own.db.raw(sql), expected)
    assert.deepEqual(await own.db.raw(sql).stream().toArray(), expected)
    const bound = own.db.raw('select cast(? as datetime2) as t', [typed('datetime2', local)])
    assert.deepEqual(await bound, [{ t: local }])
    assert.deepEqual(
      await own.db.raw('select cast(? as datetime2) as t', [typed('datetime2', local)]).options({ exactValues: true }),
      [{ t: '2024-02-29 23:59:59.1200000' }],
    )
    assert.deepEqual(server.complaints, [])
  })

  test('are read as they were bound', async () => {
    await using server = await start()
    await using own = await engine(server, { exact_values: true })
    const { db } = own
    await db.raw(
      'create table vault (b bigint, d decimal(38,10), m money, t datetime2(7), o datetimeoffset(7), g uniqueidentifier, x varbinary(max), n nvarchar(max), y xml, c smallmoney, l date, k time(7))',
    )
    const row = {
      b: -9223372036854775808n,
      d: '1234567890123456789012345678.0123456789',
      m: '-922337203685477.5808',
      t: '2024-02-29 23:59:59.9999999',
      o: '2024-02-29 23:59:59.9999999 +05:45',
      g: '6f9619ff-8b86-d011-b42d-00c04fc964ff',
      x: Buffer.alloc(100_000, 0xa5),
      n: 'ü🐘'.repeat(50_000),
      y: '<a b="1">ü</a>',
      c: '-214748.3648',
      l: '0001-01-01',
      k: '23:59:59.9999999',
    }
    await db('vault').insert(row)
    const [back] = await db('vault').select()
    assert.deepEqual(back, { ...row, b: '-9223372036854775808', g: row.g.toUpperCase() })
    const date = new Date('2024-02-29T23:59:59.123Z')
    assert.deepEqual(await db.raw('select ? as t, ? as x', [date, new Uint8Array([1, 2]) as Buffer]), [
      { t: '2024-02-29 23:59:59.1230000', x: Buffer.from([1, 2]) },
    ])
    // A bound NULL has a type that not every column accepts.
    const nothing = Object.fromEntries(Object.keys(row).map((name) => [name, null]))
    const inserting = db('vault')
      .insert([nothing, { ...nothing, x: row.x }])
      .toSQL()
    assert.match(inserting.sql, /values \(NULL(, NULL)+\), \(NULL(, NULL)+, \?(, NULL)*\)$/)
    assert.equal(inserting.bindings.length, 1)
    await db('vault').insert([nothing, { ...nothing, x: row.x }])
    await db('vault').where({ b: row.b }).update({ x: null, n: 'kept' })
    assert.deepEqual(await db('vault').whereNull('x').orderBy('n').select('x', 'n', 'o'), [
      { x: null, n: 'kept', o: row.o },
      { x: null, n: null, o: null },
    ])
    assert.deepEqual(await db.raw('select coalesce(?, ?, 1) as one', [null, null]), [{ one: 1 }])
    await db.raw('drop table vault')
    // Larger than any bigint, so it is a float.
    assert.deepEqual(await db.raw('select ? as large, ? as small', [1e300, -(2 ** 63)]), [
      { large: 1e300, small: -(2 ** 63) },
    ])
    await assert.rejects(async () => db.raw('select ? as lost', [2 ** 60]), /safe integer/)
    assert.deepEqual(server.complaints, [])
  })
})

test('text of a UTF-8 collation is the same from a server that sends UTF-8 and from one that does not know it', async () => {
  for (const utf8 of [true, false]) {
    await using server = await start({ utf8 })
    for (const exact_values of [true, false]) {
      await using own = await engine(server, { exact_values })
      await own.db.raw('create table words (t varchar(20) collate Latin1_General_100_CI_AS_SC_UTF8)')
      await own.db('words').insert([{ t: 'ä🐘' }, { t: null }])
      assert.deepEqual(await own.db('words').pluck('t'), ['ä🐘', null])
      await own.db.raw('drop table words')
    }
  }
})
