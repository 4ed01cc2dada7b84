import assert from 'node:assert/strict'
import { copyFile, mkdir, open, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import type { ExtractPlan } from '../../../src/extract/plan.ts'
import { readState, saveWatermark } from '../../../src/extract/watermark-state.ts'
import { temporaryFolder } from '../../support/folder.ts'

function planOf(batchId: string, high: string): ExtractPlan {
  return {
    version: 1,
    batchId,
    plannedAt: '',
    extractedAt: '',
    source: 's',
    schema: 'public',
    table: 't',
    format: 'csv',
    columns: [],
    options: {},
    conditions: [],
    watermark: { column: 'id', type: 'int8', high, identity: ['id'], rows: ['00'], condition: 'true', after: null },
    partitions: [{ label: 'all rows', condition: null }],
    byPlace: false,
    identity: '',
    notes: [],
    checksum: '',
  }
}

test('of all runs that began with one state, one moves it on', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'deep', 'state.json')
  assert.equal(await readState(path), undefined)
  let before = await readState(path)
  for (const round of [1, 2, 3]) {
    const tries = await Promise.allSettled(
      Array.from({ length: 8 }, (_, index) => saveWatermark(path, planOf(`${round}-${index}`, `${round}`), before)),
    )
    assert.equal(tries.filter(({ status }) => status === 'fulfilled').length, 1)
    for (const result of tries) if (result.status === 'rejected') assert.equal(result.reason.code, 'STATE_CONFLICT')
    const after = await readState(path)
    assert.equal(after?.watermark.high, String(round))
    const won = tries.findIndex(({ status }) => status === 'fulfilled')
    assert.equal(after?.batchId, `${round}-${won}`)
    await assert.rejects(saveWatermark(path, planOf('late', '9'), before), { code: 'STATE_CONFLICT' })
    before = after
  }
  assert.deepEqual(await readdir(join(folder.path, 'deep')), ['state.json'])
})

test('a run that was killed between its last two steps has moved it on all the same', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'state.json')
  await saveWatermark(path, planOf('one', '1'), undefined)
  const first = await readFile(path)
  await saveWatermark(path, planOf('two', '2'), await readState(path))
  // As it is when the rename has not come to pass any more.
  await copyFile(path, `${path}.after-one`)
  await writeFile(path, first)
  assert.equal((await readState(path))?.batchId, 'two')
  assert.deepEqual(await readdir(folder.path), ['state.json'])
})

test('a run that begins between the last two steps of another one moves the state on for it', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'state.json')
  for (let round = 0; round < 20; round += 1) {
    const before = await readState(path)
    let saved = false
    const watch = async (): Promise<void> => {
      while (!saved) await readState(path)
    }
    const saving = saveWatermark(path, planOf(`run ${round}`, `${round}`), before).finally(() => {
      saved = true
    })
    await Promise.all([saving, watch(), watch(), watch()])
    assert.equal((await readState(path))?.batchId, `run ${round}`)
  }
  assert.deepEqual(await readdir(folder.path), ['state.json'])
})

test('a state that cannot be moved on is not found by a later run', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'state.json')
  await mkdir(path)
  await assert.rejects(saveWatermark(path, planOf('one', '1'), undefined), { code: 'STATE_INVALID' })
  assert.deepEqual(await readdir(folder.path), ['state.json'])
})

test('a state that has moved on counts, whatever is said of the folder then', async (t) => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'state.json')
  const probe = await open(join(folder.path, 'probe'), 'w')
  const prototype = Object.getPrototypeOf(probe) as typeof probe
  await probe.close()
  const { sync } = prototype
  let failed = 0
  t.mock.method(prototype, 'sync', async function (this: typeof probe) {
    if ((await readFile(path, 'utf8').catch(() => '')).includes('"one"')) {
      failed += 1
      throw Object.assign(new Error('EIO: i/o error'), { code: 'EIO' })
    }
    return Reflect.apply(sync, this, [])
  })
  await saveWatermark(path, planOf('one', '1'), undefined)
  assert.equal(failed, 1)
  assert.equal((await readState(path))?.batchId, 'one')
})

test('what is no state is an error that says where', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'state.json')
  for (const text of ['', '{}', '[]', '{"version":1,"watermark":{"column":5}}', '{"version":2']) {
    await writeFile(path, text)
    await assert.rejects(readState(path), { code: 'STATE_INVALID', details: { path } }, text)
  }
  await assert.rejects(readState(folder.path), { code: 'STATE_INVALID' })
})
