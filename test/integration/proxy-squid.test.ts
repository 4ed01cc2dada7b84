/** A real Squid in front of PostgreSQL and of the TDS server test double, through the engine as users build it. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { inspect, promisify } from 'node:util'
import { parseFields } from '../../src/connections/fields.ts'
import { proxyFields } from '../../src/drivers/network/proxy/options.ts'
import { createProxies } from '../../src/drivers/network/proxy/proxies.ts'
import { PoolsmithError } from '../../src/errors.ts'
import { createEngine, type SessionInfo } from '../../src/index.ts'
import { runCli } from '../support/cli.ts'
import { temporaryFolder } from '../support/folder.ts'
import { createPki } from '../support/pki.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { type Squid, startSquid } from '../support/squid.ts'
import { open, password, testDriver } from '../support/tds/driver.ts'
import { startTdsServer, type TdsServer } from '../support/tds/server.ts'

const PASSWORD = 'p@ss:w/rd'
const SA = 'Pa55word!'
const stack = new AsyncDisposableStack()
let postgres: PostgresServer
let tds: TdsServer
let squid: Squid
let ca: string

before(async () => {
  const folder = stack.use(await temporaryFolder())
  const pki = await createPki()
  ca = join(folder.path, 'ca.pem')
  await writeFile(ca, pki.ca)
  const pair = await pki.issue({ commonName: 'db.test', dns: ['db.test'] })
  postgres = stack.use(await startPostgres({ tls: { cert: pair.cert, key: pair.key } }))
  await postgres.sql("create role etl login password 'secret'")
  tds = stack.use(await startTdsServer({ postgres, logins: { sa: SA }, tls: pair }))
  squid = stack.use(await startSquid({ basic: { me: PASSWORD }, hosts: { 'db.test': '127.0.0.1' } }))
})
after(() => stack.disposeAsync())

const login = () => ({ proxy: `http://127.0.0.1:${squid.port}`, proxy_user: 'me', proxy_password: PASSWORD })
const inUrl = () => ({ proxy: `http://me:${encodeURIComponent(PASSWORD)}@127.0.0.1:${squid.port}` })
type Extra = Readonly<Record<string, unknown>>

/** Opens one session, asks it something, and gives what is known of it. */
type Reach = (extra: Extra, port?: number) => Promise<SessionInfo | undefined>

const reachPostgres: Reach = async (extra, port = postgres.port) => {
  await using db = await createEngine({
    conn_type: 'postgres',
    host: 'db.test',
    port,
    login: 'etl',
    password: 'secret',
    schema: 'postgres',
    extra: { sslmode: 'verify-full', sslrootcert: ca, ...extra },
  })
  const { rows } = await db.raw('select 6 * 7 as answer')
  assert.equal(rows[0].answer, 42)
  return db.pool.use((raw) => db.pool.infoOf(raw))
}

const reachSqlServer: Reach = async (extra, port = tds.port) => {
  const { values } = parseFields(proxyFields, extra)
  const { route } = createProxies(values, { environment: {}, emit: () => undefined })
  const { driver } = testDriver({ host: 'db.test', port, login: 'sa' }, { ca_file: ca }, { route })
  const { raw } = await open(driver, password('sa', SA))
  try {
    await driver.ping(raw)
    return driver.info(raw)
  } finally {
    driver.abort(raw)
  }
}

test('curl gets through, which shows that Squid is set up correctly', async () => {
  const web = createServer((_request, response) => response.end('through')).listen(0, '127.0.0.1')
  await once(web, 'listening')
  const url = `http://db.test:${(web.address() as AddressInfo).port}/`
  const proxy = ['--proxy', `http://127.0.0.1:${squid.port}`, '--proxy-user', `me:${PASSWORD}`]
  try {
    const { stdout } = await promisify(execFile)('curl', ['-sS', '--proxytunnel', ...proxy, url])
    assert.equal(stdout, 'through')
  } finally {
    web.closeAllConnections()
    web.close()
  }
})

for (const [type, reach] of [
  ['PostgreSQL', reachPostgres],
  ['SQL Server', reachSqlServer],
] as const) {
  describe(type, () => {
    test('is reached with TLS end to end, by a login in the extras or in the URL', async () => {
      for (const extra of [login(), inUrl()]) {
        const info = await reach(extra)
        const url = `http://127.0.0.1:${squid.port}`
        assert.deepEqual(info?.proxy, { url, authentication: 'basic', identity: 'me' })
        assert.equal(info?.encryption.verified, 'hostname')
        assert.match(info?.peer ?? '', /^db\.test:\d+$/)
        assert.ok((info?.timings.proxy ?? 0) > 0)
        assert.deepEqual([info?.timings.dns, info?.timings.connect], [undefined, undefined])
      }
    })

    for (const [what, extra, port, code] of [
      ['no login', { proxy_user: '', proxy_password: '' }, undefined, 'PROXY_AUTH_REQUIRED'],
      ['a wrong password', { proxy_password: 'wrong-password' }, undefined, 'PROXY_AUTH_REFUSED'],
      ['a port that Squid cannot reach', {}, 1, 'PROXY_TARGET_UNREACHABLE'],
    ] as const) {
      test(`is not reached with ${what}`, async () => {
        const error: unknown = await reach({ ...login(), ...extra }, port).then(
          () => undefined,
          (reason: unknown) => reason,
        )
        assert.ok(error instanceof PoolsmithError, inspect(error))
        assert.deepEqual([error.code, error.phase], [code, 'proxy'])
        assert.doesNotMatch(inspect(error, { depth: 9 }), /p@ss:w|wrong-password|bWU6/)
      })
    }
  })
}

test('check shows the proxy and no password', async () => {
  const extra = { sslmode: 'disable', ...login() }
  const record = {
    conn_type: 'postgres',
    host: 'db.test',
    port: postgres.port,
    login: 'etl',
    password: 'secret',
    schema: 'postgres',
    extra,
  }
  const { code, stdout, stderr } = await runCli(['check', JSON.stringify(record)])
  assert.equal(code, 0, stdout + stderr)
  assert.match(stdout, new RegExp(`proxy +http://127\\.0\\.0\\.1:${squid.port}, by password as me`))
  assert.match(stdout, /security warning +The password for the proxy/)
  assert.doesNotMatch(stdout + stderr, /p@ss/)
  const wrong = { ...record, extra: { ...extra, proxy: 'ftp://me:p@ss@127.0.0.1' } }
  const refused = await runCli(['check', JSON.stringify(wrong)])
  assert.equal(refused.code, 3)
  assert.doesNotMatch(refused.stdout + refused.stderr, /p@ss/)
})
