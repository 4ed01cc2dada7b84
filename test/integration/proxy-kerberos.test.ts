import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { chmod } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { inspect, promisify } from 'node:util'
import type { ProxyInfo } from '../../src/drivers/driver.ts'
import type { PoolsmithError } from '../../src/errors.ts'
import { runCli } from '../support/cli.ts'
import { gssAcceptor } from '../support/gss-acceptor.ts'
import { enterRealm, type Kdc, startKdc } from '../support/kdc.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { openingError, passwordCredential } from '../support/postgres-driver.ts'
import { proxiedDriver, proxyOfSession } from '../support/proxied-postgres.ts'
import { ESTABLISHED, type ProxyAnswer, type ProxyRequest, page, startProxyDouble } from '../support/proxy-double.ts'
import { type Squid, startSquid } from '../support/squid.ts'

const stack = new AsyncDisposableStack()
let kdc: Kdc
let server: PostgresServer
let squid: Squid
let keytab: string
const SERVICE = 'HTTP/localhost'

before(async () => {
  kdc = stack.use(await startKdc())
  // Squid's helper, which runs as another user, reads krb5.conf there.
  await chmod(kdc.folder, 0o755)
  for (const name of ['alice', 'bob']) await kdc.addPrincipal(name, { password: `${name}-password` })
  await kdc.addPrincipal(SERVICE)
  keytab = await kdc.keytab(SERVICE)
  enterRealm(kdc)
  process.env.KRB5CCNAME = cache('alice')
  for (const name of ['alice', 'bob']) await kdc.kinit(name, cache(name), { password: `${name}-password` })
  server = stack.use(await startPostgres())
  await server.sql("create role etl login password 'secret'")
  squid = stack.use(
    await startSquid({
      kerberos: { service: SERVICE, keytab },
      hosts: { 'db.test': '127.0.0.1' },
      environment: kdc.environment,
    }),
  )
})
after(() => stack.disposeAsync())

const cache = (name: string): string => `FILE:${kdc.path(`krb5cc_${name}`)}`
const settings = (port: number, extra: Readonly<Record<string, unknown>>) => ({
  host: 'db.test',
  port: server.port,
  login: 'etl',
  password: 'secret',
  // Squid's choice; the default is REQUIRED.
  extra: {
    proxy: `http://localhost:${port}`,
    proxy_auth: 'kerberos',
    proxy_kerberos_mutual_auth: 'OPTIONAL',
    ...extra,
  },
})

const info = (port: number, extra: Readonly<Record<string, unknown>> = {}): Promise<ProxyInfo | undefined> =>
  proxyOfSession(settings(port, extra))

async function failure(port: number, extra: Readonly<Record<string, unknown>> = {}): Promise<PoolsmithError> {
  const error = await openingError(proxiedDriver(settings(port, extra)).driver, passwordCredential('secret'))
  assert.equal(error.phase, 'proxy', inspect(error))
  assert.doesNotMatch(inspect(error, { depth: 9 }), /Negotiate [\w+/]{20}/)
  return error
}

describe('Squid with its Kerberos helper', () => {
  test('accepts curl, which shows that the realm and Squid are set up correctly', async () => {
    const web: Server = createServer((_request, response) => response.end('through')).listen(0, '127.0.0.1')
    await once(web, 'listening')
    await using _ = { [Symbol.asyncDispose]: async () => void web.close() }
    const target = `http://db.test:${(web.address() as AddressInfo).port}/`
    const proxy = `http://localhost:${squid.port}`
    const before = (await squid.accessLog()).length
    const { stdout } = await promisify(execFile)(
      'curl',
      ['-sS', '--proxytunnel', '--proxy', proxy, '--proxy-negotiate', '--proxy-user', ':', target],
      { env: { ...kdc.environment, KRB5CCNAME: cache('alice') } },
    )
    assert.equal(stdout, 'through')
    await untilLogged(before + 1)
  })

  test('accepts one request, as the owner of the default cache', async () => {
    const before = (await squid.accessLog()).length
    assert.deepEqual(await info(squid.port), {
      url: `http://localhost:${squid.port}`,
      authentication: 'kerberos',
      identity: `alice@${kdc.realm}`,
      mutual: false,
    })
    await untilLogged(before + 1)
    const [line = '', ...more] = (await squid.accessLog()).slice(before)
    assert.match(line, new RegExp(`/200 CONNECT db\\.test:${server.port} alice@${kdc.realm}$`))
    assert.deepEqual(more, [])
  })

  test('sees the principal that the extras name, in Databricks’ spellings too, by cache or by keytab', async () => {
    const byCache = { _proxy_kerberos_principal: `bob@${kdc.realm}`, proxy_kerberos_ccache: cache('bob') }
    assert.equal((await info(squid.port, byCache))?.identity, `bob@${kdc.realm}`)
    const keytabOfBob = await kdc.keytab('bob')
    const byKeytab = { proxy_kerberos_principal: `bob@${kdc.realm}`, proxy_kerberos_keytab: keytabOfBob }
    assert.equal((await info(squid.port, byKeytab))?.identity, `bob@${kdc.realm}`)
  })

  test('sends no proof of its identity to CONNECT, which the default refuses', async () => {
    const error = await failure(squid.port, { proxy_kerberos_mutual_auth: undefined })
    assert.equal(error.code, 'PROXY_MUTUAL_AUTH_MISSING')
    assert.match(error.hint ?? '', /OPTIONAL/)
  })

  test('requires a login, which is reported if none is configured', async () => {
    const error = await failure(squid.port, { proxy_auth: 'none' })
    assert.equal(error.code, 'PROXY_AUTH_REQUIRED')
    assert.deepEqual(error.details.offered, ['negotiate'])
    assert.match(error.hint ?? '', /proxy_auth=kerberos/)
  })

  test('accepts no password', async () => {
    const error = await failure(squid.port, { proxy_auth: 'basic', proxy_user: 'me', proxy_password: 'x' })
    assert.equal(error.code, 'PROXY_AUTH_UNSUPPORTED')
  })

  test('is shown by poolsmith check, with its time', async () => {
    const location = `postgres://etl:secret@db.test:${server.port}/postgres?sslmode=disable`
    const uri = `${location}&proxy=${encodeURIComponent(`http://localhost:${squid.port}`)}&proxy_auth=kerberos`
    const optional = `${uri}&_proxy_kerberos_mutual_auth=OPTIONAL`
    const environment = { ...kdc.environment, KRB5CCNAME: cache('alice') }
    const shown = await runCli(['check', optional], { environment })
    assert.equal(shown.code, 0, shown.stdout + shown.stderr)
    assert.match(
      shown.stdout,
      new RegExp(`proxy +http://localhost:${squid.port}, by Kerberos as alice@${kdc.realm}, which gave`),
    )
    assert.match(shown.stdout, /time .*proxy [\d.]+ m?s/)
    const { proxy, timingsMillis } = JSON.parse((await runCli(['check', optional, '--json'], { environment })).stdout)
    assert.deepEqual(proxy, {
      url: `http://localhost:${squid.port}`,
      authentication: 'kerberos',
      identity: `alice@${kdc.realm}`,
      mutual: false,
    })
    assert.ok(timingsMillis.proxy > 0)
    assert.deepEqual([timingsMillis.dns, timingsMillis.connect], [undefined, undefined])
    const refused = await runCli(['check', uri], { environment })
    assert.equal(refused.code, 7)
  })

  test('that cannot use the ticket refuses it', async () => {
    await kdc.addPrincipal('old/localhost')
    const old = await kdc.keytab('old/localhost')
    await kdc.changeKeys('old/localhost')
    await using other = await startSquid({
      kerberos: { service: 'old/localhost', keytab: old },
      environment: kdc.environment,
    })
    const error = await failure(other.port, { _proxy_kerberos_service_name: 'old' })
    assert.equal(error.code, 'PROXY_AUTH_REFUSED')
    assert.match(error.message, new RegExp(`alice@${kdc.realm}`))
  })

  async function untilLogged(lines: number): Promise<void> {
    while ((await squid.accessLog()).length < lines) await new Promise((resolve) => setTimeout(resolve, 20))
  }
})

describe('a fault before the first answer of the proxy', () => {
  test('an unknown service principal is reported', async () => {
    const error = await failure(squid.port, { proxy: `http://127.0.0.1:${squid.port}` })
    assert.equal(error.code, 'SPN_UNKNOWN')
    assert.match(error.hint ?? '', /proxy_kerberos_service_name/)
  })

  test('a missing ticket and the ticket of another principal are reported', async () => {
    const missing = await failure(squid.port, { proxy_kerberos_ccache: cache('nobody') })
    assert.equal(missing.code, 'TICKET_CACHE_MISSING')
    assert.match(missing.message, /failed: For the proxy http:\/\/localhost/)
    const other = { proxy_kerberos_ccache: cache('bob'), proxy_kerberos_principal: `alice@${kdc.realm}` }
    assert.equal((await failure(squid.port, other)).code, 'TICKET_PRINCIPAL_MISMATCH')
  })
})

/** The answer of a service to the ticket in a request. */
async function accepted({ 'proxy-authorization': authorization = '' }: ProxyRequest['headers']) {
  const acceptor = gssAcceptor(keytab)
  try {
    return await acceptor.step(Buffer.from(authorization.replace('Negotiate ', ''), 'base64'))
  } finally {
    acceptor.close()
  }
}

describe('mutual authentication', () => {
  /** A proxy that takes the ticket and answers 200 with what `proof` makes of its own token. */
  async function proving(proof: (token: string) => string, header = 'Proxy-Authenticate') {
    return startProxyDouble({
      hosts: { 'db.test': '127.0.0.1' },
      answer: async ({ headers }: ProxyRequest): Promise<ProxyAnswer> => {
        const { output } = await accepted(headers)
        const told = proof(output?.toString('base64') ?? '')
        return {
          send: ESTABLISHED.replace('\r\n\r\n', `\r\n${told && `${header}: Negotiate ${told}\r\n`}\r\n`),
          next: 'tunnel',
        }
      },
    })
  }

  for (const header of ['Proxy-Authenticate', 'Proxy-Authentication-Info']) {
    test(`is proven by the proxy’s own token in ${header}`, async () => {
      await using proxy = await proving((token) => token, header)
      for (const mutual of ['REQUIRED', 'OPTIONAL']) {
        assert.equal((await info(proxy.port, { proxy_kerberos_mutual_auth: mutual }))?.mutual, true)
      }
    })
  }

  test('is neither requested nor checked when disabled', async () => {
    await using proxy = await proving(() => 'AAAA')
    assert.equal((await info(proxy.port, { proxy_kerberos_mutual_auth: 'DISABLED' }))?.mutual, false)
  })

  test('is reported if it is missing', async () => {
    await using proxy = await proving(() => '')
    assert.equal(
      (await failure(proxy.port, { proxy_kerberos_mutual_auth: 'REQUIRED' })).code,
      'PROXY_MUTUAL_AUTH_MISSING',
    )
    assert.equal((await info(proxy.port, { proxy_kerberos_mutual_auth: 'OPTIONAL' }))?.mutual, false)
  })

  test('is refused if it is garbage, the token of another login, or our own token', async () => {
    let earlier = ''
    const forgeries: ((token: string) => string)[] = [
      () => 'AAAA',
      (token) => {
        const replayed = earlier || token
        earlier = token
        return replayed
      },
      (token) => `${token.slice(0, -8)}${token.slice(-8, -4) === 'AAAA' ? 'BBBB' : 'AAAA'}${token.slice(-4)}`,
    ]
    for (const [index, forge] of forgeries.entries()) {
      await using proxy = await proving(forge)
      // The first token of the replaying proxy is its own.
      if (index === 1) await info(proxy.port)
      for (const mutual of ['REQUIRED', 'OPTIONAL']) {
        const error = await failure(proxy.port, { proxy_kerberos_mutual_auth: mutual })
        assert.equal(error.code, 'PROXY_NOT_GENUINE', `forgery ${index}, ${mutual}`)
      }
    }
    await using mirror = await startProxyDouble({
      answer: ({ headers }) => ({
        send: ESTABLISHED.replace('\r\n\r\n', `\r\nProxy-Authenticate: ${headers['proxy-authorization']}\r\n\r\n`),
        next: 'hang',
      }),
    })
    assert.equal((await failure(mirror.port, { proxy_kerberos_mutual_auth: 'REQUIRED' })).code, 'PROXY_NOT_GENUINE')
  })

  test('is not blamed for a refusal, which is PROXY_AUTH_REFUSED', async () => {
    await using proxy = await startProxyDouble({
      answer: () => ({ send: page('407 No', ['Proxy-Authenticate: Negotiate']), next: 'keep' }),
    })
    assert.equal((await failure(proxy.port)).code, 'PROXY_AUTH_REFUSED')
    assert.equal(proxy.requests.length, 1)
  })
})

describe('delegation', () => {
  test('happens only if it is requested', async () => {
    const delegated: (boolean | undefined)[] = []
    await kdc.kadmin(`modprinc +ok_as_delegate ${SERVICE}@${kdc.realm}`)
    await using proxy = await startProxyDouble({
      hosts: { 'db.test': '127.0.0.1' },
      answer: async ({ headers }) => {
        delegated.push((await accepted(headers)).delegated)
        return { next: 'tunnel' }
      },
    })
    await kdc.configure(['forwardable = true'])
    const forwardable = cache('forwardable')
    await kdc.kinit('bob', forwardable, { password: 'bob-password' })
    await info(proxy.port, { proxy_kerberos_ccache: forwardable })
    await info(proxy.port, { proxy_kerberos_ccache: forwardable, _proxy_kerberos_delegate: 'true' })
    assert.deepEqual(delegated, [false, true])
  })
})
