import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import test, { after, afterEach, describe } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import { generateKeyPair, SignJWT } from 'jose'
import { parseFields } from '../../src/connections/fields.ts'
import type { Credential, CredentialSource } from '../../src/credentials/credential.ts'
import { PoolsmithError } from '../../src/errors.ts'
import type { EventName, PoolsmithEvents } from '../../src/events.ts'
import { createEngine } from '../../src/index.ts'
import { azureAd } from '../../src/strategies/azure-ad.ts'
import { entraError } from '../support/entra-people.ts'
import { temporaryFolder } from '../support/folder.ts'
import { startOpenIdProvider } from '../support/openid-provider.ts'
import { createPki } from '../support/pki.ts'
import { startTokenDatabase } from '../support/token-database.ts'

const AUDIENCE = 'https://ossrdbms-aad.database.windows.net'
const SECRET = 'a-secret-that-nobody-may-see'
const ROLES: Readonly<Record<string, string>> = { app: 'svc_app', cert: 'svc_cert', pod: 'svc_pod' }

const resources = new AsyncDisposableStack()
after(() => resources.disposeAsync())
const folder = resources.use(await temporaryFolder())
const principal = await (await createPki()).issue({ commonName: 'svc_cert', client: true, keyType: 'rsa' })
const workload = await generateKeyPair('RS256')
const provider = resources.use(
  await startOpenIdProvider({
    app: { secret: SECRET },
    cert: { certificate: principal.cert },
    pod: { workloadKey: workload.publicKey },
  }),
)
/** Tokens that the database does not let in any more, by their id. */
const revoked = new Set<string>()
const database = resources.use(
  await startTokenDatabase('db.example.com', Object.values(ROLES), async (user, token) => {
    const { appid, jti } = await provider.verify(token, AUDIENCE)
    if (ROLES[appid] !== user) throw new Error(`${appid} is not ${user}`)
    if (revoked.has(jti)) throw new Error('revoked')
  }),
)
afterEach(async () => {
  provider.answer = { kind: 'token' }
  await provider.start()
})

interface Fetching extends Disposable {
  readonly source: CredentialSource
  readonly events: { readonly name: EventName; readonly payload: unknown }[]
  failures(): PoolsmithEvents['credential:failed'][]
}

async function sourceFor(extra: Record<string, unknown>, login = 'svc_app'): Promise<Fetching> {
  const { values, problems } = parseFields(azureAd.fields, { ...authority(), ...extra })
  assert.deepEqual(problems, [])
  const events: { name: EventName; payload: unknown }[] = []
  const source = await azureAd.credentials({ type: 'postgres', login, extra: {} }, values, {
    emit: (name, payload) => events.push({ name, payload }),
    environment: process.env,
    settings: {},
  })
  return {
    source,
    events,
    failures: () =>
      events
        .filter(({ name }) => name === 'credential:failed')
        .map(({ payload }) => payload as PoolsmithEvents['credential:failed']),
    [Symbol.dispose]: () => source.close(),
  }
}

const authority = () => ({
  tenant_id: provider.tenant,
  authority_host: provider.authorityHost,
  disable_instance_discovery: true,
})
const app = { client_id: 'app', client_secret: SECRET }

function tokenOf(credential: Credential): string {
  assert.equal(credential.kind, 'token')
  return credential.token.reveal()
}

async function failureOf(source: CredentialSource): Promise<PoolsmithError> {
  const outcome = await source.get().catch((error: unknown) => error)
  assert.ok(outcome instanceof PoolsmithError, 'a token was given')
  return outcome
}

describe('a token that the real server accepts', () => {
  test('service principal by secret, through an engine from extras alone', async () => {
    await using db = await createEngine({
      type: 'postgres',
      host: database.host,
      port: database.server.port,
      login: 'svc_app',
      database: 'postgres',
      extra: { auth_method: 'azure_ad', ...database.extra, ...authority(), ...app },
    })
    const [row] = (await db.raw('select current_user as name, ssl from pg_stat_ssl where pid = pg_backend_pid()')).rows
    assert.deepEqual(row, { name: 'svc_app', ssl: true })
    assert.ok(!inspect(db, { depth: 12, showHidden: true }).includes(SECRET))
  })

  test('service principal by certificate', async () => {
    const path = join(folder.path, 'principal.pem')
    await writeFile(path, `${principal.key}\n${principal.cert}`, { mode: 0o600 })
    using fetching = await sourceFor({ client_id: 'cert', client_certificate_path: path }, 'svc_cert')
    const login = await database.login('svc_cert', tokenOf(await fetching.source.get()))
    assert.equal(login.stdout.trim(), 'svc_cert', login.stderr)
  })

  test('workload identity, with its token file read again each time', async () => {
    const path = join(folder.path, 'federated-token')
    const issueTo = async (lifeSeconds: number): Promise<void> => {
      const token = new SignJWT({}).setProtectedHeader({ alg: 'RS256' }).setAudience('api://AzureADTokenExchange')
      const exp = Math.floor(Date.now() / 1000) + lifeSeconds
      await writeFile(path, await token.setExpirationTime(exp).sign(workload.privateKey))
    }
    await issueTo(-60)
    using fetching = await sourceFor({ client_id: 'pod', federated_token_file: path }, 'svc_pod')
    assert.equal((await failureOf(fetching.source)).code, 'CREDENTIAL_REFUSED')
    await issueTo(60)
    using again = await sourceFor({ client_id: 'pod', federated_token_file: path }, 'svc_pod')
    const login = await database.login('svc_pod', tokenOf(await again.source.get()))
    assert.equal(login.stdout.trim(), 'svc_pod', login.stderr)
  })

  test('default chain, from the environment', async (t) => {
    const names = { AZURE_TENANT_ID: provider.tenant, AZURE_CLIENT_ID: 'app', AZURE_CLIENT_SECRET: SECRET }
    Object.assign(process.env, names)
    t.after(() => {
      for (const name of Object.keys(names)) delete process.env[name]
    })
    using fetching = await sourceFor({})
    const credential = await fetching.source.get()
    assert.equal(credential.identity, 'app')
    assert.equal((await database.login('svc_app', tokenOf(credential))).code, 0)
  })

  test('managed identity of the platform that the environment names', async (t) => {
    const seen: string[] = []
    const metadata = createServer((request, response) => {
      seen.push(`${request.headers['x-identity-header']} ${request.url}`)
      response.setHeader('content-type', 'application/json')
      const expires_on = String(Math.floor(Date.now() / 1000) + 7200)
      response.end(JSON.stringify({ access_token: 'opaque', expires_on, resource: AUDIENCE, token_type: 'Bearer' }))
    })
    await new Promise<void>((resolve) => metadata.listen(0, '127.0.0.1', resolve))
    process.env.IDENTITY_ENDPOINT = `http://127.0.0.1:${(metadata.address() as AddressInfo).port}/msi/token`
    process.env.IDENTITY_HEADER = 'header-of-the-platform'
    t.after(() => {
      delete process.env.IDENTITY_ENDPOINT
      delete process.env.IDENTITY_HEADER
      metadata.closeAllConnections()
      metadata.close()
    })
    using fetching = await sourceFor({ managed_identity_client_id: 'mi-client' })
    assert.equal(tokenOf(await fetching.source.get()), 'opaque')
    assert.match(seen[0] ?? '', /^header-of-the-platform .*resource=https%3A%2F%2Fossrdbms-aad.*client_id=mi-client/)
  })
})

describe('a token that the real server refuses', () => {
  test('an expired token is refused by the server, and the same source logs in with a fresh one', async () => {
    provider.answer = { kind: 'token', lifeSeconds: 1 }
    using fetching = await sourceFor(app)
    const old = tokenOf(await fetching.source.get())
    provider.answer = { kind: 'token' }
    await sleep(2100)
    const login = await database.login('svc_app', old)
    assert.match(login.stderr, /LDAP authentication failed/)
    assert.match(database.decisions.at(-1)?.outcome ?? '', /"exp" claim/)
    assert.equal((await database.login('svc_app', tokenOf(await fetching.source.get()))).code, 0)
  })

  test('a token that the server refuses before it expires is replaced, and the second login succeeds', async () => {
    using fetching = await sourceFor(app)
    const first = await fetching.source.get()
    revoked.add((await provider.verify(tokenOf(first), AUDIENCE)).jti)
    assert.notEqual((await database.login('svc_app', tokenOf(first))).code, 0)
    assert.equal(database.decisions.at(-1)?.outcome, 'revoked')
    assert.equal(fetching.source.reject(first), true)
    const second = await fetching.source.get()
    assert.notEqual(tokenOf(second), tokenOf(first), 'MSAL gave the refused token again')
    assert.equal((await database.login('svc_app', tokenOf(second))).code, 0)
  })

  test('a token for another audience or another user is refused', async () => {
    provider.answer = { kind: 'token', audience: 'https://database.windows.net' }
    using fetching = await sourceFor(app)
    assert.notEqual((await database.login('svc_app', tokenOf(await fetching.source.get()))).code, 0)
    assert.match(database.decisions.at(-1)?.outcome ?? '', /"aud" claim/)
    provider.answer = { kind: 'token' }
    using other = await sourceFor(app)
    assert.notEqual((await database.login('svc_cert', tokenOf(await other.source.get()))).code, 0)
    assert.equal(database.decisions.at(-1)?.outcome, 'app is not svc_cert')
  })

  test('the error of an engine says that the login was refused, and shows no token', async () => {
    provider.answer = { kind: 'token', audience: 'https://database.windows.net' }
    await using db = await createEngine({
      type: 'postgres',
      host: database.host,
      port: database.server.port,
      login: 'svc_app',
      database: 'postgres',
      extra: { auth_method: 'azure_ad', ...database.extra, ...authority(), ...app },
    })
    const before = provider.requests.length
    const error = await db.raw('select 1').then(
      () => assert.fail('let in'),
      (thrown: unknown) => thrown,
    )
    assert.ok(error instanceof PoolsmithError)
    assert.equal(error.code, 'LOGIN_REFUSED')
    assert.ok(!/eyJ/.test(inspect(error, { depth: 12 })), 'a token is in the error')
    assert.ok(provider.requests.length - before <= 2, 'tried once more, and no more often')
  })
})

describe('a token endpoint in trouble', () => {
  test('a wrong secret is refused once, with a code and a hint, and is never shown', async () => {
    using fetching = await sourceFor({ client_id: 'app', client_secret: 'wrong-secret-value' })
    const before = provider.requests.length
    const error = await failureOf(fetching.source)
    assert.equal(error.code, 'CREDENTIAL_REFUSED')
    assert.equal(error.phase, 'credential')
    assert.equal(error.transient, false)
    assert.equal(error.details.aadsts, 7000215)
    assert.match(error.hint ?? '', /client_secret is wrong/)
    assert.ok(!inspect(error, { depth: 12, showHidden: true }).includes('wrong-secret-value'))
    assert.equal(provider.requests.length - before, 1)
  })

  test('an unknown application is refused with its own hint', async () => {
    using fetching = await sourceFor({ client_id: 'nobody', client_secret: SECRET })
    const error = await failureOf(fetching.source)
    assert.equal(error.details.aadsts, 700016)
    assert.match(error.hint ?? '', /client_id/)
  })

  test('a throttled endpoint is asked again after the wait that it requests, by one layer only', async () => {
    using fetching = await sourceFor(app)
    const before = provider.requests.length
    provider.answer = { kind: 'error', status: 429, retryAfter: '1', body: entraError('90055', 'Too many requests.') }
    const waiting = fetching.source.get()
    while (provider.requests.length < before + 2) await sleep(20)
    provider.answer = { kind: 'token' }
    await waiting
    const times = provider.requests.slice(before).map(({ at }) => at)
    assert.equal(times.length, 3)
    assert.ok((times[1] as number) - (times[0] as number) >= 990, `asked again after ${times}`)
    assert.deepEqual(
      fetching.failures().map(({ error, attempt }) => [error.details.status, error.transient, attempt]),
      [
        [429, true, 1],
        [429, true, 2],
      ],
    )
  })

  for (const [name, answer, detail] of [
    ['a server error', { kind: 'error', status: 503 }, { status: 503 }],
    ['a cut connection', { kind: 'reset' }, { network: 'ECONNRESET' }],
  ] as const) {
    test(`after ${name} the next attempt gets a token`, async () => {
      using fetching = await sourceFor(app)
      provider.answer = answer
      const waiting = fetching.source.get()
      while (fetching.failures().length === 0) await sleep(5)
      provider.answer = { kind: 'token' }
      assert.equal((await waiting).kind, 'token')
      const [failure] = fetching.failures()
      assert.partialDeepStrictEqual(failure?.error.details, detail)
      assert.equal(failure?.error.transient, true)
    })
  }

  test('connections go on while the endpoint is down and the old token is valid, and the token is renewed afterwards', async () => {
    provider.answer = { kind: 'token', lifeSeconds: 4 }
    using fetching = await sourceFor(app)
    const first = await fetching.source.get()
    await provider.stop()
    const goodUntil = first.issuedAt + ((first.expiresAt as number) - first.issuedAt) * 0.9
    let served = 0
    while (Date.now() < goodUntil) {
      const current = fetching.source.current()
      if (Date.now() >= goodUntil) break
      assert.equal(current, first)
      served++
      await sleep(10)
    }
    assert.ok(served > 0)
    assert.ok(fetching.failures().length > 0, 'no renewal was tried')
    assert.equal(fetching.failures()[0]?.error.details.network, 'ECONNREFUSED')
    provider.answer = { kind: 'token' }
    await provider.start()
    let next = await fetching.source.get()
    for (; next === first; next = await fetching.source.get()) await sleep(10)
    assert.equal((await database.login('svc_app', tokenOf(next))).code, 0)
  })

  test('closing the source ends a request to an endpoint that hangs, and its socket', {
    timeout: 20_000,
  }, async () => {
    provider.answer = { kind: 'hang' }
    const before = provider.requests.length
    const fetching = await sourceFor(app)
    const waiting = failureOf(fetching.source)
    while (provider.requests.length === before) await sleep(5)
    fetching.source.close()
    assert.equal((await waiting).code, 'ABORTED')
    await provider.abandoned
  })

  test('two hundred callers at once make one request', async () => {
    using fetching = await sourceFor(app)
    const before = provider.requests.length
    const all = await Promise.all(Array.from({ length: 200 }, () => fetching.source.get()))
    assert.equal(new Set(all).size, 1)
    assert.equal(provider.requests.length - before, 1)
  })
})
