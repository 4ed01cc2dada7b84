/** The identity that was named signs the token, or none: the machine's role is there, and would be used otherwise. */

import assert from 'node:assert/strict'
import { chmod, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { after, beforeEach, describe } from 'node:test'
import { inspect } from 'node:util'
import { PoolsmithError } from '../../src/errors.ts'
import { iam } from '../../src/strategies/iam.ts'
import { clearAwsEnvironment } from '../support/aws-environment.ts'
import { startAwsMetadata } from '../support/aws-metadata.ts'
import { temporaryFolder } from '../support/folder.ts'
import { build } from '../unit/strategies/context.ts'

const HOST = 'db.abc.eu-west-1.rds.amazonaws.com'

const resources = new AsyncDisposableStack()
after(() => resources.disposeAsync())
const folder = resources.use(await temporaryFolder())
const machine = resources.use(await startAwsMetadata())

beforeEach(async () => {
  clearAwsEnvironment(folder.path)
  process.env.AWS_EC2_METADATA_SERVICE_ENDPOINT = machine.url
  for (const name of ['config', 'credentials']) await rm(join(folder.path, name), { force: true })
})
after(() => clearAwsEnvironment(folder.path))

/** The access key that signs, or the error. */
async function signer(extra: Record<string, unknown>): Promise<string | PoolsmithError> {
  const { source } = await build(iam, { host: HOST, login: 'svc' }, extra, {
    environment: process.env as Record<string, string>,
  })
  try {
    return (await source.get()).identity
  } catch (error) {
    assert.ok(error instanceof PoolsmithError)
    return error
  } finally {
    source.close()
  }
}

async function assertMissing(extra: Record<string, unknown>, ...words: readonly RegExp[]): Promise<PoolsmithError> {
  const asked = machine.requests.length
  const error = await signer(extra)
  assert.ok(error instanceof PoolsmithError, `${error} signs in its place`)
  assert.equal(error.code, 'CREDENTIAL_MISSING')
  assert.equal(error.transient, false)
  for (const word of words) assert.match(error.message, word)
  assert.equal(machine.requests.length, asked, "the machine's role was asked for")
  return error
}

const PROFILES: readonly (readonly [what: string, config: string, cause: RegExp])[] = [
  ['that does not exist', '', /Could not resolve/],
  ['with half of a key', '[profile etl]\naws_access_key_id = AKIAHALF\n', /Could not resolve/],
  ['whose credential process fails', '[profile etl]\ncredential_process = /bin/false\n', /Command failed/],
  ['whose credential process says no JSON', '[profile etl]\ncredential_process = /bin/echo no\n', /invalid JSON/],
  [
    'that leads back to itself',
    '[profile etl]\nrole_arn = arn:aws:iam::1:role/a\nsource_profile = b\n[profile b]\nrole_arn = arn:aws:iam::1:role/b\nsource_profile = etl\n',
    /cycle|Could not resolve/,
  ],
  [
    'whose source profile does not exist',
    '[profile etl]\nrole_arn = arn:aws:iam::1:role/a\nsource_profile = gone\n',
    /gone/,
  ],
  [
    'whose web identity token file does not exist',
    '[profile etl]\nrole_arn = arn:aws:iam::1:role/a\nweb_identity_token_file = /nowhere/token\n',
    /\/nowhere\/token/,
  ],
]

describe('a named profile alone signs', () => {
  for (const [what, config, cause] of PROFILES) {
    for (const by of ['aws_profile', 'AWS_PROFILE'] as const) {
      test(`${by} names one ${what}: the error names the profile and the cause`, async () => {
        await writeFile(join(folder.path, 'config'), config)
        if (by === 'AWS_PROFILE') process.env.AWS_PROFILE = 'etl'
        await assertMissing(by === 'aws_profile' ? { aws_profile: 'etl' } : {}, /the profile etl/, cause)
      })
    }
  }

  test('also if a role is assumed with it', async () => {
    await assertMissing({ aws_profile: 'etl', role_arn: 'arn:aws:iam::1:role/etl' }, /the profile etl/)
  })

  test('a named profile that asks for the role of the machine gets it', async () => {
    process.env.AWS_ENDPOINT_URL_STS = machine.url
    const asked = machine.requests.length
    await writeFile(
      join(folder.path, 'config'),
      '[profile etl]\nrole_arn = arn:aws:iam::1:role/a\ncredential_source = Ec2InstanceMetadata\n',
    )
    await signer({ aws_profile: 'etl' })
    assert.ok(machine.requests.slice(asked).some(({ path }) => path.endsWith('/machine-role')))
  })

  test('keys of the environment do not take its place', async () => {
    process.env.AWS_ACCESS_KEY_ID = 'AKIAENV'
    process.env.AWS_SECRET_ACCESS_KEY = 'secret'
    await assertMissing({ aws_profile: 'etl' })
  })

  test('keys of the record take precedence over AWS_PROFILE', async () => {
    process.env.AWS_PROFILE = 'etl'
    assert.equal(await signer({ aws_access_key_id: 'AKIAGIVEN', aws_secret_access_key: 's' }), 'AKIAGIVEN')
  })
})

describe('without a named profile', () => {
  test('the role of the machine signs', async () => {
    assert.equal(await signer({}), 'ASIAMACHINE')
  })

  test('the role of the machine signs if the default profile has no keys', async () => {
    await writeFile(join(folder.path, 'config'), '[default]\nregion = eu-west-1\n')
    assert.equal(await signer({}), 'ASIAMACHINE')
  })

  for (const [setting, needs] of [
    ['aws_access_key_id = AKIAHALF', 'aws_secret_access_key'],
    ['aws_secret_access_key = s3cr3t', 'aws_access_key_id'],
    ['role_arn = arn:aws:iam::1:role/a', 'source_profile'],
    ['web_identity_token_file = /nowhere/token', 'role_arn'],
  ] as const) {
    test(`a default profile with ${setting.split(' ')[0]} alone is not replaced`, async () => {
      await writeFile(join(folder.path, 'config'), `[default]\n${setting}\n`)
      await assertMissing({}, new RegExp(`profile default sets ${setting.split(' ')[0]}, but not ${needs}`))
    })
  }

  test('a default profile whose credential process fails is not replaced', async () => {
    const program = join(folder.path, 'fails.sh')
    await writeFile(program, '#!/bin/sh\nexit 3\n')
    await chmod(program, 0o700)
    await writeFile(join(folder.path, 'config'), `[default]\ncredential_process = ${program}\n`)
    await assertMissing({}, /fails\.sh/)
  })

  for (const [one, other] of [
    ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'],
    ['AWS_SECRET_ACCESS_KEY', 'AWS_ACCESS_KEY_ID'],
    ['AWS_WEB_IDENTITY_TOKEN_FILE', 'AWS_ROLE_ARN'],
  ] as const) {
    test(`${one} without ${other} is not replaced`, async () => {
      process.env[one] = 'half'
      await assertMissing({}, new RegExp(`${one}, but not ${other}`))
    })
  }

  test('a web identity token in place of its file is not repeated', async () => {
    const token = 'eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.dGhlLXNpZ25hdHVyZQ'
    process.env.AWS_ROLE_ARN = 'arn:aws:iam::1:role/a'
    process.env.AWS_WEB_IDENTITY_TOKEN_FILE = token
    const error = await assertMissing({}, /AWS_WEB_IDENTITY_TOKEN_FILE to \(not repeated/)
    assert.ok(!inspect(error, { depth: 9 }).includes(token))
  })

  test('a device or a pipe in place of a web identity token file is refused', async () => {
    process.env.AWS_ROLE_ARN = 'arn:aws:iam::1:role/a'
    process.env.AWS_WEB_IDENTITY_TOKEN_FILE = '/dev/null'
    const error = await signer({})
    assert.match(String(error), /The token file \/dev\/null is not a regular file/)
  })

  test('a web identity token file that does not exist is not replaced', async () => {
    process.env.AWS_ROLE_ARN = 'arn:aws:iam::1:role/a'
    process.env.AWS_WEB_IDENTITY_TOKEN_FILE = join(folder.path, 'no-token')
    await assertMissing({}, /no-token/)
  })
})
