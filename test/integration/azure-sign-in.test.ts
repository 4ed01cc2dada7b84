/** People who sign in to Entra: by password, in a browser, by device code; asked once, renewed without them. */

import assert from 'node:assert/strict'
import { chmod, readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { after, afterEach, describe, type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import { parseFields } from '../../src/connections/fields.ts'
import type { CredentialSource } from '../../src/credentials/credential.ts'
import { PoolsmithError } from '../../src/errors.ts'
import type { EventName, PoolsmithEvents } from '../../src/events.ts'
import { createEngine } from '../../src/index.ts'
import { Secret } from '../../src/secret.ts'
import { azureAd } from '../../src/strategies/azure-ad.ts'
import { runCli } from '../support/cli.ts'
import { temporaryFolder } from '../support/folder.ts'
import { startOpenIdProvider } from '../support/openid-provider.ts'
import { createPki } from '../support/pki.ts'
import { startPostgres } from '../support/postgres.ts'
import { startTdsServer } from '../support/tds/server.ts'

const AUDIENCE = 'https://database.windows.net'
const ALICE = 'alice@example.com'
const PASSWORD = 'a-password-that-nobody-may-see'

const resources = new AsyncDisposableStack()
after(() => resources.disposeAsync())
const folder = resources.use(await temporaryFolder())
const provider = resources.use(await startOpenIdProvider({}, { [ALICE]: PASSWORD }))
afterEach(() => {
  provider.lifeSeconds = 3600
})

const authority = {
  authority_host: provider.authorityHost,
  disable_instance_discovery: true,
  tenant_id: provider.tenant,
}

type Prompt = PoolsmithEvents['credential:prompt']

interface SigningIn extends Disposable {
  readonly source: CredentialSource
  readonly prompts: readonly Prompt[]
  readonly warnings: readonly string[]
}

/** @param answer what the person does who is shown the prompt; absent: nobody is shown anything */
async function signIn(
  extra: Readonly<Record<string, unknown>>,
  answer?: (prompt: Prompt) => unknown,
  environment: Readonly<Record<string, string>> = { BROWSER: '/bin/true' },
): Promise<SigningIn> {
  const { values, problems } = parseFields(azureAd.fields, { ...authority, ...extra })
  assert.deepEqual(problems, [])
  const prompts: Prompt[] = []
  const warnings: string[] = []
  const connection = { type: 'mssql', login: ALICE, password: new Secret(PASSWORD), extra: {} } as const
  const source = await azureAd.credentials(connection, values, {
    emit: (name: EventName, payload: object) => {
      if (name === 'security:warning') warnings.push((payload as PoolsmithEvents['security:warning']).code)
      if (name !== 'credential:prompt') return
      prompts.push(payload as Prompt)
      answer?.(payload as Prompt)
    },
    ...(answer === undefined ? {} : { listens: (name: EventName) => name === 'credential:prompt' }),
    environment,
    settings: {},
  })
  return { source, prompts, warnings, [Symbol.dispose]: () => source.close() }
}

async function failureOf({ source }: SigningIn): Promise<PoolsmithError> {
  const outcome = await source.get().catch((error: unknown) => error)
  assert.ok(outcome instanceof PoolsmithError, `a token was given, or another error: ${inspect(outcome)}`)
  assert.ok(!inspect(outcome, { depth: 12, showHidden: true }).includes(PASSWORD))
  return outcome
}

async function subject({ source }: SigningIn): Promise<string> {
  const credential = await source.get()
  assert.equal(credential.kind, 'token')
  await provider.verify(credential.kind === 'token' ? credential.token.reveal() : '', AUDIENCE)
  return credential.identity
}

/** Says for one test whether stderr is a terminal. */
function terminal(t: TestContext, isTTY: boolean): void {
  const before = Object.getOwnPropertyDescriptor(process.stderr, 'isTTY')
  Object.defineProperty(process.stderr, 'isTTY', { value: isTTY, configurable: true })
  t.after(() => {
    if (before === undefined) Reflect.deleteProperty(process.stderr, 'isTTY')
    else Object.defineProperty(process.stderr, 'isTTY', before)
  })
}

describe('password', () => {
  test('is sent to Entra, with a warning; a wrong one is refused with a hint', async () => {
    using right = await signIn({ azure_credential: 'password' })
    assert.equal(await subject(right), ALICE)
    assert.deepEqual(right.warnings, ['PASSWORD_TO_ENTRA'])
    using other = await signIn({ azure_credential: 'password', azure_username: 'nobody@example.com' })
    assert.equal((await failureOf(other)).details.aadsts, 50034)
    provider.changePassword(ALICE, 'another')
    using old = await signIn({ azure_credential: 'password' })
    const refused = await failureOf(old)
    provider.changePassword(ALICE, PASSWORD)
    assert.deepEqual([refused.code, refused.details.aadsts, refused.transient], ['CREDENTIAL_REFUSED', 50126, false])
    assert.match(refused.hint ?? '', /password/)
  })

  test('requires the name and the password', async () => {
    const { values } = parseFields(azureAd.fields, { azure_credential: 'password' })
    const problems = (await azureAd.check?.({ type: 'mssql', extra: {} }, values, {})) ?? []
    assert.deepEqual(
      problems.map(({ path }) => path),
      ['password', 'login'],
    )
  })
})

describe('interactive', () => {
  test('the browser is opened, returns a code that is bound to this process, and shows the result', async () => {
    const browser = join(folder.path, 'browser')
    const seen = join(folder.path, 'address')
    await writeFile(browser, `#!/bin/sh\nprintf %s "$1" > ${seen}.part && mv ${seen}.part ${seen}\n`)
    await chmod(browser, 0o755)
    // No program listens: only a desktop makes a sign-in possible.
    using person = await signIn({ azure_credential: 'interactive' }, undefined, { BROWSER: browser })
    const token = subject(person)
    let url = ''
    while (url === '') {
      await sleep(10)
      url = await readFile(seen, 'utf8').catch(() => '')
    }
    assert.equal(url, person.prompts[0]?.url)
    const asked = new URL(url).searchParams
    assert.equal(asked.get('login_hint'), ALICE)
    assert.match(
      asked.get('scope') ?? '',
      /^https:\/\/database\.windows\.net\/\.default openid profile offline_access$/,
    )
    assert.deepEqual(await provider.visit(url, ALICE), { status: 200, words: 'You can close this window now.' })
    assert.equal(await token, ALICE)
    await assert.rejects(fetch(asked.get('redirect_uri') ?? ''), 'the port is still open')
  })

  test('a foreign answer and one that is too long change nothing', async () => {
    const shown = Promise.withResolvers<string>()
    using person = await signIn({ azure_credential: 'interactive' }, ({ url }) => shown.resolve(url))
    const token = subject(person)
    const url = new URL(await shown.promise)
    const back = (url.searchParams.get('redirect_uri') ?? '').replace('localhost', '127.0.0.1')
    const post = (body: string) => fetch(back, { method: 'POST', body }).then(({ status }) => status)
    assert.equal(await post('state=another&code=stolen'), 400)
    assert.equal((await fetch(`${back}/favicon.ico`)).status, 400)
    await post(`state=${'x'.repeat(200_000)}`).catch(() => undefined)
    await provider.visit(url.href, ALICE)
    assert.equal(await token, ALICE)
  })

  test('a person who declines is a refusal, once', async () => {
    using person = await signIn({ azure_credential: 'interactive' }, ({ url }) => provider.visit(url))
    const error = await failureOf(person)
    assert.deepEqual([error.code, error.details.aadsts, person.prompts.length], ['CREDENTIAL_REFUSED', 65_004, 1])
  })
})

describe('device code', () => {
  test('is shown, and the login waits until the person has entered it', async () => {
    using person = await signIn({ azure_credential: 'device_code' }, ({ userCode = '' }) => {
      setTimeout(() => provider.enter(userCode, ALICE), 150)
    })
    assert.equal(await subject(person), ALICE)
    const [prompt] = person.prompts
    assert.match(prompt?.message ?? '', /open the page https:\/\/login\.test\/device and enter the code device-/)
    assert.ok((prompt?.expiresAt ?? 0) > Date.now())
    const polls = provider.requests.filter(({ form }) => form.get('device_code') === prompt?.userCode)
    assert.ok(polls.length > 1)
  })

  test('a person who declines is a refusal, once', async () => {
    using person = await signIn({ azure_credential: 'device_code' }, ({ userCode = '' }) => provider.enter(userCode))
    assert.equal((await failureOf(person)).code, 'CREDENTIAL_REFUSED')
    assert.equal(person.prompts.length, 1)
  })
})

for (const kind of ['interactive', 'device_code'] as const) {
  describe(`${kind}: a person`, () => {
    const answer = ({ url, userCode }: Prompt): void => {
      // A request as the test ends comes too late.
      if (userCode === undefined) provider.visit(url, ALICE).catch(() => undefined)
      else provider.enter(userCode, ALICE)
    }

    test('a signed-in user is not asked again for a renewal until Entra requires it', async () => {
      provider.lifeSeconds = 2
      using person = await signIn({ azure_credential: kind }, answer)
      const first = await person.source.get()
      let next = first
      while (next === first) {
        await sleep(50)
        next = await person.source.get()
      }
      assert.equal(person.prompts.length, 1, 'asked again')
      assert.equal(provider.requests.at(-1)?.form.get('grant_type'), 'refresh_token')
      provider.forgetPeople()
      while (person.prompts.length === 1) {
        await sleep(50)
        await person.source.get()
      }
      // Until the answer is there the token from before goes on being handed out, to its end as the client counts it.
      const askedAt = Date.now()
      while ((await person.source.get()).issuedAt < askedAt) await sleep(50)
      assert.equal(await subject(person), ALICE)
    })

    test('a sign-in beyond the limit is SIGN_IN_TIMEOUT, and the port is closed', async () => {
      using person = await signIn({ azure_credential: kind, sign_in_timeout: 1 }, () => undefined)
      const error = await failureOf(person)
      assert.deepEqual([error.code, error.phase, error.transient], ['SIGN_IN_TIMEOUT', 'credential', false])
      assert.match(error.message, /within 1 s \(sign_in_timeout\)/)
      assert.equal(person.prompts.length, 1)
    })

    test('is no longer awaited after the pool has closed', async () => {
      const shown = Promise.withResolvers<Prompt>()
      const person = await signIn({ azure_credential: kind }, shown.resolve)
      const failure = failureOf(person)
      const { url } = await shown.promise
      person.source.close()
      assert.equal((await failure).code, 'ABORTED')
      if (kind === 'device_code') return
      // The port can be had again, which a listener left behind would not allow.
      const again = createServer()
      const port = Number(new URL(new URL(url).searchParams.get('redirect_uri') ?? '').port)
      await new Promise<void>((resolve, reject) => {
        again.once('error', reject)
        again.listen(port, '127.0.0.1', () => again.close(() => resolve()))
      })
    })

    for (const [where, environment, listener] of [
      ['in CI', { CI: 'true', BROWSER: '/bin/true' }, () => undefined],
      ['where no prompt can be seen', {}, undefined],
    ] as const) {
      test(`is not asked ${where}`, async (t) => {
        terminal(t, false)
        const before = provider.requests.length
        using person = await signIn({ azure_credential: kind }, listener, environment)
        const error = await failureOf(person)
        assert.deepEqual([error.code, error.transient], ['SIGN_IN_IMPOSSIBLE', false])
        assert.match(error.hint ?? '', /service principal/)
        assert.deepEqual([person.prompts.length, provider.requests.length], [0, before])
      })
    }
  })
}

test('without a listener the prompt goes to the terminal', async (t) => {
  terminal(t, true)
  const written = Promise.withResolvers<string>()
  t.mock.method(process.stderr, 'write', (text: string) => {
    written.resolve(text)
    return true
  })
  using person = await signIn({ azure_credential: 'device_code' }, undefined, {})
  const token = subject(person)
  const [, code = ''] = /enter the code (device-\d+)\n$/.exec(await written.promise) ?? []
  provider.enter(code, ALICE)
  assert.equal(await token, ALICE)
})

test("Microsoft's names mean these ways, through an engine and up to a SQL Server that verifies the token", async () => {
  await using postgres = await startPostgres()
  const pki = await createPki()
  const certificate = await pki.issue({ commonName: 'localhost', dns: ['localhost'] })
  const caFile = join(folder.path, 'ca.pem')
  await writeFile(caFile, pki.ca)
  const tokens = { keys: provider.keys, issuer: provider.issuer, audience: AUDIENCE }
  await using server = await startTdsServer({ postgres, tls: certificate, tokens, fedAuthRequired: true })
  for (const [Authentication, password] of [
    ['ActiveDirectoryPassword', PASSWORD],
    ['ActiveDirectoryInteractive', undefined],
    ['Active Directory Device Code Flow', undefined],
  ] as const) {
    await using db = await createEngine(
      {
        type: 'mssql',
        host: 'localhost',
        port: server.port,
        database: 'master',
        login: ALICE,
        ...(password === undefined ? {} : { password }),
        extra: { Authentication, ca_file: caFile, ...authority },
      },
      {
        stores: { environment: { BROWSER: '/bin/true' } },
        on: {
          'credential:prompt': ({ url, userCode }) =>
            userCode === undefined ? void provider.visit(url, ALICE) : provider.enter(userCode, ALICE),
        },
      },
    )
    assert.equal(db.strategy, 'azure_ad')
    const [row] = await db.raw('select suser_sname() as who')
    assert.equal(row.who, ALICE, Authentication)
  }
})

test('the command shows the prompt on stderr, also if that is no terminal, and its result on stdout alone', async () => {
  await using postgres = await startPostgres()
  const pki = await createPki()
  const certificate = await pki.issue({ commonName: 'localhost', dns: ['localhost'] })
  const files = { ca: join(folder.path, 'cli-ca.pem'), provider: join(folder.path, 'cli-provider.pem') }
  await writeFile(files.ca, pki.ca)
  await writeFile(files.provider, provider.ca)
  const tokens = { keys: provider.keys, issuer: provider.issuer, audience: AUDIENCE }
  await using server = await startTdsServer({ postgres, tls: certificate, tokens, fedAuthRequired: true })
  const extra = { auth_method: 'azure_ad', azure_credential: 'device_code', ca_file: files.ca, ...authority }
  const record = { type: 'mssql', host: 'localhost', port: server.port, database: 'master', extra }
  const before = provider.deviceCodes.length
  const running = runCli(['check', 'sales', '--json'], {
    environment: { POOLSMITH_CONN_SALES: JSON.stringify(record), NODE_EXTRA_CA_CERTS: files.provider },
  })
  while (provider.deviceCodes.length === before) await sleep(20)
  const [code = ''] = provider.deviceCodes.slice(before)
  provider.enter(code, ALICE)
  const { code: exit, stdout, stderr } = await running
  assert.equal(exit, 0, stderr)
  assert.match(stderr, new RegExp(`open the page https://login\\.test/device and enter the code ${code}`))
  assert.equal(JSON.parse(stdout).identity, ALICE)
})

test('the default of pool_timeout leaves a person the time of sign_in_timeout', async () => {
  const { resolveSettings } = await import('../../src/engine/settings.ts')
  const { strategies } = await import('../../src/strategies/index.ts')
  const poolTimeout = (extra: Record<string, unknown>): number =>
    resolveSettings({ type: 'mssql', extra: { auth_method: 'azure_ad', ...extra } }, { fields: {} }, strategies).pool
      .pool_timeout
  assert.equal(poolTimeout({ azure_credential: 'device_code' }), 210)
  assert.equal(poolTimeout({ azure_credential: 'interactive', sign_in_timeout: 60 }), 90)
  assert.equal(poolTimeout({ azure_credential: 'interactive', pool_timeout: 5 }), 5)
  assert.equal(poolTimeout({}), 30)
})
