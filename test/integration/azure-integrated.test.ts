/** A Kerberos ticket traded for a Microsoft Entra token, by way of a federation service: ActiveDirectoryIntegrated. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, afterEach, describe, test } from 'node:test'
import { inspect, promisify } from 'node:util'
import { parseFields } from '../../src/connections/fields.ts'
import type { CredentialSource } from '../../src/credentials/credential.ts'
import { proxyFields } from '../../src/drivers/network/proxy/options.ts'
import { createProxies, type Proxies } from '../../src/drivers/network/proxy/proxies.ts'
import { PoolsmithError } from '../../src/errors.ts'
import { createEngine } from '../../src/index.ts'
import { ticketEndpoints } from '../../src/strategies/azure/federation/metadata.ts'
import { TRUST } from '../../src/strategies/azure/federation/namespaces.ts'
import { assertionRequest } from '../../src/strategies/azure/federation/ws-trust.ts'
import { loadXmlReader } from '../../src/strategies/azure/federation/xml.ts'
import { azureAd } from '../../src/strategies/azure-ad.ts'
import { ALL_ENDPOINTS, metadataDocument } from '../support/federation/metadata.ts'
import type { SamlVersion } from '../support/federation/saml.ts'
import { type Deviation, envelope, fault, type Step, startFederation } from '../support/federation/service.ts'
import { temporaryFolder } from '../support/folder.ts'
import { enterRealm, startKdc } from '../support/kdc.ts'
import { createPki } from '../support/pki.ts'
import { startPostgres } from '../support/postgres.ts'
import { startProxyDouble } from '../support/proxy-double.ts'
import { startTdsServer } from '../support/tds/server.ts'
import { startTokenDatabase } from '../support/token-database.ts'

const run = promisify(execFile)
const ONE_FETCH = ['realm', 'metadata', 'ticket', 'token']
const UPN = 'alice@test.realm'
const SQL_AUDIENCE = 'https://database.windows.net'
const POSTGRES_AUDIENCE = 'https://ossrdbms-aad.database.windows.net'

const resources = new AsyncDisposableStack()
after(() => resources.disposeAsync())
const folder = resources.use(await temporaryFolder())
const kdc = resources.use(await startKdc())
await kdc.addPrincipal('alice', { password: 'alice-password' })
await kdc.addPrincipal('HTTP/localhost')
const alice = await kdc.keytab('alice')
const federation = resources.use(
  await startFederation({ keytab: await kdc.keytab('HTTP/localhost'), passwords: { [UPN]: 'pass<&>word' } }),
)
enterRealm(kdc)
const cache = `FILE:${kdc.path('krb5cc_alice')}`
await kdc.kinit('alice', cache, { keytab: alice })
process.env.KRB5CCNAME = cache

afterEach(() => federation.reset())

const integrated = () => ({ azure_credential: 'integrated', authority_host: federation.authority })

interface Fetching extends Disposable {
  readonly source: CredentialSource
  readonly told: unknown[]
}

async function sourceFor(
  extra: Readonly<Record<string, unknown>> = {},
  login?: string,
  agents?: Proxies['agents'],
): Promise<Fetching> {
  const { values, problems } = parseFields(azureAd.fields, { ...integrated(), ...extra })
  assert.deepEqual(problems, [])
  const told: unknown[] = []
  const connection = { type: 'mssql', extra: {}, ...(login === undefined ? {} : { login }) } as const
  const source = await azureAd.credentials(connection, values, {
    emit: (name, payload) => told.push({ name, payload }),
    environment: process.env,
    settings: {},
    ...(agents === undefined ? {} : { agents }),
  })
  return { source, told, [Symbol.dispose]: () => source.close() }
}

async function tokenFor(...given: Parameters<typeof sourceFor>): Promise<string> {
  using fetching = await sourceFor(...given)
  const credential = await fetching.source.get()
  assert.equal(credential.kind, 'token')
  return credential.token.reveal()
}

/** What became of a fetch that fails; nothing that was sent or received may be seen in it, nor in what the events told. */
async function failureOf(extra: Readonly<Record<string, unknown>> = {}, login?: string): Promise<PoolsmithError> {
  using fetching = await sourceFor(extra, login)
  const outcome = await fetching.source.get().catch((error: unknown) => error)
  assert.ok(outcome instanceof PoolsmithError, inspect(outcome))
  const shown = inspect([outcome, fetching.told], { depth: 12, showHidden: true })
  for (const { authorization, body } of federation.seen) {
    const assertion = new URLSearchParams(body).get('assertion') ?? undefined
    for (const secret of [authorization, assertion]) {
      if (secret !== undefined) assert.ok(!shown.includes(secret.slice(10, 50)), shown)
    }
  }
  const withoutSourcePaths = shown.replace(/file:\/\/\S+/g, '')
  assert.doesNotMatch(withoutSourcePaths, /[\w+/=-]{60,}/)
  assert.notEqual(outcome.phase, 'config')
  return outcome
}

/** Has xmlsec1 judge the signature of an assertion as we handed it on. */
async function assertSigned(assertion: string | null, saml: SamlVersion): Promise<void> {
  const [file, key] = [join(folder.path, 'assertion.xml'), join(folder.path, 'saml.pem')]
  await writeFile(file, Buffer.from(assertion ?? '', 'base64url'))
  await writeFile(key, federation.samlKey)
  const [id, version] = saml === '1.1' ? ['AssertionID', '1.0'] : ['ID', '2.0']
  const marked = [`--id-attr:${id}`, `urn:oasis:names:tc:SAML:${version}:assertion:Assertion`]
  const { stderr } = await run('xmlsec1', ['--verify', '--pubkey-pem', key, ...marked, file])
  assert.match(stderr, /^OK\nSignedInfo References \(ok\/all\): 1\/1$/m)
}

/** Requests by step. */
const steps = (): string[] => federation.seen.map(({ step }) => step)

describe('a ticket becomes a token', () => {
  test('that SQL Server accepts, by our extras and by Authentication=ActiveDirectoryIntegrated', async () => {
    await using postgres = await startPostgres()
    const pki = await createPki()
    const caFile = join(folder.path, 'ca.pem')
    await writeFile(caFile, pki.ca)
    const tokens = { keys: federation.keys, issuer: federation.issuer, audience: SQL_AUDIENCE }
    const certificate = await pki.issue({ commonName: 'localhost', dns: ['localhost'] })
    await using server = await startTdsServer({ postgres, tls: certificate, tokens, fedAuthRequired: true })
    const at = { type: 'mssql', host: 'localhost', port: server.port, database: 'master' } as const
    const forms = [
      { auth_method: 'azure_ad', azure_credential: 'integrated' },
      { Authentication: 'ActiveDirectoryIntegrated' },
    ]
    for (const form of forms) {
      const extra = { ca_file: caFile, authority_host: federation.authority, ...form }
      await using db = await createEngine({ ...at, extra })
      const [row] = await db.raw('select suser_sname() as who')
      assert.equal(row.who, UPN)
      const info = await db.pool.use((raw) => db.pool.infoOf(raw))
      assert.equal(info?.authentication, 'token')
    }
  })

  test('that PostgreSQL accepts', async () => {
    await using database = await startTokenDatabase('db.example.com', [UPN], async (user, token) => {
      const { upn } = await federation.verify(token, POSTGRES_AUDIENCE)
      if (upn !== user) throw new Error(`${upn} is not ${user}`)
    })
    await using db = await createEngine({
      type: 'postgres',
      host: database.host,
      port: database.server.port,
      login: UPN,
      database: 'postgres',
      extra: { auth_method: 'azure_ad', ...database.extra, ...integrated() },
    })
    const [row] = (await db.raw('select current_user as name')).rows
    assert.deepEqual(row, { name: UPN })
  })

  test('in four requests and the one for the token, each with the right content', async () => {
    await tokenFor({ client_id: 'our-client', tenant_id: federation.tenant })
    const { seen } = federation
    assert.deepEqual(
      seen.map(({ step, path }) => [step, path]),
      [
        ['realm', '/common/userrealm/alice%40TEST.REALM?api-version=1.0'],
        ['metadata', '/adfs/services/trust/mex'],
        ['ticket', '/adfs/services/trust/13/windowstransport'],
        ['token', `/${federation.tenant}/oauth2/v2.0/token`],
      ],
    )
    const form = new URLSearchParams(seen.at(-1)?.body)
    assert.equal(form.get('client_id'), 'our-client')
    assert.equal(form.get('scope'), `${SQL_AUDIENCE}/.default`)
    // The ticket goes to the federation service alone.
    assert.deepEqual(
      seen.map(({ authorization }) => authorization?.slice(0, 13)),
      [undefined, undefined, 'Negotiate YII', undefined],
    )
  })

  test('by an assertion of either version of SAML and WS-Trust, to the byte', async () => {
    const only2005: Deviation = (request, response) => {
      const endpoints = ALL_ENDPOINTS.filter(({ version }) => version === '2005')
      response.end(metadataDocument(request.headers.host ?? '', endpoints))
    }
    for (const saml of ['1.1', '2.0'] as const) {
      for (const metadata of [undefined, only2005]) {
        federation.reset()
        federation.saml = saml
        if (metadata !== undefined) federation.deviations.metadata = metadata
        assert.equal((await federation.verify(await tokenFor(), SQL_AUDIENCE)).upn, UPN)
        await assertSigned(new URLSearchParams(federation.seen.at(-1)?.body).get('assertion'), saml)
        const version = metadata === undefined ? '13' : '2005'
        assert.equal(federation.seen[2]?.path, `/adfs/services/trust/${version}/windowstransport`)
      }
    }
  })

  test('for the user that azure_username or the login names, and never for the name of a database role', async () => {
    const asked = async (extra: Readonly<Record<string, unknown>>, login?: string): Promise<string | undefined> => {
      federation.reset()
      await tokenFor(extra, login)
      return federation.seen[0]?.path
    }
    const realmOf = (user: string): string => `/common/userrealm/${encodeURIComponent(user)}?api-version=1.0`
    assert.equal(await asked({ azure_username: 'a&b@test.realm' }, 'x@test.realm'), realmOf('a&b@test.realm'))
    assert.equal(await asked({}, 'bob@test.realm'), realmOf('bob@test.realm'))
    assert.equal(await asked({}, 'readers'), realmOf('alice@TEST.REALM'))
  })

  test('by keytab, without kinit', async (t) => {
    process.env.KRB5CCNAME = `FILE:${kdc.path('nobody')}`
    t.after(() => {
      process.env.KRB5CCNAME = cache
    })
    assert.equal((await failureOf()).code, 'TICKET_MISSING')
    assert.deepEqual(steps(), [])
    const token = await tokenFor({ principal: 'alice', keytab: alice })
    assert.equal((await federation.verify(token, SQL_AUDIENCE)).upn, UPN)
    assert.equal((await federation.verify(await tokenFor({ ccache: cache }), SQL_AUDIENCE)).upn, UPN)
  })

  test('with all requests again for the next token, so that none outlives the ticket', async () => {
    using fetching = await sourceFor()
    const first = await fetching.source.get()
    assert.ok(Math.abs((first.expiresAt ?? 0) - Date.now() - 3_600_000) < 60_000)
    fetching.source.reject(first)
    assert.notEqual(await fetching.source.get(), first)
    assert.deepEqual(steps(), [...ONE_FETCH, ...ONE_FETCH])
  })

  test('through the proxy, by the names that the proxy knows', async () => {
    await kdc.addPrincipal('HTTP/sts.test')
    const keytab = await kdc.keytab('HTTP/sts.test')
    await using apart = await startFederation({ keytab, host: 'sts.test' })
    await using proxy = await startProxyDouble({ hosts: { 'login.test': '127.0.0.1', 'sts.test': '127.0.0.1' } })
    const { values } = parseFields(proxyFields, { proxy: `http://127.0.0.1:${proxy.port}` })
    const { agents } = createProxies(values, { environment: {}, emit: () => undefined })
    const token = await tokenFor({ authority_host: `https://login.test:${apart.port}` }, undefined, agents)
    assert.equal((await apart.verify(token, SQL_AUDIENCE)).upn, UPN)
    const [login, sts] = [`login.test:${apart.port}`, `sts.test:${apart.port}`]
    assert.deepEqual(
      proxy.requests.map(({ target }) => target),
      [login, sts, sts, login],
    )
  })
})

describe('a federated domain that MSAL and curl can use too', () => {
  const RST = assertionRequest(
    { url: new URL(`${federation.authority}/adfs/services/trust/13/windowstransport`), version: '1.3' },
    'urn:federation:MicrosoftOnline',
  )

  test('MSAL for Python gets a token by password, and reads the same endpoints out of the metadata', async () => {
    federation.displayName = 'Alice'
    const caFile = join(folder.path, 'federation-ca.pem')
    await writeFile(caFile, federation.ca)
    const script = join(import.meta.dirname, '../support/federation/msal_client.py')
    const by = (password: string) =>
      run('/usr/bin/python3', [
        ...[script, federation.authority, federation.tenant, caFile],
        ...['alice@test.realm', password, `${SQL_AUDIENCE}/.default`],
      ])
    const { result, windows } = JSON.parse((await by('pass<&>word')).stdout)
    assert.equal((await federation.verify(result.access_token, SQL_AUDIENCE)).upn, UPN)
    assert.deepEqual(steps(), ['realm', 'metadata', 'password', 'token'])
    const ours = ticketEndpoints((await loadXmlReader('test'))(metadataDocument(`localhost:${federation.port}`)))
    assert.deepEqual(
      windows.map(({ address }: { address: string }) => address).sort(),
      ours.map(({ url }) => url.href).sort(),
    )
    await assert.rejects(by('wrong'), /ID3242/)
  })

  test('curl --negotiate gets an assertion with the ticket, and none without', async () => {
    const caFile = join(folder.path, 'federation-ca.pem')
    await writeFile(caFile, federation.ca)
    const curl = async (ccache: string) => {
      const { stdout } = await run(
        'curl',
        [
          ...['-sS', '--negotiate', '-u', ':', '--cacert', caFile, '-w', '\n%{http_code}', '--data-binary', RST],
          ...['-H', 'Content-Type: application/soap+xml; charset=utf-8', '-H', `SOAPAction: ${TRUST['1.3'].action}`],
          `${federation.authority}/adfs/services/trust/13/windowstransport`,
        ],
        { env: { ...process.env, KRB5CCNAME: ccache } },
      )
      return stdout
    }
    const answer = await curl(cache)
    assert.match(answer, /<saml:NameIdentifier[^>]*>alice@test\.realm<.*\n200$/s)
    assert.match(await curl(`FILE:${kdc.path('nobody')}`), /^\n401$/)
  })
})

describe('a failed exchange', () => {
  const answering =
    (status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): Deviation =>
    (_request, response) =>
      response.writeHead(status, headers).end(typeof body === 'string' ? body : JSON.stringify(body))
  const realm = (facts: object): Deviation =>
    answering(200, { account_type: 'Federated', federation_protocol: 'WSTrust', ...facts })

  interface Case {
    readonly title: string
    readonly step: Step
    readonly deviation: Deviation
    readonly code: string
    readonly message: RegExp
    readonly hint?: RegExp
    readonly details?: Readonly<Record<string, unknown>>
  }
  const cases: readonly Case[] = [
    {
      title: 'a domain whose passwords Entra keeps',
      step: 'realm',
      deviation: realm({ account_type: 'Managed' }),
      code: 'FEDERATION_MISSING',
      message: /alice@TEST\.REALM.*takes no Kerberos ticket/,
      hint: /federated with AD FS.*service_principal/,
      details: { step: 'realm', accountType: 'Managed' },
    },
    {
      title: 'a domain that Entra does not know',
      step: 'realm',
      deviation: realm({ account_type: 'Unknown' }),
      code: 'FEDERATION_MISSING',
      message: /does not know the domain of alice@TEST\.REALM/,
      hint: /name@domain/,
    },
    {
      title: 'a federation that is not WS-Trust',
      step: 'realm',
      deviation: realm({ federation_protocol: 'SAML20', federation_metadata_url: 'https://localhost/x' }),
      code: 'FEDERATION_MISSING',
      message: /federated by SAML20/,
    },
    {
      title: 'metadata without https',
      step: 'realm',
      deviation: realm({ federation_metadata_url: 'http://localhost/adfs/services/trust/mex' }),
      code: 'FEDERATION_FAILED',
      message: /not https/,
      details: { step: 'metadata' },
    },
    {
      title: 'no JSON',
      step: 'realm',
      deviation: answering(200, '<html>'),
      code: 'FEDERATION_FAILED',
      message: /localhost:\d+: the answer is not JSON/,
    },
    {
      title: 'metadata that are nowhere',
      step: 'metadata',
      deviation: answering(404, 'no'),
      code: 'FEDERATION_FAILED',
      message: /metadata of the federation service.*HTTP 404/,
      details: { status: 404, step: 'metadata' },
    },
    {
      title: 'metadata that are no XML',
      step: 'metadata',
      deviation: answering(200, '<html><p>Sign in'),
      code: 'FEDERATION_FAILED',
      message: /not well-formed XML/,
    },
    {
      title: 'metadata with a DTD',
      step: 'metadata',
      deviation: answering(200, '<!DOCTYPE d [<!ENTITY a "b">]><d>&a;</d>'),
      code: 'FEDERATION_FAILED',
      message: /it has a DTD/,
    },
    {
      title: 'metadata without end',
      step: 'metadata',
      deviation: answering(200, ' '.repeat(2 ** 20 + 1)),
      code: 'FEDERATION_FAILED',
      message: /longer than 1048576 bytes/,
    },
    {
      title: 'no endpoint for tickets, but for passwords',
      step: 'metadata',
      deviation: (request, response) =>
        response.end(
          metadataDocument(
            request.headers.host ?? '',
            ALL_ENDPOINTS.filter(({ kind }) => kind !== 'windowstransport'),
          ),
        ),
      code: 'FEDERATION_NO_ENDPOINT',
      message: /localhost:\d+ has no https endpoint that takes a ticket/,
      hint: /13\/windowstransport/,
    },
    {
      title: 'an endpoint for tickets without https',
      step: 'metadata',
      deviation: (request, response) =>
        response.end(
          metadataDocument(
            request.headers.host ?? '',
            ALL_ENDPOINTS.map((each) => ({ ...each, scheme: 'http' })),
          ),
        ),
      code: 'FEDERATION_NO_ENDPOINT',
      message: /no https endpoint/,
    },
    {
      title: 'an AD FS whose host is no principal',
      step: 'realm',
      deviation: realm({ federation_metadata_url: `https://127.0.0.1:${federation.port}/adfs/services/trust/mex` }),
      code: 'CREDENTIAL_FAILED',
      message: /metadata of the federation service.*127\.0\.0\.1/,
    },
    {
      title: 'a ticket that is refused',
      step: 'ticket',
      deviation: answering(401, '', { 'www-authenticate': 'Negotiate' }),
      code: 'FEDERATION_REFUSED',
      message: /ticket of alice@TEST\.REALM is refused/,
      hint: /HTTP\/localhost.*ExtendedProtectionTokenCheck/,
    },
    {
      title: 'NTLM alone',
      step: 'ticket',
      deviation: answering(401, '', { 'www-authenticate': 'NTLM, Basic realm="x"' }),
      code: 'FEDERATION_REFUSED',
      message: /Kerberos is not taken there/,
      details: { step: 'assertion', offered: ['ntlm', 'basic'] },
    },
    {
      title: 'a false proof',
      step: 'ticket',
      deviation: async (_request, response, ordinary) => {
        const setHeader = response.setHeader.bind(response)
        response.setHeader = (name, value) => {
          const proof = Buffer.from(String(value).slice('Negotiate '.length), 'base64')
          proof[proof.length - 5] = (proof[proof.length - 5] ?? 0) ^ 1
          return setHeader(name, `Negotiate ${proof.toString('base64')}`)
        }
        await ordinary()
      },
      code: 'FEDERATION_NOT_GENUINE',
      message: /could not prove that it is itself/,
    },
    {
      title: 'a refusal in SOAP, by status 500',
      step: 'ticket',
      deviation: (request, response) =>
        // Whoever got the ticket might say it again.
        response
          .writeHead(500)
          .end(envelope(fault('FailedAuthentication', `MSIS3126: Access denied. ${request.headers.authorization}`))),
      code: 'FEDERATION_REFUSED',
      message: /of alice@TEST\.REALM: MSIS3126: Access denied\. Negotiate \[\.\.\.\]\.$/,
      details: { fault: 'FailedAuthentication', principal: 'alice@TEST.REALM' },
    },
    {
      title: 'an answer without an assertion',
      step: 'ticket',
      deviation: answering(200, envelope('<t:X xmlns:t="urn:x"/>')),
      code: 'FEDERATION_FAILED',
      message: /holds none of SAML/,
    },
    {
      title: 'an assertion of another kind',
      step: 'ticket',
      deviation: answering(
        200,
        envelope(
          `<t:RequestedSecurityToken xmlns:t="${TRUST['1.3'].namespace}"><Assertion xmlns="urn:other"/></t:RequestedSecurityToken>`,
        ),
      ),
      code: 'FEDERATION_FAILED',
      message: /holds none of SAML/,
    },
    {
      title: 'a redirection to where the ticket does not belong',
      step: 'ticket',
      deviation: answering(307, '', { location: 'https://elsewhere.test/adfs/services/trust/13/windowstransport' }),
      code: 'FEDERATION_FAILED',
      message: /redirection \(307\)/,
    },
    {
      title: 'an application that the tenant does not know',
      step: 'token',
      deviation: answering(400, { error: 'invalid_client', error_description: 'AADSTS700016: Not found. Trace ID: x' }),
      code: 'CREDENTIAL_REFUSED',
      message: /AADSTS700016: Not found\.$/,
      hint: /client_id is not known/,
      details: { aadsts: 700016 },
    },
    {
      title: 'a second factor',
      step: 'token',
      deviation: answering(400, { error: 'interaction_required', error_description: 'AADSTS50076: MFA.' }),
      code: 'CREDENTIAL_REFUSED',
      message: /AADSTS50076/,
      hint: /second factor.*Kerberos ticket/,
    },
    {
      title: 'a refusal without a number',
      step: 'token',
      deviation: answering(400, { error: 'invalid_grant', error_description: 'Not today.' }),
      code: 'CREDENTIAL_REFUSED',
      message: /Not today\.$/,
    },
    {
      title: 'no token',
      step: 'token',
      deviation: answering(200, { token_type: 'Bearer', expires_in: 3600 }),
      code: 'FEDERATION_FAILED',
      message: /the answer holds no token/,
    },
  ]
  for (const { title, step, deviation, code, message, hint, details } of cases) {
    test(`${title} has its own error, raised once`, async () => {
      federation.deviations[step] = deviation
      const error = await failureOf()
      assert.equal(error.code, code, inspect(error))
      assert.match(error.message, message)
      if (code.startsWith('FEDERATION_')) assert.ok(error.hint !== undefined)
      if (hint !== undefined) assert.match(error.hint ?? '', hint)
      assert.deepEqual({ ...error.details, ...details }, error.details)
      assert.equal(error.transient, false)
      // Asked once, and nobody further on after the step that failed.
      const asked = steps()
      assert.deepEqual(asked, ONE_FETCH.slice(0, asked.length))
      assert.equal(asked.at(-1), step)
    })
  }

  test('an assertion that was changed on the way is refused by Entra, and is not shown', async () => {
    federation.deviations.ticket = async (_request, response, ordinary) => {
      const end = response.end.bind(response)
      response.end = ((body: string) =>
        end(body.replace('alice@test.realm', 'admin@test.realm'))) as typeof response.end
      await ordinary()
    }
    const error = await failureOf()
    assert.equal(error.code, 'CREDENTIAL_REFUSED')
    assert.match(error.message, /AADSTS50008/)
    assert.match(error.hint ?? '', /signing certificate/)
  })

  test('a server that is down or throttles is asked again', async () => {
    let refused = 0
    const once =
      (deviation: Deviation): Deviation =>
      (request, response, ordinary) =>
        refused++ === 0 ? deviation(request, response, ordinary) : ordinary()
    const passing: readonly (readonly [Step, Deviation])[] = [
      ['realm', answering(503, 'busy')],
      ['metadata', answering(429, '', { 'retry-after': '0' })],
      ['ticket', answering(503, 'Service Unavailable')],
      ['ticket', answering(500, envelope(fault('ServerTooBusy', 'Later.', 'Receiver')))],
      [
        'token',
        answering(503, { error: 'temporarily_unavailable', error_description: 'AADSTS90033: A passing fault.' }),
      ],
      ['token', ({ socket }) => socket.destroy()],
    ]
    for (const [step, deviation] of passing) {
      federation.reset()
      refused = 0
      federation.deviations[step] = once(deviation)
      assert.equal((await federation.verify(await tokenFor(), SQL_AUDIENCE)).upn, UPN)
      assert.equal(refused, 2, step)
    }
  })

  test('a principal that the realm does not know is reported', async () => {
    await kdc.deletePrincipal('HTTP/localhost')
    await kdc.kinit('alice', cache, { keytab: alice })
    try {
      const error = await failureOf()
      assert.equal(error.code, 'SPN_UNKNOWN')
      assert.match(error.hint ?? '', /kvno HTTP\/localhost.*AD FS/)
      assert.deepEqual(steps(), ['realm', 'metadata'])
    } finally {
      await kdc.addPrincipal('HTTP/localhost')
    }
  })

  test('a key that AD FS does not have yet is reported', async () => {
    await kdc.kinit('alice', cache, { keytab: alice })
    const error = await failureOf()
    assert.equal(error.code, 'FEDERATION_REFUSED')
    assert.match(error.message, /is refused/)
  })

  test('closing the source ends a wait for a silent server, and leaves nothing behind', async () => {
    const hanging = Promise.withResolvers<void>()
    const gone = Promise.withResolvers<void>()
    federation.deviations.metadata = ({ socket }) => {
      socket.once('close', () => gone.resolve())
      hanging.resolve()
    }
    using fetching = await sourceFor()
    const outcome = fetching.source.get().catch((error: unknown) => error)
    await hanging.promise
    fetching.source.close()
    assert.ok((await outcome) instanceof PoolsmithError)
    await gone.promise
  })
})
