import assert from 'node:assert/strict'
import test from 'node:test'
import { subjectOf } from '../../../../src/strategies/azure/claims.ts'

const jwt = (claims: unknown): string => `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.sig`

test('the identity of a token is its user, else its application, else its object', () => {
  assert.equal(subjectOf(jwt({ upn: 'a@x', appid: 'app', oid: 'o' })), 'a@x')
  assert.equal(subjectOf(jwt({ appid: 'app', oid: 'o' })), 'app')
  assert.equal(subjectOf(jwt({ azp: 'app2' })), 'app2')
  assert.equal(subjectOf(jwt({ oid: 'o', sub: 's' })), 'o')
})

for (const token of ['', 'opaque', 'a.b.c', jwt(null), jwt('text'), jwt([1]), jwt({ upn: 7, appid: '' })]) {
  test(`a token that says nothing is no error: ${token.slice(0, 20)}`, () => {
    assert.equal(subjectOf(token), undefined)
  })
}
