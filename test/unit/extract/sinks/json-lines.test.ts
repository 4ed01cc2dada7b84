import assert from 'node:assert/strict'
import { test } from 'node:test'
import { jsonLines } from '../../../../src/extract/sinks/json-lines.ts'

const bronze = { extractedAt: new Date('2024-03-31T23:30:00.250Z'), source: 'a "b",\nc', batchId: 'id' }

test('each object ends with the members that are added', () => {
  const members = { _extracted_at: '2024-03-31T23:30:00.250+00:00', _source: 'a "b",\nc', _batch_id: 'id' }
  const suffix = jsonLines.suffix(bronze, ['x'], {})
  assert.deepEqual(JSON.parse(`{"x":1${suffix}`), { x: 1, ...members })
  assert.deepEqual(JSON.parse(`{${jsonLines.suffix(bronze, [], {})}`), members)
  assert.equal(suffix.split('\n').length, 2)
  assert.equal(jsonLines.header(['x'], {}), '')
})
