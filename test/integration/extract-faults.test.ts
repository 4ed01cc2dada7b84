import assert from 'node:assert/strict'
import { symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { PoolsmithError } from '../../src/errors.ts'
import { extractPartition } from '../../src/extract/extract-partition.ts'
import { extractTable } from '../../src/extract/extract-table.ts'
import { EXTRACT_FORMATS } from '../../src/extract/formats.ts'
import type { ExtractOptions } from '../../src/extract/options.ts'
import { planExtract } from '../../src/extract/plan-extract.ts'
import type { Progress } from '../../src/extract/progress.ts'
import { openTable } from '../../src/extract/read/open-table.ts'
import type { TableName } from '../../src/extract/read/table.ts'
import { readTable } from '../../src/extract/read-table.ts'
import { createEngine, type Engine } from '../../src/index.ts'
import { beforeWrites, columnOf, copiesRunning, filesBelow, superuserEngine } from '../support/extract.ts'
import { temporaryFolder } from '../support/folder.ts'
import { startPostgres } from '../support/postgres.ts'

const server = await startPostgres()
const db = await superuserEngine(server)
after(async () => {
  await db.destroy()
  await server[Symbol.asyncDispose]()
})
// Forty megabytes: more than all the buffers on the way hold together.
const ROWS = 200_000
await server.sql(`create table flights (id int, filler text);
  insert into flights select g, repeat(md5(g::text), 6) from generate_series(1, ${ROWS}) g;
  create table carriers (code text, "Name" text); create schema sales; create sequence counter`)

async function failureOf(work: Promise<unknown>): Promise<PoolsmithError> {
  try {
    await work
  } catch (error) {
    assert.ok(error instanceof PoolsmithError, String(error))
    return error
  }
  throw new assert.AssertionError({ message: 'It did not fail.' })
}

/** Fails, leaves nothing behind, and the engine is as good as before. */
async function failing(
  engine: Engine,
  table: TableName,
  options: Omit<ExtractOptions, 'to'> & { to?: string },
): Promise<PoolsmithError> {
  await using folder = await temporaryFolder()
  const error = await failureOf(extractTable(engine, table, { to: folder.path, ...options }))
  assert.deepEqual(await filesBelow(folder.path), [])
  return error
}

async function eventually(what: string, holds: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 15_000
  while (!(await holds())) {
    if (Date.now() > deadline) assert.fail(`It never came about that ${what}.`)
    await sleep(20)
  }
}

/** Once, when the copy is under way and cannot end because nobody takes its rows. */
function atFirstRows(action: () => Promise<unknown>): Promise<Disposable> {
  let bytes = 0
  let done = false
  return beforeWrites(async (chunk) => {
    bytes += chunk.length
    if (done || bytes < 1000) return
    done = true
    await action()
  })
}

const allIdle = (): Promise<boolean> =>
  server.sql("select count(*) from pg_stat_activity where state like 'idle in%'").then((count) => count === '0')

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

for (const format of EXTRACT_FORMATS) {
  test(`${format}: an abort midway ends the statement and returns the session clean`, async () => {
    const abort = new AbortController()
    const before = await db('carriers')
      .select(db.raw('pg_backend_pid()'))
      .then(() => db.pool.stats().counts.closed)
    const error = await failing(
      db,
      { table: 'flights' },
      {
        format,
        batchRows: 1000,
        signal: abort.signal,
        onProgress: () => abort.abort(new Error('enough')),
      },
    )
    assert.deepEqual([error.code, error.phase], ['ABORTED', 'query'])
    assert.equal((error.cause as Error).message, 'enough')
    assert.equal(await copiesRunning(server), '0')
    assert.ok(await allIdle())
    assert.equal(db.pool.stats().counts.closed, before, 'no connection had to be closed')
    assert.equal(db.pool.stats().inUse, 0)
  })
}

test('an abort works before the run begins and while it waits for a lock', async () => {
  const early = await failing(db, { table: 'flights' }, { format: 'csv', signal: AbortSignal.abort() })
  assert.equal(early.code, 'ABORTED')
  await using other = await superuserEngine(server)
  const trx = await other.transaction()
  await trx.raw('lock table carriers in access exclusive mode')
  const abort = new AbortController()
  const waiting = failing(db, { table: 'carriers' }, { format: 'csv', signal: abort.signal })
  await eventually(
    'it waits',
    async () => (await server.sql('select count(*) from pg_locks where not granted')) === '1',
  )
  const { closed } = db.pool.stats().counts
  abort.abort()
  assert.equal((await waiting).code, 'ABORTED')
  assert.equal(await server.sql('select count(*) from pg_locks where not granted'), '0')
  assert.equal(db.pool.stats().counts.closed, closed, 'no connection had to be closed')
  await trx.rollback()
})

test('an abort during planning ends the statement on the server too', async () => {
  // A statement may have workers, which are not the session.
  const besides = `select count(*) from pg_stat_activity where query like '%pg_sleep(600)%' and state = 'active'
    and pid <> pg_backend_pid() and backend_type = 'client backend'`
  const where: ExtractOptions['where'] = (query) => query.whereRaw('pg_sleep(600) is null')
  for (const options of [{ watermark: { column: 'id' } }, { partitions: 2, partitionBy: 'id' }]) {
    const { closed } = db.pool.stats().counts
    const abort = new AbortController()
    const { signal } = abort
    const planning = failing(db, { table: 'flights' }, { format: 'csv', where, signal, ...options })
    await eventually('it looks', async () => (await server.sql(besides)) === '1')
    abort.abort()
    assert.equal((await planning).code, 'ABORTED')
    assert.equal(await server.sql(besides), '0')
    assert.ok(await allIdle())
    assert.equal(db.pool.stats().counts.closed, closed, 'no connection had to be closed')
  }
})

test('with one connection only, an abort cancels the statement and the connection is used again', async () => {
  await using single = await superuserEngine(server, { pool_size: 1, max_overflow: 0 })
  for await (const _batch of readTable(single, { table: 'flights' }, { batchRows: 1000 })) break
  assert.equal(await copiesRunning(server), '0')
  assert.equal((await single('flights').count<{ count: string }[]>('* as count'))[0]?.count, String(ROWS))
  assert.equal(single.pool.stats().counts.closed, 0)
})

test('leaving the loop early ends the statement, and the consumer’s own error is thrown unchanged', async () => {
  for await (const batch of readTable(db, { table: 'flights' }, { batchRows: 1000 })) {
    assert.equal(batch.numRows, 1000)
    break
  }
  assert.equal(await copiesRunning(server), '0')
  const own = new Error('mine')
  const consume = async (): Promise<void> => {
    for await (const _batch of readTable(db, { table: 'flights' }, { batchRows: 1000 })) throw own
  }
  await assert.rejects(consume, (error) => error === own)
  assert.equal(await copiesRunning(server), '0')
  await using folder = await temporaryFolder()
  const onProgress = (): void => {
    throw own
  }
  const options = { to: folder.path, format: 'csv', onProgress } as const
  await assert.rejects(extractTable(db, { table: 'flights' }, options), (error) => error === own)
  assert.deepEqual(await filesBelow(folder.path), [])
  assert.ok(await allIdle())
})

test('an error of the last progress report is thrown, and the complete files stay', async () => {
  const own = new Error('mine')
  const onProgress = ({ done }: Progress): void => {
    if (done) throw own
  }
  for (const partitions of [1, 2]) {
    await using folder = await temporaryFolder()
    const to = folder.path
    const run = extractTable(db, { table: 'flights' }, { to, format: 'csv', partitions, onProgress })
    await assert.rejects(run, (error) => error === own)
    const files = await filesBelow(to)
    assert.equal(files.filter((path) => path.endsWith('.csv')).length, partitions)
    assert.equal(files.length, partitions + 1)

    const plan = await planExtract(db, { table: 'flights' }, { format: 'csv', partitions })
    await assert.rejects(extractPartition(db, plan, 0, { to, onProgress }), (error) => error === own)
    assert.equal((await filesBelow(to)).length, partitions + 3)
  }
})

for (const format of EXTRACT_FORMATS) {
  test(`${format}: a session that is killed midway is CONNECTION_LOST and leaves no file`, async () => {
    using _kill = await atFirstRows(() =>
      server.sql("select pg_terminate_backend(pid) from pg_stat_activity where query ilike 'copy%'"),
    )
    const rowGroupBytes = format === 'parquet' ? 1 << 20 : undefined
    const error = await failing(db, { table: 'flights' }, { format, batchRows: 1000, rowGroupBytes })
    assert.deepEqual([error.code, error.phase, error.transient], ['CONNECTION_LOST', 'query', true])
    assert.equal((await db('carriers').count('* as n'))[0]?.n, '0')
  })
}

test('an abort works although the server does not answer', async () => {
  await using frozen = await startPostgres()
  await frozen.sql(`create table flights (filler text);
    insert into flights select repeat(md5(g::text), 6) from generate_series(1, ${ROWS}) g`)
  const engine = await superuserEngine(frozen, { drain_timeout: 1 })
  try {
    const abort = new AbortController()
    const read = async (): Promise<void> => {
      for await (const _batch of readTable(engine, { table: 'flights' }, { batchRows: 1000, signal: abort.signal })) {
        frozen.freeze()
        setTimeout(() => abort.abort(), 100)
      }
    }
    const started = Date.now()
    assert.equal((await failureOf(read())).code, 'ABORTED')
    assert.ok(Date.now() - started < 20_000)
    assert.equal(engine.pool.stats().inUse, 0)
  } finally {
    frozen.thaw()
    await engine.destroy()
  }
})

test('a statement that another session cancels is QUERY_CANCELED', async () => {
  using _cancel = await atFirstRows(() =>
    server.sql("select pg_cancel_backend(pid) from pg_stat_activity where query ilike 'copy%'"),
  )
  const error = await failing(db, { table: 'flights' }, { format: 'csv' })
  assert.deepEqual([error.code, error.details.sqlstate], ['QUERY_CANCELED', '57014'])
})

test('a session reads under fixed settings and is returned with its earlier ones', async () => {
  const left = {
    synchronize_seqscans: 'on',
    client_encoding: 'LATIN1',
    timezone: 'America/St_Johns',
    datestyle: 'German, DMY',
    statement_timeout: '5min',
    idle_in_transaction_session_timeout: '5min',
    transaction_timeout: '5min',
    lock_timeout: '0',
    standard_conforming_strings: 'off',
  }
  const during = {
    synchronize_seqscans: 'off',
    client_encoding: 'UTF8',
    timezone: 'UTC',
    datestyle: 'ISO, YMD',
    statement_timeout: '0',
    idle_in_transaction_session_timeout: '0',
    transaction_timeout: '0',
    lock_timeout: '1min',
    standard_conforming_strings: 'on',
    transaction_read_only: 'on',
    transaction_isolation: 'repeatable read',
  }
  const setting = ([name, value]: [string, string]): string => `set ${name} = '${value}'`
  const shown = (names: readonly string[]): string =>
    `select ${names.map((name) => `current_setting('${name}') as ${name}`).join(', ')}`
  await using single = await superuserEngine(server, { pool_size: 1, max_overflow: 0 })
  await single.raw(Object.entries(left).map(setting).join('; '))
  const query = shown(Object.keys(during))
  for await (const batch of readTable(single, { query, name: 'settings' })) {
    assert.deepEqual(batch.get(0)?.toJSON(), during)
  }
  assert.deepEqual((await single.raw(shown(Object.keys(left)))).rows[0], left)
})

test('a slow consumer makes the server wait, without a time limit ending the statement', async () => {
  await server.sql(`alter role postgres set statement_timeout = '400ms';
    alter role postgres set idle_in_transaction_session_timeout = '400ms'; alter role postgres set transaction_timeout = '400ms'`)
  try {
    await using slow = await superuserEngine(server)
    let rows = 0
    for await (const batch of readTable(slow, { table: 'flights' }, { batchRows: 2000 })) {
      if (rows === 0) {
        const waits = async (): Promise<boolean> =>
          (await server.sql(
            "select wait_event from pg_stat_activity where query ilike 'copy%' and state = 'active'",
          )) === 'ClientWrite'
        await eventually('the server waits for us', waits)
        await sleep(800)
        assert.ok(await waits(), 'it waits as long as we do')
      }
      rows += batch.numRows
    }
    assert.equal(rows, ROWS)
  } finally {
    await server.sql('alter role postgres reset all')
  }
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

describe('targets', () => {
  for (const format of EXTRACT_FORMATS) {
    test(`${format}: a full disk is DISK_FULL and leaves no file`, async () => {
      let room = 3_000_000
      using _full = await beforeWrites(async (bytes) => {
        room -= bytes.length
        if (room < 0) throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' })
      })
      const error = await failing(db, { table: 'flights' }, { format, batchRows: 5000 })
      assert.deepEqual([error.code, error.phase, error.details.errno], ['DISK_FULL', 'write', 'ENOSPC'])
      assert.equal(await copiesRunning(server), '0')
    })
  }

  test('a manifest that cannot be written removes its data file', async () => {
    using _full = await beforeWrites(async (bytes) => {
      const isManifest = Buffer.from(bytes).includes('"batchId"')
      if (isManifest) throw Object.assign(new Error('EDQUOT: over quota, write'), { code: 'EDQUOT' })
    })
    assert.equal((await failing(db, { table: 'carriers' }, { format: 'csv' })).code, 'DISK_FULL')
  })

  test('a file in place of a folder, a circle of links and a long path are TARGET_NOT_WRITABLE', async () => {
    await using folder = await temporaryFolder()
    await writeFile(join(folder.path, 'file'), '')
    await symlink(join(folder.path, 'circle'), join(folder.path, 'circle'))
    for (const to of ['file', 'circle', 'x'.repeat(300)]) {
      const options = { to: join(folder.path, to), format: 'csv' } as const
      const error = await failureOf(extractTable(db, { table: 'carriers' }, options))
      assert.deepEqual([error.code, error.phase], ['TARGET_NOT_WRITABLE', 'write'], to)
      assert.match(error.message, new RegExp(to.slice(0, 10)))
    }
  })
})

test('a state file that cannot be written is reported before anything is read', async () => {
  await using folder = await temporaryFolder()
  let began = false
  const onProgress = (): void => {
    began = true
  }
  const watermark = { column: 'id', state: '/proc/poolsmith/state.json' }
  const options = { to: folder.path, format: 'csv', watermark, onProgress } as const
  const error = await failureOf(extractTable(db, { table: 'flights' }, options))
  assert.deepEqual([error.code, error.phase], ['TARGET_NOT_WRITABLE', 'write'])
  assert.equal(began, false)
  assert.deepEqual(await filesBelow(folder.path), [])
})
