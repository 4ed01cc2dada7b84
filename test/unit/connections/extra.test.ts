import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { holdsSecret, readExtra, revealExtra } from '../../../src/connections/extra.ts'
import { Secret } from '../../../src/secret.ts'

function isHidden(key: string, value: unknown): boolean {
  return readExtra({ [key]: value }).extra[key] instanceof Secret
}

describe('secrets among the extras', () => {
  const names = [
    ...['password', 'PASSWORD', 'sslpassword', 'proxy_password', 'passwd', 'pwd', 'pass', 'passphrase', 'secret'],
    ...['sslpasswrod', 'pasword', 'client_secert', 'clientSecet', 'aws_session_tokne'],
    ...['client_secret', 'clientSecret', 'azure-client-secret', 'aws_secret_access_key', 'secretAccessKey'],
    ...['aws_session_token', 'token', 'access_token', 'refreshToken', 'api_key', 'apikey', 'private_key'],
    ...[
      'access_key',
      'AccountKey',
      'authorization',
      'client_assertion',
      'jwt',
      'keyfile_dict',
      'credentials',
      'vault_secret_id',
    ],
  ]
  for (const name of names) it(`${name} is hidden`, () => assert.ok(isHidden(name, 'x')))

  const open = [
    ...[
      'sslmode',
      'sslkey',
      'sslcert',
      'auth_method',
      'aws_access_key_id',
      'accessKeyId',
      'token_lifetime',
      'token_url',
    ],
    ...['password_file', 'passfile', 'azure_federated_token_file', 'client_id', 'keytab', 'principal', 'retire_on'],
    ...['pool_size', 'application_name', 'options', 'krbsrvname', 'aws_profile', 'tenant_id', 'secret_name'],
  ]
  for (const name of open) it(`${name} is shown`, () => assert.ok(!isHidden(name, '/x')))

  for (const name of [
    'sslkey',
    'sslcert',
    'keytab',
    'password_file',
    'ssl_key',
    'sslkye',
    'ca_file',
    'ServerCertificate',
  ]) {
    it(`under ${name} a value that can be no path is hidden`, () => {
      assert.ok(isHidden(name, 'hunter2'))
      assert.ok(isHidden(name, 12_345))
      assert.ok(!isHidden(name, './client.key'))
    })
  }
  it('system in place of a path is shown', () => assert.ok(!isHidden('sslrootcert', 'system')))

  const hiddenValues = [
    'http://user:pw@proxy:3128',
    'https://token@host/x',
    'http://user:p/w@proxy',
    'user:pw@proxy:3128',
    'Server=x;Password=y',
    'host=x password=y',
    'https://x.blob.core.windows.net/?sv=1&sig=abc',
    '{"client_secret": "x"}',
    "{'private_key': 'x'}",
    '-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----',
    '-----BEGIN ENCRYPTED PRIVATE KEY-----',
  ]
  for (const value of hiddenValues)
    it(`${JSON.stringify(value)} is hidden under any name`, () => assert.ok(isHidden('anything', value)))

  const openValues = [
    'alice@REALM.EXAMPLE',
    'postgres/db.example.com@REALM',
    'MSSQLSvc/sql.example.com:1433@REALM',
    'http://proxy:3128',
    'KEYRING:persistent:0',
    '-c search_path=app -c statement_timeout=5s',
    '-----BEGIN CERTIFICATE-----',
    'scram-sha-256,!password',
    '',
  ]
  for (const value of openValues) it(`${JSON.stringify(value)} is shown`, () => assert.ok(!isHidden('anything', value)))

  it('are all texts and numbers below a secret name, at any depth; other values keep their type', () => {
    const { extra } = readExtra({
      keyfile_dict: { id: 'x', n: [1, null, true, ''] },
      azure: [{ client_secret: 5 }],
      pool_size: 5,
    })
    const found = JSON.parse(JSON.stringify(extra))
    assert.deepEqual(found, {
      keyfile_dict: { id: '[secret]', n: ['[secret]', null, true, ''] },
      azure: [{ client_secret: '[secret]' }],
      pool_size: 5,
    })
    assert.deepEqual(revealExtra(extra), {
      keyfile_dict: { id: 'x', n: ['1', null, true, ''] },
      azure: [{ client_secret: '5' }],
      pool_size: 5,
    })
  })

  it('keeps Secrets that are given', () => {
    const { extra, problems } = readExtra({ anything: new Secret('x') })
    assert.deepEqual(problems, [])
    assert.deepEqual(revealExtra(extra), { anything: 'x' })
  })

  it('are found in a time that grows with the length of a text, and no faster', () => {
    const startedAt = performance.now()
    readExtra({ a: ':'.repeat(1_000_000), b: 'x:/'.repeat(300_000), c: 'password '.repeat(100_000) })
    // Quadratic, this would be minutes; the bound is far above any honest run.
    assert.ok(performance.now() - startedAt < 10_000)
  })
})

describe('keys with a meaning in JavaScript', () => {
  it('are only keys', () => {
    const { extra } = readExtra('{"__proto__": {"polluted": true}, "constructor": 1}')
    assert.deepEqual(Object.keys(extra), ['__proto__', 'constructor'])
    assert.equal(Object.getPrototypeOf(extra), Object.prototype)
    assert.equal(Reflect.get({}, 'polluted'), undefined)
    assert.equal(JSON.stringify(revealExtra(extra)), '{"__proto__":{"polluted":true},"constructor":1}')
  })
})

describe('holdsSecret', () => {
  it('looks into lists and objects', () => {
    assert.equal(holdsSecret(readExtra({ a: [{ b: { token: 'x' } }] }).extra), true)
    assert.equal(holdsSecret(readExtra({ a: [{ b: { tokens_url: 'x' } }], c: null }).extra), false)
  })
})
