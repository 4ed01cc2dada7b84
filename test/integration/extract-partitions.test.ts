import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { once as nodeOnce } from 'node:events'
import { readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { basename, dirname, join, relative } from 'node:path'
import { after, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { PoolsmithError } from '../../src/errors.ts'
import { extractPartition } from '../../src/extract/extract-partition.ts'
import { extractTable } from '../../src/extract/extract-table.ts'
import { DayFolder } from '../../src/extract/files/day-folder.ts'
import { PartFiles } from '../../src/extract/files/part-files.ts'
import type { Manifest } from '../../src/extract/manifest.ts'
import type { BatchConsumer, ExtractOptions } from '../../src/extract/options.ts'
import type { ExtractPlan } from '../../src/extract/plan.ts'
import { planExtract } from '../../src/extract/plan-extract.ts'
import type { ExtractEngine, ExtractSource } from '../../src/extract/read/table.ts'
import { beforeWrites, copiesRunning, filesBelow, superuserEngine } from '../support/extract.ts'
import { temporaryFolder } from '../support/folder.ts'
import { readParquetFile } from '../support/parquet.ts'
import { startPostgres } from '../support/postgres.ts'

// Autovacuum takes numbers of transactions, between which and a snapshot a run cannot tell.
const server = await startPostgres({ config: { autovacuum: 'off' } })
const db = await superuserEngine(server)
after(async () => {
  await db.destroy()
  await server[Symbol.asyncDispose]()
})
const ROWS = 40_000
await server.sql(`create table flights (id int primary key, carrier text, filler text);
  insert into flights select g, (array['AA','UA','DL'])[g % 3 + 1], repeat(md5(g::text), 3) from generate_series(1, ${ROWS}) g;
  analyze flights;
  create table wide as select g as id, repeat(md5(g::text), 50) as filler from generate_series(1, 50000) g;
  create table parts (id int, k text) partition by list (k);
  create table parts_a partition of parts for values in ('a'); create table parts_b partition of parts for values in ('b');
  create table parts_rest partition of parts default;
  insert into parts select g, case when g % 10 = 0 then 'b' when g % 100 = 1 then null else 'a' end
    from generate_series(1, 20000) g;
  create view seen as select id, k from parts`)

/** The ids in all files of a run, sorted. */
async function idsOf(manifests: Manifest | readonly Manifest[]): Promise<number[]> {
  const ids: number[] = []
  for (const { folder, files } of [manifests].flat() as readonly Manifest[]) {
    for (const { name, rows } of files) {
      const path = join(folder, name)
      const found = name.endsWith('.csv')
        ? (await readFile(path, 'utf8'))
            .split('\n')
            .slice(1, -1)
            .map((line) => Number(line.split(',')[0]))
        : (await readParquetFile(path)).rows.map((row) => Number(row.id))
      assert.equal(found.length, rows, name)
      ids.push(...found)
    }
  }
  return ids.sort((a, b) => a - b)
}

/** The difference between long lists, which assert would look for until the next day. */
function sameIds(found: readonly number[], expected: readonly number[], why = 'every row once'): void {
  const at = Array.from({ length: Math.max(found.length, expected.length) }).findIndex(
    (_, index) => found[index] !== expected[index],
  )
  const message = `${why}: ${found.length} ids in place of ${expected.length}; ${found[at]} in place of ${expected[at]}`
  assert.ok(at === -1, message)
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1)

async function failureOf(work: Promise<unknown>): Promise<PoolsmithError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof PoolsmithError, String(error))
  return error
}

const run = (
  to: string,
  options: Partial<ExtractOptions> = {},
  source: ExtractSource = { table: 'flights' },
  engine: ExtractEngine = db,
): Promise<Manifest> => extractTable(engine, source, { to, format: 'csv', partitions: 4, ...options })

/** What is done once, when the first rows have been written. */
function once(action: () => Promise<unknown> | undefined): { onProgress: () => void; done: Promise<unknown> } {
  const { promise, resolve } = Promise.withResolvers<unknown>()
  let begun = false
  const onProgress = (): void => {
    if (begun) return
    begun = true
    resolve(action())
  }
  return { onProgress, done: promise }
}

const clean = async (): Promise<void> => {
  assert.equal(await copiesRunning(server), '0')
  assert.equal(db.pool.stats().inUse, 0)
  const open =
    "select count(*) from pg_stat_activity where state like 'idle in%' or state like 'active%' and query like 'copy%'"
  assert.equal(await server.sql(open), '0')
}

describe('one snapshot', () => {
  for (const format of ['parquet', 'csv'] as const) {
    test(`${format}: every row is read once, as it was at the beginning`, async () => {
      await server.sql(
        `create table busy as select g as id, repeat('x', 300) as filler from generate_series(1, 40000) g`,
      )
      await using folder = await temporaryFolder()
      // Moves rows to other places, takes some away, adds some: after the first session has its snapshot, and before
      // any other session is there.
      const changed = once(() =>
        server.sql(`update busy set filler = 'y'; delete from busy where id % 2 = 0;
          insert into busy select g, 'z' from generate_series(50000, 60000) g`),
      )
      let sessions = 0
      const acquire: ExtractEngine['pool']['acquire'] = (options) => {
        sessions += 1
        if (sessions === 1) return db.pool.acquire(options)
        changed.onProgress()
        return { promise: changed.done.then(() => db.pool.acquire(options).promise) }
      }
      const { pool, connection } = db
      const engine: ExtractEngine = {
        connection,
        pool: {
          acquire,
          release: (raw) => pool.release(raw),
          invalidate: (raw) => pool.invalidate(raw),
          stats: () => pool.stats(),
        },
      }
      const manifest = await run(folder.path, { format, batchRows: 500 }, { table: 'busy' }, engine)
      await changed.done
      // One more, where a session came so late that it was not needed, and its statement was cancelled.
      assert.ok(sessions >= 4)
      assert.equal(manifest.files.length, 4)
      sameIds(await idsOf(manifest), upTo(40_000))
      assert.equal(manifest.rows, 40_000)
      const labels = manifest.files.map(({ label }) => label)
      assert.match(labels[0] ?? '', /^pages 0 to \d+$/)
      assert.match(labels[3] ?? '', /to the end$/)
      // About equal, since the rows are.
      for (const { rows } of manifest.files) assert.ok(rows > 8000 && rows < 12_000, String(rows))
      const left = await filesBelow(folder.path)
      assert.equal(left.length, 5, left.join())
      await clean()
      await server.sql('drop table busy')
    })
  }

  test('a partitioned table, and one that others inherit from, are read in parts', async () => {
    await using folder = await temporaryFolder()
    const manifest = await run(folder.path, { format: 'parquet' }, { table: 'parts' })
    assert.ok(manifest.files.length > 1)
    sameIds(await idsOf(manifest), upTo(20_000))
    await server.sql(`create table parent (id int); create table heir () inherits (parent);
      insert into parent select generate_series(1, 1000); insert into heir select generate_series(1001, 20000)`)
    sameIds(await idsOf(await run(folder.path, {}, { table: 'parent' })), upTo(20_000))
  })

  test('a view, a foreign table and a query are one part, or ranges of a column', async () => {
    await using folder = await temporaryFolder()
    await server.sql(`create extension postgres_fdw; create server here foreign data wrapper postgres_fdw
      options (host '${server.socketDirectory}', port '${server.port}', dbname 'postgres');
      create user mapping for postgres server here options (user 'postgres');
      create foreign table far (id int, k text) server here options (table_name 'parts')`)
    assert.equal((await run(folder.path, {}, { table: 'far' })).files.length, 1)
    sameIds(await idsOf(await run(folder.path, { partitionBy: 'id' }, { table: 'far' })), upTo(20_000))
    assert.equal((await run(folder.path, {}, { table: 'seen' })).files.length, 1)
    const ranged = await run(folder.path, { partitionBy: 'id' }, { table: 'seen' })
    assert.deepEqual(
      ranged.files.map(({ rows }) => rows),
      [4999, 5000, 5000, 5001],
    )
    sameIds(await idsOf(ranged), upTo(20_000))
    const query = { query: db('parts').select('id', 'k').where('id', '<=', 100), name: 'q' }
    const byText = await run(folder.path, { partitionBy: 'k' }, query)
    sameIds(await idsOf(byText), upTo(100), 'NULL, and one value that fills most ranges')
    const where = await run(
      folder.path,
      { partitionBy: 'id', where: (q) => q.where('id', '>', 19_000) },
      { table: 'parts' },
    )
    sameIds(await idsOf(where), upTo(20_000).slice(19_000))
    assert.equal((await failureOf(run(folder.path, { partitionBy: 'idd' }))).code, 'COLUMN_NOT_FOUND')
    assert.equal((await failureOf(run(folder.path, { partitions: 0 }))).code, 'CONFIG_INVALID')
  })

  test('a table has at most one part for each page', async () => {
    await using folder = await temporaryFolder()
    await server.sql('create table little as select 1 as id; create table none (id int)')
    assert.deepEqual(
      (await run(folder.path, {}, { table: 'little' })).files.map(({ rows }) => rows),
      [1],
    )
    assert.deepEqual(
      (await run(folder.path, {}, { table: 'none' })).files.map(({ rows }) => rows),
      [0],
    )
  })

  test('a run uses no more connections than the pool has, and waits for none that others hold', async () => {
    await using folder = await temporaryFolder()
    await using single = await superuserEngine(server, { pool_size: 1, max_overflow: 0 })
    sameIds(await idsOf(await run(folder.path, {}, { table: 'flights' }, single)), upTo(ROWS))
    await using two = await superuserEngine(server, { pool_size: 2, max_overflow: 0 })
    const held = await two.pool.acquire().promise
    const started = Date.now()
    sameIds(await idsOf(await run(folder.path, {}, { table: 'flights' }, two)), upTo(ROWS))
    assert.ok(Date.now() - started < 25_000, 'the pool would have waited for 30 seconds')
    two.pool.release(held)

    // A pool that gives up on the second session while the first one reads.
    await using hasty = await superuserEngine(server, { pool_size: 2, max_overflow: 0, pool_timeout: 1 })
    const both = await Promise.all([hasty.pool.acquire().promise, hasty.pool.acquire().promise])
    hasty.pool.release(both[0])
    const where: ExtractOptions['where'] = (query) => query.whereRaw('(id <> 1 or pg_sleep(3) is not null)')
    sameIds(await idsOf(await run(folder.path, { where }, { table: 'flights' }, hasty)), upTo(ROWS))
    assert.equal(hasty.pool.stats().counts.timedOut, 1)
    hasty.pool.release(both[1])
  })

  test('no more parts than `concurrency` are read at once, whatever the pool allows', async () => {
    for (const concurrency of [1, 3]) {
      let most = 0
      let reading = 0
      const to: BatchConsumer = async (batches) => {
        reading += 1
        most = Math.max(most, reading)
        for await (const _batch of batches);
        reading -= 1
      }
      const content = await extractTable(db, { table: 'flights' }, { partitions: 32, concurrency, batchRows: 500, to })
      assert.equal(content.rows, ROWS)
      assert.ok(most <= concurrency, String(most))
    }
    const none = run('/nowhere', { concurrency: 0 })
    assert.equal((await failureOf(none)).code, 'CONFIG_INVALID')
  })

  test('a consumer is called for each partition', async () => {
    const seen: number[] = []
    let rows = 0
    const content = await extractTable(
      db,
      { table: 'flights' },
      {
        partitions: 3,
        to: async (batches, { partition }) => {
          seen.push(partition)
          for await (const batch of batches) rows += batch.numRows
        },
      },
    )
    assert.deepEqual([seen.sort(), rows, content.rows], [[0, 1, 2], ROWS, ROWS])
  })

  test('when a consumer fails, the signal of the others aborts', async () => {
    const own = new Error('mine')
    const other = Promise.withResolvers<void>()
    let told = false
    const to: BatchConsumer = async (batches, { partition, signal }) => {
      if (partition === 0) {
        await other.promise
        throw own
      }
      other.resolve()
      await Promise.race([nodeOnce(signal, 'abort'), sleep(30_000, undefined, { ref: false })])
      told = signal.aborted
      for await (const _batch of batches);
    }
    await assert.rejects(extractTable(db, { table: 'flights' }, { partitions: 2, to }), (error) => error === own)
    assert.ok(told)
    await clean()
  })

  test('an abort midway leaves nothing on disk and nothing on the server', async () => {
    await using folder = await temporaryFolder()
    const abort = new AbortController()
    const onProgress = (): void => abort.abort(new Error('enough'))
    const error = await failureOf(run(folder.path, { batchRows: 500, signal: abort.signal, onProgress }))
    assert.deepEqual([error.code, (error.cause as Error).message], ['ABORTED', 'enough'])
    assert.deepEqual(await filesBelow(folder.path), [])
    await clean()
  })
})

describe('a failure midway', () => {
  /** Of their CSV, about. A quarter of `wide` is more than all the buffers on the way hold. */
  const ROWS_BYTES: Readonly<Record<string, number>> = {
    flights: ROWS * 196,
    between_runs: ROWS * 196,
    seen_flights: ROWS * 196,
    marked: ROWS * 202,
    moved: ROWS * 196,
    wide: 50_000 * 1694,
    tied: ROWS * 196,
  }

  /** One connection, so that partitions come one after the other; the step is taken early in the third one. */
  async function failThird(
    to: string,
    options: Partial<ExtractOptions> = {},
    step = diskFull,
    table = 'flights',
  ): Promise<PoolsmithError> {
    await using single = await superuserEngine(server, { pool_size: 1, max_overflow: 0 })
    let bytes = 0
    let done = false
    using _fault = await beforeWrites(async (chunk) => {
      // Parts are of about equal size; small writes are the notes beside them.
      if (chunk.length > 100_000) bytes += chunk.length
      if (done || bytes < 0.52 * (ROWS_BYTES[table] ?? 0)) return
      done = true
      await step()
    })
    return await failureOf(run(to, options, { table }, single))
  }

  const diskFull = (): Promise<unknown> =>
    Promise.reject(Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' }))

  test('a failure names the partition, leaves no file that looks complete, and the next run goes on', async () => {
    await using folder = await temporaryFolder()
    const error = await failThird(folder.path)
    assert.deepEqual([error.code, error.details.partition, error.details.whole], ['DISK_FULL', 2, 2])
    assert.match(error.message, /^Partition 2 of 4 \(pages \d+ to \d+\): /)
    assert.match(error.hint ?? '', /2 of 4 partitions are complete/)
    const left = await filesBelow(folder.path)
    assert.deepEqual(
      left.filter((name) => /\.csv$|_manifest/.test(name)),
      [],
    )
    assert.equal(left.filter((name) => name.endsWith('.whole')).length, 2)

    const kept = await readFile(join(folder.path, left.find((name) => name.endsWith('00000.whole')) ?? ''), 'utf8')
    const manifest = await run(folder.path)
    assert.deepEqual(
      manifest.files.map(({ keptFrom }) => keptFrom !== undefined),
      [true, true, false, false],
    )
    assert.match(manifest.notes.join(), /Partitions 0, 1 were kept/)
    sameIds(await idsOf(manifest), upTo(ROWS))
    assert.equal(await readFile(join(manifest.folder, manifest.files[0]?.name ?? ''), 'utf8'), kept)
    const batches = new Set(manifest.files.map(({ name }) => name.slice(5, 41)))
    assert.deepEqual([...batches], [manifest.batchId])
    assert.equal((await filesBelow(folder.path)).length, 5)
    const again = await run(folder.path)
    assert.notEqual(again.batchId, manifest.batchId)
    assert.deepEqual(
      again.files.filter(({ keptFrom }) => keptFrom !== undefined),
      [],
    )
  })

  test('an abort does not wait until all kept files are hashed', async () => {
    await using folder = await temporaryFolder()
    await failThird(folder.path)
    const path = (await filesBelow(folder.path)).find((name) => name.endsWith('plan.json')) ?? ''
    const staging = dirname(join(folder.path, path))
    const plan = JSON.parse(await readFile(join(staging, 'plan.json'), 'utf8')) as ExtractPlan
    const key = basename(staging).replace('_unfinished-', '')
    const day = await DayFolder.open(folder.path, dirname(staging), 'append', plan.batchId)
    const place = { day, key, keep: true, obstacleTo: async () => undefined }
    const open = PartFiles.open(place, plan, AbortSignal.abort(new Error('enough')))
    assert.equal((await failureOf(open)).code, 'ABORTED')
    assert.equal((await filesBelow(staging)).length, 5)
  })

  test('a run that was killed while it moved files is resumed from either place', async () => {
    await using folder = await temporaryFolder()
    await failThird(folder.path)
    const left = (await filesBelow(folder.path)).map((name) => join(folder.path, name))
    const first = left.find((path) => path.endsWith('00000.whole')) ?? ''
    const { batchId } = JSON.parse(await readFile(join(dirname(first), 'plan.json'), 'utf8')) as ExtractPlan
    await rename(first, join(dirname(dirname(first)), `part-${batchId}-00000.csv`))
    const manifest = await run(folder.path)
    assert.deepEqual(
      manifest.files.map(({ keptFrom }) => keptFrom !== undefined),
      [true, true, false, false],
    )
    sameIds(await idsOf(manifest), upTo(ROWS))
    assert.equal((await filesBelow(folder.path)).length, 5)
  })

  test('a lost connection and a cancelled statement name the partition', async () => {
    await using folder = await temporaryFolder()
    for (const [how, code] of [
      ['pg_terminate_backend', 'CONNECTION_LOST'],
      ['pg_cancel_backend', 'QUERY_CANCELED'],
    ]) {
      const step = (): Promise<string> =>
        server.sql(`select ${how}(pid) from pg_stat_activity where query ilike 'copy%' and state = 'active'`)
      // In the third part it waits, so that the buffers on the way cannot hold all that is still to come.
      const where: ExtractOptions['where'] = (query) => query.whereRaw('(id <> 37000 or pg_sleep(600) is null)')
      const error = await failThird(folder.path, { resume: false, where }, step, 'wide')
      assert.deepEqual([error.code, error.details.partition, error.details.whole], [code, 2, 2])
    }
    sameIds(await idsOf(await run(folder.path, {}, { table: 'wide' })), upTo(50_000))
  })

  const anew: readonly [string, Partial<ExtractOptions>, string | undefined][] = [
    ['when asked not to resume', { resume: false }, undefined],
    ['with other options', { rowHash: true }, undefined],
    ['with another condition', { where: (query) => query.where('id', '>', 0) }, undefined],
    ['when the table was rewritten', {}, 'vacuum full flights'],
    ['when a column was added', {}, 'alter table flights add column extra int'],
    ['when a file was damaged', {}, undefined],
  ]
  for (const [name, options, sql] of anew) {
    test(`nothing is kept ${name}`, async () => {
      await using folder = await temporaryFolder()
      await failThird(folder.path)
      if (sql !== undefined) await server.sql(sql)
      if (name.includes('damaged')) {
        for (const file of await filesBelow(folder.path)) {
          if (file.endsWith('.whole')) await writeFile(join(folder.path, file), 'id\n')
        }
      }
      const manifest = await run(folder.path, options)
      assert.deepEqual(
        manifest.files.filter(({ keptFrom }) => keptFrom !== undefined),
        [],
      )
      sameIds(await idsOf(manifest), upTo(ROWS))
    })
  }

  const changes: readonly [string, string | undefined][] = [
    ['rows were updated', "update between_runs set filler = repeat('z', 96) where id % 5 = 0"],
    ['one row of a complete part was deleted', 'delete from between_runs where id = 1'],
    [
      'as many rows were added to a complete part as were deleted from it',
      `delete from between_runs where id = 1; vacuum between_runs; insert into between_runs values (1, 'AA', 'again')`,
    ],
    ['rows were updated in a transaction that was open when the first run began', undefined],
  ]
  for (const [what, sql] of changes) {
    test(`no row is doubled or lost when ${what}, and the manifest says what was dropped`, async () => {
      await server.sql(`drop table if exists between_runs; create table between_runs as select * from flights`)
      await using folder = await temporaryFolder()
      const error = await db.transaction(async (trx) => {
        // In a subtransaction, whose number is not among those of the snapshot.
        if (sql === undefined) {
          await trx.raw('savepoint step')
          await trx.raw("update between_runs set filler = repeat('z', 96) where id % 100 = 0")
          await trx.raw('release step')
        }
        return failThird(folder.path, {}, diskFull, 'between_runs')
      })
      assert.equal(error.details.whole, 2)
      for (const statement of sql?.split('; ') ?? []) await server.sql(statement)
      const manifest = await run(folder.path, {}, { table: 'between_runs' })
      const ids = (await server.sql('select id from between_runs order by id')).split('\n').map(Number)
      sameIds(await idsOf(manifest), ids)
      assert.deepEqual(
        manifest.files.filter(({ keptFrom }) => keptFrom !== undefined),
        [],
      )
      assert.match(
        manifest.notes.join('\n'),
        /^2 of 4 parts that a failed run had read were read again: the table has changed since\.$/m,
      )
      assert.equal((await filesBelow(folder.path)).length, 5)
    })
  }

  test('files that a killed run had moved are removed when they are not used', async () => {
    await server.sql(`drop table if exists between_runs; create table between_runs as select * from flights`)
    await using folder = await temporaryFolder()
    await failThird(folder.path, {}, diskFull, 'between_runs')
    const first = (await filesBelow(folder.path)).find((name) => name.endsWith('00000.whole')) ?? ''
    const staging = dirname(join(folder.path, first))
    const { batchId } = JSON.parse(await readFile(join(staging, 'plan.json'), 'utf8')) as ExtractPlan
    await rename(join(folder.path, first), join(dirname(staging), `part-${batchId}-00000.csv`))
    await server.sql("update between_runs set filler = 'z' where id = 1")
    const manifest = await run(folder.path, {}, { table: 'between_runs' })
    sameIds(await idsOf(manifest), upTo(ROWS))
    assert.equal((await filesBelow(folder.path)).length, 5)
  })

  test('parts of a view, whose changes do not show, are not kept, and the hint does not promise it', async () => {
    await server.sql('create view seen_flights as select * from flights')
    await using folder = await temporaryFolder()
    const source = { partitionBy: 'id' }
    const error = await failThird(folder.path, source, diskFull, 'seen_flights')
    assert.equal(error.details.whole, 2)
    assert.doesNotMatch(error.hint ?? '', /same call/)
    assert.deepEqual(await filesBelow(folder.path), [])
  })

  test('with a shared mark, rows that are changed in between come with the next run, and none is doubled', async () => {
    await server.sql(
      `create table marked as select *, id as version from flights; create sequence versions start ${ROWS + 1}`,
    )
    await using folder = await temporaryFolder()
    const to = join(folder.path, 'bronze')
    const watermark = { column: 'version', state: join(folder.path, 'state.json') }
    const options = { watermark, partitionBy: 'id' }
    await failThird(to, options, diskFull, 'marked')
    await server.sql(`update marked set version = nextval('versions') where id % 1000 = 0`)
    const manifest = await run(to, options, { table: 'marked' })
    assert.deepEqual(
      manifest.files.map(({ keptFrom }) => keptFrom !== undefined),
      [true, true, false, false],
    )
    const next = await run(to, options, { table: 'marked' })
    assert.equal(next.rows, ROWS / 1000)
    const found = new Set([...(await idsOf(manifest)), ...(await idsOf(next))])
    assert.equal(found.size, ROWS)
    assert.equal(new Set(await idsOf(manifest)).size, manifest.rows)
  })

  test('a mark that an update leaves as it is does not double rows by their new places', async () => {
    await server.sql('create table moved as select * from flights')
    await using folder = await temporaryFolder()
    const options = { watermark: { column: 'id' } }
    await failThird(folder.path, options, diskFull, 'moved')
    await server.sql("update moved set filler = repeat('z', 96) where id <= 1000")
    sameIds(await idsOf(await run(folder.path, options, { table: 'moved' })), upTo(ROWS))
  })

  test("of two runs at once, only one resumes, and neither touches the other's files", async () => {
    await using folder = await temporaryFolder()
    await failThird(folder.path)
    // The same folder by two names.
    const both = await Promise.all([run(folder.path), run(relative(process.cwd(), folder.path))])
    assert.notEqual(both[0].batchId, both[1].batchId)
    for (const manifest of both) sameIds(await idsOf(manifest), upTo(ROWS))
    assert.equal((await filesBelow(folder.path)).length, 10)
  })

  test('nothing is kept when rows with the same mark were read in between', async () => {
    await server.sql(`create table tied as select 0 as id, 1 as n, carrier, filler from flights limit 1;
      alter table tied add primary key (id)`)
    await using folder = await temporaryFolder()
    const to = join(folder.path, 'bronze')
    const watermark = { column: 'n', state: join(folder.path, 'state.json') }
    assert.equal((await run(to, { watermark }, { table: 'tied' })).rows, 1)
    await server.sql('insert into tied select id, 1, carrier, filler from flights')
    const error = await failThird(to, { watermark }, diskFull, 'tied')
    assert.ok(Number(error.details.whole) > 0)
    const between = await run(to, { watermark, partitions: 1 }, { table: 'tied' })
    sameIds(await idsOf(between), upTo(ROWS))
    assert.equal(between.watermark?.high, between.watermark?.after)
    assert.equal((await run(to, { watermark }, { table: 'tied' })).rows, 0)
  })

  test('a failed run leaves the state file unchanged, and the completed run replaces it', async () => {
    await using folder = await temporaryFolder()
    const state = join(folder.path, 'state.json')
    const watermark = { column: 'id', state }
    const to = join(folder.path, 'bronze')
    await failThird(to, { watermark })
    await assert.rejects(readFile(state), { code: 'ENOENT' })
    const manifest = await run(to, { watermark })
    assert.deepEqual(
      manifest.files.map(({ keptFrom }) => keptFrom !== undefined),
      [true, true, false, false],
    )
    assert.equal(JSON.parse(await readFile(state, 'utf8')).watermark.high, String(ROWS))
    assert.equal((await run(to, { watermark })).rows, 0)
  })
})

describe('a plan for other machines', () => {
  const asJson = (plan: ExtractPlan): ExtractPlan => JSON.parse(JSON.stringify(plan)) as ExtractPlan

  test('the partitions together are the table, and a complete one is not read again', async () => {
    await using folder = await temporaryFolder()
    const where = {
      where: (query: { where(column: string, op: string, value: number): unknown }) => query.where('id', '>', 20_000),
    }
    const plan = asJson(
      await planExtract(
        db,
        { table: 'flights' },
        { format: 'parquet', partitions: 3, source: 'crm', ...where, rowHash: true },
      ),
    )
    assert.equal(plan.partitions.length, 3)
    const to = folder.path
    const manifests = await Promise.all(plan.partitions.map((_, number) => extractPartition(db, plan, number, { to })))
    sameIds(await idsOf(manifests), upTo(ROWS).slice(20_000))
    assert.deepEqual(
      manifests.map(({ partition }) => partition?.number),
      [0, 1, 2],
    )
    assert.ok(manifests[0]?.columns.some(({ name }) => name === '_row_hash'))
    const files = await filesBelow(folder.path)
    assert.equal(files.length, 6)

    await server.sql('update flights set id = -id where id = 30000')
    try {
      assert.deepEqual(await extractPartition(db, plan, 1, { to }), manifests[1])
    } finally {
      await server.sql('update flights set id = -id where id = -30000')
    }
    await rm(join(folder.path, files.find((name) => name.endsWith('00001.parquet')) ?? ''))
    assert.notEqual((await extractPartition(db, plan, 1, { to })).finishedAt, manifests[1]?.finishedAt)
  })

  test('a plan of a query with a watermark is read into a consumer', async () => {
    const query = db('flights').select('id', 'carrier').where('carrier', 'AA')
    const options = { partitions: 2, partitionBy: 'id', watermark: { column: 'id', after: 100 } }
    const plan = asJson(await planExtract(db, { query, name: 'aa' }, options))
    assert.equal(plan.watermark?.high, await server.sql("select max(id) from flights where carrier = 'AA'"))
    let rows = 0
    for (const number of plan.partitions.keys()) {
      await extractPartition(db, plan, number, {
        to: async (batches) => {
          for await (const batch of batches) rows += batch.numRows
        },
      })
    }
    assert.equal(String(rows), await server.sql("select count(*) from flights where carrier = 'AA' and id > 100"))
  })

  test('parts see the table at their own time, or at the time of a held snapshot', async () => {
    await server.sql(
      `create table moving as select g as id, repeat('x', 100) as filler from generate_series(1, 5000) g`,
    )
    await using folder = await temporaryFolder()
    const to = folder.path
    const options = { format: 'csv', partitions: 2 } as const
    const held = await planExtract(db, { table: 'moving' }, { ...options, holdSnapshot: true })
    const loose = asJson(await planExtract(db, { table: 'moving' }, options))
    await server.sql(`delete from moving where id <= 100; insert into moving values (5001, 'late')`)

    const all = async (plan: ExtractPlan): Promise<number[]> =>
      idsOf(await Promise.all([0, 1].map((number) => extractPartition(db, asJson(plan), number, { to }))))
    sameIds(await all(held), upTo(5000))
    sameIds(await all(loose), upTo(5001).slice(100))
    await held[Symbol.asyncDispose]()
    await rm(folder.path, { recursive: true })
    assert.equal((await failureOf(extractPartition(db, asJson(held), 0, { to }))).code, 'SNAPSHOT_GONE')
    assert.equal(db.pool.stats().inUse, 0)
  })

  test('a changed plan, a number beyond it, and a table that has changed are refused', async () => {
    await server.sql(
      `create table planned as select g as id, repeat('x', 100) as filler from generate_series(1, 5000) g`,
    )
    await using folder = await temporaryFolder()
    const to = folder.path
    const plan = asJson(await planExtract(db, { table: 'planned' }, { format: 'csv', partitions: 2 }))
    const code = async (changed: ExtractPlan, number = 0): Promise<string> =>
      (await failureOf(extractPartition(db, changed, number, { to }))).code
    assert.equal(await code({ ...plan, table: 'flights' }), 'PLAN_INVALID')
    assert.equal(await code({ ...plan, version: 2 }), 'PLAN_INVALID')
    assert.equal(await code(JSON.parse('null')), 'PLAN_INVALID')
    assert.equal(await code(plan, 2), 'PLAN_INVALID')
    for (const wrong of [(async () => undefined) as unknown as string, '']) {
      assert.equal((await failureOf(extractPartition(db, plan, 0, { to: wrong }))).code, 'CONFIG_INVALID')
    }

    await server.sql('vacuum full planned')
    const moved = await failureOf(extractPartition(db, plan, 1, { to }))
    assert.deepEqual([moved.code, moved.details.partition], ['TABLE_CHANGED', 1])
    await server.sql('alter table planned add column extra int')
    assert.equal(await code(plan), 'TABLE_CHANGED')
    await server.sql('drop table planned')
    assert.equal(await code(plan), 'TABLE_NOT_FOUND')
    assert.deepEqual(await filesBelow(folder.path), [])
  })

  test('old files of killed runs are removed by runs and by parts of plans', async () => {
    await using folder = await temporaryFolder()
    const { folder: day } = await run(folder.path, { partitions: 1 })
    const leftover = join(day, `.part-${randomUUID()}.csv.tmp`)
    const plan = asJson(await planExtract(db, { table: 'flights' }, { format: 'csv' }))
    const runs = [() => run(folder.path), () => extractPartition(db, plan, 0, { to: folder.path })]
    for (const again of runs) {
      await writeFile(leftover, 'id')
      await utimes(leftover, 0, 0)
      await again()
      await assert.rejects(stat(leftover), { code: 'ENOENT' })
    }
  })

  test('a part that another session has just completed is not read again', async () => {
    await using folder = await temporaryFolder()
    const plan = asJson(await planExtract(db, { table: 'flights' }, { format: 'csv', partitions: 2 }))
    // The second waits for the connection of the first.
    await using one = await superuserEngine(server, { pool_size: 1, max_overflow: 0 })
    const read = (): Promise<Manifest> => extractPartition(one, plan, 0, { to: folder.path })
    const [first, second] = await Promise.all([read(), read()])
    assert.equal(second.finishedAt, first.finishedAt)
  })

  test('of two readers of one partition, one gets EXTRACT_BUSY', async () => {
    await using folder = await temporaryFolder()
    const to = folder.path
    // The first one comes to a row that waits for a lock.
    const plan = asJson(
      await planExtract(
        db,
        { table: 'flights' },
        {
          format: 'csv',
          partitions: 2,
          where: (query) => query.whereRaw('(id > 1 or pg_advisory_xact_lock_shared(4711)::text is not null)'),
        },
      ),
    )
    const waiting = "select count(*) from pg_locks where locktype = 'advisory' and objid = 4711 and not granted"
    let estimate: number | undefined
    let first: Promise<Manifest> | undefined
    await db.transaction(async (holding) => {
      await holding.raw('select pg_advisory_xact_lock(4711)')
      first = extractPartition(db, plan, 0, { to, onProgress: ({ estimatedRows }) => (estimate = estimatedRows) })
      first.catch(() => undefined)
      for (let tries = 0; (await server.sql(waiting)) !== '1'; tries++) {
        assert.ok(tries < 200, 'the first one does not come to the lock')
        await sleep(50)
      }
      const error = await failureOf(extractPartition(db, plan, 0, { to }))
      assert.equal(error.code, 'EXTRACT_BUSY')
    })
    await first
    assert.equal(estimate, Math.ceil((plan.estimatedRows ?? 0) / 2))
    assert.equal((await filesBelow(folder.path)).length, 2)
  })
})

test('drift lists columns that were added, removed or retyped since the last manifest', async () => {
  await using folder = await temporaryFolder()
  await server.sql('create table drifting (id int, gone text, n int); insert into drifting values (1)')
  const source = { table: 'drifting' }
  const first = await run(folder.path, { extractedAt: new Date('2024-01-01Z') }, source)
  assert.equal(first.drift, undefined)
  assert.equal((await run(folder.path, { extractedAt: new Date('2024-01-02Z') }, source)).drift, undefined)
  await server.sql('alter table drifting drop column gone, add column fresh date, alter column n type bigint')
  const stop = new Error('stop')
  const onDrift = async (): Promise<void> => {
    throw stop
  }
  const before = await filesBelow(folder.path)
  await assert.rejects(run(folder.path, { onDrift }, source), (error) => error === stop)
  assert.deepEqual(await filesBelow(folder.path), before)
  const { drift } = await run(folder.path, {}, source)
  assert.deepEqual(
    [drift?.added.map(({ name }) => name), drift?.removed.map(({ name }) => name), drift?.retyped],
    [['fresh'], ['gone'], [{ name: 'n', from: 'integer', to: 'bigint' }]],
  )
  assert.equal((await run(folder.path, {}, source)).drift, undefined)

  // The parts of a plan tell it too, each of them.
  await server.sql(`alter table drifting drop column n; insert into drifting select generate_series(1, 5000)`)
  const plan = await planExtract(db, source, { format: 'csv', partitions: 2 })
  const to = folder.path
  await assert.rejects(extractPartition(db, plan, 0, { to, onDrift }), (error) => error === stop)
  for (const number of [0, 1]) {
    const removed = (await extractPartition(db, plan, number, { to })).drift?.removed
    assert.deepEqual(
      removed?.map(({ name }) => name),
      ['n'],
    )
  }
})
