/** Plans that other machines run: what they belong to, and what is refused. */

import assert from 'node:assert/strict'
import { readdir, readFile, truncate, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { after, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { extractPartition } from '../../src/extract/extract-partition.ts'
import { extractTable } from '../../src/extract/extract-table.ts'
import { finishPlan } from '../../src/extract/finish-plan.ts'
import type { ExtractPlan } from '../../src/extract/plan.ts'
import { type PlanOptions, planExtract } from '../../src/extract/plan-extract.ts'
import type { ExtractSource } from '../../src/extract/read/table.ts'
import { createEngine } from '../../src/index.ts'
import { beforeWrites, failureOf, filesBelow, superuserEngine } from '../support/extract.ts'
import { temporaryFolder } from '../support/folder.ts'
import { startPostgres } from '../support/postgres.ts'

const server = await startPostgres()
await server.sql(`create table orders (id int primary key, filler text);
  insert into orders select g, repeat('x', 100) from generate_series(1, 5000) g`)
await server.sql('create database copy template postgres', 'template1')
const db = await superuserEngine(server)
after(async () => {
  await db.destroy()
  await server[Symbol.asyncDispose]()
})
async function planOf(source: ExtractSource, options: PlanOptions = {}): Promise<ExtractPlan> {
  const plan = await planExtract(db, source, { format: 'csv', partitions: 2, ...options })
  return JSON.parse(JSON.stringify(plan)) as ExtractPlan
}

describe('a plan belongs to its database', () => {
  const byValues = { partitionBy: 'id' }
  const plans: readonly [string, ExtractSource, PlanOptions][] = [
    ['by pages', { table: 'orders' }, {}],
    ['by values', { table: 'orders' }, byValues],
    ['of a query', { query: 'select id from orders', name: 'q' }, byValues],
  ]
  for (const [what, source, options] of plans) {
    test(`a plan ${what} is refused in a copy of the database, and in one without the table`, async () => {
      await using folder = await temporaryFolder()
      const plan = await planOf(source, options)
      for (const database of ['copy', 'template1']) {
        await using other = await superuserEngine(server, {}, database)
        const error = await failureOf(extractPartition(other, plan, 0, { to: folder.path }))
        assert.equal(error.code, 'PLAN_OTHER_DATABASE')
        assert.equal(error.transient, false)
        const shown = `^Partition 0 of 2 \\(.*\\): The plan was made for the database postgres \\(\\d+/\\d+\\), and this connection is to the database ${database} \\(\\d+/\\d+\\)\\.$`
        assert.match(error.message, new RegExp(shown))
      }
      assert.deepEqual(await filesBelow(folder.path), [])
    })
  }

  test('a plan is refused by another server whose database and table have the same names', async () => {
    await using folder = await temporaryFolder()
    await using stack = new AsyncDisposableStack()
    const plan = await planOf({ table: 'orders' }, byValues)
    const twin = stack.use(await startPostgres())
    await twin.sql('create table orders (id int primary key, filler text)')
    const other = await superuserEngine(twin)
    stack.defer(() => other.destroy())
    const error = await failureOf(extractPartition(other, plan, 0, { to: folder.path }))
    assert.equal(error.code, 'PLAN_OTHER_DATABASE')
  })

  test('a plan by values is refused when the table was created again, and taken when it was only rewritten', async () => {
    await using folder = await temporaryFolder()
    const to = folder.path
    await server.sql('create table again as select g as id from generate_series(1, 100) g')
    const plan = await planOf({ table: 'again' }, byValues)
    await server.sql('vacuum full again')
    assert.equal((await extractPartition(db, plan, 0, { to })).rows, 49)
    await server.sql('drop table again; create table again as select g as id from generate_series(1, 100) g')
    const error = await failureOf(extractPartition(db, plan, 1, { to }))
    assert.deepEqual([error.code, error.details.partition], ['TABLE_CHANGED', 1])
  })

  test('a role that may not read the control data can plan and read', async () => {
    await using folder = await temporaryFolder()
    await server.sql('revoke execute on function pg_control_system() from public')
    await server.sql("create role plain login password 'plain'; grant select on orders to plain")
    const { host, port } = server
    await using plain = await createEngine({
      type: 'postgres',
      host,
      port,
      login: 'plain',
      password: 'plain',
      database: 'postgres',
    })
    const plan = await planExtract(plain, { table: 'orders' }, { format: 'csv', partitions: 2 })
    assert.match(plan.fingerprint.system, /^\/\d+$/)
    assert.ok((await extractPartition(plain, plan, 0, { to: folder.path })).rows > 0)
  })
})

describe('a plan of the same request is kept', () => {
  const extractedAt = new Date('2024-03-01T00:00:00Z')
  const where: PlanOptions['where'] = (query) => query.where('id', '>', 10)
  const options: PlanOptions = { where, extractedAt, watermark: { column: 'id', after: 5n } }

  test('the earlier plan is returned, on another session and on another day', async () => {
    const plan = await planOf({ table: 'orders' }, options)
    const again = await planOf({ table: 'orders' }, { ...options, earlier: plan })
    assert.deepEqual(again, plan)
    const query: ExtractSource = { query: 'select id from orders', name: 'q' }
    const ofQuery = await planOf(query, { partitionBy: 'id' })
    assert.equal((await planOf(query, { partitionBy: 'id', earlier: ofQuery })).batchId, ofQuery.batchId)
  })

  const others: readonly [string, PlanOptions][] = [
    ['of another condition', { where: (query) => query.where('id', '>', 11) }],
    ['of no condition', { where: undefined }],
    ['of another number of parts', { partitions: 3 }],
    ['divided by another column', { partitionBy: 'id' }],
    ['of other columns', { columns: ['id'] }],
    ['of another format', { format: 'jsonl' }],
    ['of another mark', { watermark: { column: 'id', after: 6 } }],
    ['of another date', { extractedAt: new Date('2024-03-02T00:00:00Z') }],
    ['of today', { extractedAt: undefined }],
    ['on a snapshot', { holdSnapshot: true }],
  ]
  for (const [what, changes] of others) {
    test(`a plan ${what} is made anew`, async () => {
      const plan = await planOf({ table: 'orders' }, options)
      await using again = await planExtract(
        db,
        { table: 'orders' },
        {
          format: 'csv',
          partitions: 2,
          ...options,
          ...changes,
          earlier: plan,
        },
      )
      assert.notEqual(again.batchId, plan.batchId)
    })
  }

  test('a plan is made anew when the columns have changed, or the rows have moved under its pages', async () => {
    await server.sql('create table moved as select * from orders')
    const source = { table: 'moved' }
    const byPages = await planOf(source)
    const byValues = await planOf(source, { partitionBy: 'id' })
    await server.sql('vacuum full moved')
    assert.notEqual((await planOf(source, { earlier: byPages })).batchId, byPages.batchId)
    assert.equal((await planOf(source, { partitionBy: 'id', earlier: byValues })).batchId, byValues.batchId)
    await server.sql('alter table moved add column extra int')
    assert.notEqual((await planOf(source, { partitionBy: 'id', earlier: byValues })).batchId, byValues.batchId)
  })

  test('a plan on a snapshot is never taken again, because the snapshot has ended', async () => {
    const held = await planExtract(db, { table: 'orders' }, { format: 'csv', partitions: 2, holdSnapshot: true })
    const plan = JSON.parse(JSON.stringify(held)) as ExtractPlan
    await held[Symbol.asyncDispose]()
    assert.notEqual((await planOf({ table: 'orders' }, { earlier: plan })).batchId, plan.batchId)
  })

  test('a plan without a snapshot notes that its parts are read at moments of their own', async () => {
    await using folder = await temporaryFolder()
    const plan = await planOf({ table: 'orders' })
    const note = /^Each part was read at a moment of its own/
    assert.equal(plan.notes.filter((each) => note.test(each)).length, 1)
    const part = await extractPartition(db, plan, 0, { to: folder.path })
    assert.equal(part.notes.filter((each) => note.test(each)).length, 1)
    assert.deepEqual((await planOf({ table: 'orders' }, { partitions: 1 })).notes, [])
    await using held = await planExtract(db, { table: 'orders' }, { format: 'csv', partitions: 2, holdSnapshot: true })
    assert.deepEqual(held.notes, [])
  })
})

describe('a plan is finished', () => {
  test('one manifest names the files of all parts, and a part that is missing or cut off is named', async () => {
    await using folder = await temporaryFolder()
    const to = folder.path
    const plan = await planOf({ table: 'orders' }, { partitions: 3, format: 'parquet' })
    const first = await extractPartition(db, plan, 1, { to })
    const early = await failureOf(finishPlan(plan, { to }))
    assert.deepEqual([early.code, early.transient, early.details.missing], ['EXTRACT_INCOMPLETE', true, [0, 2]])
    for (const number of [0, 2]) await extractPartition(db, plan, number, { to })
    const whole = await finishPlan(plan, { to })
    assert.equal(whole.rows, 5000)
    assert.equal(basename(whole.path), `_manifest-${plan.batchId}.json`)
    assert.deepEqual(
      whole.files.map(({ partition, name }) => [partition, basename(name)]),
      [0, 1, 2].map((number) => [number, `part-${plan.batchId}-0000${number}.parquet`]),
    )
    assert.equal(
      whole.bytes,
      whole.files.reduce((sum, { bytes }) => sum + bytes, 0),
    )
    assert.equal(whole.partition, undefined)
    assert.equal(whole.notes.length, 1)
    assert.deepEqual(JSON.parse(await readFile(whole.path, 'utf8')).files, whole.files)
    // A part that is read again after the end is complete still.
    assert.equal((await extractPartition(db, plan, 1, { to })).finishedAt, first.finishedAt)
    const both = await Promise.all([finishPlan(plan, { to }), finishPlan(plan, { to })])
    assert.deepEqual(
      both.map(({ rows }) => rows),
      [5000, 5000],
    )
    assert.equal((await filesBelow(folder.path)).length, 7)
    await truncate(join(whole.folder, whole.files[2]?.name ?? ''), 10)
    assert.deepEqual((await failureOf(finishPlan(plan, { to }))).details.missing, [2])
  })

  test('notes and drift of the parts are in the manifest', async () => {
    await using folder = await temporaryFolder()
    const to = folder.path
    await server.sql("create table noted (id int, at timestamp); insert into noted values (1, now()), (2, 'infinity')")
    await extractTable(db, { table: 'noted' }, { to, format: 'parquet', columns: ['id'] })
    const plan = await planOf({ table: 'noted' }, { format: 'parquet', partitionBy: 'id' })
    for (const number of plan.partitions.keys()) await extractPartition(db, plan, number, { to })
    const whole = await finishPlan(plan, { to })
    assert.match(whole.notes.join('\n'), /^Each part[^\n]*\npartition 1: at: [^\n]*infinit[^\n]*$/)
    assert.deepEqual(
      whole.drift?.added.map(({ name }) => name),
      ['at'],
    )
  })

  test("the day's other extracts stay, are replaced in one step, or are an error", async () => {
    await using folder = await temporaryFolder()
    const to = folder.path
    const extractedAt = new Date('2024-03-31T12:00:00Z')
    const older = await extractTable(db, { table: 'orders' }, { to, format: 'csv', extractedAt })
    const plan = await planOf({ table: 'orders' }, { extractedAt })
    for (const number of plan.partitions.keys()) await extractPartition(db, plan, number, { to })
    const foreign = join(older.folder, 'notes.txt')
    await writeFile(foreign, 'mine')
    const all = await filesBelow(to)
    assert.equal((await failureOf(finishPlan(plan, { to, mode: 'error' }))).code, 'EXTRACT_EXISTS')
    assert.equal((await failureOf(finishPlan(plan, { to, mode: 'replace' as 'error' }))).code, 'CONFIG_INVALID')
    assert.deepEqual(await filesBelow(to), all)
    const beside = await finishPlan(plan, { to })
    assert.equal((await filesBelow(to)).length, all.length + 1)
    for (let again = 0; again < 2; again += 1) {
      const whole = await finishPlan(plan, { to, mode: 'overwrite' })
      assert.deepEqual([whole.rows, whole.files, whole.folder], [5000, beside.files, older.folder])
      const left = (await filesBelow(to)).map((path) => basename(path))
      assert.deepEqual(
        left.filter((name) => !name.includes(plan.batchId)),
        ['notes.txt'],
      )
      // Two parts with a manifest each, the manifest of the whole, and the other file.
      assert.equal(left.length, 6)
      assert.deepEqual(await readdir(dirname(whole.folder)), [basename(whole.folder)])
    }
    assert.equal((await finishPlan(plan, { to, mode: 'error' })).rows, 5000)
  })

  test('a plan for a consumer has no files to finish', async () => {
    await using folder = await temporaryFolder()
    const plan = await planOf({ table: 'orders' }, { format: undefined })
    assert.equal((await failureOf(finishPlan(plan, { to: folder.path }))).code, 'CONFIG_INVALID')
  })
})

describe('a partition that another session is reading', () => {
  test('is waited for with waitMillis: its manifest is returned, or it is read when the other session has failed', async () => {
    await using folder = await temporaryFolder()
    const to = folder.path
    const plan = await planOf({ table: 'orders' })
    const failed = new Error('mine')
    for (const outcome of ['complete', 'failed'] as const) {
      const number = outcome === 'complete' ? 0 : 1
      const { promise: reading, resolve: begun } = Promise.withResolvers<void>()
      const { promise: waiting, resolve: go } = Promise.withResolvers<void>()
      let fails = outcome === 'failed'
      using _gate = await beforeWrites(async () => {
        begun()
        await waiting
        if (!fails) return
        fails = false
        throw failed
      })
      const first = extractPartition(db, plan, number, { to })
      first.catch(() => undefined)
      await reading
      const before = db.pool.stats().counts.acquired
      const second = extractPartition(db, plan, number, { to, waitMillis: 60_000 })
      second.catch(() => undefined)
      assert.equal((await failureOf(extractPartition(db, plan, number, { to }))).code, 'EXTRACT_BUSY')
      // The second has asked, and has returned its session.
      while (db.pool.stats().counts.acquired < before + 2 || db.pool.stats().inUse > 1) await sleep(10)
      go()
      if (outcome === 'complete') {
        assert.equal((await second).finishedAt, (await first).finishedAt)
        continue
      }
      await assert.rejects(first)
      assert.equal((await second).rows, 5000 - (await extractPartition(db, plan, 0, { to })).rows)
    }
  })

  test('an abort ends the wait', async () => {
    await using folder = await temporaryFolder()
    const to = folder.path
    const plan = await planOf({ table: 'orders' })
    const { promise: reading, resolve: begun } = Promise.withResolvers<void>()
    const { promise: waiting, resolve: go } = Promise.withResolvers<void>()
    using _gate = await beforeWrites(async () => {
      begun()
      await waiting
    })
    const first = extractPartition(db, plan, 0, { to })
    await reading
    const abort = new AbortController()
    const second = failureOf(extractPartition(db, plan, 0, { to, waitMillis: 600_000, signal: abort.signal }))
    abort.abort(new Error('enough'))
    assert.equal((await second).code, 'ABORTED')
    go()
    await first
    for (const waitMillis of [-1, Number.NaN, 0.5]) {
      assert.equal((await failureOf(extractPartition(db, plan, 0, { to, waitMillis }))).code, 'CONFIG_INVALID')
    }
  })
})
