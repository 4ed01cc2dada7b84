import assert from 'node:assert/strict'
import { test } from 'node:test'
import { userOf } from '../../../src/kerberos/user-name.ts'

test('the user is the principal without its realm', () => {
  assert.equal(userOf('alice@EXAMPLE.COM'), 'alice')
  assert.equal(userOf('etl/host.example.com@EXAMPLE.COM'), 'etl/host.example.com')
  assert.equal(userOf('alice'), 'alice')
})

test('a quoted @ belongs to the name', () => {
  assert.equal(userOf('alice\\@home@EXAMPLE.COM'), 'alice@home')
})

test('a realm can have a suffix, which no other realm gets', () => {
  const suffixes = { 'PARTNER.COM': '@partner' }
  assert.equal(userOf('bob@PARTNER.COM', suffixes), 'bob@partner')
  assert.equal(userOf('bob@EXAMPLE.COM', suffixes), 'bob')
  assert.equal(userOf('bob@constructor', suffixes), 'bob')
})
