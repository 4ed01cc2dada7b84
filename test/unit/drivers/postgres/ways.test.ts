import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GssNotOffered, GssSetupFailed } from '../../../../src/drivers/postgres/gss-transport.ts'
import { NegotiationRefusal } from '../../../../src/drivers/postgres/negotiation.ts'
import type { GssMode, SslMode } from '../../../../src/drivers/postgres/options.ts'
import { ServerRefusal } from '../../../../src/drivers/postgres/server-error.ts'
import { goesOn, joined, waysToTry } from '../../../../src/drivers/postgres/ways.ts'
import { PoolsmithError } from '../../../../src/errors.ts'
import { Secret } from '../../../../src/secret.ts'
import { passwordCredential, tokenCredential } from '../../../support/postgres-driver.ts'

const tcp = { kind: 'tcp', address: '127.0.0.1', port: 5432 } as const
const password = passwordCredential('p')
const token = tokenCredential('t')
const certificate = {
  kind: 'certificate',
  identity: 'CN=x',
  certificate: '',
  privateKey: new Secret(''),
  issuedAt: 0,
} as const

test('the ways are tried in the order of libpq', () => {
  const cases: readonly (readonly [GssMode, SslMode, readonly string[]])[] = [
    ['disable', 'disable', ['plain']],
    ['disable', 'allow', ['plain', 'tls']],
    ['disable', 'prefer', ['tls', 'plain']],
    ['disable', 'verify-full', ['tls']],
    ['prefer', 'disable', ['gss', 'plain']],
    ['prefer', 'allow', ['gss', 'plain', 'tls']],
    ['prefer', 'prefer', ['gss', 'tls', 'plain']],
    ['prefer', 'require', ['gss', 'tls']],
    ['require', 'disable', ['gss']],
    ['require', 'verify-full', ['gss']],
  ]
  for (const [gssMode, sslMode, expected] of cases) {
    assert.deepEqual(waysToTry({ gssMode, sslMode }, tcp, password), expected, `${gssMode} ${sslMode}`)
    const unix = { kind: 'unix', path: '/run/.s.PGSQL.5432' } as const
    assert.deepEqual(waysToTry({ gssMode, sslMode }, unix, password), ['plain'])
  }
})

test('a token is never sent unencrypted, and a certificate is used in TLS only', () => {
  assert.deepEqual(waysToTry({ gssMode: 'prefer', sslMode: 'disable' }, tcp, token), ['gss'])
  assert.deepEqual(waysToTry({ gssMode: 'prefer', sslMode: 'prefer' }, tcp, token), ['gss', 'tls'])
  assert.throws(() => waysToTry({ gssMode: 'disable', sslMode: 'disable' }, tcp, token), { code: 'TLS_NEEDED' })
  assert.deepEqual(waysToTry({ gssMode: 'prefer', sslMode: 'prefer' }, tcp, certificate), ['tls'])
  assert.throws(() => waysToTry({ gssMode: 'require', sslMode: 'prefer' }, tcp, certificate), {
    code: 'CONFIG_INVALID',
  })
})

test('the next way is tried after the failures after which libpq tries it', () => {
  const early = new NegotiationRefusal('tls', {})
  const atLogin = new ServerRefusal({}, 'at-login')
  const late = new ServerRefusal({}, 'authenticated')
  const damaged = new PoolsmithError('x', { code: 'GSS_MESSAGE_DAMAGED', phase: 'gss' })
  const stuffed = new PoolsmithError('x', { code: 'GSS_STUFFED', phase: 'gss' })
  const seen = [early, atLogin, late, damaged, stuffed, new GssNotOffered(), new GssSetupFailed()].map((cause) =>
    goesOn(cause, 'gss'),
  )
  assert.deepEqual(seen, [true, true, false, false, false, true, true])
  assert.deepEqual(
    [early, atLogin, late].map((cause) => goesOn(cause, 'tls')),
    [false, true, false],
  )
})

test('the last of several failures is reported, with earlier ones of another code', () => {
  const error = (code: 'SPN_UNKNOWN' | 'LOGIN_NOT_ADMITTED' | 'TLS_NOT_OFFERED', message: string): PoolsmithError =>
    new PoolsmithError(message, { code, phase: 'login' })
  const spn = { way: 'gss', error: error('SPN_UNKNOWN', 'no such server.') } as const
  const line = { way: 'tls', error: error('LOGIN_NOT_ADMITTED', 'no line.') } as const
  const last = { way: 'plain', error: error('LOGIN_NOT_ADMITTED', 'no line either.') } as const
  const told = joined([spn, line, last])
  assert.ok(told instanceof PoolsmithError)
  assert.equal(told.code, 'LOGIN_NOT_ADMITTED')
  assert.equal(told.message, 'no line either. (Before that, with GSSAPI encryption: no such server.)')
  // TLS was the only way, or the second choice of sslmode=allow.
  const none = { way: 'tls', error: error('TLS_NOT_OFFERED', 'no TLS.') } as const
  const alone = joined([spn, none])
  assert.ok(alone instanceof PoolsmithError)
  assert.deepEqual(
    [alone.code, alone.message],
    ['TLS_NOT_OFFERED', 'no TLS. (Before that, with GSSAPI encryption: no such server.)'],
  )
  assert.equal(joined([last, none]), last.error)
})
