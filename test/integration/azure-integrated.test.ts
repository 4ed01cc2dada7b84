/** A Kerberos ticket traded for a Microsoft Entra token, by way of a federation service: ActiveDirectoryIntegrated. */

import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { parseFields } from '../../src/connections/fields.ts'
import { proxyFields } from '../../src/drivers/network/proxy/options.ts'
import { createProxies } from '../../src/drivers/network/proxy/proxies.ts'
import { createEngine } from '../../src/index.ts'
import { ticketEndpoints } from '../../src/strategies/azure/federation/metadata.ts'
import { TRUST } from '../../src/strategies/azure/federation/namespaces.ts'
import { assertionRequest } from '../../src/strategies/azure/federation/ws-trust.ts'
import { loadXmlReader } from '../../src/strategies/azure/federation/xml.ts'
import {
  alice,
  assertSigned,
  cache,
  failureOf,
  federation,
  folder,
  integrated,
  kdc,
  ONE_FETCH,
  POSTGRES_AUDIENCE,
  run,
  SQL_AUDIENCE,
  sourceFor,
  steps,
  tokenFor,
  UPN,
} from '../support/federation/integrated.ts'
import { ALL_ENDPOINTS, metadataDocument } from '../support/federation/metadata.ts'
import { type Deviation, startFederation } from '../support/federation/service.ts'
import { createPki } from '../support/pki.ts'
import { startPostgres } from '../support/postgres.ts'
import { startProxyDouble } from '../support/proxy-double.ts'
import { startTdsServer } from '../support/tds/server.ts'
import { startTokenDatabase } from '../support/token-database.ts'

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
