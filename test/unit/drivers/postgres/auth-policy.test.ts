import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseRequireAuth } from '../../../../src/drivers/postgres/auth-policy.ts'

function policy(...items: string[]) {
  const parsed = parseRequireAuth(items)
  if (typeof parsed === 'string') throw new Error(parsed)
  return parsed
}

test('nothing given allows everything', () => {
  for (const given of [undefined, []]) {
    const parsed = parseRequireAuth(given)
    assert.ok(typeof parsed !== 'string')
    assert.equal(parsed.allows('password'), true)
    assert.equal(parsed.allowsNone, true)
  }
})

test('a list allows what it names, and no proof only when none is named', () => {
  const listed = policy('scram-sha-256', 'gss')
  assert.deepEqual([listed.allows('scram-sha-256'), listed.allows('gss'), listed.allows('md5')], [true, true, false])
  assert.equal(listed.allowsNone, false)
  assert.equal(policy('none').allowsNone, true)
  assert.equal(policy('none').allows('password'), false)
})

test('a negated list allows all others', () => {
  const negated = policy('!password', '!md5')
  assert.deepEqual([negated.allows('password'), negated.allows('md5'), negated.allows('sspi')], [false, false, true])
  assert.equal(negated.allowsNone, true)
  assert.equal(policy('!none').allowsNone, false)
})

test('what libpq refuses', () => {
  for (const items of [['md5', '!gss'], ['!md5', 'gss'], ['md5', 'md5'], ['!md5', '!md5'], ['scram'], [''], ['!']]) {
    assert.equal(typeof parseRequireAuth(items), 'string', items.join())
  }
})
