import assert from 'node:assert/strict'
import { readFile, rename, writeFile } from 'node:fs/promises'
import { basename, dirname, join, relative } from 'node:path'
import { describe, test } from 'node:test'
import type { PoolsmithError } from '../../src/errors.ts'
import { DayFolder } from '../../src/extract/files/day-folder.ts'
import { PartFiles } from '../../src/extract/files/part-files.ts'
import type { ExtractOptions } from '../../src/extract/options.ts'
import type { ExtractPlan } from '../../src/extract/plan.ts'
import { beforeWrites, failureOf, filesBelow, superuserEngine } from '../support/extract.ts'
import { idsOf, ROWS, sameIds, startParts, upTo } from '../support/extract-parts.ts'
import { temporaryFolder } from '../support/folder.ts'

const { server, db, run } = await startParts()

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
