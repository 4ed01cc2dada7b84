/** The login to Vault by an AWS identity, which the double verifies as Vault and AWS' STS would. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { createEngine, PoolsmithError } from '../../src/index.ts'
import { findSecrets } from '../support/object-graph.ts'
import { startPostgres } from '../support/postgres.ts'
import { AWS_KEYS } from '../support/vault/aws-logins.ts'
import { startVaultDouble, type VaultDouble } from '../support/vault/double.ts'
import { administer } from '../support/vault/server.ts'

const HOUR_MILLIS = 3_600_000
const SERVER_ID = 'vault.example.com'
const SECRETS = [AWS_KEYS.secretAccessKey, AWS_KEYS.sessionToken]

async function prepare(vault: VaultDouble): Promise<void> {
  const policy = 'path "secret/data/sales" { capabilities = ["read"] }'
  await administer(vault, 'POST', 'sys/policies/acl/reader', { policy })
  await administer(vault, 'POST', 'auth/aws/config/client', { iam_server_id_header_value: SERVER_ID })
  await administer(vault, 'POST', 'auth/aws/role/etl', { token_policies: ['reader'] })
  await administer(vault, 'POST', 'secret/data/sales', { data: { password: 'first' } })
}

function engineOf(vault: VaultDouble, extra: Readonly<Record<string, unknown>> = {}, port = 1) {
  return createEngine(
    {
      type: 'postgres',
      host: '127.0.0.1',
      port,
      login: 'etl',
      database: 'postgres',
      extra: {
        password_from: 'vault:secret/sales#password',
        vault_addr: vault.address,
        vault_kv_version: 2,
        vault_auth: 'aws',
        vault_role: 'etl',
        vault_aws_server_id: SERVER_ID,
        vault_aws_access_key_id: AWS_KEYS.accessKeyId,
        vault_aws_secret_access_key: AWS_KEYS.secretAccessKey,
        vault_aws_session_token: AWS_KEYS.sessionToken,
        ...extra,
      },
    },
    { stores: { environment: {} } },
  )
}

async function failureOf(vault: VaultDouble, extra: Readonly<Record<string, unknown>> = {}): Promise<PoolsmithError> {
  await using db = await engineOf(vault, extra)
  const error: unknown = await db.raw('select 1').then(
    () => undefined,
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof PoolsmithError, String(error))
  assert.deepEqual(findSecrets([error, inspect(error, { depth: 8, showHidden: true })], SECRETS), [])
  return error
}

test('the identity of AWS logs in, by the global endpoint and that of a region', async () => {
  await using server = await startPostgres()
  await server.sql("create role etl login password 'first'")
  await using vault = await startVaultDouble()
  await prepare(vault)
  for (const extra of [{}, { vault_aws_region: 'eu-west-1' }]) {
    await using db = await engineOf(vault, extra, server.port)
    await db.raw('select 1')
  }
  // No key is sent, only what it has signed.
  const logins = vault.asked.filter(({ path }) => path === 'auth/aws/login')
  assert.deepEqual(findSecrets(logins, [AWS_KEYS.secretAccessKey]), [])
})

test('a clock that is an hour wrong in either direction does not prevent the login', async () => {
  await using server = await startPostgres()
  await server.sql("create role etl login password 'first'")
  for (const aheadMillis of [HOUR_MILLIS, -HOUR_MILLIS]) {
    await using vault = await startVaultDouble()
    await prepare(vault)
    vault.aheadMillis = aheadMillis
    await using db = await engineOf(vault, {}, server.port)
    await db.raw('select 1')
  }
})

test('a refusal is told in the words of Vault, and a clock that is wrong beside it', async () => {
  await using vault = await startVaultDouble()
  await prepare(vault)
  const noId = await failureOf(vault, { vault_aws_server_id: null })
  assert.deepEqual([noId.code, noId.transient], ['STORE_REFUSED', false])
  assert.match(noId.message, /log in by aws \(HTTP 400\).*missing header "X-Vault-AWS-IAM-Server-ID"/)
  assert.match((await failureOf(vault, { vault_aws_server_id: 'other' })).message, /expected "vault.example.com"/)
  assert.match((await failureOf(vault, { vault_role: 'other' })).message, /entry for role other not found/)
  const wrong = await failureOf(vault, { vault_aws_secret_access_key: 'another-key-of-aws' })
  assert.match(wrong.message, /from STS.*SignatureDoesNotMatch/)
  assert.doesNotMatch(wrong.hint ?? '', /clock/)
  vault.aheadMillis = HOUR_MILLIS
  const both = await failureOf(vault, { vault_aws_secret_access_key: 'another-key-of-aws' })
  assert.match(both.hint ?? '', /The clock of this machine differs from Vault's by 60 minutes/)
})

test('keys that cannot be obtained are told apart from a refusal by Vault', async () => {
  await using vault = await startVaultDouble()
  await prepare(vault)
  const none = { vault_aws_access_key_id: null, vault_aws_secret_access_key: null, vault_aws_session_token: null }
  const error = await failureOf(vault, { ...none, vault_aws_profile: 'no-such-profile-of-this-test' })
  assert.match(error.code, /^CREDENTIAL_/)
  assert.match(error.message, /^The AWS keys for the login to Vault could not be obtained/)
  assert.equal(vault.asked.filter(({ path }) => path === 'auth/aws/login').length, 0)
})

test('options of the AWS login that contradict each other are listed', async () => {
  await using vault = await startVaultDouble()
  const problemsOf = async (extra: Readonly<Record<string, unknown>>): Promise<readonly string[]> => {
    const error: unknown = await engineOf(vault, extra).then(
      (db) => db.destroy(),
      (reason: unknown) => reason,
    )
    return (error as { problems?: readonly { path: string }[] } | undefined)?.problems?.map(({ path }) => path) ?? []
  }
  assert.deepEqual(await problemsOf({}), [])
  assert.deepEqual(await problemsOf({ vault_aws_secret_access_key: null }), ['extra.vault_aws_secret_access_key'])
  assert.deepEqual(await problemsOf({ vault_aws_access_key_id: null }), ['extra.vault_aws_access_key_id'])
  assert.deepEqual(await problemsOf({ vault_aws_profile: 'x' }), ['extra.vault_aws_profile'])
  assert.deepEqual(await problemsOf({ vault_aws_region: 'evil.example.com' }), ['extra.vault_aws_region'])
})
