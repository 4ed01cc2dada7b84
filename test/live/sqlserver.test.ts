/**
 * The SQL Server driver and knex on it against a real server, named by POOLSMITH_TEST_MSSQL_* (docs/testing-sqlserver.md).
 * Each test names the variables that it needs, and is skipped only where one is missing. The suite also runs against
 * the test double, so that a difference between the double and a real server shows.
 */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Knex } from 'knex'
import type { Credential } from '../../src/credentials/credential.ts'
import { PoolsmithError } from '../../src/errors.ts'
import { createEngine } from '../../src/index.ts'
import { sqlServerExtractSuite } from '../support/sqlserver-extract-suite.ts'
import { open, password, testDriver, token } from '../support/tds/driver.ts'
import { type TestEngine, testEngine } from '../support/tds/engine.ts'

const PREFIX = 'POOLSMITH_TEST_MSSQL_'
const setting = (name: string): string | undefined => process.env[`${PREFIX}${name}`] || undefined

/** The reason to skip a test, for node:test; false when all variables are set. */
function missing(...names: readonly string[]): string | false {
  const absent = names.filter((name) => setting(name) === undefined)
  return absent.length === 0 ? false : `needs ${absent.map((name) => `${PREFIX}${name}`).join(', ')}`
}

const LOGIN = ['HOST', 'USER', 'PASSWORD'] as const

const target = () => ({
  host: setting('HOST') ?? '',
  port: Number(setting('PORT') ?? 1433),
  database: setting('DATABASE') ?? 'master',
})

const extra = (more: Readonly<Record<string, unknown>> = {}): Record<string, unknown> => ({
  ...(setting('CA_FILE') === undefined ? {} : { ca_file: setting('CA_FILE') }),
  ...(setting('TRUST') === undefined ? {} : { trust_server_certificate: setting('TRUST') }),
  ...more,
})

const login = (): Credential => password(setting('USER') ?? '', setting('PASSWORD') ?? '')

async function withEngine(use: (db: Knex, engine: TestEngine) => Promise<void>): Promise<void> {
  await using engine = await testEngine(target(), login(), extra({ encrypt: 'true' }), { pool_size: 2 })
  await use(engine.db, engine)
}

async function openAndClose(more: Readonly<Record<string, unknown>>, credential: Credential): Promise<string> {
  const { driver } = testDriver(target(), extra(more))
  const { raw } = await open(driver, credential, 30_000)
  const { encryption } = driver.info(raw)
  await driver.ping(raw)
  await driver.reset(raw, 'full')
  await driver.close(raw)
  return encryption.kind
}

async function refusal(credential: Credential, database = target().database): Promise<PoolsmithError> {
  const { driver } = testDriver({ ...target(), database }, extra())
  try {
    await driver.close((await open(driver, credential, 30_000)).raw)
  } catch (error) {
    if (error instanceof PoolsmithError) return error
    throw error
  }
  throw new assert.AssertionError({ message: 'the login went through' })
}

test('logs in by password with encryption', { skip: missing(...LOGIN) }, async () => {
  assert.equal(await openAndClose({ encrypt: 'true' }, login()), 'tls')
})

test('logs in by password with only the login encrypted', { skip: missing(...LOGIN, 'PLAIN') }, async () => {
  assert.equal(await openAndClose({ encrypt: 'false', trust_server_certificate: false }, login()), 'none')
})

test('logs in by password under TDS 8.0', { skip: missing(...LOGIN, 'STRICT') }, async () => {
  assert.equal(await openAndClose({ encrypt: 'strict', trust_server_certificate: false }, login()), 'tls')
})

test('logs in by an access token', { skip: missing('HOST', 'TOKEN') }, async () => {
  assert.equal(await openAndClose({}, token(setting('TOKEN') ?? '')), 'tls')
})

test('logs in by Kerberos, with each mechanism', { skip: missing('HOST', 'CCACHE') }, async () => {
  const cache = setting('CCACHE') ?? ''
  for (const gss_mechanism of ['krb5', 'spnego']) {
    await openAndClose({ gss_mechanism }, { kind: 'gss', identity: 'ticket', cache, issuedAt: Date.now() })
  }
})

test('gives the reason why a login fails', { skip: missing(...LOGIN) }, async () => {
  const wrong = await refusal(password(setting('USER') ?? '', 'certainly wrong'))
  assert.deepEqual([wrong.code, wrong.details.number], ['LOGIN_REFUSED', 18456])
  const nowhere = await refusal(login(), 'poolsmith_no_such_database')
  assert.deepEqual([nowhere.code, nowhere.details.number], ['DATABASE_NOT_FOUND', 4060])
})

test('keeps every digit', { skip: missing(...LOGIN) }, () =>
  withEngine(async (db) => {
    const values = {
      b: '-9223372036854775808',
      d: '1234567890123456789012345678.0123456789',
      m: '-922337203685477.5808',
      t: '2024-02-29 23:59:59.9999999',
      o: '2024-02-29 23:59:59.9999999 +05:45',
      g: '6F9619FF-8B86-D011-B42D-00C04FC964FF',
      n: 'ü🐘'.repeat(10_000),
    }
    await db.transaction(async (trx) => {
      await trx.raw(
        'create table poolsmith_values (b bigint, d decimal(38,10), m money, t datetime2(7), o datetimeoffset(7), g uniqueidentifier, n nvarchar(max), x varbinary(max))',
      )
      const bytes = Buffer.alloc(50_000, 0xa5)
      const nothing = Object.fromEntries([...Object.keys(values), 'x'].map((name) => [name, null]))
      await trx('poolsmith_values').insert({ ...values, x: bytes })
      await trx('poolsmith_values').insert(nothing)
      const rows = await trx('poolsmith_values').whereNotNull('b').options({ exactValues: true })
      assert.deepEqual(rows, [{ ...values, x: bytes }])
      assert.deepEqual(await trx('poolsmith_values').whereNull('b'), [nothing])
      await trx('poolsmith_values').update({ x: null })
      assert.deepEqual(await trx('poolsmith_values').whereNotNull('x'), [])
      await trx.raw('drop table poolsmith_values')
    })
  }),
)

const MANY =
  'select top (?) row_number() over (order by (select null)) as n from sys.all_objects a cross join sys.all_objects b'

test('streams, and ends a stream early', { skip: missing(...LOGIN) }, () =>
  withEngine(async (db, { pool }) => {
    let rows = 0
    for await (const _ of db.raw(MANY, [20_000]).stream()) rows++
    assert.equal(rows, 20_000)
    for await (const _ of db.raw(MANY, [500_000]).stream()) break
    assert.deepEqual(await db.raw('select 1 as one'), [{ one: 1 }])
    // Both use one connection: the early end returned it in a clean state.
    assert.equal(pool.stats().counts.closed, 0)
  }),
)

test('drops the settings and temporary tables of a statement at its end', { skip: missing(...LOGIN) }, () =>
  withEngine(async (db) => {
    const rows = await db.raw('set lock_timeout 1234; create table #poolsmith (n int); select @@lock_timeout as n')
    assert.deepEqual(rows, [{ n: 1234 }])
    await db.transaction(async (trx) => {
      const looked = await trx.raw("select @@lock_timeout as n, object_id('tempdb..#poolsmith') as id")
      assert.deepEqual(looked, [{ n: -1, id: null }])
    })
  }),
)

test('describes a table with any names', { skip: missing(...LOGIN) }, () =>
  withEngine(async (db) => {
    for (const name of ["poolsmith o'dd", 'poolsmith]x[', '[poolsmith]', 'poolsmith"ü']) {
      await db.transaction(async (trx) => {
        await trx.schema.createTable(name, (table) => table.string(name, 40).notNullable())
        assert.equal(await trx.schema.hasTable(name), true)
        assert.equal(await trx.schema.hasColumn(name, name), true)
        assert.equal(await trx.schema.hasColumn(name, 'other'), false)
        const known = await trx(name).columnInfo()
        const told = { defaultValue: null, type: 'nvarchar', maxLength: 40, nullable: false }
        assert.deepEqual(known, { [name]: told })
        await trx.schema.dropTable(name)
      })
      assert.equal(await db.schema.hasTable(name), false)
    }
  }),
)

test('cancels a statement', { skip: missing(...LOGIN) }, () =>
  withEngine(async (db) => {
    await assert.rejects(db.raw("waitfor delay '00:00:30'").timeout(300, { cancel: true }), /timeout/i)
    assert.deepEqual(await db.raw('select @@trancount as n'), [{ n: 0 }])
  }),
)

test('rolls back, and keeps brackets', { skip: missing(...LOGIN) }, () =>
  withEngine(async (db) => {
    await assert.rejects(
      db.transaction(async (trx) => {
        await trx.raw('create table [poolsmith]]live] ([a[b]]] int)')
        await trx('poolsmith]live').insert({ 'a[b]': 1 })
        assert.deepEqual(await trx('poolsmith]live').select(), [{ 'a[b]': 1 }])
        throw new Error('enough')
      }),
      /^Error: enough$/,
    )
    assert.deepEqual(
      await db.raw("select case when object_id('[poolsmith]]live]') is null then 1 else 0 end as gone"),
      [{ gone: 1 }],
    )
  }),
)

test('has savepoints and isolation levels, and leaves none of them behind', { skip: missing(...LOGIN) }, () =>
  withEngine(async (db) => {
    await db.transaction(
      async (trx) => {
        await trx.raw('create table poolsmith_levels (n int)')
        await trx('poolsmith_levels').insert({ n: 1 })
        await assert.rejects(
          trx.transaction(async (inner) => {
            await inner('poolsmith_levels').insert({ n: 2 })
            throw new Error('back')
          }),
          /^Error: back$/,
        )
        assert.deepEqual(await trx('poolsmith_levels').pluck('n'), [1])
        await trx.raw('drop table poolsmith_levels')
      },
      { isolationLevel: 'serializable' },
    )
    assert.deepEqual(await db.raw('select @@trancount as n'), [{ n: 0 }])
  }),
)

/** Needs a database that allows snapshot isolation (master does) and a login that may create tables in its schema dbo. */
sqlServerExtractSuite({
  name: 'live',
  skip: missing(...LOGIN),
  open: (options = {}) =>
    createEngine(
      { type: 'mssql', ...target(), login: setting('USER') ?? '', password: setting('PASSWORD') ?? '', extra: extra() },
      options,
    ),
})
