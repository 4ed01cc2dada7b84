import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { parseFields } from '../../src/connections/fields.ts'
import { Secret } from '../../src/secret.ts'
import type { AwsStoreOptions } from '../../src/stores/aws/options.ts'
import { parameterStoreReader } from '../../src/stores/aws/parameter-store.ts'
import { secretsManagerReader } from '../../src/stores/aws/secrets-manager.ts'
import { loginFields, type StoreFieldValues, storeFields } from '../../src/stores/fields.ts'
import { REGION, startAwsDouble } from '../support/aws/stores-double.ts'
import { writingSuite } from '../support/writing-suite.ts'

const aws = await startAwsDouble()
after(() => aws[Symbol.asyncDispose]())

const { values } = parseFields(
  { ...storeFields, ...loginFields(['aws-sm', 'aws-ssm']) },
  {
    region: REGION,
    aws_endpoint_url: aws.url,
    aws_access_key_id: 'AKIATEST',
    aws_secret_access_key: 'secret-of-the-test-key',
  },
)
const options = values as StoreFieldValues & AwsStoreOptions

writingSuite(
  'Secrets Manager',
  () => secretsManagerReader((path) => `The secret ${path}`, options, { environment: {}, connection: {} }),
  (name) => `prod/${name}`,
)

const parameters = () =>
  parameterStoreReader((path) => `The parameter ${path}`, options, { environment: {}, connection: {} })

writingSuite('the Parameter Store', parameters, (name) => `/prod/${name}`)

const signal = AbortSignal.timeout(60_000)
const putsOf = () => aws.asked.filter(({ action }) => action === 'PutParameter').map(({ input }) => input)

test('the type, the key and the tier of a parameter stay when it is written, and its values are not decrypted for it', async () => {
  const more = { Type: 'SecureString', KeyId: 'arn:aws:kms:eu-west-1:1:key/own', Tier: 'Advanced' }
  for (const text of ['one', 'two', 'three']) aws.parameters.put('/prod/own-key', text, [], more)
  aws.parameters.put('/prod/plain', 'one', [], { Type: 'String' })
  const reader = await parameters()
  for (const path of ['/prod/own-key', '/prod/plain']) {
    const read = await reader.read(path, signal)
    await reader.write?.(path, new Map([['', new Secret('next')]]), { replaces: read, signal })
    assert.equal((await reader.read(path, signal)).read(undefined, 'It').reveal(), 'next')
  }
  const [own, plain] = putsOf().slice(-2)
  assert.deepEqual({ Type: own?.Type, KeyId: own?.KeyId, Tier: own?.Tier }, more)
  assert.deepEqual([plain?.Type, plain?.KeyId], ['String', undefined])
  const histories = aws.asked.filter(({ action }) => action === 'GetParameterHistory')
  assert.ok(histories.every(({ input }) => input.WithDecryption !== true))
})

test('a parameter that is named by a version, a label or its ARN is not written', async () => {
  const reader = await parameters()
  const arn = 'arn:aws:ssm:eu-west-1:123456789012:parameter/prod/own-key'
  for (const path of ['/prod/own-key:1', '/prod/own-key:stable', arn]) {
    const writing = reader.write?.(path, new Map([['', new Secret('next')]]), { replaces: undefined, signal })
    await assert.rejects(async () => writing, { code: 'SECRET_UNUSABLE' })
  }
})
