import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { inspect } from 'node:util'
import type { ProxyInfo } from '../../src/drivers/driver.ts'
import type { PoolsmithError } from '../../src/errors.ts'
import { temporaryFolder } from '../support/folder.ts'
import { freePort } from '../support/free-port.ts'
import { createPki, type Pki } from '../support/pki.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { openingError, openSession, passwordCredential } from '../support/postgres-driver.ts'
import { type ProxiedDriver, type ProxiedOptions, proxiedDriver, proxyOfSession } from '../support/proxied-postgres.ts'
import {
  ESTABLISHED,
  type ProxyAnswer,
  type ProxyDouble,
  type ProxyDoubleOptions,
  page,
  startProxyDouble,
} from '../support/proxy-double.ts'

const PASSWORD = 'the-password-of-the-proxy'
const stack = new AsyncDisposableStack()
let server: PostgresServer
let pki: Pki
let ca: string

before(async () => {
  const folder = stack.use(await temporaryFolder())
  pki = await createPki()
  ca = join(folder.path, 'ca.pem')
  await writeFile(ca, pki.ca)
  const pair = await pki.issue({ commonName: 'db.test', dns: ['db.test'] })
  server = stack.use(await startPostgres({ tls: { cert: pair.cert, key: pair.key } }))
  await server.sql("create role etl login password 'secret'")
})
after(() => stack.disposeAsync())

type Setup = Partial<ProxiedOptions>

const complete = (setup: Setup): ProxiedOptions => ({
  host: 'db.test',
  port: server.port,
  login: 'etl',
  password: 'secret',
  extra: {},
  ...setup,
})
const through = (setup: Setup): ProxiedDriver => proxiedDriver(complete(setup))
const infoThrough = (setup: Setup): Promise<ProxyInfo | undefined> => proxyOfSession(complete(setup))

/** The error of an attempt, which must tell nobody a password and leave nothing open. */
async function errorThrough(double: ProxyDouble, setup: Setup, signal?: AbortSignal): Promise<PoolsmithError> {
  const error = await openingError(through(setup).driver, passwordCredential('secret'), signal)
  const told = `${error.message} ${error.hint} ${JSON.stringify(error)} ${inspect(error, { depth: 9 })} ${error.stack}`
  assert.ok(!told.includes(PASSWORD), told)
  assert.ok(!told.includes(Buffer.from(`me:${PASSWORD}`).toString('base64')), told)
  await untilClosed(double)
  return error
}

async function untilClosed(double: ProxyDouble): Promise<void> {
  for (let turn = 0; double.open > 0; turn++) {
    assert.ok(turn < 500, 'a connection to the proxy stays open')
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

const double = (options: ProxyDoubleOptions = {}): Promise<ProxyDouble> =>
  startProxyDouble({ ...options, hosts: { 'db.test': '127.0.0.1' } })
const urlOf = ({ port }: ProxyDouble): string => `http://127.0.0.1:${port}`
const loginUrlOf = ({ port }: ProxyDouble): string => `http://me:${PASSWORD}@127.0.0.1:${port}`

describe('a tunnel', () => {
  test('reaches a host that only the proxy can resolve, and is reported in the session', async () => {
    await using proxy = await double()
    const info = await infoThrough({ extra: { proxy: urlOf(proxy) } })
    assert.deepEqual(info, { url: urlOf(proxy), authentication: 'none' })
    assert.deepEqual(
      proxy.requests.map(({ target, headers }) => [target, headers.host, headers['proxy-authorization']]),
      [[`db.test:${server.port}`, `db.test:${server.port}`, undefined]],
    )
  })

  test('leads to hostaddr if it is set, and the certificate is still checked against the host', async () => {
    await using proxy = await double()
    const driver = { hostaddr: '127.0.0.1', sslmode: 'verify-full', sslrootcert: ca }
    assert.ok(await infoThrough({ extra: { proxy: urlOf(proxy) }, driver }))
    assert.equal(proxy.requests[0]?.target, `127.0.0.1:${server.port}`)
  })

  test('carries TLS end to end, verified by the name of the database and not of the proxy', async () => {
    await using proxy = await double()
    const extra = { proxy: urlOf(proxy) }
    const driver = { sslmode: 'verify-full', sslrootcert: ca }
    assert.ok(await infoThrough({ extra, driver }))
    const error = await errorThrough(proxy, { extra, driver, host: '127.0.0.1' })
    assert.equal(error.code, 'TLS_HOSTNAME_MISMATCH')
    assert.equal(error.phase, 'tls')
  })

  test('runs over TLS to the proxy, with the TLS of the database inside', async () => {
    const pair = await pki.issue({ commonName: 'proxy', dns: ['localhost'] })
    await using proxy = await double({ tls: pair })
    const extra = { proxy: `https://localhost:${proxy.port}`, proxy_ca: ca }
    const driver = { sslmode: 'verify-full', sslrootcert: ca }
    const info = await infoThrough({ extra, driver })
    assert.deepEqual(info, { url: extra.proxy, authentication: 'none', tls: 'TLSv1.3' })

    const untrusted = await errorThrough(proxy, { extra: { proxy: extra.proxy } })
    assert.deepEqual([untrusted.code, untrusted.phase], ['PROXY_TLS_FAILED', 'proxy'])
    assert.match(untrusted.hint ?? '', /proxy_ca/)
    const byAddress = { ...extra, proxy: `https://127.0.0.1:${proxy.port}` }
    assert.equal((await errorThrough(proxy, { extra: byAddress })).code, 'PROXY_TLS_FAILED')
    const inTheClear = { proxy: `http://localhost:${proxy.port}` }
    const garbled = await errorThrough(proxy, { extra: inTheClear })
    assert.equal(garbled.phase, 'proxy')
    const missing = await errorThrough(proxy, { extra: { ...extra, proxy_ca: '/nonexistent/ca.pem' } })
    assert.deepEqual([missing.code, missing.phase], ['CA_FILE_MISSING', 'proxy'])
  })

  test('keeps bytes that arrive together with the end of the header', async () => {
    await using proxy = await double({ answer: () => ({ send: `${ESTABLISHED}SGLUED`, next: 'hang' }) })
    const { driver } = through({ extra: { proxy: urlOf(proxy) }, driver: { sslmode: 'require' } })
    // The S is the server's answer to the request for TLS, and what follows it must not be there.
    const error = await openingError(driver, passwordCredential('secret'))
    assert.equal(error.code, 'TLS_STUFFED')
    await untilClosed(proxy)
  })

  test('also carries the request to cancel', async () => {
    await using proxy = await double()
    const { driver } = through({ extra: { proxy: urlOf(proxy) } })
    await using session = await openSession(driver, passwordCredential('secret'))
    const sleeping = assert.rejects(session.client.query('select pg_sleep(60)'), { code: '57014' })
    // Until the statement runs, there is nothing to cancel.
    while (
      (
        await server.sql(
          "select count(*) from pg_stat_activity where query like '%pg_sleep(60)%' and pid <> pg_backend_pid() and state = 'active'",
        )
      ).trim() === '0'
    );
    await driver.cancel(session.client, AbortSignal.timeout(10_000))
    await sleeping
    assert.equal(proxy.requests.length, 2)
  })

  test('ignores interim answers, and any 2xx status opens the tunnel', async () => {
    const send =
      'HTTP/1.1 102 Processing\r\nX: y\r\n\r\nHTTP/1.0 204 Fine\r\nContent-Length: 10\r\nConnection: close\r\n\r\n'
    await using proxy = await double({ answer: () => ({ send, next: 'tunnel' }) })
    assert.ok(await infoThrough({ extra: { proxy: urlOf(proxy) } }))
  })

  test('sends user name and password with the first request, from the URL or the extras', async () => {
    await using proxy = await double()
    const expected = `Basic ${Buffer.from(`me:${PASSWORD}`).toString('base64')}`
    const info = await infoThrough({ extra: { proxy: loginUrlOf(proxy) } })
    assert.deepEqual(info, { url: urlOf(proxy), authentication: 'basic', identity: 'me' })
    await infoThrough({ extra: { proxy: urlOf(proxy), proxy_user: 'me', proxy_password: PASSWORD } })
    assert.deepEqual(
      proxy.requests.map(({ headers }) => headers['proxy-authorization']),
      [expected, expected],
    )
  })

  test('warns once of a password that is sent unencrypted', async () => {
    await using proxy = await double()
    const { driver, events } = through({ extra: { proxy: loginUrlOf(proxy) } })
    for (let round = 0; round < 2; round++)
      await (await openSession(driver, passwordCredential('secret')))[Symbol.asyncDispose]()
    assert.deepEqual(events, ['security:warning'])
  })
})

describe('the environment', () => {
  test('is not read for a database without proxy=env', async () => {
    await using proxy = await double()
    const environment = { https_proxy: urlOf(proxy), ALL_PROXY: urlOf(proxy), http_proxy: urlOf(proxy) }
    assert.equal(await infoThrough({ host: '127.0.0.1', environment }), undefined)
    assert.equal(proxy.connections, 0)
    assert.ok(await infoThrough({ extra: { proxy: 'env' }, host: '127.0.0.1', environment }))
    assert.equal(proxy.connections, 1)
  })

  test('names exceptions under proxy=env only, while no_proxy of the extras always does', async () => {
    await using proxy = await double()
    const environment = { HTTPS_PROXY: urlOf(proxy), NO_PROXY: '127.0.0.0/8' }
    const host = '127.0.0.1'
    assert.equal(await infoThrough({ extra: { proxy: 'env' }, host, environment }), undefined)
    assert.ok(await infoThrough({ extra: { proxy: urlOf(proxy) }, host, environment }))
    assert.equal(await infoThrough({ extra: { proxy: urlOf(proxy), no_proxy: '127.0.0.1' }, host }), undefined)
    assert.ok(await infoThrough({ extra: { proxy: 'env', no_proxy: 'other' }, host, environment }))
    assert.equal(proxy.connections, 2)
  })
})

describe('a proxy that gives no tunnel', () => {
  const cases: readonly (readonly [string, ProxyAnswer, string, RegExp])[] = [
    ['forbids', { send: page('403 Forbidden'), next: 'keep' }, 'PROXY_FORBIDDEN', /forbids db\.test:\d+ \(403\)/],
    ['cannot reach the host', { send: page('502 Bad Gateway'), next: 'keep' }, 'PROXY_TARGET_UNREACHABLE', /502/],
    ['is overloaded', { send: page('503 No'), next: 'close' }, 'PROXY_TARGET_UNREACHABLE', /503/],
    ['fails', { send: page('500 Oops'), next: 'close' }, 'PROXY_FAILED', /500/],
    ['does not know CONNECT', { send: page('405 Not Allowed'), next: 'close' }, 'PROXY_FAILED', /405/],
    [
      'sends us elsewhere',
      { send: page('302 Found', ['Location: http://other.test/?u=me']), next: 'keep' },
      'PROXY_REDIRECT',
      /302/,
    ],
    [
      'answers with an HTML page',
      { send: '<!DOCTYPE html><html>Welcome</html>', next: 'keep' },
      'PROXY_PROTOCOL',
      /does not answer in HTTP/,
    ],
    ['answers in TLS', { send: Buffer.from([0x15, 3, 1, 0, 2, 2, 0x46]), next: 'keep' }, 'PROXY_PROTOCOL', /https:/],
    ['sends half a header and closes', { send: 'HTTP/1.1 200 Con', next: 'close' }, 'PROXY_CLOSED', /closed/],
    ['closes at once', { next: 'close' }, 'PROXY_CLOSED', /closed/],
    [
      'sends a megabyte of header',
      { send: `HTTP/1.1 200 OK\r\nX: ${'y'.repeat(1 << 20)}\r\n\r\n`, next: 'keep' },
      'PROXY_PROTOCOL',
      /too long/,
    ],
    [
      'sends headers without end',
      { send: `HTTP/1.1 200 OK\r\n${'X: y\r\n'.repeat(1 << 17)}`, next: 'keep' },
      'PROXY_PROTOCOL',
      /too long/,
    ],
    [
      'sends interim answers without end',
      { send: 'HTTP/1.1 100 Go on\r\n\r\n'.repeat(1 << 13), next: 'keep' },
      'PROXY_PROTOCOL',
      /too long/,
    ],
    ['folds a header', { send: 'HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n', next: 'keep' }, 'PROXY_PROTOCOL', /malformed/],
    ['has a status of its own', { send: 'HTTP/1.1 999 OK\r\n\r\n', next: 'keep' }, 'PROXY_PROTOCOL', /malformed/],
    ['switches protocols', { send: 'HTTP/1.1 101 Now\r\n\r\n', next: 'keep' }, 'PROXY_PROTOCOL', /switches/],
    [
      'asks for a login',
      { send: page('407 No', ['Proxy-Authenticate: Negotiate, Basic realm="a, b"']), next: 'keep' },
      'PROXY_AUTH_REQUIRED',
      /offers negotiate, basic/,
    ],
  ]
  for (const [what, answer, code, message] of cases) {
    test(what, async () => {
      await using proxy = await double({ answer: () => answer })
      // A direct connection would reach the database there.
      const error = await errorThrough(proxy, { extra: { proxy: urlOf(proxy) }, host: 'db.test' })
      assert.deepEqual([error.code, error.phase], [code, 'proxy'], inspect(error))
      assert.match(error.message, message)
      assert.ok(error.hint)
      assert.equal(proxy.connections, 1)
    })
  }

  test('is down, and the database is not reached directly', async () => {
    await using unused = await double()
    const port = await freePort()
    const error = await errorThrough(unused, {
      extra: { proxy: `http://me:${PASSWORD}@127.0.0.1:${port}` },
      host: '127.0.0.1',
    })
    assert.deepEqual([error.code, error.phase, error.transient], ['PROXY_UNREACHABLE', 'proxy', true])
    assert.equal(error.details.reason, 'CONNECT_REFUSED')
    const unknown = await errorThrough(unused, { extra: { proxy: 'http://proxy.invalid:3128' }, host: '127.0.0.1' })
    assert.deepEqual([unknown.code, unknown.phase], ['PROXY_UNREACHABLE', 'proxy'])
  })

  for (const [what, answer] of [
    ['hangs', { next: 'hang' }],
    ['hangs in the middle of its header', { send: 'HTTP/1.1 200 Connection est', next: 'hang' }],
  ] as const) {
    test(`${what}, and is given up at the time limit or when the caller aborts`, async () => {
      await using proxy = await double({ answer: () => answer })
      const limited = { extra: { proxy: urlOf(proxy) }, driver: { connect_timeout: 0.3 } }
      const error = await errorThrough(proxy, limited)
      assert.deepEqual([error.code, error.phase], ['CONNECT_TIMEOUT', 'proxy'])
      const aborted = await errorThrough(proxy, { extra: limited.extra }, AbortSignal.timeout(300))
      assert.deepEqual([aborted.code, aborted.phase], ['ABORTED', 'proxy'])
    })
  }
})

describe('a login that the proxy refuses', () => {
  const asks = (...schemes: readonly string[]): string =>
    page(
      '407 Proxy Authentication Required',
      schemes.map((scheme) => `Proxy-Authenticate: ${scheme}`),
    )

  test('is not repeated', async () => {
    await using proxy = await double({ answer: () => ({ send: asks('Negotiate', 'Basic realm="x"'), next: 'keep' }) })
    const error = await errorThrough(proxy, { extra: { proxy: loginUrlOf(proxy) } })
    assert.deepEqual([error.code, error.phase], ['PROXY_AUTH_REFUSED', 'proxy'])
    assert.match(error.message, /refuses the login of me/)
    assert.equal(proxy.requests.length, 1)
  })

  test('has a method that the proxy does not support', async () => {
    await using proxy = await double({ answer: () => ({ send: asks('Negotiate', 'NTLM'), next: 'close' }) })
    const error = await errorThrough(proxy, { extra: { proxy: loginUrlOf(proxy) } })
    assert.equal(error.code, 'PROXY_AUTH_UNSUPPORTED')
    assert.deepEqual(error.details.offered, ['negotiate', 'ntlm'])
  })

  test('is not shown when the proxy repeats it in its answer', async () => {
    await using proxy = await double({
      answer: ({ headers }) => ({
        send: `HTTP/1.1 403 ${headers['proxy-authorization']}\r\nX-Echo: ${headers['proxy-authorization']}\r\n\r\n`,
        next: 'close',
      }),
    })
    assert.equal((await errorThrough(proxy, { extra: { proxy: loginUrlOf(proxy) } })).code, 'PROXY_FORBIDDEN')
  })
})
