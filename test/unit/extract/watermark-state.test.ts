import assert from 'node:assert/strict'
import { chmod, chown, copyFile, mkdir, open, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { PoolsmithError } from '../../../src/errors.ts'
import type { ExtractPlan } from '../../../src/extract/plan.ts'
import { readState, saveWatermark } from '../../../src/extract/watermark-state.ts'
import { temporaryFolder } from '../../support/folder.ts'

/** A batch's id, made of a few hexadecimal digits. */
function batch(digits: string): string {
  return `0b8f3e0a-5f0c-4a53-9d3e-${digits.padStart(12, '0')}`
}

function planOf(batchId: string, high: string): ExtractPlan {
  return {
    version: 3,
    batchId,
    plannedAt: '',
    extractedAt: '',
    source: 's',
    fingerprint: { system: '', database: 'd', table: '' },
    schema: 'public',
    table: 't',
    format: 'csv',
    columns: [],
    options: {},
    request: '',
    conditions: [],
    watermark: {
      column: 'id',
      type: 'int8',
      high,
      identity: ['id'],
      rows: ['0123456789abcdef'],
      after: null,
      since: null,
      isEmpty: false,
    },
    partitions: [{ label: 'all rows', rows: null }],
    byPlace: false,
    identity: '',
    notes: [],
    checksum: '',
  }
}

test('of all runs that began with one state, one replaces it', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'deep', 'state.json')
  assert.equal(await readState(path), undefined)
  let before = await readState(path)
  for (const round of [1, 2, 3]) {
    const tries = await Promise.allSettled(
      Array.from({ length: 8 }, (_, index) =>
        saveWatermark(path, planOf(batch(`${round}${index}`), `${round}`), before),
      ),
    )
    assert.equal(tries.filter(({ status }) => status === 'fulfilled').length, 1)
    for (const result of tries) if (result.status === 'rejected') assert.equal(result.reason.code, 'STATE_CONFLICT')
    const after = await readState(path)
    assert.equal(after?.watermark.high, String(round))
    const won = tries.findIndex(({ status }) => status === 'fulfilled')
    assert.equal(after?.batchId, batch(`${round}${won}`))
    await assert.rejects(saveWatermark(path, planOf(batch('99'), '9'), before), { code: 'STATE_CONFLICT' })
    before = after
  }
  assert.deepEqual(await readdir(join(folder.path, 'deep')), ['state.json'])
})

test('a run that was killed between its last two steps has still replaced the state', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'state.json')
  await saveWatermark(path, planOf(batch('1'), '1'), undefined)
  const first = await readFile(path)
  await saveWatermark(path, planOf(batch('2'), '2'), await readState(path))
  // As it is when the rename has not come to pass any more.
  await copyFile(path, `${path}.after-${batch('1')}`)
  await writeFile(path, first)
  assert.equal((await readState(path))?.batchId, batch('2'))
  assert.deepEqual(await readdir(folder.path), ['state.json'])
})

test('a run that begins between the last two steps of another one replaces the state for it', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'state.json')
  for (let round = 0; round < 20; round += 1) {
    const before = await readState(path)
    let saved = false
    const watch = async (): Promise<void> => {
      while (!saved) await readState(path)
    }
    const saving = saveWatermark(path, planOf(batch(`${round}`), `${round}`), before).finally(() => {
      saved = true
    })
    await Promise.all([saving, watch(), watch(), watch()])
    assert.equal((await readState(path))?.batchId, batch(`${round}`))
  }
  assert.deepEqual(await readdir(folder.path), ['state.json'])
})

test('a state that cannot be replaced leaves nothing for a later run to find', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'state.json')
  await mkdir(path)
  await assert.rejects(saveWatermark(path, planOf(batch('1'), '1'), undefined), { code: 'STATE_INVALID' })
  assert.deepEqual(await readdir(folder.path), ['state.json'])
})

test('a state that was replaced counts, also when its folder cannot be synced', async (t) => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'state.json')
  const probe = await open(join(folder.path, 'probe'), 'w')
  const prototype = Object.getPrototypeOf(probe) as typeof probe
  await probe.close()
  const { sync } = prototype
  let failed = 0
  t.mock.method(prototype, 'sync', async function (this: typeof probe) {
    if ((await readFile(path, 'utf8').catch(() => '')).includes(batch('1'))) {
      failed += 1
      throw Object.assign(new Error('EIO: i/o error'), { code: 'EIO' })
    }
    return Reflect.apply(sync, this, [])
  })
  await saveWatermark(path, planOf(batch('1'), '1'), undefined)
  assert.equal(failed, 1)
  assert.equal((await readState(path))?.batchId, batch('1'))
})

test('a file that is no state is an error with its path', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'state.json')
  for (const text of ['', '{}', '[]', '{"version":1,"watermark":{"column":5}}', '{"version":2']) {
    await writeFile(path, text)
    await assert.rejects(readState(path), { code: 'STATE_INVALID', details: { path } }, text)
  }
  await assert.rejects(readState(folder.path), { code: 'STATE_INVALID' })
})

const isRoot = process.geteuid?.() === 0
const hasModes = process.geteuid !== undefined
const OTHER_USER = 65_534

/** A state of batch 1, saved. */
async function savedState(folder: string): Promise<string> {
  const path = join(folder, 'state.json')
  await saveWatermark(path, planOf(batch('1'), '1'), undefined)
  return path
}

test('a state file is written for this user alone', { skip: !hasModes }, async () => {
  await using folder = await temporaryFolder()
  assert.equal((await stat(await savedState(folder.path))).mode & 0o777, 0o600)
})

test('a state file that is a link, that others may write, or of another user is refused', {
  skip: !isRoot,
}, async () => {
  await using folder = await temporaryFolder()
  const path = await savedState(folder.path)
  const link = join(folder.path, 'link.json')
  await symlink(path, link)
  const refused = (at: string, message: RegExp) =>
    assert.rejects(readState(at), (error) => {
      assert.ok(error instanceof PoolsmithError)
      assert.deepEqual([error.code, error.details.path], ['STATE_INVALID', at])
      assert.match(error.message, message)
      return true
    })
  await refused(link, /is not trusted: it is a symbolic link/)
  await refused('/dev/zero', /is not trusted: it is not a regular file/)
  for (const mode of [0o660, 0o602]) {
    await chmod(path, mode)
    await refused(path, /may be written by other users/)
  }
  await chmod(path, 0o644)
  assert.equal((await readState(path))?.batchId, batch('1'))
  await chown(path, OTHER_USER, OTHER_USER)
  await refused(path, /belongs to the user with the id 65534/)
})

test('a state that another user has put beside the file does not count', { skip: !isRoot }, async () => {
  await using folder = await temporaryFolder()
  const path = await savedState(folder.path)
  const planted = `${path}.after-${batch('1')}`
  await writeFile(planted, (await readFile(path, 'utf8')).replace('"high": "1"', '"high": "999"'))
  await chown(planted, OTHER_USER, OTHER_USER)
  await assert.rejects(readState(path), { code: 'STATE_INVALID', details: { path: planted } })
})

test('a state is saved over a link and beside one, never through it', { skip: !hasModes }, async () => {
  await using folder = await temporaryFolder()
  const victim = join(folder.path, '.bashrc')
  await writeFile(victim, 'mine')
  const path = join(folder.path, 'state.json')
  for (const name of [`.state.json.${batch('1')}.tmp`, `state.json.${batch('1')}`]) {
    await symlink(victim, join(folder.path, name))
  }
  await saveWatermark(path, planOf(batch('1'), '1'), undefined)
  assert.equal(await readFile(victim, 'utf8'), 'mine')
  assert.equal((await readState(path))?.watermark.high, '1')
})

test('ids and hashes of a state have their forms: an id that leads out of the folder is damage', async () => {
  await using folder = await temporaryFolder()
  const path = await savedState(folder.path)
  const state = JSON.parse(await readFile(path, 'utf8'))
  const { watermark } = state
  for (const wrong of [
    { batchId: '../../etc/x' },
    { batchId: 1 },
    { schema: '' },
    { watermark: { ...watermark, rows: ['x'] } },
    { watermark: { ...watermark, rows: [`${'0'.repeat(15)}'`] } },
    { watermark: { ...watermark, high: 1 } },
    { watermark: { ...watermark, identity: [1] } },
    { watermark: undefined },
  ]) {
    await writeFile(path, JSON.stringify({ ...state, ...wrong }))
    await assert.rejects(readState(path), { code: 'STATE_INVALID' }, JSON.stringify(wrong))
  }
})

test('where a file system shows all files as those of another user, they are trusted', { skip: !isRoot }, async (t) => {
  await using folder = await temporaryFolder()
  const path = await savedState(folder.path)
  const probe = await open(join(folder.path, 'probe'), 'w')
  const prototype = Object.getPrototypeOf(probe) as typeof probe
  await probe.close()
  const own = prototype.stat
  t.mock.method(prototype, 'stat', async function (this: typeof probe) {
    const stats = await Reflect.apply(own, this, [])
    assert.ok(stats)
    stats.uid = OTHER_USER
    return stats
  })
  assert.equal((await readState(path))?.batchId, batch('1'))
  assert.deepEqual((await readdir(folder.path)).sort(), ['probe', 'state.json'])
})
