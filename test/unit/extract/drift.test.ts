import assert from 'node:assert/strict'
import { mkdir, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { driftBetween, lastManifest } from '../../../src/extract/drift.ts'
import { temporaryFolder } from '../../support/folder.ts'

const id = { name: 'id', type: 'integer', arrow: 'Int32' }

test('added, removed and retyped; order and a format without Arrow types do not count', () => {
  const last = { batchId: 'a', columns: [id, { name: 'gone', type: 'text' }, { name: 'n', type: 'integer' }] }
  assert.deepEqual(driftBetween(last, [{ name: 'n', type: 'bigint' }, id, { name: 'new', type: 'date' }]), {
    since: 'a',
    added: [{ name: 'new', type: 'date' }],
    removed: [{ name: 'gone', type: 'text' }],
    retyped: [{ name: 'n', from: 'integer', to: 'bigint' }],
  })
  const same = [
    { name: 'gone', type: 'text', arrow: 'Utf8' },
    { name: 'n', type: 'integer' },
    { ...id, note: 'x' },
  ]
  assert.equal(driftBetween(last, same), undefined)
  const asText = { name: 'id', type: 'integer', arrow: 'Utf8' }
  assert.deepEqual(driftBetween({ batchId: 'a', columns: [id] }, [asText])?.retyped, [
    { name: 'id', from: 'integer (Int32)', to: 'integer (Utf8)' },
  ])
})

test('the newest manifest counts, and a damaged one does not', async () => {
  await using folder = await temporaryFolder()
  const day = (name: string): string => join(folder.path, `extract_date=${name}`)
  assert.equal(await lastManifest(day('2024-01-03')), undefined)
  const put = async (date: string, batchId: string, seconds: number, text?: string): Promise<void> => {
    await mkdir(day(date), { recursive: true })
    const path = join(day(date), `_manifest-${batchId}.json`)
    await writeFile(path, text ?? JSON.stringify({ batchId, columns: [id] }))
    await utimes(path, seconds, seconds)
  }
  await put('2024-01-01', 'old', 900)
  await put('2024-01-02', 'first', 100)
  await put('2024-01-02', 'second', 200)
  await put('2024-01-02', 'broken', 300, '{"batchId":')
  assert.equal((await lastManifest(day('2024-01-03')))?.batchId, 'second')
})
