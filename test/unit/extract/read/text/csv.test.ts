import assert from 'node:assert/strict'
import { test } from 'node:test'
import { csvField, guardFormula } from '../../../../../src/extract/read/text/csv.ts'

test('CSV fields are quoted when they must be', () => {
  assert.deepEqual(['plain', 'a,b', 'say "x"', 'a\nb', 'a\rb', ''].map(csvField), [
    'plain',
    '"a,b"',
    '"say ""x"""',
    '"a\nb"',
    '"a\rb"',
    '""',
  ])
})

test('text that begins like a formula gets an apostrophe', () => {
  for (const text of ['=1+1', '+1', '-1', '@x', '\tx', '\rx', '\nx', '＝1', '＋1', '－1', '＠x']) {
    assert.equal(guardFormula(text), `'${text}`)
  }
  for (const text of ['', 'a=1', ' =1', "'=1", '1-1', '\\=1']) assert.equal(guardFormula(text), text)
})
