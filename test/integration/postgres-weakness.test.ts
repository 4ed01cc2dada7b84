/** A session that is weaker than it could be says so: once for each pool and cause, with the reason, also in check. */

import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { createEngine } from '../../src/engine/knex/create-engine.ts'
import type { PoolsmithEvents } from '../../src/events.ts'
import { poolsmith } from '../support/cli-in-process.ts'
import { temporaryFolder } from '../support/folder.ts'
import { createPki } from '../support/pki.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { driverFor, openSession, passwordCredential } from '../support/postgres-driver.ts'

const PASSWORD = 'a p4ssword'
const stack = new AsyncDisposableStack()
let encrypting: PostgresServer
let plain: PostgresServer
let rootFile: string

before(async () => {
  const folder = stack.use(await temporaryFolder()).path
  const pki = await createPki()
  const pair = await pki.issue({ commonName: 'localhost', dns: ['localhost'] })
  rootFile = join(folder, 'root.crt')
  await writeFile(rootFile, pki.ca)
  const hba = ['hostssl all only_tls 127.0.0.1/32 scram-sha-256', 'host all etl 127.0.0.1/32 scram-sha-256']
  encrypting = stack.use(await startPostgres({ tls: pair, hba, config: { ssl_max_protocol_version: 'TLSv1.2' } }))
  plain = stack.use(await startPostgres({ hba }))
  for (const server of [encrypting, plain]) {
    await server.sql(`create role etl login password '${PASSWORD}'; create role only_tls login password '${PASSWORD}'`)
  }
})
after(() => stack.disposeAsync())

type Warning = PoolsmithEvents['security:warning']

/** The warnings of a driver that opens three sessions. */
async function warnings(server: PostgresServer, extra: Record<string, string>, login = 'etl'): Promise<Warning[]> {
  const target = { host: 'localhost', port: server.port, login, database: 'postgres' }
  const { driver, events } = driverFor(target, { hostaddr: '127.0.0.1', ...extra })
  for (let count = 0; count < 3; count++) {
    await using _ = await openSession(driver, passwordCredential(PASSWORD))
  }
  return events.flatMap(({ name, payload }) => (name === 'security:warning' ? [payload as Warning] : []))
}

const UNENCRYPTED = 'SESSION_NOT_ENCRYPTED'
const UNVERIFIED = 'SERVER_NOT_VERIFIED'

test('prefer and allow say once that the session is not encrypted, and why', async () => {
  const cases: [PostgresServer, Record<string, string>, RegExp][] = [
    [plain, {}, /sslmode=prefer, the default\).*does not offer TLS/],
    [plain, { sslmode: 'prefer' }, /sslmode=prefer\).*does not offer TLS/],
    [encrypting, { sslmode: 'prefer', ssl_min_protocol_version: 'TLSv1.3' }, /sslmode=prefer\).*no version of TLS/],
    [encrypting, { sslmode: 'allow' }, /sslmode=allow\).*accepts sessions without TLS/],
  ]
  for (const [server, extra, message] of cases) {
    const found = await warnings(server, extra)
    assert.deepEqual(
      found.map(({ code }) => code),
      [UNENCRYPTED],
      JSON.stringify(extra),
    )
    assert.match(found[0]?.message ?? '', message)
  }
})

test('every mode that leaves the certificate unverified says so once', async () => {
  for (const [extra, login, mode] of [
    [{}, 'etl', /sslmode=prefer, the default without sslrootcert/],
    [{ sslmode: 'allow' }, 'only_tls', /sslmode=allow without sslrootcert/],
    [{ sslmode: 'require' }, 'etl', /sslmode=require without sslrootcert/],
    [{ ssl: 'true' }, 'etl', /sslmode=require without sslrootcert/],
  ] as const) {
    const found = await warnings(encrypting, extra, login)
    assert.deepEqual(
      found.map(({ code }) => code),
      [UNVERIFIED],
      JSON.stringify(extra),
    )
    assert.match(found[0]?.message ?? '', mode)
  }
})

test('a session that is verified, or unencrypted because that was asked for, is not warned of', async () => {
  for (const sslmode of ['prefer', 'require', 'verify-ca', 'verify-full']) {
    assert.deepEqual(await warnings(encrypting, { sslmode, sslrootcert: rootFile }), [], sslmode)
  }
  assert.deepEqual(await warnings(encrypting, { sslmode: 'disable' }), [])
  const { driver, events } = driverFor({ host: plain.socketDirectory, port: plain.port, login: 'etl' }, {})
  await using _ = await openSession(driver, passwordCredential(PASSWORD)).catch(() => undefined)
  assert.deepEqual(events, [])
})

test('each pool says it anew', async () => {
  const uri = `postgres://etl:${encodeURIComponent(PASSWORD)}@localhost:${plain.port}/postgres?hostaddr=127.0.0.1`
  for (let pool = 0; pool < 2; pool++) {
    const heard: string[] = []
    await using db = await createEngine(uri, { on: { 'security:warning': ({ code }) => void heard.push(code) } })
    await Promise.all(Array.from({ length: 4 }, () => db.raw('select pg_sleep(0.05)')))
    assert.deepEqual(heard, [UNENCRYPTED])
  }
})

test('check shows the warning, as text and as JSON', async () => {
  const uri = `postgres://etl:${encodeURIComponent(PASSWORD)}@localhost:${plain.port}/postgres?hostaddr=127.0.0.1`
  const text = await poolsmith(['check', uri])
  assert.equal(text.code, 0, text.log)
  assert.match(
    text.out,
    /security warning +The session with localhost is not encrypted \(sslmode=prefer, the default\)/,
  )
  const json = await poolsmith(['check', uri, '--json'])
  const { notices } = JSON.parse(json.out) as { notices: { kind: string; message: string }[] }
  assert.deepEqual(
    notices.map(({ kind }) => kind),
    ['security'],
  )
})
