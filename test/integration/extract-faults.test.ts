import assert from 'node:assert/strict'
import { symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { extractPartition } from '../../src/extract/extract-partition.ts'
import { extractTable } from '../../src/extract/extract-table.ts'
import { EXTRACT_FORMATS } from '../../src/extract/formats.ts'
import type { ExtractOptions } from '../../src/extract/options.ts'
import { planExtract } from '../../src/extract/plan-extract.ts'
import type { Progress } from '../../src/extract/progress.ts'
import { readTable } from '../../src/extract/read-table.ts'
import {
  atFirstRows,
  beforeWrites,
  copiesRunning,
  eventually,
  failing,
  failureOf,
  filesBelow,
  superuserEngine,
} from '../support/extract.ts'
import { LARGE_FLIGHTS, LARGE_ROWS } from '../support/extract-tables.ts'
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

const allIdle = (): Promise<boolean> =>
  server.sql("select count(*) from pg_stat_activity where state like 'idle in%'").then((count) => count === '0')

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
  assert.equal((await single('flights').count<{ count: string }[]>('* as count'))[0]?.count, String(LARGE_ROWS))
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
    insert into flights select repeat(md5(g::text), 6) from generate_series(1, ${LARGE_ROWS}) g`)
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
    assert.equal(rows, LARGE_ROWS)
  } finally {
    await server.sql('alter role postgres reset all')
  }
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
