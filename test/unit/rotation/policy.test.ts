import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ConfigError } from '../../../src/errors.ts'
import { DAY_MILLIS, DEFAULT_POLICY, judge, rotationPolicy } from '../../../src/rotation/policy.ts'

const NOW = Date.UTC(2026, 10, 29)
const ago = (days: number): number => NOW - days * DAY_MILLIS
const { database_password: PASSWORD } = DEFAULT_POLICY

test('a credential is ok, due soon and due by its age', () => {
  assert.deepEqual(judge({ setAt: ago(165) }, PASSWORD, NOW), { status: 'ok', dueAt: ago(-15) })
  assert.equal(judge({ setAt: ago(166) }, PASSWORD, NOW).status, 'soon')
  assert.equal(judge({ setAt: ago(179.9) }, PASSWORD, NOW).status, 'soon')
  assert.equal(judge({ setAt: ago(180) }, PASSWORD, NOW).status, 'due')
})

test('the earlier of its end and its greatest age decides', () => {
  assert.deepEqual(judge({ setAt: ago(1), expiresAt: ago(-10) }, PASSWORD, NOW), { status: 'soon', dueAt: ago(-10) })
  assert.equal(judge({ setAt: ago(1), expiresAt: ago(0) }, PASSWORD, NOW).status, 'expired')
  assert.equal(judge({ setAt: ago(200), expiresAt: ago(-400) }, PASSWORD, NOW).status, 'due')
})

test('an age is unknown where nothing tells it, also beside an end that is far away', () => {
  assert.deepEqual(judge({}, PASSWORD, NOW), { status: 'unknown' })
  assert.equal(judge({ expiresAt: ago(-3650) }, PASSWORD, NOW).status, 'unknown')
  assert.equal(judge({ expiresAt: ago(-100) }, PASSWORD, NOW).status, 'ok')
})

test('a rule that is given replaces the default, and the others stay', () => {
  const policy = rotationPolicy({ api_key: { maxAgeDays: 30 }, database_password: { warnDays: 0 } })
  assert.deepEqual(policy.api_key, { maxAgeDays: 30, warnDays: 7 })
  assert.deepEqual(policy.database_password, { maxAgeDays: 180, warnDays: 0 })
  assert.deepEqual(policy.tls_certificate, DEFAULT_POLICY.tls_certificate)
  assert.deepEqual(rotationPolicy({ api_key: { maxAgeDays: 5 } }).api_key, { maxAgeDays: 5, warnDays: 0.5 })
})

test('a policy that is negative, absurd or misspelt is refused with all its problems', () => {
  const given = {
    api_key: { maxAgeDays: -1 },
    database_password: { maxAgeDays: 10, warnDays: 20 },
    client_secret: { maxAgeDays: 1e9, warnDays: '3' },
    kerberos_keytabs: {},
    tls_certificate: { maxAge: 3 },
  }
  assert.throws(
    () => rotationPolicy(given),
    (error: unknown) => {
      assert.ok(error instanceof ConfigError)
      assert.deepEqual(
        error.problems.map(({ path }) => path),
        [
          'api_key.maxAgeDays',
          'database_password.warnDays',
          'client_secret.maxAgeDays',
          'client_secret.warnDays',
          'kerberos_keytabs',
          'tls_certificate.maxAge',
        ],
      )
      assert.match(error.message, /kerberos_keytabs: unknown; did you mean kerberos_keytab\?/)
      return true
    },
  )
  for (const wrong of [null, [], 'x', { api_key: 3 }, { api_key: { maxAgeDays: Number.NaN } }]) {
    assert.throws(() => rotationPolicy(wrong), ConfigError)
  }
})
