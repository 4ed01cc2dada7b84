import assert from 'node:assert/strict'
import { test } from 'node:test'
import { csv } from '../../../../src/extract/sinks/csv.ts'

const bronze = { extractedAt: new Date('2024-03-31T23:30:00.250Z'), source: 'a "b",\nc', batchId: 'id' }

test('the header names the columns of the table and those that are added', () => {
  assert.equal(csv.header(['id', 'a,b'], {}), 'id,"a,b",_extracted_at,_source,_batch_id\n')
  assert.equal(csv.header([], {}), '_extracted_at,_source,_batch_id\n')
})

test('each row ends with the columns that are added', () => {
  assert.equal(csv.suffix(bronze, ['a', 'b'], {}), ',2024-03-31 23:30:00.250+00,"a ""b"",\nc",id\n')
  assert.equal(csv.suffix(bronze, [], {})[0], '2')
})

test('with guardFormulas names and the source that begin like a formula get an apostrophe', () => {
  const settings = { guardFormulas: true }
  assert.equal(csv.header(['=id', 'a'], settings), "'=id,a,_extracted_at,_source,_batch_id\n")
  assert.equal(csv.header(['=id'], {}), '=id,_extracted_at,_source,_batch_id\n')
  assert.match(csv.suffix({ ...bronze, source: '=a,b' }, ['a'], settings), /,"'=a,b",id\n$/)
})
