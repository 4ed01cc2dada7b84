/** A run beside the extracts that are in the day's folder already. */

import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { extractTable } from '../../src/extract/extract-table.ts'
import type { Manifest } from '../../src/extract/manifest.ts'
import type { ExtractOptions } from '../../src/extract/options.ts'
import { runCli } from '../support/cli.ts'
import { beforeWrites, columnOf, dataPath, filesBelow, superuserEngine } from '../support/extract.ts'
import { temporaryFolder } from '../support/folder.ts'
import { startPostgres } from '../support/postgres.ts'

const server = await startPostgres()
const db = await superuserEngine(server)
after(async () => {
  await db.destroy()
  await server[Symbol.asyncDispose]()
})
const ROWS = 4000
await server.sql(
  `create table flights as select g as id, repeat('x', 100) as filler from generate_series(1, ${ROWS}) g`,
)

const run = (to: string, options: Partial<ExtractOptions> = {}): Promise<Manifest> =>
  extractTable(db, { table: 'flights' }, { to, format: 'csv', source: 'crm', ...options })

/** The files that a reader of the folder finds. */
const dataIn = (folder: string): string[] => readdirSync(folder).filter((name) => name.startsWith('part-'))

async function idsIn(folder: string): Promise<number> {
  const texts = await Promise.all(dataIn(folder).map((name) => readFile(join(folder, name), 'utf8')))
  return texts.reduce((sum, text) => sum + text.split('\n').length - 2, 0)
}

test('`append` writes beside the earlier extract of the day', async () => {
  await using folder = await temporaryFolder()
  const first = await run(folder.path)
  await run(folder.path, { mode: 'append' })
  assert.equal(await idsIn(first.folder), 2 * ROWS)
})

test('`error` refuses a second extract of the day before it reads a row, and leaves the first', async () => {
  await using folder = await temporaryFolder()
  const first = await run(folder.path, { mode: 'error' })
  const before = await filesBelow(folder.path)
  for (const partitions of [1, 4]) {
    await assert.rejects(run(folder.path, { mode: 'error', partitions }), (error: Error & { hint?: string }) => {
      assert.match(error.message, new RegExp(`already holds an extract of this day: _manifest-${first.batchId}.json`))
      assert.equal('code' in error && error.code, 'EXTRACT_EXISTS')
      assert.match(error.hint ?? '', /mode: 'overwrite'/)
      return true
    })
  }
  assert.deepEqual(await filesBelow(folder.path), before)
})

test('of several runs at once under `error`, at most one writes', async () => {
  await using folder = await temporaryFolder()
  const runs = await Promise.allSettled(Array.from({ length: 4 }, () => run(folder.path, { mode: 'error' })))
  const done = runs.filter(({ status }) => status === 'fulfilled')
  assert.ok(done.length <= 1)
  const files = await filesBelow(folder.path)
  assert.equal(files.length, done.length * 2, files.join())
})

test('`overwrite` replaces the files of the day in one step: a reader finds the old ones or the new ones', async () => {
  await using folder = await temporaryFolder()
  const first = await run(folder.path, { partitions: 4 })
  let looks = 0
  let isOver = false
  const batches = new Set<string>()
  const look = (): void => {
    const files = dataIn(first.folder)
    const found = new Set(files.map((name) => name.slice(5, 41)))
    assert.deepEqual([found.size, files.length], [1, 4])
    for (const batch of found) batches.add(batch)
    looks += 1
  }
  const reading = (async () => {
    while (!isOver) {
      look()
      await new Promise((resolve) => setImmediate(resolve))
    }
  })()
  const written = [first.batchId]
  try {
    for (let round = 0; round < 5; round += 1) {
      const manifest = await Promise.race([run(folder.path, { partitions: 4, mode: 'overwrite' }), reading])
      if (manifest === undefined) break
      written.push(manifest.batchId)
      assert.equal(manifest.folder, first.folder)
      assert.equal(await idsIn(manifest.folder), ROWS)
      look()
    }
  } finally {
    isOver = true
  }
  await reading
  assert.ok(looks > 5)
  assert.deepEqual([...batches], written)
  const names = (await filesBelow(folder.path)).map((name) => name.split('/').slice(0, -1).join('/'))
  assert.deepEqual([...new Set(names)], [`crm/public.flights/${first.folder.split('/').at(-1)}`])
  assert.equal(names.length, 5)
})

test('`overwrite` replaces files of every format, and keeps those of other programs', async () => {
  await using folder = await temporaryFolder()
  const first = await run(folder.path, { format: 'parquet' })
  await writeFile(join(first.folder, 'README'), 'theirs')
  const second = await run(folder.path, { mode: 'overwrite' })
  assert.deepEqual(readdirSync(first.folder).sort(), [
    'README',
    `_manifest-${second.batchId}.json`,
    `part-${second.batchId}.csv`,
  ])
  assert.equal((await columnOf(second, 'id')).length, ROWS)
  assert.equal(dataPath(second).startsWith(first.folder), true)
})

for (const partitions of [1, 4]) {
  test(`a run that fails under \`overwrite\` leaves the old files (${partitions} parts)`, async () => {
    await using folder = await temporaryFolder()
    const first = await run(folder.path)
    {
      using _fault = await beforeWrites(async () => {
        throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' })
      })
      await assert.rejects(run(folder.path, { mode: 'overwrite', partitions }), { code: 'DISK_FULL' })
    }
    assert.equal(await idsIn(first.folder), ROWS)
    assert.equal((await filesBelow(folder.path)).length, 2)
  })
}

test('`overwrite` with a state file, and an unknown mode, are refused', async () => {
  await using folder = await temporaryFolder()
  const watermark = { column: 'id', state: join(folder.path, 'state.json') }
  await assert.rejects(run(folder.path, { mode: 'overwrite', watermark }), { code: 'CONFIG_INVALID' })
  await assert.rejects(run(folder.path, { mode: 'replace' as 'append' }), { code: 'CONFIG_INVALID' })
})

test('the command takes the mode', async () => {
  await using folder = await temporaryFolder()
  const url = `postgres://postgres:${server.superuserPassword}@${server.host}:${server.port}/postgres`
  const args = ['extract', url, 'flights', '--to', folder.path, '--source', 'crm', '--format', 'csv', '--json']
  const first = await runCli(args)
  assert.equal(first.code, 0, first.stderr)
  const refused = await runCli([...args, '--mode', 'error'])
  assert.equal(JSON.parse(refused.stdout).error.code, 'EXTRACT_EXISTS')
  const second = await runCli([...args, '--mode', 'overwrite'])
  const { folder: day } = JSON.parse(second.stdout) as { folder: string }
  assert.equal(await idsIn(day), ROWS)
  assert.match((await runCli([...args, '--mode', 'replace'])).stdout, /--mode expects one of append, overwrite, error/)
})
