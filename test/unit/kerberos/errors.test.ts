import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ERROR_CODES, type ErrorCode } from '../../../src/error-codes.ts'
import { kerberosError, statusError } from '../../../src/kerberos/errors.ts'
import { realmIn } from '../../../src/kerberos/facts.ts'

const FACTS = {
  principal: 'alice@EXAMPLE.COM',
  cache: 'FILE:/tmp/krb5cc_7',
  keytab: '/etc/alice.keytab',
  spn: 'postgres@db.example.com',
  realm: 'EXAMPLE.COM',
  kdcs: ['kdc1.example.com:88'],
  expiresAt: Date.UTC(2026, 0, 2, 3, 4, 5),
}

const CODES = (Object.keys(ERROR_CODES) as ErrorCode[]).filter((code) =>
  /^(TICKET_|KEYTAB_|PRINCIPAL_|KDC_|REALM_|SPN_|GSS_(?!LIBRARY)|CLOCK_SKEW|ENCRYPTION_TYPE|KRB5_)/.test(code),
)

test('there are codes to look at', () => assert.ok(CODES.length >= 30, String(CODES.length)))

for (const code of CODES) {
  test(`${code} has a message and advice of its own`, () => {
    const error = kerberosError(code, FACTS)
    assert.equal(error.code, code)
    assert.notEqual(error.message, `${code}.`)
    if (code !== 'GSS_FAILED') assert.notEqual(error.hint, kerberosError('GSS_FAILED', FACTS).hint)
    assert.match(error.hint ?? '', /\w.*\.$/)
    assert.doesNotMatch(error.message + error.hint, /undefined|\[object/)
    // Nothing known must not turn into words like "undefined" either.
    assert.doesNotMatch(kerberosError(code, {}).message + kerberosError(code, {}).hint, /undefined/)
  })
}

test('an error names principal, cache, time and the command that mends it', () => {
  const { message, hint, phase, details } = kerberosError('TICKET_EXPIRED', FACTS)
  assert.match(message, /alice@EXAMPLE\.COM in FILE:\/tmp\/krb5cc_7 expired at 2026-01-02T03:04:05Z/)
  assert.match(hint ?? '', /`kinit -c FILE:\/tmp\/krb5cc_7 -k -t \/etc\/alice\.keytab alice@EXAMPLE\.COM`/)
  assert.equal(phase, 'credential')
  assert.equal(details.cache, FACTS.cache)
})

test('an error names server, realm and KDC', () => {
  assert.match(kerberosError('SPN_UNKNOWN', FACTS).message, /EXAMPLE\.COM .*postgres@db\.example\.com/)
  assert.match(
    kerberosError('SPN_UNKNOWN', FACTS).hint ?? '',
    /`kvno -c FILE:\/tmp\/krb5cc_7 postgres\/db\.example\.com` must work/,
  )
  assert.match(kerberosError('KDC_UNREACHABLE', FACTS).message, /EXAMPLE\.COM \(kdc1\.example\.com:88\)/)
})

test('a native status keeps its numbers and words, and its call decides the phase', () => {
  const error = statusError({ call: 'init', major: 0xd0000, minor: -1765328377, text: 'Server not found' }, FACTS)
  assert.equal(error.code, 'SPN_UNKNOWN')
  assert.equal(error.phase, 'gss')
  assert.deepEqual([error.details.major, error.details.minor], ['0xd0000', -1765328377])
  assert.match(error.message, /\(Server not found\)\.$/)
})

test('only errors that may pass without a change are transient', () => {
  const transient = CODES.filter((code) => kerberosError(code, FACTS).transient)
  assert.deepEqual(transient.toSorted(), ['KDC_TIMEOUT', 'KDC_UNREACHABLE', 'TICKET_CACHE_LOCKED'])
})

test('the realm of a principal is found, with quoted characters too', () => {
  assert.equal(realmIn('alice@EXAMPLE.COM'), 'EXAMPLE.COM')
  assert.equal(realmIn('a\\@b@EXAMPLE.COM'), 'EXAMPLE.COM')
  assert.equal(realmIn('alice'), undefined)
  assert.equal(realmIn(undefined), undefined)
})
