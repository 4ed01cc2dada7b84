import assert from 'node:assert/strict'
import { test } from 'node:test'
import { jwtClaims } from '../../../src/credentials/jwt-claims.ts'

const jwt = (claims: unknown): string => `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.sig`

test('the claims of a JSON web token are read without its signature', () => {
  assert.deepEqual(jwtClaims(jwt({ aud: 'a', exp: 1, upn: 'ä@x' })), { aud: 'a', exp: 1, upn: 'ä@x' })
})

for (const token of ['', 'opaque', 'a.b.c', '..', jwt(null), jwt('text'), jwt(7)]) {
  test(`a token of another form has no claims: ${token.slice(0, 20)}`, () => {
    assert.deepEqual(jwtClaims(token), {})
  })
}
