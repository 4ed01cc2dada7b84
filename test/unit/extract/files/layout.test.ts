import assert from 'node:assert/strict'
import { sep } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { extractFolder, pathPart } from '../../../../src/extract/files/layout.ts'

test('ordinary names stay as they are', () => {
  for (const name of ['public', 'Flights_2024', 'Übung', '日本-語', 'a b']) assert.equal(pathPart(name), name)
})

test('characters that a file system may refuse are encoded', () => {
  assert.equal(pathPart('../etc'), '%2E%2E%2Fetc')
  assert.equal(pathPart('a.b'), 'a%2Eb')
  assert.equal(pathPart('_hidden'), '%5Fhidden')
  assert.equal(pathPart(' x '), '%20x%20')
  assert.equal(pathPart('100%'), '100%25')
})

test('no two names become the same part of a path, and none leaves its folder', () => {
  const names = fc.oneof(
    fc.string({ unit: 'binary', minLength: 1, maxLength: 90 }),
    fc.string({ unit: fc.constantFrom('.', '/', '\\', '%', '2', 'E', ' ', '_', 'ä', ':', '\0'), minLength: 1 }),
  )
  fc.assert(
    fc.property(names, names, (one, other) => {
      const part = pathPart(one)
      assert.doesNotMatch(part, /[/\\:\0.]/)
      assert.ok(part.length > 0 && Buffer.byteLength(part) <= 120)
      if (one !== other && one.isWellFormed() && other.isWellFormed()) assert.notEqual(part, pathPart(other))
    }),
  )
})

test('the longest names of both databases make a folder that file systems take', () => {
  const extractedAt = new Date(0)
  for (const name of ['"'.repeat(63), '名'.repeat(128), '🦆'.repeat(64), '𝒳'.repeat(64), 'x'.repeat(128)]) {
    const folder = extractFolder({ to: 'bronze', source: name, schema: name, table: name, extractedAt })
    for (const part of folder.split(sep)) assert.ok(Buffer.byteLength(part) <= 255 && part.isWellFormed(), part)
  }
})

test('the folder has the UTC date', () => {
  const extractedAt = new Date('2024-03-31T23:30:00-05:00')
  const folder = extractFolder({ to: 'bronze', source: 'crm', schema: 's', table: 't', extractedAt })
  assert.equal(folder, ['bronze', 'crm', 's.t', 'extract_date=2024-04-01'].join(sep))
})
