import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseChallenges } from '../../../src/kerberos/http-challenges.ts'

test('challenges are found in one header or in many, whatever the commas and quotes', () => {
  const negotiate = { scheme: 'negotiate' }
  const basic = { scheme: 'basic' }
  assert.deepEqual(parseChallenges(['Negotiate', 'Basic realm="x"']), [negotiate, basic])
  assert.deepEqual(parseChallenges(['Negotiate, Basic realm="a, Digest b", charset="UTF-8", NTLM']), [
    negotiate,
    basic,
    { scheme: 'ntlm' },
  ])
  assert.deepEqual(parseChallenges(['NEGOTIATE oYG3+/==']), [{ scheme: 'negotiate', token: 'oYG3+/==' }])
  assert.deepEqual(parseChallenges(['Basic realm="say \\"Negotiate abc\\", please"']), [basic])
  assert.deepEqual(parseChallenges(['Digest realm=x, nonce="y",qop="auth", Negotiate abc']), [
    { scheme: 'digest' },
    { scheme: 'negotiate', token: 'abc' },
  ])
  assert.deepEqual(parseChallenges([]), [])
  assert.deepEqual(parseChallenges([' , ,,']), [])
})

test('malformed challenges are passed over, in a time that does not grow with their length', () => {
  assert.deepEqual(parseChallenges(['"', '=x', '"unclosed, Negotiate']), [])
  const begun = performance.now()
  for (const piece of ['"', 'a="', '\\"', ',', 'a b ', '= ']) parseChallenges([piece.repeat(16_000 / piece.length)])
  // Milliseconds where it is linear, minutes where it is not.
  assert.ok(performance.now() - begun < 10_000)
})
