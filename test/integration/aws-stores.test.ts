/** Secrets Manager and the Parameter Store, on a double that verifies signatures, with AWS' own clients beside ours. */

import assert from 'node:assert/strict'
import { after, beforeEach, describe, test } from 'node:test'
import { GetSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager'
import { GetParameterCommand, SSMClient } from '@aws-sdk/client-ssm'
import { ConfigError, createEngine } from '../../src/index.ts'
import { REGION, refuse, startAwsDouble } from '../support/aws/stores-double.ts'
import { clearAwsEnvironment } from '../support/aws-environment.ts'
import { temporaryFolder } from '../support/folder.ts'
import { type OpenedStore, openStore } from '../support/open-store.ts'

const resources = new AsyncDisposableStack()
after(() => resources.disposeAsync())
const folder = resources.use(await temporaryFolder())
const aws = resources.use(await startAwsDouble())

const KEYS = { aws_access_key_id: 'AKIATEST', aws_secret_access_key: 'secret-of-the-test-key' }
const OPTIONS = { ...KEYS, region: REGION, aws_endpoint_url: aws.url }

beforeEach(() => {
  clearAwsEnvironment(folder.path)
  process.env.AWS_ENDPOINT_URL_STS = aws.url
  Object.assign(aws, { fault: undefined, skewMillis: 0, roleMillis: 3_600_000 })
  aws.asked.length = 0
})

function open(reference: string, options: Readonly<Record<string, unknown>> = {}): OpenedStore {
  return openStore(reference, { ...OPTIONS, ...options })
}

const credentials = { accessKeyId: KEYS.aws_access_key_id, secretAccessKey: KEYS.aws_secret_access_key }
const witness = { region: REGION, endpoint: aws.url, credentials }

describe('Secrets Manager', () => {
  test("a secret is read by its name and by its ARN, as AWS' own client reads it", async () => {
    aws.secrets.put('prod/sales', JSON.stringify({ username: 'etl', password: 'one' }))
    const client = new SecretsManagerClient(witness)
    for (const id of ['prod/sales', aws.secrets.arnOf('prod/sales')]) {
      const theirs = await client.send(new GetSecretValueCommand({ SecretId: id }))
      using store = open(`aws-sm:${id}#password`)
      const ours = await store.read()
      assert.deepEqual(ours.fields(), JSON.parse(theirs.SecretString ?? ''))
      assert.equal(ours.version, theirs.VersionId)
      assert.equal(ours.writtenAt, theirs.CreatedDate?.getTime())
      assert.ok(Math.abs(Date.now() - (ours.writtenAt ?? 0)) < 600_000)
      assert.equal(await store.value(), 'one')
    }
    client.destroy()
  })

  test('an ARN says its region, and the option need not', async () => {
    aws.secrets.put('by-arn', 'plain')
    using store = open(`aws-sm:${aws.secrets.arnOf('by-arn')}`, { region: undefined })
    assert.equal(await store.value(), 'plain')
  })

  test('after the present version, the pending one is tried, and then the previous one', async () => {
    aws.secrets.put('turns', 'first')
    using store = open('aws-sm:turns')
    assert.deepEqual(await store.others(), [])
    aws.secrets.put('turns', 'second')
    assert.deepEqual(await store.others(), ['first'])
    aws.secrets.put('turns', 'third', ['AWSPENDING'])
    assert.deepEqual(await store.others(), ['third', 'first'])
    aws.secrets.promote('turns')
    assert.equal(await store.value(), 'third')
    assert.deepEqual(await store.others(), ['second'])
  })

  test('the secret that RDS manages is read by its name', async () => {
    aws.secrets.put('rds!db-1111-2222', JSON.stringify({ username: 'postgres', password: 'managed' }))
    using store = open('aws-sm:rds!db-1111-2222#password')
    assert.equal(await store.value(), 'managed')
  })

  test('a label that stays on the present version adds nothing', async () => {
    aws.secrets.put('finished', 'one', ['AWSCURRENT', 'AWSPENDING'])
    using store = open('aws-sm:finished')
    assert.deepEqual(await store.others(), [])
  })

  test('a policy that allows the present version alone is no failure of the others', async () => {
    aws.secrets.put('narrow', 'one')
    using store = open('aws-sm:narrow')
    const stages: unknown[] = []
    aws.fault = (_action, response) => {
      if (stages.push('') === 1) return false
      refuse(response, 'AccessDeniedException', 'not authorized to perform: secretsmanager:GetSecretValue')
      return true
    }
    assert.deepEqual(await store.others(), [])
  })

  test('a binary secret is refused as such', async () => {
    aws.secrets.put('binary', Buffer.from([0, 255, 1]))
    using store = open('aws-sm:binary#password')
    const { code, message } = await store.failure()
    assert.equal(code, 'SECRET_UNUSABLE')
    assert.match(message, /The secret binary of AWS Secrets Manager is binary, and a text is needed/)
  })

  test('a secret that is marked for deletion is told apart from one that never was', async () => {
    aws.secrets.put('ending', 'one')
    aws.secrets.answer('DeleteSecret', { SecretId: 'ending' })
    using ending = open('aws-sm:ending')
    using never = open('aws-sm:never')
    assert.equal((await ending.failure()).code, 'SECRET_DELETED')
    assert.equal((await never.failure()).code, 'SECRET_MISSING')
  })
})

describe('the Parameter Store', () => {
  test('a parameter is read in plain text, by its name, a version, a label and its ARN', async () => {
    aws.parameters.put('/prod/sales', 'first', ['old'])
    aws.parameters.put('/prod/sales', 'second')
    const client = new SSMClient(witness)
    const arn = 'arn:aws:ssm:eu-west-1:123456789012:parameter/prod/sales'
    const names = {
      '/prod/sales': 'second',
      '/prod/sales:1': 'first',
      '/prod/sales:old': 'first',
      [`${arn}:1`]: 'first',
    }
    for (const [name, expected] of Object.entries(names)) {
      const theirs = await client.send(new GetParameterCommand({ Name: name, WithDecryption: true }))
      using store = open(`aws-ssm:${name}`)
      assert.equal(theirs.Parameter?.Value, expected)
      assert.equal(await store.value(), expected)
    }
    client.destroy()
  })

  test('the version before is tried, unless one is named', async () => {
    aws.parameters.put('/turns', 'first', ['old'])
    using store = open('aws-ssm:/turns')
    assert.deepEqual(await store.others(), [])
    aws.parameters.put('/turns', 'second')
    assert.deepEqual(await store.others(), ['first'])
    for (const named of ['/turns:2', '/turns:old']) {
      using one = open(`aws-ssm:${named}`)
      assert.deepEqual(await one.others(), [])
    }
  })

  test('a parameter, a version and a label that are not there are missing', async () => {
    aws.parameters.put('/there', 'one')
    for (const name of ['/never', '/there:7', '/there:label']) {
      using store = open(`aws-ssm:${name}`)
      assert.equal((await store.failure()).code, 'SECRET_MISSING', name)
    }
  })

  test('a field of a parameter with JSON is read', async () => {
    aws.parameters.put('/json', '{"password":"one"}')
    using store = open('aws-ssm:/json#password')
    assert.equal(await store.value(), 'one')
  })
})

describe('the identity that signs', () => {
  test('a clock that differs by an hour is corrected', async () => {
    aws.secrets.put('clock', 'one')
    for (const skewMillis of [3_600_000, -3_600_000]) {
      aws.skewMillis = skewMillis
      using store = open('aws-sm:clock')
      assert.equal(await store.value(), 'one')
    }
  })

  test('the keys of a role serve until they end, for as many secrets as there are', async () => {
    aws.secrets.put('by-role', 'one')
    const role = 'arn:aws:iam::123456789012:role/etl'
    using store = open('aws-sm:by-role', { role_arn: role })
    for (let count = 0; count < 3; count++) assert.equal(await store.value(), 'one')
    assert.deepEqual(
      aws.asked.map(({ action }) => action),
      ['AssumeRole', 'GetSecretValue', 'GetSecretValue', 'GetSecretValue'],
    )
  })

  test('keys that were revoked are replaced, and those that were just issued are not asked for again', async () => {
    aws.secrets.put('revoked', 'one')
    using store = open('aws-sm:revoked', { role_arn: 'arn:aws:iam::123456789012:role/etl' })
    await store.value()
    for (const id of Object.keys(aws.keys)) if (id.startsWith('ASIA')) delete aws.keys[id]
    assert.equal(await store.value(), 'one')
    aws.fault = (action, response) => {
      aws.asked.push({ action, input: {}, keyId: '' })
      refuse(response, 'ExpiredTokenException', 'The security token included in the request is expired')
      return true
    }
    aws.asked.length = 0
    assert.equal((await store.failure()).code, 'STORE_REFUSED')
    const actions = aws.asked.map(({ action }) => action)
    assert.deepEqual(actions, ['GetSecretValue', 'AssumeRole', 'GetSecretValue'])
  })

  test('an identity that is not there is CREDENTIAL_MISSING, and no secret', async () => {
    using none = openStore('aws-sm:x', { region: REGION, aws_endpoint_url: aws.url, aws_profile: 'gone' })
    const error = await none.failure()
    assert.equal(error.code, 'CREDENTIAL_MISSING')
    assert.match(error.message, /^The AWS keys for the store could not be obtained with the profile gone/)
  })
})

test('an address without TLS that only the SDK reads gets no request', async () => {
  process.env.AWS_ENDPOINT_URL_SECRETS_MANAGER = 'http://vpce.example.com'
  using store = open('aws-sm:prod/sales', { aws_endpoint_url: undefined })
  const error = await store.failure()
  assert.equal(error.code, 'STORE_REFUSED')
  assert.match(error.message, /without TLS, at http:\/\/vpce\.example\.com/)
})

describe('the options', () => {
  const problems = (reference: string, options: object, environment = {}): string[] => {
    try {
      openStore(reference, { ...options }, environment)[Symbol.dispose]()
      return []
    } catch (error) {
      assert.ok(error instanceof ConfigError)
      return error.problems.map(({ path }) => path)
    }
  }

  test('a region is needed, from the option, the ARN or the environment', () => {
    assert.deepEqual(problems('aws-sm:prod/sales', {}), ['extra.region'])
    assert.deepEqual(problems('aws-sm:prod/sales', {}, { AWS_REGION: REGION }), [])
    assert.deepEqual(problems('aws-sm:arn:aws:secretsmanager:eu-west-1:123456789012:secret:x-AbCdEf', {}), [])
  })

  test('an address without TLS is refused, from the option and from the environment', () => {
    const plain = 'http://vpce.example.com'
    const { region } = OPTIONS
    assert.deepEqual(problems('aws-sm:x', { region, aws_endpoint_url: plain }), ['extra.aws_endpoint_url'])
    assert.deepEqual(problems('aws-ssm:/x', { region }, { AWS_ENDPOINT_URL_SSM: plain }), ['extra.aws_endpoint_url'])
    assert.deepEqual(problems('aws-sm:x', { region }, { AWS_ENDPOINT_URL_SSM: plain }), [])
  })

  test('a key without its secret is a problem, as under auth_method=iam', () => {
    const half = { region: REGION, aws_access_key_id: 'AKIATEST' }
    assert.deepEqual(problems('aws-sm:x', half), ['extra.aws_secret_access_key'])
  })

  test('a login of the store is no unknown option beside a reference to it, and an option of iam without one', async () => {
    const target = { type: 'postgres', host: '127.0.0.1', port: 1, login: 'etl', database: 'postgres' } as const
    const warnings = async (extra: object): Promise<string[]> => {
      const told: string[] = []
      const on = { 'config:warning': ({ path }: { readonly path: string }) => void told.push(path) }
      const record = { ...target, extra: { ...OPTIONS, ...extra } }
      await using _ = await createEngine(record, { stores: { environment: {} }, on })
      return told.sort()
    }
    assert.deepEqual(await warnings({ password_from: 'aws-sm:prod/sales' }), [])
    assert.deepEqual(await warnings({}), ['extra.aws_access_key_id', 'extra.aws_secret_access_key', 'extra.region'])
  })

  test('the key by which a store logs in cannot be in a store', async () => {
    const extra = {
      auth_method: 'iam',
      region: REGION,
      aws_access_key_id: 'AKIATEST',
      aws_secret_access_key_from: 'env:KEY',
      sslpassword_from: 'aws-sm:prod/sales',
    }
    const record = { type: 'postgres', host: 'db.example.com', login: 'etl', database: 'sales', extra } as const
    await assert.rejects(createEngine(record), (error) => {
      assert.ok(error instanceof ConfigError)
      assert.match(error.message, /extra\.aws_secret_access_key_from: a store logs in with it/)
      return true
    })
  })

  test('names that AWS does not allow are no references', () => {
    for (const bad of [
      'aws-sm:',
      'aws-sm:a b',
      'aws-sm:a?b',
      'aws-sm:a:b',
      'aws-ssm:/a:b:c',
      'aws-ssm:/a b',
      'aws-ssm:',
    ]) {
      assert.throws(() => openStore(bad, OPTIONS), /no reference/, bad)
    }
  })
})

test('a whole record is read from Secrets Manager, and its options are those of the store', async () => {
  const record = { engine: 'postgres', host: 'h', port: 5432, username: 'etl', password: 'one', dbname: 'sales' }
  aws.secrets.put('prod/record', JSON.stringify(record))
  const warnings: string[] = []
  const on = { 'config:warning': ({ message }: { readonly message: string }) => warnings.push(message) }
  await using db = await createEngine('aws-sm:prod/record', { extra: OPTIONS, on, stores: { environment: {} } })
  const { host, login, database } = db.connection
  assert.deepEqual([host, login, database, warnings], ['h', 'etl', 'sales', []])
})
