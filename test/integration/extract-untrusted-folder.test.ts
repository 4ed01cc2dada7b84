import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { chmod, chown, cp, lchown, lstat, mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { basename, dirname, join, relative } from 'node:path'
import { after, describe, test } from 'node:test'
import { extractPartition } from '../../src/extract/extract-partition.ts'
import { extractTable } from '../../src/extract/extract-table.ts'
import type { Manifest } from '../../src/extract/manifest.ts'
import type { ExtractOptions } from '../../src/extract/options.ts'
import { planExtract } from '../../src/extract/plan-extract.ts'
import { beforeWrites, columnOf, filesBelow, superuserEngine } from '../support/extract.ts'
import { temporaryFolder } from '../support/folder.ts'
import { startPostgres } from '../support/postgres.ts'

const server = await startPostgres({ config: { autovacuum: 'off' } })
const db = await superuserEngine(server)
// Partitions come one after the other.
const single = await superuserEngine(server, { pool_size: 1, max_overflow: 0 })
after(async () => {
  await Promise.all([db.destroy(), single.destroy()])
  await server[Symbol.asyncDispose]()
})
const ROWS = 20_000
await server.sql(`create table flights (id int primary key, filler text);
  insert into flights select g, repeat(md5(g::text), 3) from generate_series(1, ${ROWS}) g; analyze flights`)

const OTHER_USER = 65_534
/** Root alone can make files of another user. */
const asRoot = { skip: process.geteuid?.() !== 0 }
const hasModes = { skip: process.geteuid === undefined }

const run = (to: string, options: Partial<ExtractOptions> = {}): Promise<Manifest> =>
  extractTable(single, { table: 'flights' }, { to, format: 'csv', partitions: 2, ...options })

async function everyRow(manifest: Manifest): Promise<void> {
  const ids = (await columnOf(manifest, 'id')).map(Number).sort((a, b) => a - b)
  assert.equal(ids.length, ROWS)
  assert.ok(ids.every((id, index) => id === index + 1))
}

/** Leaves a staging folder with the first of two parts whole, and returns it. */
async function unfinished(to: string, options: Partial<ExtractOptions> = {}): Promise<string> {
  let bytes = 0
  using _fault = await beforeWrites(async (chunk) => {
    if (chunk.length > 100_000) bytes += chunk.length
    if (bytes < ROWS * 0.6 * 180) return
    throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' })
  })
  await assert.rejects(run(to, options), { code: 'DISK_FULL' })
  const found = (await filesBelow(to)).find((path) => path.endsWith('plan.json'))
  assert.ok(found)
  return dirname(join(to, found))
}

type Plan = Record<string, unknown>

/** Changes the plan of a staging folder, and makes its checksum fit. */
async function tamper(staging: string, change: (plan: Plan) => Plan): Promise<void> {
  const path = join(staging, 'plan.json')
  const { checksum: _, ...plan } = change(JSON.parse(await readFile(path, 'utf8')))
  const checksum = createHash('sha256').update(JSON.stringify(plan)).digest('hex')
  await writeFile(path, JSON.stringify({ ...plan, checksum }))
}

describe('what a failed run has left', () => {
  test('is private to its user', hasModes, async () => {
    await using folder = await temporaryFolder()
    const staging = await unfinished(folder.path)
    assert.equal((await stat(staging)).mode & 0o777, 0o700)
    assert.equal((await stat(join(staging, 'plan.json'))).mode & 0o777, 0o600)
    const manifest = await run(folder.path)
    assert.equal(manifest.files.filter(({ keptFrom }) => keptFrom !== undefined).length, 1)
    await everyRow(manifest)
  })

  test('no SQL is taken from it, though its checksum fits', async () => {
    const changes: readonly ((plan: Plan) => Plan)[] = [
      (plan) => ({ ...plan, conditions: ['id < 0'] }),
      (plan) => ({ ...plan, query: 'select 1 as id, null as filler' }),
      (plan) => ({ ...plan, table: 'pg_authid', schema: 'pg_catalog' }),
      (plan) => ({ ...plan, partitions: (plan.partitions as object[]).map((part) => ({ ...part, rows: 'id < 0' })) }),
      (plan) => ({
        ...plan,
        partitions: (plan.partitions as object[]).map((part) => ({
          ...part,
          condition: 'id < 0',
          rows: { tables: [{ schema: 'pg_catalog', name: 'pg_authid', pages: null }] },
        })),
      }),
    ]
    await using failed = await temporaryFolder()
    const staging = relative(failed.path, await unfinished(failed.path))
    for (const change of changes) {
      await using folder = await temporaryFolder()
      await cp(failed.path, folder.path, { recursive: true })
      await tamper(join(folder.path, staging), change)
      const manifest = await run(folder.path)
      assert.deepEqual(
        manifest.files.filter(({ keptFrom }) => keptFrom !== undefined),
        [],
        String(change),
      )
      await everyRow(manifest)
    }
  })

  test('an id in it that leads out of the folder is not used', async () => {
    await using folder = await temporaryFolder()
    const to = join(folder.path, 'bronze')
    await tamper(await unfinished(to), (plan) => ({ ...plan, batchId: '/../../../../../escaped' }))
    await everyRow(await run(to))
    assert.deepEqual(await readdir(folder.path), ['bronze'])
  })

  test("another user's is neither used nor touched, and the manifest says so", asRoot, async () => {
    await using folder = await temporaryFolder()
    const staging = await unfinished(folder.path)
    const before = await readdir(staging)
    await chown(staging, OTHER_USER, OTHER_USER)
    const manifest = await run(folder.path)
    await everyRow(manifest)
    assert.match(manifest.notes.join(), /not trusted: .*_unfinished-\w+ belongs to the user with the id 65534/)
    assert.deepEqual(await readdir(staging), before)
  })

  test('a folder that others may enter, or a link to one, is not used', hasModes, async () => {
    await using folder = await temporaryFolder()
    const staging = await unfinished(folder.path)
    await chmod(staging, 0o777)
    assert.match((await run(folder.path)).notes.join(), /may be written by other users/)

    const day = dirname(staging)
    await using other = await temporaryFolder()
    const place = join(other.path, ...day.split('/').slice(-3))
    await mkdir(place, { recursive: true })
    await chmod(staging, 0o700)
    const inside = await readdir(staging)
    await symlink(staging, join(place, basename(staging)))
    const manifest = await run(other.path)
    assert.match(manifest.notes.join(), /is a symbolic link/)
    await everyRow(manifest)
    assert.deepEqual(await readdir(staging), inside)
  })
})

describe('a part of a plan', () => {
  test('is never written through a link that another user has put in its way', hasModes, async () => {
    await using folder = await temporaryFolder()
    const to = join(folder.path, 'bronze')
    const victim = join(folder.path, '.bashrc')
    await writeFile(victim, 'mine')
    const plan = await planExtract(db, { table: 'flights' }, { format: 'csv', partitions: 2 })
    const first = await extractPartition(db, plan, 0, { to })
    const file = `part-${plan.batchId}-00001.csv`
    const manifest = `_manifest-${plan.batchId}-00001.json`
    for (const name of [file, manifest, `.${file}.tmp`, `.${manifest}.tmp`]) {
      await symlink(victim, join(first.folder, name))
    }
    const second = await extractPartition(db, plan, 1, { to })
    assert.equal(await readFile(victim, 'utf8'), 'mine')
    for (const name of [file, manifest]) assert.ok((await lstat(join(second.folder, name))).isFile())
    assert.equal(first.rows + second.rows, ROWS)
  })

  test("is read although another user's file and manifest say that it is whole", asRoot, async () => {
    await using folder = await temporaryFolder()
    const to = folder.path
    const plan = await planExtract(db, { table: 'flights' }, { format: 'csv', partitions: 2 })
    const { folder: day, files, path, rows } = await extractPartition(db, plan, 0, { to })
    const [file] = files
    assert.ok(file)
    const data = join(day, file.name)
    await writeFile(data, 'x'.repeat(file.bytes))
    await chown(data, OTHER_USER, OTHER_USER)
    assert.equal((await extractPartition(db, plan, 0, { to })).rows, rows)
    assert.match(await readFile(data, 'utf8'), /^id,filler/)

    const text = await readFile(path, 'utf8')
    await writeFile(path, text.replace(`"rows": ${rows}`, '"rows": 1'))
    await chown(path, OTHER_USER, OTHER_USER)
    assert.equal((await extractPartition(db, plan, 0, { to })).rows, rows)
  })

  test('its manifest says nothing that the plan does not say', async () => {
    await using folder = await temporaryFolder()
    const to = folder.path
    const plan = await planExtract(db, { table: 'flights' }, { format: 'csv', partitions: 2 })
    const manifest = await extractPartition(db, plan, 0, { to })
    const content = JSON.parse(await readFile(manifest.path, 'utf8'))
    const files = [{ ...content.files[0], name: '../../../../etc/passwd' }]
    await writeFile(manifest.path, JSON.stringify({ ...content, files, source: 'other', where: ['true'] }))
    assert.deepEqual(await extractPartition(db, plan, 0, { to }), manifest)
  })
})

describe('the folders below `to`', () => {
  test('a link of another user is not followed, a link of this user is', asRoot, async () => {
    await using folder = await temporaryFolder()
    const to = join(folder.path, 'bronze')
    const elsewhere = join(folder.path, 'elsewhere')
    await mkdir(join(to, 'crm'), { recursive: true })
    await mkdir(elsewhere)
    const link = join(to, 'crm', 'public.flights')
    await symlink(elsewhere, link)
    await lchown(link, OTHER_USER, OTHER_USER)
    const plan = await planExtract(db, { table: 'flights' }, { format: 'csv', source: 'crm' })
    const runs = [
      () => run(to, { source: 'crm' }),
      () => run(to, { source: 'crm', partitions: 1 }),
      () => extractPartition(db, plan, 0, { to }),
    ]
    for (const attempt of runs) {
      await assert.rejects(attempt(), {
        code: 'TARGET_NOT_TRUSTED',
        phase: 'write',
        details: { path: link, owner: OTHER_USER },
      })
      assert.deepEqual(await readdir(elsewhere), [])
    }
    await lchown(link, 0, 0)
    await everyRow(await run(to, { source: 'crm' }))
    assert.equal((await readdir(elsewhere)).length, 1)
  })
})
