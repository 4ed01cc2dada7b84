import assert from 'node:assert/strict'
import test from 'node:test'
import type { Credential } from '../../../src/credentials/credential.ts'
import { sameSecret } from '../../../src/credentials/same-secret.ts'
import { Secret } from '../../../src/secret.ts'

const base = { identity: 'svc', issuedAt: 0 }
const samples = (): readonly Credential[] => [
  { ...base, kind: 'password', password: new Secret('a') },
  { ...base, kind: 'password', password: new Secret('b') },
  { ...base, kind: 'password', password: new Secret('a'), user: 'other' },
  { ...base, kind: 'token', token: new Secret('a') },
  { ...base, kind: 'token', token: new Secret('b') },
  { ...base, kind: 'certificate', certificate: 'c', privateKey: new Secret('a') },
  { ...base, kind: 'certificate', certificate: 'c', privateKey: new Secret('b') },
  { ...base, kind: 'certificate', certificate: 'd', privateKey: new Secret('a') },
  { ...base, kind: 'gss', principal: 'p' },
  { ...base, kind: 'gss', principal: 'q' },
  { ...base, kind: 'gss', principal: 'p', expiresAt: 5 },
]

test('only what says the same to a server is the same', () => {
  const [left, right] = [samples(), samples()]
  for (const [i, a] of left.entries()) {
    for (const [j, b] of right.entries()) assert.equal(sameSecret(a, b), i === j, `${i} and ${j}`)
  }
})

test('when it was had and how long it lasts does not count for a token', () => {
  const token = { ...base, kind: 'token', token: new Secret('a') } as const
  assert.equal(sameSecret(token, { ...token, issuedAt: 9, expiresAt: 10 }), true)
})
