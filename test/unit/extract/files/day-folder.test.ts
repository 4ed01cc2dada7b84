import assert from 'node:assert/strict'
import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { DayFolder } from '../../../../src/extract/files/day-folder.ts'
import { temporaryFolder } from '../../../support/folder.ts'

const batch = (digit: number): string => `0b8f3e0a-5f0c-4a53-9d3e-00000000000${digit}`
const OLD = batch(1)
const NEW = batch(2)

/** A folder of tables with the files of one extract, and a file of another program. */
async function withOld(to: string): Promise<string> {
  const path = join(to, 'crm', 'public.flights', 'extract_date=2024-03-31')
  await mkdir(join(path, '_unfinished-0123456789abcdef'), { recursive: true })
  await put(path, OLD)
  await writeFile(join(path, 'README'), 'theirs')
  return path
}

async function put(folder: string, id: string): Promise<void> {
  for (const name of [`part-${id}-00000.csv`, `part-${id}-00001.csv`, `_manifest-${id}.json`]) {
    await writeFile(join(folder, name), id)
  }
}

const filesOf = (id: string): string[] => [`_manifest-${id}.json`, `part-${id}-00000.csv`, `part-${id}-00001.csv`]
const others = ['README', '_unfinished-0123456789abcdef']
const sorted = async (folder: string): Promise<string[]> => (await readdir(folder)).sort()

/** Systems that cannot exchange two folders rename twice. */
function onAnotherSystem(): Disposable {
  const { platform } = process
  Object.defineProperty(process, 'platform', { value: 'sunos' })
  return { [Symbol.dispose]: () => void Object.defineProperty(process, 'platform', { value: platform }) }
}

for (const canExchange of [true, false]) {
  const how = canExchange ? 'by an exchange' : 'by two renames'
  test(`the day is replaced ${how}, and files of others stay in it`, async () => {
    await using folder = await temporaryFolder()
    const path = await withOld(folder.path)
    using _system = canExchange ? undefined : onAnotherSystem()
    {
      await using day = await DayFolder.open(folder.path, path, 'overwrite', NEW)
      await put(day.files, NEW)
      assert.deepEqual(await sorted(path), [...others, ...filesOf(OLD)].sort())
      await day.commit(NEW)
      assert.deepEqual(await sorted(path), [...others, ...filesOf(NEW)].sort())
    }
    assert.deepEqual(await readdir(join(path, '..')), ['extract_date=2024-03-31'])
  })

  test(`a replacement ${how} is undone when the run fails after it`, async () => {
    await using folder = await temporaryFolder()
    const path = await withOld(folder.path)
    using _system = canExchange ? undefined : onAnotherSystem()
    {
      await using day = await DayFolder.open(folder.path, path, 'overwrite', NEW)
      await put(day.files, NEW)
      await day.commit(NEW)
      await day.rollback()
      assert.deepEqual(await sorted(path), [...others, ...filesOf(OLD)].sort())
      assert.deepEqual(await sorted(day.files), filesOf(NEW))
    }
    assert.deepEqual(await readdir(join(path, '..')), ['extract_date=2024-03-31'])
    assert.equal(await readFile(join(path, `_manifest-${OLD}.json`), 'utf8'), OLD)
  })
}

test('a run that fails leaves the day as it was', async () => {
  await using folder = await temporaryFolder()
  const path = await withOld(folder.path)
  {
    await using day = await DayFolder.open(folder.path, path, 'overwrite', NEW)
    await put(day.files, NEW)
  }
  assert.deepEqual(await sorted(path), [...others, ...filesOf(OLD)].sort())
  assert.deepEqual(await readdir(join(path, '..')), ['extract_date=2024-03-31'])
})

test('a day that a failed machine has left under another name is there again for the next run', async () => {
  await using folder = await temporaryFolder()
  const path = await withOld(folder.path)
  // It has failed between the two renames.
  await rename(path, join(path, '..', `_replaced-extract_date=2024-03-31-${NEW}`))
  await using day = await DayFolder.open(folder.path, path, 'append', NEW)
  assert.equal(day.files, path)
  assert.deepEqual(await sorted(path), [...others, ...filesOf(OLD)].sort())
})

test('under `error` a manifest of another run is an error at the beginning and at the end', async () => {
  await using folder = await temporaryFolder()
  const path = await withOld(folder.path)
  await assert.rejects(DayFolder.open(folder.path, path, 'error', NEW), { code: 'EXTRACT_EXISTS' })
  const fresh = join(path, '..', 'extract_date=2024-04-01')
  await using day = await DayFolder.open(folder.path, fresh, 'error', NEW)
  await put(fresh, NEW)
  await day.commit(NEW)
  await put(fresh, OLD)
  await assert.rejects(day.commit(NEW), { code: 'EXTRACT_EXISTS' })
})
