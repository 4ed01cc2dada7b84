import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { extractPartition } from '../../src/extract/extract-partition.ts'
import { extractTable } from '../../src/extract/extract-table.ts'
import { EXTRACT_FORMATS } from '../../src/extract/formats.ts'
import type { ExtractOptions } from '../../src/extract/options.ts'
import { planExtract } from '../../src/extract/plan-extract.ts'
import { openTable } from '../../src/extract/read/open-table.ts'
import type { TableName } from '../../src/extract/read/table.ts'
import { readTable } from '../../src/extract/read-table.ts'
import { createEngine } from '../../src/index.ts'
import { columnOf, eventually, failing, failureOf, superuserEngine } from '../support/extract.ts'
import { LARGE_FLIGHTS } from '../support/extract-tables.ts'
import { temporaryFolder } from '../support/folder.ts'
import { startPostgres } from '../support/postgres.ts'

const server = await startPostgres()
const db = await superuserEngine(server)
after(async () => {
  await db.destroy()
  await server[Symbol.asyncDispose]()
})
await server.sql(`${LARGE_FLIGHTS};
  create table carriers (code text, "Name" text); create schema sales; create sequence counter`)

describe('names that do not exist', () => {
  const cases: readonly [TableName, Partial<ExtractOptions>, string, RegExp][] = [
    [{ table: 'flihgts' }, {}, 'TABLE_NOT_FOUND', /no table "public"\."flihgts"\. Did you mean "flights"\?/],
    [{ table: 'Flights' }, {}, 'TABLE_NOT_FOUND', /Did you mean "flights"\?/],
    [{ schema: 'sales', table: 'flights' }, {}, 'TABLE_NOT_FOUND', /no table "sales"\."flights"\.$/],
    [{ schema: 'pulbic', table: 'flights' }, {}, 'SCHEMA_NOT_FOUND', /no schema "pulbic"\. Did you mean "public"\?/],
    [{ table: 'counter' }, {}, 'TABLE_NOT_FOUND', /is a sequence/],
    [{ table: "x'; drop table flights; --" }, {}, 'TABLE_NOT_FOUND', /no table/],
    [
      { table: 'carriers' },
      { columns: ['code', 'name'] },
      'COLUMN_NOT_FOUND',
      /no column "name"\. Did you mean "Name"\?/,
    ],
    [{ table: 'carriers' }, { asText: ['kode'] }, 'COLUMN_NOT_FOUND', /Did you mean "code"\?/],
  ]
  for (const [table, options, code, message] of cases) {
    test(`${table.schema ?? 'public'}.${table.table} ${JSON.stringify(options)}`, async () => {
      const error = await failing(db, table, { format: 'csv', ...options })
      assert.equal(error.code, code)
      assert.equal(error.phase, 'query')
      assert.match(error.message, message)
      assert.ok(error.hint)
    })
  }
})

test('invalid options, and columns that an extract adds itself, are refused', async () => {
  const carriers = { table: 'carriers' }
  for (const [source, options] of [
    [carriers, { format: 'xlsx' as 'csv' }],
    [carriers, { format: 'csv', to: undefined as unknown as string }],
    [carriers, { format: 'csv', extractedAt: new Date('soon') }],
    [{} as TableName, { format: 'csv' }],
  ] as const) {
    const { code, phase } = await failing(db, source, options)
    assert.deepEqual([code, phase], ['CONFIG_INVALID', 'config'])
  }
  await server.sql('create table bronze (id int, _batch_id text)')
  const names = await failing(db, { table: 'bronze' }, { format: 'csv' })
  assert.equal(names.code, 'CONFIG_INVALID')
  assert.match(names.message, /_batch_id/)
  await using folder = await temporaryFolder()
  const without = await extractTable(db, { table: 'bronze' }, { to: folder.path, format: 'csv', columns: ['id'] })
  assert.equal(without.rows, 0)
})

test('a role without SELECT is refused, and one with SELECT on some columns reads those', async () => {
  await server.sql(`create role reader login password 'reader'; create table secret (open int, hidden int);
    insert into secret values (1, 2)`)
  await using reader = await createEngine({
    type: 'postgres',
    host: server.host,
    port: server.port,
    login: 'reader',
    password: 'reader',
    database: 'postgres',
  })
  for (const format of EXTRACT_FORMATS) {
    const error = await failing(reader, { table: 'secret' }, { format })
    assert.deepEqual([error.code, error.phase, error.details.sqlstate], ['PERMISSION_DENIED', 'query', '42501'])
  }
  await server.sql('grant select (open) on secret to reader')
  assert.equal((await failing(reader, { table: 'secret' }, { format: 'parquet' })).code, 'PERMISSION_DENIED')
  await using folder = await temporaryFolder()
  const options = { to: folder.path, format: 'parquet', columns: ['open'] } as const
  assert.equal((await extractTable(reader, { table: 'secret' }, options)).rows, 1)

  await server.sql(`grant select on secret to reader; alter table secret enable row level security`)
  const hidden = await extractTable(reader, { table: 'secret' }, { to: folder.path, format: 'csv' })
  assert.equal(hidden.rows, 0)
  assert.match(hidden.notes[0] ?? '', /Row-level security/)
})

test('a table that stays locked is TABLE_LOCKED, and no table is altered while it is read', async () => {
  await server.sql("alter role postgres set lock_timeout = '150ms'")
  try {
    await using hasty = await superuserEngine(server)
    await using other = await superuserEngine(server)
    const trx = await other.transaction()
    await trx.raw('lock table carriers in access exclusive mode')
    const error = await failing(hasty, { table: 'carriers' }, { format: 'jsonl' })
    assert.deepEqual([error.code, error.transient], ['TABLE_LOCKED', true])
    await trx.rollback()
    for await (const _batch of readTable(hasty, { table: 'flights' }, { batchRows: 1000 })) {
      await assert.rejects(other.raw('alter table flights alter column id type bigint'), { code: '55P03' })
      break
    }
  } finally {
    await server.sql('alter role postgres reset all')
  }
})

test('the columns of a table cannot change between the catalogue and the rows', async () => {
  await server.sql(`create table base (id int, t text); create view shown as select id, t from base;
    create materialized view kept as select id from base; create extension postgres_fdw;
    create server here foreign data wrapper postgres_fdw
      options (host '${server.socketDirectory}', port '${server.port}', dbname 'postgres');
    create user mapping for public server here options (user 'postgres', password_required 'false');
    create foreign table far (id int) server here options (table_name 'base');
    create role partly login password 'partly'; grant select (id) on base to partly; grant select on shown, kept, far to partly`)
  const { host, port } = server
  const place = { type: 'postgres', host, port, login: 'partly', password: 'partly', database: 'postgres' } as const
  await using partly = await createEngine(place)
  const changes = {
    shown: 'drop view shown; create view shown as select id::bigint as id, t from base',
    kept: 'drop materialized view kept',
    far: 'alter foreign table far alter column id type bigint',
    base: 'alter table base alter column t type varchar',
  }
  for (const [table, change] of Object.entries(changes)) {
    await using open = await openTable(partly, { table }, { columns: ['id'] })
    await assert.rejects(server.sql(`set lock_timeout = '100ms'; ${change}`), { code: '55P03' }, table)
    let batches = 0
    for await (const batch of (await open.asArrow()).batches()) batches += batch.numCols
    assert.equal(batches, 1)
  }
})

test('a table that is rewritten just before the snapshot is not read as empty', async () => {
  await server.sql('create table rewritten (id int); insert into rewritten select generate_series(1, 100)')
  await using other = await superuserEngine(server)
  for (const format of EXTRACT_FORMATS) {
    await using folder = await temporaryFolder()
    const trx = await other.transaction()
    await trx.raw(`alter table rewritten alter column id type ${format === 'arrow' ? 'bigint' : 'numeric(10,2)'}`)
    const extracting = extractTable(db, { table: 'rewritten' }, { to: folder.path, format })
    await eventually(
      'it waits',
      async () => (await server.sql('select count(*) from pg_locks where not granted')) === '1',
    )
    await trx.commit()
    const manifest = await extracting
    assert.deepEqual([manifest.rows, manifest.columns[0]?.type], [100, format === 'arrow' ? 'bigint' : 'numeric(10,2)'])
  }
})

test('a value beyond its declared precision is VALUE_OUT_OF_RANGE', async () => {
  await server.sql(`create table remote (n numeric); insert into remote values (123456.789); create foreign table narrow (n numeric(5,2))
      server here options (table_name 'remote');
    create table claimed (n numeric(9,2)); insert into claimed values (1), (1234567.89);
    update pg_attribute set atttypmod = ((5 << 16) | 2) + 4 where attrelid = 'claimed'::regclass and attname = 'n'`)
  for (const format of EXTRACT_FORMATS) {
    const refused = await failing(db, { table: 'narrow' }, { format })
    assert.deepEqual([refused.code, refused.details.sqlstate], ['VALUE_OUT_OF_RANGE', '22003'], 'the server says it')
  }
  for (const format of ['parquet', 'arrow'] as const) {
    const error = await failing(db, { table: 'claimed' }, { format })
    assert.deepEqual([error.code, error.details.column], ['VALUE_OUT_OF_RANGE', 'n'], 'we say it')
  }
  await using folder = await temporaryFolder()
  const text = await extractTable(db, { table: 'claimed' }, { to: folder.path, format: 'parquet', asText: ['n'] })
  assert.deepEqual(await columnOf(text, 'n'), ['1.00', '1234567.89'])
})

test('a new label of an enum is read, and a label that is renamed while it is read is an error', async () => {
  await server.sql(
    "create type mood as enum ('sad', 'ok'); create table moods (m mood); insert into moods values ('sad'), ('ok')",
  )
  const plan = await planExtract(db, { table: 'moods' }, { format: 'parquet' })
  await server.sql("alter type mood add value 'glad' before 'ok'")
  await server.sql("insert into moods values ('glad')")
  await using folder = await temporaryFolder()
  const manifest = await extractPartition(db, plan, 0, { to: folder.path })
  assert.deepEqual(await columnOf(manifest, 'm'), ['sad', 'ok', 'glad'])

  await using open = await openTable(db, { table: 'moods' })
  await server.sql("alter type mood rename value 'ok' to 'fine'")
  const { batches } = await open.asArrow()
  const read = async (): Promise<void> => {
    for await (const batch of batches()) assert.fail(`${batch.numRows} rows`)
  }
  const error = await failureOf(read())
  assert.deepEqual([error.code, error.details.column], ['VALUE_OUT_OF_RANGE', 'm'])
  assert.match(error.message, /the label "fine"/)
})

test('a value that cannot be written exactly is an error with its column and a hint', async () => {
  await server.sql(`create table shapes (id int, list int[]); insert into shapes values (1, '{1}'), (2, '{{1,2},{3,4}}');
    create table late (at timestamp); insert into late values ('294276-12-31 23:59:59')`)
  const shapes = await failing(db, { table: 'shapes' }, { format: 'parquet' })
  assert.deepEqual([shapes.code, shapes.details.column], ['VALUE_OUT_OF_RANGE', 'list'])
  assert.match(shapes.hint ?? '', /asText: \["list"\]/)
  assert.equal((await failing(db, { table: 'late' }, { format: 'parquet' })).code, 'VALUE_OUT_OF_RANGE')
  await using folder = await temporaryFolder()
  const manifest = await extractTable(db, { table: 'shapes' }, { to: folder.path, format: 'parquet', asText: ['list'] })
  assert.equal(manifest.rows, 2)
})
