import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { rm, stat, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { extractPartition } from '../../src/extract/extract-partition.ts'
import type { Manifest } from '../../src/extract/manifest.ts'
import type { ExtractPlan } from '../../src/extract/plan.ts'
import { planExtract } from '../../src/extract/plan-extract.ts'
import { failureOf, filesBelow, superuserEngine } from '../support/extract.ts'
import { idsOf, ROWS, sameIds, startParts, upTo } from '../support/extract-parts.ts'
import { temporaryFolder } from '../support/folder.ts'

const { server, db, run } = await startParts()

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
