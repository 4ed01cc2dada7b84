import assert from 'node:assert/strict'
import { chmod, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import test, { after, afterEach, describe } from 'node:test'
import { inspect } from 'node:util'
import { parseFields } from '../../src/connections/fields.ts'
import type { Credential, CredentialSource } from '../../src/credentials/credential.ts'
import { PoolsmithError } from '../../src/errors.ts'
import type { EventName } from '../../src/events.ts'
import { createEngine } from '../../src/index.ts'
import { iam } from '../../src/strategies/iam.ts'
import { temporaryFolder } from '../support/folder.ts'
import { verifyRdsToken } from '../support/rds-token-verifier.ts'
import { startTokenDatabase } from '../support/token-database.ts'

const HOST = 'prod.cluster-abc123.eu-west-1.rds.amazonaws.com'
const SECRET = 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY'
const SESSION = 'session-token/with+signs=='
const KEYS = {
  AKIAGIVEN: { secret: SECRET },
  AKIASESSION: { secret: SECRET, sessionToken: SESSION },
  ASIAROLE: { secret: 'secret-of-the-role', sessionToken: 'session-of-the-role' },
}

const resources = new AsyncDisposableStack()
after(() => resources.disposeAsync())
const folder = resources.use(await temporaryFolder())
/** How far the database's clock is ahead of ours. */
let aheadMillis = 0
const database = resources.use(
  await startTokenDatabase(HOST, ['svc_etl'], (user, token, port) =>
    verifyRdsToken(user, token, {
      host: HOST,
      port,
      region: 'eu-west-1',
      keys: KEYS,
      now: () => Date.now() + aheadMillis,
    }),
  ),
)

/** Nothing of the machine's own AWS set-up is seen, whatever a test sets is taken back. */
const own = Object.entries(process.env).filter(([name]) => name.startsWith('AWS_'))
const clean = (): void => {
  for (const name of Object.keys(process.env)) if (name.startsWith('AWS_')) delete process.env[name]
  process.env.AWS_EC2_METADATA_DISABLED = 'true'
  process.env.AWS_CONFIG_FILE = join(folder.path, 'config')
  process.env.AWS_SHARED_CREDENTIALS_FILE = join(folder.path, 'credentials')
}
clean()
afterEach(() => {
  aheadMillis = 0
  clean()
})
after(() => {
  clean()
  delete process.env.AWS_EC2_METADATA_DISABLED
  Object.assign(process.env, Object.fromEntries(own))
})

interface Fetching extends Disposable {
  readonly source: CredentialSource
  readonly events: { readonly name: EventName; readonly payload: unknown }[]
}

async function sourceFor(extra: Record<string, unknown>, host = HOST): Promise<Fetching> {
  const { values, problems } = parseFields(iam.fields, extra)
  assert.deepEqual(problems, [])
  const events: { name: EventName; payload: unknown }[] = []
  const connection = { type: 'postgres', host, port: database.server.port, login: 'svc_etl', extra: {} } as const
  const source = await iam.credentials(connection, values, {
    emit: (name, payload) => events.push({ name, payload }),
    environment: process.env,
    settings: {},
  })
  return { source, events, [Symbol.dispose]: () => source.close() }
}

function tokenOf(credential: Credential): string {
  assert.equal(credential.kind, 'token')
  return credential.token.reveal()
}

async function assertAdmitted(credential: Credential): Promise<void> {
  const login = await database.login('svc_etl', tokenOf(credential))
  assert.equal(login.stdout.trim(), 'svc_etl', `${login.stderr} ${database.decisions.at(-1)?.outcome}`)
}

async function failureOf(source: CredentialSource): Promise<PoolsmithError> {
  const outcome = await source.get().catch((error: unknown) => error)
  assert.ok(outcome instanceof PoolsmithError, 'a token was given')
  return outcome
}

const given = { aws_access_key_id: 'AKIAGIVEN', aws_secret_access_key: SECRET }

/** An STS on loopback that says what the test wants; the AWS SDK finds it by its own environment variable. */
async function startSts(answer: (form: URLSearchParams, count: number) => { status: number; body: string }) {
  const forms: URLSearchParams[] = []
  const server = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk) => {
      body += chunk
    })
    request.on('end', () => {
      forms.push(new URLSearchParams(body))
      const { status, body: text } = answer(forms.at(-1) as URLSearchParams, forms.length)
      response.writeHead(status, { 'content-type': 'text/xml' }).end(text)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  process.env.AWS_ENDPOINT_URL_STS = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    forms,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

const stsError = (code: string): string =>
  `<ErrorResponse><Error><Type>Sender</Type><Code>${code}</Code><Message>told by STS</Message></Error></ErrorResponse>`
const roleKeys = (expiration: Date): string => `<AssumeRoleResponse><AssumeRoleResult><Credentials>
  <AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>secret-of-the-role</SecretAccessKey>
  <SessionToken>session-of-the-role</SessionToken><Expiration>${expiration.toISOString()}</Expiration>
</Credentials></AssumeRoleResult></AssumeRoleResponse>`

describe('a token that the real server accepts', () => {
  test('signed with given keys, through an engine from extras alone', async () => {
    await using db = await createEngine({
      type: 'postgres',
      host: HOST,
      port: database.server.port,
      login: 'svc_etl',
      database: 'postgres',
      extra: { auth_method: 'iam', ...database.extra, ...given },
    })
    const [row] = (await db.raw('select current_user as name, ssl from pg_stat_ssl where pid = pg_backend_pid()')).rows
    assert.deepEqual(row, { name: 'svc_etl', ssl: true })
    assert.ok(!inspect(db, { depth: 12, showHidden: true }).includes(SECRET))
  })

  test('of several hosts, for each its own', async () => {
    const [first, second] = [
      'one.abc123.eu-west-1.rds.amazonaws.com',
      'two.abc123.eu-west-1.rds.amazonaws.com',
    ] as const
    using fetching = await sourceFor(given, `${first},${second}`)
    const credential = await fetching.source.get()
    assert.equal(credential.kind, 'token')
    const { port } = database.server
    const about = (host: string) => ({ host, port, region: 'eu-west-1', keys: KEYS, now: Date.now })
    verifyRdsToken('svc_etl', credential.token.reveal(), about(first))
    const token = credential.tokens?.[`${second}:${port}`]?.reveal() ?? ''
    verifyRdsToken('svc_etl', token, about(second))
    assert.throws(() => verifyRdsToken('svc_etl', token, about(first)))
  })

  test('signed with temporary keys', async () => {
    using fetching = await sourceFor({
      aws_access_key_id: 'AKIASESSION',
      aws_secret_access_key: SECRET,
      aws_session_token: SESSION,
    })
    await assertAdmitted(await fetching.source.get())
  })

  test('signed with keys of the environment, by the default chain', async () => {
    process.env.AWS_ACCESS_KEY_ID = 'AKIAGIVEN'
    process.env.AWS_SECRET_ACCESS_KEY = SECRET
    using fetching = await sourceFor({})
    const credential = await fetching.source.get()
    await assertAdmitted(credential)
    assert.equal(credential.identity, 'AKIAGIVEN')
    assert.equal((credential.expiresAt as number) - credential.issuedAt, 900_000)
  })

  test('signed with keys of a profile, read again for each token', async () => {
    const write = (id: string): Promise<void> =>
      writeFile(
        join(folder.path, 'credentials'),
        `[etl]\naws_access_key_id = ${id}\naws_secret_access_key = ${SECRET}\n`,
      )
    await write('AKIAOLD')
    using fetching = await sourceFor({ aws_profile: 'etl' })
    const old = await fetching.source.get()
    assert.notEqual((await database.login('svc_etl', tokenOf(old))).code, 0)
    assert.equal(database.decisions.at(-1)?.outcome, 'the key AKIAOLD is unknown')
    await write('AKIAGIVEN')
    assert.equal(fetching.source.reject(old), true)
    await assertAdmitted(await fetching.source.get())
  })

  test('with keys that expire before the token, which then expires with them', async () => {
    const program = join(folder.path, 'keys.sh')
    const end = new Date(Math.floor(Date.now() / 1000) * 1000 + 600_000)
    const keys = {
      Version: 1,
      AccessKeyId: 'AKIASESSION',
      SecretAccessKey: SECRET,
      SessionToken: SESSION,
      Expiration: end,
    }
    await writeFile(program, `#!/bin/sh\necho '${JSON.stringify(keys)}'\n`)
    await chmod(program, 0o700)
    await writeFile(join(folder.path, 'config'), `[profile process]\ncredential_process = ${program}\n`)
    using fetching = await sourceFor({ aws_profile: 'process' })
    const credential = await fetching.source.get()
    assert.equal(credential.expiresAt, end.getTime())
    await assertAdmitted(credential)
  })

  test('signed with the keys of a role', async () => {
    await using sts = await startSts(() => ({ status: 200, body: roleKeys(new Date(Date.now() + 3_600_000)) }))
    const role_arn = 'arn:aws:iam::123456789012:role/etl'
    using fetching = await sourceFor({ ...given, role_arn, external_id: 'x-1' })
    const credential = await fetching.source.get()
    await assertAdmitted(credential)
    assert.equal(credential.identity, role_arn)
    assert.equal(sts.forms[0]?.get('RoleArn'), role_arn)
    assert.equal(sts.forms[0]?.get('RoleSessionName'), 'poolsmith')
    assert.equal(sts.forms[0]?.get('ExternalId'), 'x-1')
  })

  test('for the endpoint behind a tunnel', async () => {
    using fetching = await sourceFor({ ...given, rds_endpoint: `${HOST}:${database.server.port}` }, 'localhost')
    await assertAdmitted(await fetching.source.get())
  })
})

describe('a token that the real server refuses', () => {
  test('is accepted for 15 minutes and refused afterwards', async () => {
    using fetching = await sourceFor(given)
    const old = await fetching.source.get()
    aheadMillis = 14 * 60_000
    await assertAdmitted(old)
    aheadMillis = 15 * 60_000 + 1000
    const login = await database.login('svc_etl', tokenOf(old))
    assert.match(login.stderr, /LDAP authentication failed/)
    assert.equal(database.decisions.at(-1)?.outcome, 'expired')
    aheadMillis = 0
    await assertAdmitted(old)
  })

  for (const [name, extra, outcome] of [
    ['another secret', { ...given, aws_secret_access_key: 'not-the-secret' }, 'the signature is wrong'],
    ['another region', { ...given, region: 'us-east-1' }, 'signed for the region us-east-1'],
    ['another host', { ...given, rds_endpoint: 'other.x.eu-west-1.rds.amazonaws.com:1' }, /^signed for other/],
  ] as const) {
    test(`that is signed with or for ${name}`, async () => {
      using fetching = await sourceFor(extra)
      assert.notEqual((await database.login('svc_etl', tokenOf(await fetching.source.get()))).code, 0)
      assert.match(database.decisions.at(-1)?.outcome ?? '', outcome instanceof RegExp ? outcome : new RegExp(outcome))
    })
  }

  test('a region that contradicts the host causes a warning before the login', async () => {
    using fetching = await sourceFor({ ...given, region: 'us-east-1' })
    assert.deepEqual(
      fetching.events.map(({ name }) => name),
      ['config:warning'],
    )
  })

  test('the error of an engine says so, and shows no token; the login is tried twice and no more often', async () => {
    await using db = await createEngine({
      type: 'postgres',
      host: HOST,
      port: database.server.port,
      login: 'svc_etl',
      database: 'postgres',
      extra: { auth_method: 'iam', ...database.extra, ...given, aws_secret_access_key: 'not-the-secret' },
    })
    const before = database.decisions.length
    const error = await db.raw('select 1').then(
      () => assert.fail('let in'),
      (thrown: unknown) => thrown,
    )
    assert.ok(error instanceof PoolsmithError)
    assert.equal(error.code, 'LOGIN_REFUSED')
    assert.ok(!/X-Amz-Signature|not-the-secret/.test(inspect(error, { depth: 12 })))
    assert.ok(database.decisions.length - before <= 2)
  })
})

describe('keys that cannot be obtained', () => {
  test('no keys anywhere are reported', async () => {
    using fetching = await sourceFor({})
    const error = await failureOf(fetching.source)
    assert.equal(error.code, 'CREDENTIAL_MISSING')
    assert.equal(error.phase, 'credential')
    assert.equal(error.transient, false)
    assert.match(error.hint ?? '', /aws_access_key_id/)
  })

  test('a profile that does not exist is reported', async () => {
    using fetching = await sourceFor({ aws_profile: 'nobody' })
    const error = await failureOf(fetching.source)
    assert.equal(error.code, 'CREDENTIAL_MISSING')
    assert.match(error.hint ?? '', /profile nobody/)
  })

  test('an expired SSO session is reported with the command to run', async () => {
    await writeFile(
      join(folder.path, 'config'),
      '[profile sso]\nsso_session = corp\nsso_account_id = 1\nsso_role_name = etl\n[sso-session corp]\nsso_region = eu-west-1\nsso_start_url = https://example.com/start\n',
    )
    using fetching = await sourceFor({ aws_profile: 'sso' })
    const error = await failureOf(fetching.source)
    assert.equal(error.code, 'CREDENTIAL_REFUSED')
    assert.match(error.hint ?? '', /aws sso login --profile sso/)
  })

  test('a role that may not be assumed is refused, once', async () => {
    await using sts = await startSts(() => ({ status: 403, body: stsError('AccessDenied') }))
    using fetching = await sourceFor({ ...given, role_arn: 'arn:aws:iam::123456789012:role/etl' })
    const error = await failureOf(fetching.source)
    assert.equal(error.code, 'CREDENTIAL_REFUSED')
    assert.match(error.hint ?? '', /trust policy/)
    assert.ok(!inspect(error, { depth: 12 }).includes(SECRET))
    assert.equal(sts.forms.length, 1)
  })

  test('an STS that throttles or fails is asked again', async () => {
    await using _sts = await startSts((_form, count) =>
      count < 8
        ? { status: count % 2 === 0 ? 503 : 400, body: stsError('Throttling') }
        : { status: 200, body: roleKeys(new Date(Date.now() + 3_600_000)) },
    )
    using fetching = await sourceFor({ ...given, role_arn: 'arn:aws:iam::123456789012:role/etl' })
    await assertAdmitted(await fetching.source.get())
    assert.ok(fetching.events.some(({ name }) => name === 'credential:failed'))
  })
})
