import assert from 'node:assert/strict'
import { test } from 'node:test'
import { csvField, guardFormula } from '../../../../src/extract/read/text/csv.ts'
import { csvHeader, csvSuffix, jsonSuffix } from '../../../../src/extract/sinks/text.ts'

const bronze = { extractedAt: new Date('2024-03-31T23:30:00.250Z'), source: 'a "b",\nc', batchId: 'id' }

test('CSV fields are quoted when they must be', () => {
  assert.deepEqual(['plain', 'a,b', 'say "x"', 'a\nb', 'a\rb', ''].map(csvField), [
    'plain',
    '"a,b"',
    '"say ""x"""',
    '"a\nb"',
    '"a\rb"',
    '""',
  ])
  assert.equal(csvHeader(['id', 'a,b']), 'id,"a,b",_extracted_at,_source,_batch_id\n')
  assert.equal(csvHeader([]), '_extracted_at,_source,_batch_id\n')
})

test('text that begins like a formula gets an apostrophe, where that is asked for', () => {
  for (const text of ['=1+1', '+1', '-1', '@x', '\tx', '\rx', '\nx', '＝1', '＋1', '－1', '＠x']) {
    assert.equal(guardFormula(text), `'${text}`)
  }
  for (const text of ['', 'a=1', ' =1', "'=1", '1-1', '\\=1']) assert.equal(guardFormula(text), text)
  assert.equal(csvHeader(['=id', 'a'], true), "'=id,a,_extracted_at,_source,_batch_id\n")
  assert.equal(csvHeader(['=id']), '=id,_extracted_at,_source,_batch_id\n')
  assert.match(csvSuffix({ ...bronze, source: '=a,b' }, 1, true), /,"'=a,b",id\n$/)
})

test('what ends a row', () => {
  assert.equal(csvSuffix(bronze, 2), ',2024-03-31 23:30:00.250+00,"a ""b"",\nc",id\n')
  assert.equal(csvSuffix(bronze, 0)[0], '2')
  const members = { _extracted_at: '2024-03-31T23:30:00.250+00:00', _source: 'a "b",\nc', _batch_id: 'id' }
  assert.deepEqual(JSON.parse(`{"x":1${jsonSuffix(bronze, 1)}`), { x: 1, ...members })
  assert.deepEqual(JSON.parse(`{${jsonSuffix(bronze, 0)}`), members)
  assert.equal(jsonSuffix(bronze, 1).split('\n').length, 2)
})
