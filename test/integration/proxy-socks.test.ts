import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { inspect, promisify } from 'node:util'
import type { PoolsmithError } from '../../src/errors.ts'
import { temporaryFolder } from '../support/folder.ts'
import { freePort } from '../support/free-port.ts'
import { createPki } from '../support/pki.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { openingError, passwordCredential } from '../support/postgres-driver.ts'
import { type ProxiedOptions, proxiedDriver, proxyOfSession } from '../support/proxied-postgres.ts'
import { type SocksDouble, startSocksDouble } from '../support/socks-double.ts'

const LOGIN = { user: 'me', password: 'hunter2-and-more' }
const hosts = { 'db.test': '127.0.0.1' }
const stack = new AsyncDisposableStack()
let server: PostgresServer
let ca: string

before(async () => {
  const folder = stack.use(await temporaryFolder())
  const pki = await createPki()
  ca = join(folder.path, 'ca.pem')
  await writeFile(ca, pki.ca)
  const pair = await pki.issue({ commonName: 'db.test', dns: ['db.test', 'localhost'] })
  server = stack.use(await startPostgres({ tls: { cert: pair.cert, key: pair.key } }))
  await server.sql("create role etl login password 'secret'")
})
after(() => stack.disposeAsync())

const to = (proxy: string, more: Partial<ProxiedOptions> = {}): ProxiedOptions => ({
  host: 'db.test',
  port: server.port,
  login: 'etl',
  password: 'secret',
  extra: { proxy },
  ...more,
})

async function failure(double: SocksDouble, options: ProxiedOptions, signal?: AbortSignal): Promise<PoolsmithError> {
  const error = await openingError(proxiedDriver(options).driver, passwordCredential('secret'), signal)
  assert.equal(error.phase, 'proxy', inspect(error))
  assert.ok(!`${inspect(error, { depth: 9 })} ${JSON.stringify(error)}`.includes(LOGIN.password))
  for (let turn = 0; double.open > 0; turn++) {
    assert.ok(turn < 500, 'a connection to the proxy stays open')
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  return error
}

test('under socks5h the proxy resolves the name', async () => {
  await using proxy = await startSocksDouble({ hosts })
  const url = `socks5h://127.0.0.1:${proxy.port}`
  assert.deepEqual(await proxyOfSession(to(url)), { url, authentication: 'none' })
  assert.deepEqual(proxy.targets, [`db.test:${server.port}`])
})

test('under socks5 the client resolves the name', async () => {
  await using proxy = await startSocksDouble()
  const url = `socks5://127.0.0.1:${proxy.port}`
  await proxyOfSession(to(url, { lookup: async () => ['127.0.0.1'] }))
  assert.deepEqual(proxy.targets, [`127.0.0.1:${server.port}`])
  const error = await failure(proxy, to(url, { lookup: async () => [] }))
  assert.equal(error.code, 'DNS_NOT_FOUND')
  assert.match(error.hint ?? '', /socks5h/)
})

test('TLS and many rows pass through the tunnel', async () => {
  await using proxy = await startSocksDouble({ hosts })
  const driver = { sslmode: 'verify-full', sslrootcert: ca }
  const options = to(`socks5h://127.0.0.1:${proxy.port}`, { driver })
  const { driver: postgres } = proxiedDriver(options)
  const client = await postgres.open(passwordCredential('secret'), {
    signal: AbortSignal.timeout(10_000),
    enter: () => undefined,
  })
  const { rows } = await client.query("select repeat('x', 1000) as x from generate_series(1, 10000)")
  assert.equal(rows.length, 10_000)
  await postgres.close(client)
})

test('a login is by user name and password', async () => {
  await using proxy = await startSocksDouble({ login: LOGIN, hosts })
  const bare = `socks5h://127.0.0.1:${proxy.port}`
  const extra = { proxy: bare, proxy_user: LOGIN.user, proxy_password: LOGIN.password }
  assert.deepEqual(await proxyOfSession(to(bare, { extra })), { url: bare, authentication: 'basic', identity: 'me' })
  const wrong = await failure(proxy, to(bare, { extra: { ...extra, proxy_password: 'x' } }))
  assert.equal(wrong.code, 'PROXY_AUTH_REFUSED')
  assert.equal((await failure(proxy, to(bare))).code, 'PROXY_AUTH_REQUIRED')
})

test('a refused tunnel is reported with the reason of the proxy', async () => {
  for (const [reply, code] of [
    [1, 'PROXY_FAILED'],
    [2, 'PROXY_FORBIDDEN'],
    [3, 'PROXY_TARGET_UNREACHABLE'],
    [4, 'PROXY_TARGET_UNREACHABLE'],
    [5, 'PROXY_TARGET_UNREACHABLE'],
    [8, 'PROXY_FAILED'],
    [99, 'PROXY_FAILED'],
  ] as const) {
    await using proxy = await startSocksDouble({ reply })
    assert.equal((await failure(proxy, to(`socks5h://127.0.0.1:${proxy.port}`))).code, code, `reply ${reply}`)
  }
  await using web = await startSocksDouble({ says: Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n') })
  assert.equal((await failure(web, to(`socks5h://127.0.0.1:${web.port}`))).code, 'PROXY_PROTOCOL')
  const down = to(`socks5h://me:${LOGIN.password}@127.0.0.1:${await freePort()}`)
  assert.equal((await failure(web, down)).code, 'PROXY_UNREACHABLE')
})

test('a proxy that hangs is given up at the time limit, or when the caller aborts', async () => {
  await using proxy = await startSocksDouble({ says: 'nothing' })
  const url = `socks5h://me:${LOGIN.password}@127.0.0.1:${proxy.port}`
  assert.equal((await failure(proxy, to(url, { driver: { connect_timeout: 0.3 } }))).code, 'CONNECT_TIMEOUT')
  assert.equal((await failure(proxy, to(url), AbortSignal.timeout(300))).code, 'ABORTED')
})

test('bytes that arrive with the last answer of the proxy belong to the tunnel', async () => {
  await using proxy = await startSocksDouble({ glued: 'SGLUED' })
  const options = to(`socks5h://127.0.0.1:${proxy.port}`, { driver: { sslmode: 'require' } })
  const error = await openingError(proxiedDriver(options).driver, passwordCredential('secret'))
  assert.equal(error.code, 'TLS_STUFFED')
})

test('curl accepts the double as a SOCKS5 proxy', async () => {
  await using proxy = await startSocksDouble({ login: LOGIN, hosts })
  // curl speaks no PostgreSQL: it gets through, and is then hung up on.
  const url = `http://db.test:${server.port}/`
  await promisify(execFile)('curl', [
    ...['-s', '--max-time', '10', '--proxy', `socks5h://me:${LOGIN.password}@127.0.0.1:${proxy.port}`, url],
  ]).catch(() => undefined)
  assert.deepEqual(proxy.targets, [`db.test:${server.port}`])
})
