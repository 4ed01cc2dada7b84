/** Secrets Manager and the Parameter Store of moto, which AWS' own clients fill. */

import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import {
  CreateSecretCommand,
  DeleteSecretCommand,
  PutSecretValueCommand,
  SecretsManagerClient,
} from '@aws-sdk/client-secrets-manager'
import { PutParameterCommand, SSMClient } from '@aws-sdk/client-ssm'
import { parseFields } from '../../../src/connections/fields.ts'
import type { AwsStoreOptions } from '../../../src/stores/aws/options.ts'
import { secretsManagerReader } from '../../../src/stores/aws/secrets-manager.ts'
import { loginFields, type StoreFieldValues, storeFields } from '../../../src/stores/fields.ts'
import { openStore } from '../../support/open-store.ts'
import { writingSuite } from '../../support/writing-suite.ts'
import { startMoto } from './moto.ts'

const moto = await startMoto()
after(() => moto[Symbol.asyncDispose]())

const region = 'eu-west-1'
const KEYS = { accessKeyId: 'AKIATEST', secretAccessKey: 'secret-of-the-test-key' }
const OPTIONS = {
  region,
  aws_endpoint_url: moto.url,
  aws_access_key_id: KEYS.accessKeyId,
  aws_secret_access_key: KEYS.secretAccessKey,
}
const witness = { region, endpoint: moto.url, credentials: KEYS }
const { values } = parseFields({ ...storeFields, ...loginFields(['aws-sm']) }, OPTIONS)

writingSuite(
  'Secrets Manager of moto',
  () =>
    secretsManagerReader((path) => `The secret ${path}`, values as StoreFieldValues & AwsStoreOptions, {
      environment: {},
      connection: {},
    }),
  (name) => `prod/${name}`,
)

test('the stages of a secret are read in the order of a rotation, by its name and its ARN', async () => {
  const client = new SecretsManagerClient(witness)
  const { ARN } = await client.send(new CreateSecretCommand({ Name: 'turns', SecretString: 'first' }))
  await client.send(new PutSecretValueCommand({ SecretId: 'turns', SecretString: 'second' }))
  const pending = { SecretId: 'turns', SecretString: 'third', VersionStages: ['AWSPENDING'] }
  await client.send(new PutSecretValueCommand(pending))
  for (const id of ['turns', ARN]) {
    using store = openStore(`aws-sm:${id}`, OPTIONS)
    assert.equal(await store.value(), 'second')
    assert.deepEqual(await store.others(), ['third', 'first'])
  }
})

test('missing, deleted and binary secrets are told apart', async () => {
  const client = new SecretsManagerClient(witness)
  await client.send(new CreateSecretCommand({ Name: 'ending', SecretString: 'one' }))
  await client.send(new DeleteSecretCommand({ SecretId: 'ending' }))
  await client.send(new CreateSecretCommand({ Name: 'binary', SecretBinary: Uint8Array.of(0, 255) }))
  for (const [name, code] of Object.entries({
    never: 'SECRET_MISSING',
    ending: 'SECRET_DELETED',
    binary: 'SECRET_UNUSABLE',
  })) {
    using store = openStore(`aws-sm:${name}`, OPTIONS)
    assert.equal((await store.failure()).code, code)
  }
})

test('parameters are read in plain text, by name and version', async () => {
  const client = new SSMClient(witness)
  for (const Value of ['first', 'second']) {
    await client.send(new PutParameterCommand({ Name: '/prod/sales', Value, Type: 'SecureString', Overwrite: true }))
  }
  using newest = openStore('aws-ssm:/prod/sales', OPTIONS)
  assert.equal(await newest.value(), 'second')
  assert.deepEqual(await newest.others(), ['first'])
  using first = openStore('aws-ssm:/prod/sales:1', OPTIONS)
  assert.equal(await first.value(), 'first')
  for (const name of ['/prod/sales:9', '/prod/never']) {
    using store = openStore(`aws-ssm:${name}`, OPTIONS)
    assert.equal((await store.failure()).code, 'SECRET_MISSING')
  }
})
