import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir, symlink, truncate, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { driftBetween, lastManifest } from '../../../src/extract/drift.ts'
import { temporaryFolder } from '../../support/folder.ts'

const isWindows = process.platform === 'win32'
const id = { name: 'id', type: 'integer', arrow: 'Int32' }

test('columns that are added, removed, retyped or in another order are drift; missing Arrow types are not', () => {
  const gone = { name: 'gone', type: 'text' }
  const n = { name: 'n', type: 'integer' }
  const last = { batchId: 'a', columns: [id, gone, n] }
  assert.deepEqual(driftBetween(last, [id, { name: 'new', type: 'date' }, { ...n, type: 'bigint' }]), {
    since: 'a',
    added: [{ name: 'new', type: 'date' }],
    removed: [gone],
    retyped: [{ name: 'n', from: 'integer', to: 'bigint' }],
    reordered: false,
  })
  const none = { since: 'a', added: [], removed: [], retyped: [] }
  assert.deepEqual(driftBetween(last, [n, id, gone]), { ...none, reordered: true })
  assert.deepEqual(driftBetween(last, [n, id]), { ...none, removed: [gone], reordered: true })
  const same = [{ ...id, note: 'x' }, { ...gone, arrow: 'Utf8' }, n]
  assert.equal(driftBetween(last, same), undefined)
  const asText = { name: 'id', type: 'integer', arrow: 'Utf8' }
  assert.deepEqual(driftBetween({ batchId: 'a', columns: [id] }, [asText])?.retyped, [
    { name: 'id', from: 'integer (Int32)', to: 'integer (Utf8)' },
  ])
})

test('the newest valid manifest is used', async () => {
  await using folder = await temporaryFolder()
  const day = (name: string): string => join(folder.path, `extract_date=${name}`)
  assert.equal(await lastManifest(day('2024-01-03')), undefined)
  const put = async (date: string, batchId: string, seconds: number, text?: string): Promise<void> => {
    await mkdir(day(date), { recursive: true })
    const path = join(day(date), `_manifest-${batchId}.json`)
    await writeFile(path, text ?? JSON.stringify({ batchId, columns: [id] }))
    await utimes(path, seconds, seconds)
  }
  const batch = (digit: number): string => `0b8f3e0a-5f0c-4a53-9d3e-00000000000${digit}`
  await put('2024-01-01', batch(1), 900)
  await put('2024-01-02', batch(2), 100)
  await put('2024-01-02', batch(3), 200)
  await put('2024-01-02', batch(4), 300, '{"batchId":')
  await put('2024-01-02', batch(5), 400, JSON.stringify({ batchId: '../../etc', columns: [id] }))
  await put('2024-01-02', batch(6), 500, JSON.stringify({ batchId: batch(6), columns: [{ name: 1, type: [] }] }))
  assert.equal((await lastManifest(day('2024-01-03')))?.batchId, batch(3))
})

test('a manifest that is a link, a pipe or longer than 64 MiB is ignored at once', {
  skip: isWindows,
}, async () => {
  await using folder = await temporaryFolder()
  const day = join(folder.path, 'extract_date=2024-01-02')
  await mkdir(day)
  const good = '0b8f3e0a-5f0c-4a53-9d3e-000000000001'
  const path = join(day, `_manifest-${good}.json`)
  await writeFile(path, JSON.stringify({ batchId: good, columns: [id] }))
  await utimes(path, 100, 100)
  await symlink('/dev/zero', join(day, '_manifest-link.json'))
  await promisify(execFile)('mkfifo', [join(day, '_manifest-pipe.json')])
  await writeFile(join(day, '_manifest-long.json'), '')
  await truncate(join(day, '_manifest-long.json'), (64 << 20) + 1)
  assert.equal((await lastManifest(day))?.batchId, good)
})
