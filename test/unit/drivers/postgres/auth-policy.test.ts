import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseRequireAuth } from '../../../../src/drivers/postgres/auth-policy.ts'

function policy(...items: string[]) {
  const parsed = parseRequireAuth(items)
  if (typeof parsed === 'string') throw new Error(parsed)
  return parsed
}

test('without require_auth every method is allowed', () => {
  for (const given of [undefined, []]) {
    const parsed = parseRequireAuth(given)
    assert.ok(typeof parsed !== 'string')
    assert.equal(parsed.allows('password'), true)
    assert.equal(parsed.allowsNone, true)
  }
})

test('a list allows the methods that it names, and a login without a proof only where it names none', () => {
  const listed = policy('scram-sha-256', 'gss')
  assert.deepEqual([listed.allows('scram-sha-256'), listed.allows('gss'), listed.allows('md5')], [true, true, false])
  assert.equal(listed.allowsNone, false)
  assert.equal(policy('none').allowsNone, true)
  assert.equal(policy('none').allows('password'), false)
})

test('a negated list allows all other methods', () => {
  const negated = policy('!password', '!md5')
  assert.deepEqual([negated.allows('password'), negated.allows('md5'), negated.allows('sspi')], [false, false, true])
  assert.equal(negated.allowsNone, true)
  assert.equal(policy('!none').allowsNone, false)
})

test('lists that libpq refuses are refused', () => {
  for (const items of [['md5', '!gss'], ['!md5', 'gss'], ['md5', 'md5'], ['!md5', '!md5'], ['scram'], [''], ['!']]) {
    assert.equal(typeof parseRequireAuth(items), 'string', items.join())
  }
})
