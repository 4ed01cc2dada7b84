import assert from 'node:assert/strict'
import { once as nodeOnce } from 'node:events'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { extractTable } from '../../src/extract/extract-table.ts'
import type { BatchConsumer, ExtractOptions } from '../../src/extract/options.ts'
import type { ExtractEngine } from '../../src/extract/read/table.ts'
import { copiesRunning, failureOf, filesBelow, superuserEngine } from '../support/extract.ts'
import { idsOf, once, ROWS, sameIds, startParts, upTo } from '../support/extract-parts.ts'
import { temporaryFolder } from '../support/folder.ts'

const { server, db, run } = await startParts()

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
