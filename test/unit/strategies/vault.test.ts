import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ConfigError, type ConnectionObject, createEngine } from '../../../src/index.ts'

async function problemsOf(connection: Partial<ConnectionObject>, extra: Readonly<Record<string, unknown>>) {
  const record = { type: 'postgres', host: 'db', ...connection, extra: { auth_method: 'vault', ...extra } }
  const error = await createEngine(record, { stores: { environment: {} } }).then(
    async (db) => {
      await db.destroy()
      return undefined
    },
    (reason: ConfigError) => reason,
  )
  return Object.fromEntries(error?.problems.map(({ path, message }) => [path, message]) ?? [])
}

const GOOD = { vault_addr: 'https://vault:8200', vault_database_role: 'etl' }

test('a role and the address of Vault are enough', async () => {
  assert.deepEqual(await problemsOf({}, GOOD), {})
  assert.deepEqual(await problemsOf({ type: 'mssql' }, GOOD), {})
  assert.deepEqual(await problemsOf({}, { ...GOOD, vault_addr: 'http://127.0.0.1:8200' }), {})
})

test('what contradicts the strategy is listed', async () => {
  assert.deepEqual(Object.keys(await problemsOf({}, {})).sort(), ['extra.vault_addr', 'extra.vault_database_role'])
  assert.deepEqual(Object.keys(await problemsOf({ login: 'etl', password: 'x' }, GOOD)).sort(), ['login', 'password'])
  const both = await problemsOf({}, { ...GOOD, vault_static_role: 'x', set_role: 'y', session_init: 'select 1' })
  assert.deepEqual(Object.keys(both).sort(), ['extra.set_role', 'extra.vault_static_role'])
  assert.deepEqual(Object.keys(await problemsOf({ type: 'mssql' }, { ...GOOD, set_role: 'x' })), ['extra.set_role'])
})

for (const address of [
  'http://vault.example.com:8200',
  'vault.example.com:8200',
  'https://user:word@vault.example.com',
  'https://vault.example.com/ui',
  'https://vault.example.com/?x=1',
  'ftp://vault.example.com',
]) {
  test(`${address} is no address of Vault`, async () => {
    assert.match((await problemsOf({}, { ...GOOD, vault_addr: address }))['extra.vault_addr'] ?? '', /^expected https/)
  })
}

test('authorities are refused where they would check nothing', async () => {
  const plain = { ...GOOD, vault_addr: 'http://127.0.0.1:8200' }
  assert.deepEqual(Object.keys(await problemsOf({}, plain)), [])
  assert.deepEqual(Object.keys(await problemsOf({}, { ...plain, vault_ca_file: './ca.pem' })), ['extra.vault_ca_file'])
})

test('each way to log in says what it needs', async () => {
  const needs = async (extra: Readonly<Record<string, unknown>>): Promise<readonly string[]> =>
    Object.keys(await problemsOf({}, { ...GOOD, ...extra })).sort()
  assert.deepEqual(await needs({ vault_auth: 'approle' }), ['extra.vault_role_id'])
  assert.deepEqual(await needs({ vault_role_id: 'x' }), ['extra.vault_role_id'])
  // Without vault_auth another identity would log in: that of VAULT_TOKEN or ~/.vault-token.
  const user = { vault_username: 'etl', vault_password: 'x' }
  assert.deepEqual(await needs(user), ['extra.vault_password', 'extra.vault_username'])
  assert.deepEqual(await needs({ vault_aws_role_arn: 'arn:aws:iam::1:role/etl' }), ['extra.vault_aws_role_arn'])
  assert.deepEqual(await needs({ ...user, vault_auth: 'ldap' }), [])
  assert.deepEqual(await needs({ ...user, vault_token: 'x' }), [])
  assert.deepEqual(await needs({ vault_auth: 'kubernetes' }), ['extra.vault_role'])
  assert.deepEqual(await needs({ vault_auth: 'jwt' }), ['extra.vault_jwt_file', 'extra.vault_role'])
  assert.deepEqual(await needs({ vault_auth: 'cert' }), ['extra.vault_client_cert'])
  assert.deepEqual(await needs({ vault_client_cert: './c.pem' }), ['extra.vault_client_key'])
  assert.deepEqual(await needs({ vault_token: 'x', vault_token_file: './t.txt' }), ['extra.vault_token_file'])
})
