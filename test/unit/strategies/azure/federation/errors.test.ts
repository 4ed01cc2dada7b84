import assert from 'node:assert/strict'
import { test } from 'node:test'
import { plainWords } from '../../../../../src/strategies/azure/federation/errors.ts'

test('text of a server becomes one line, without anything that could be a secret', () => {
  assert.equal(plainWords('  MSIS3126:\r\n Access\tdenied.\u0007 '), 'MSIS3126: Access denied.')
  const token = Buffer.from('x'.repeat(60)).toString('base64')
  assert.equal(plainWords(`Negotiate ${token} was sent`), 'Negotiate [...] was sent')
  assert.equal(plainWords(`<saml:Assertion ID="1">for alice</saml:Assertion`), 'for alice')
  assert.equal(plainWords('00000000-0000-0000-0000-000000000000'), '00000000-0000-0000-0000-000000000000')
  assert.equal(plainWords('word '.repeat(200)).length, 300)
})
