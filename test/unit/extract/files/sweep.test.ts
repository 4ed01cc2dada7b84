import assert from 'node:assert/strict'
import { chown, mkdir, readdir, symlink, utimes, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { sweep } from '../../../../src/extract/files/sweep.ts'
import { filesBelow } from '../../../support/extract.ts'
import { temporaryFolder } from '../../../support/folder.ts'

const BATCH = '0b8f3e0a-5f0c-4a53-9d3e-2f1f6f0e2a11'
const DAY = 86_400

test('only unfinished files of this tool that are a week old are removed', async () => {
  await using folder = await temporaryFolder()
  const table = join(folder.path, 'public.flights')
  const now = Math.floor(Date.now() / 1000)
  /** Days since it was touched, for each file; a folder is as old as its oldest file. */
  const ages: Record<string, number> = {
    // Gone.
    'extract_date=2024-03-01/_unfinished-0123456789abcdef/plan.json': 9,
    'extract_date=2024-03-01/_unfinished-0123456789abcdef/part-00000.whole': 8,
    [`extract_date=2024-03-01/_unfinished-${BATCH}/.part-00001.whole.tmp`]: 30,
    [`extract_date=2024-03-01/.part-${BATCH}.parquet.tmp`]: 8,
    [`extract_date=2024-03-02/.part-${BATCH}-00003.csv.tmp`]: 8,
    [`extract_date=2024-03-02/._manifest-${BATCH}.json.tmp`]: 8,
    // Stays: young, in part young, whole, or not ours.
    'extract_date=2024-03-02/_unfinished-fedcba9876543210/plan.json': 9,
    'extract_date=2024-03-02/_unfinished-fedcba9876543210/.part-00001.whole.tmp': 6,
    [`extract_date=2024-03-02/.part-${BATCH}.csv.tmp`]: 6,
    [`extract_date=2024-03-01/part-${BATCH}.parquet`]: 90,
    [`extract_date=2024-03-01/_manifest-${BATCH}.json`]: 90,
    'extract_date=2024-03-01/_unfinished-business/notes.txt': 90,
    'extract_date=2024-03-01/.part-of-mine.tmp': 90,
    [`elsewhere/.part-${BATCH}.csv.tmp`]: 90,
  }
  const entries = Object.entries(ages)
  for (const [name] of entries) {
    await mkdir(dirname(join(table, name)), { recursive: true })
    await writeFile(join(table, name), '')
  }
  for (const [name, age] of entries) {
    await utimes(join(table, name), now - age * DAY, now - age * DAY)
    await utimes(dirname(join(table, name)), now - age * DAY, now - age * DAY)
  }
  await sweep(join(table, 'extract_date=2024-03-03'), now * 1000)
  const left = entries.slice(6).map(([name]) => name)
  assert.deepEqual(await filesBelow(table), left.toSorted())
  await sweep(join(folder.path, 'no', 'such', 'folder'))
})

test("another user's files, links and files of other names stay", { skip: process.geteuid?.() !== 0 }, async () => {
  await using folder = await temporaryFolder()
  const day = join(folder.path, 'public.flights', 'extract_date=2024-03-01')
  const home = join(folder.path, 'home')
  const foreign = join(day, '_unfinished-0123456789abcdef')
  const mixed = join(day, '_unfinished-fedcba9876543210')
  for (const path of [home, foreign, mixed]) await mkdir(path, { recursive: true })
  const files = [
    join(home, 'plan.json'),
    join(foreign, 'plan.json'),
    join(mixed, 'plan.json'),
    join(mixed, 'notes.txt'),
  ]
  for (const path of files) await writeFile(path, '')
  await symlink(home, join(day, `_unfinished-${BATCH}`))
  await symlink(join(home, 'plan.json'), join(day, `.part-${BATCH}.csv.tmp`))
  await chown(foreign, 65_534, 65_534)
  for (const path of [...files, foreign, mixed, home]) await utimes(path, 0, 0)
  await sweep(join(folder.path, 'public.flights', 'extract_date=2024-03-03'))
  assert.deepEqual(await readdir(home), ['plan.json'])
  assert.deepEqual(await readdir(foreign), ['plan.json'])
  assert.deepEqual(await readdir(mixed), ['notes.txt'])
})
