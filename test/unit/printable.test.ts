import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { printable } from '../../src/printable.ts'

test('plain text stays as it is, in any language', () => {
  for (const text of ['', 'password authentication failed for user "etl"', 'Benutzer »größe« unbekannt', '接続 😀']) {
    assert.equal(printable(text), text)
  }
})

test('escape sequences, overwritten lines and forged lines are shown, not obeyed', () => {
  assert.equal(printable('a\x1b[2Jb\x07\x7f\x9b'), 'a\\x1b[2Jb\\x07\\x7f\\x9b')
  assert.equal(printable('refused\r\nok: connected\n\tas root'), 'refused ok: connected as root')
  assert.equal(printable('user \u202egnp.exe'), 'user \\u202egnp.exe')
  assert.equal(printable('half \ud83d of a pair'), 'half \\ud83d of a pair')
})

test('a long text is cut and marked', () => {
  assert.equal(printable('x'.repeat(1001)), `${'x'.repeat(1000)}…`)
  assert.equal(printable('abcdef', 3), 'abc…')
  assert.equal(printable('abc', 3), 'abc')
})

test('the result holds no control character, whatever comes in', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      assert.doesNotMatch(printable(text), /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u)
    }),
  )
})
