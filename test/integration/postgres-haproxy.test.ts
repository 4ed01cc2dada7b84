/** HAProxy between us and PostgreSQL: what passes through it, and what its limits and a fail-over do to a pool. */

import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { PoolsmithError } from '../../src/errors.ts'
import { temporaryFolder } from '../support/folder.ts'
import { type Haproxy, startHaproxy } from '../support/haproxy.ts'
import { createPki, type IssuedCertificate } from '../support/pki.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { driverFor, openingError, openSession, passwordCredential } from '../support/postgres-driver.ts'
import { ask, postgresPool } from '../support/postgres-pool.ts'

const PASSWORD = 'a p4ssword'
const SLOTS = 8
const SLEEPING = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'"
/** Longer than a login takes on a busy machine. */
const LIMITS = ['timeout client 3s', 'timeout server 3s']
const LIMIT_MILLIS = 20_000

const stack = new AsyncDisposableStack()
let rootFile: string
let certificate: IssuedCertificate
/** Of the balancer, for the same host. */
let front: IssuedCertificate
/** Version 18, which speaks direct TLS. */
let first: PostgresServer
/** Version 15. */
let second: PostgresServer

before(async () => {
  const pki = await createPki()
  rootFile = join(stack.use(await temporaryFolder()).path, 'root.crt')
  await writeFile(rootFile, pki.ca)
  certificate = await pki.issue({ commonName: 'db', dns: ['localhost'] })
  front = await pki.issue({ commonName: 'balancer', dns: ['localhost'] })
  const setup = { tls: { ...certificate, ca: pki.ca }, hba: ['host all all 127.0.0.1/32 scram-sha-256'] }
  first = stack.use(await startPostgres(setup))
  second = stack.use(await startPostgres({ ...setup, flavor: 'debian' }))
  for (const server of [first, second]) {
    await server.sql(`create role etl login password '${PASSWORD}'`)
  }
})
after(() => stack.disposeAsync())

const addressOf = (server: PostgresServer): string => `127.0.0.1:${server.port}`
const source = () => passwordCredential(PASSWORD)

function driverThrough({ port }: Haproxy, extra: Record<string, unknown> = {}) {
  const target = { host: 'localhost', port, login: 'etl', database: 'postgres' }
  return driverFor(target, { hostaddr: '127.0.0.1', ...extra })
}

function poolThrough({ port }: Haproxy, options: Parameters<typeof postgresPool>[1] = {}, driver = {}) {
  const target = { host: '127.0.0.1', port, superuser: 'etl', superuserPassword: PASSWORD }
  return postgresPool(target, options, { driver })
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const limit = AbortSignal.timeout(LIMIT_MILLIS)
  while (!(await condition())) await sleep(10, undefined, { signal: limit })
}

test('TLS of the server passes through: certificate, channel binding, direct TLS and cancelling', async () => {
  await using haproxy = await startHaproxy({ servers: { first: addressOf(first) } })
  const verified = { sslmode: 'verify-full', sslrootcert: rootFile, channel_binding: 'require' }
  for (const extra of [verified, { ...verified, sslnegotiation: 'direct' }]) {
    const { driver } = driverThrough(haproxy, extra)
    await using session = await openSession(driver, source())
    const info = driver.info(session.client)
    assert.deepEqual([info.authentication, info.encryption.verified], ['scram-sha-256-plus', 'hostname'])
    const running = session.client.query('select pg_sleep(60)')
    running.catch(() => undefined)
    await until(async () => (await first.sql(SLEEPING)) === '1')
    await driver.cancel(session.client, AbortSignal.timeout(10_000))
    await assert.rejects(running, { code: '57014' })
  }
})

test('without a server that is up the connection is closed, which is transient and names a proxy', async () => {
  await using haproxy = await startHaproxy({ servers: { first: `${addressOf(first)} disabled` } })
  for (const extra of [{}, { sslmode: 'disable' }, { sslmode: 'verify-full', sslrootcert: rootFile }]) {
    const error = await openingError(driverThrough(haproxy, extra).driver, source())
    assert.deepEqual([error.code, error.transient], ['CONNECTION_CLOSED', true], error.message)
    assert.match(error.hint ?? '', /proxy without a backend/)
  }
  await haproxy.command('enable server db/first')
  await using _ = await openSession(driverThrough(haproxy).driver, source())
})

test('a fail-over of HAProxy ends the sessions of the old server, and fails no statement', async () => {
  const servers = {
    first: addressOf(first),
    second: `${addressOf(second)} backup`,
  }
  await using haproxy = await startHaproxy({ servers })
  await using pool = poolThrough(haproxy, { pool_size: SLOTS })
  const portsNow = () =>
    Promise.all(Array.from({ length: SLOTS }, () => ask(pool, 'select inet_server_port() from pg_sleep(0.05)')))
  assert.deepEqual(new Set(await portsNow()), new Set([first.port]))
  await haproxy.command('disable server db/first')
  await haproxy.command('shutdown sessions server db/first')
  // A statement that is sent before the end arrives here would be lost.
  await until(() => pool.stats().total === 0)
  assert.deepEqual(new Set(await portsNow()), new Set([second.port]))
})

test('a session that HAProxy ends because it was idle is not handed out', async () => {
  await using haproxy = await startHaproxy({
    servers: { first: addressOf(first) },
    lines: LIMITS,
  })
  await using pool = poolThrough(haproxy, { pool_size: 2 })
  const before = await ask(pool, 'select pg_backend_pid()')
  await until(() => pool.stats().total === 0)
  assert.notEqual(await ask(pool, 'select pg_backend_pid()'), before)
})

test('a statement that is longer than a limit of HAProxy ends with CONNECTION_LOST', async () => {
  await using haproxy = await startHaproxy({
    servers: { first: addressOf(first) },
    lines: LIMITS,
  })
  const { driver } = driverThrough(haproxy)
  await using session = await openSession(driver, source())
  const error = await session.client.query('select pg_sleep(60)').then(
    () => undefined,
    (cause: Error) => driver.statementError(session.client, cause),
  )
  assert.ok(error instanceof PoolsmithError, String(error))
  assert.deepEqual([error.code, error.phase, error.transient], ['CONNECTION_LOST', 'query', true])
})

test('a place in the queue of HAProxy is waited for, and the error says what did not answer', async () => {
  // Without abortonclose a place in the queue outlives its client.
  const lines = ['timeout queue 60s', 'option abortonclose']
  await using haproxy = await startHaproxy({ servers: { first: `${addressOf(first)} maxconn 1` }, lines })
  const holder = await openSession(driverThrough(haproxy).driver, source())
  const error = await openingError(driverThrough(haproxy, { connect_timeout: 2 }).driver, source())
  assert.deepEqual([error.code, error.phase, error.transient], ['CONNECT_TIMEOUT', 'tls', true], error.message)
  const queued = async (): Promise<boolean> => /^db,\w+,[1-9]/m.test(await haproxy.command('show stat'))
  await until(async () => !(await queued()))
  await using pool = poolThrough(haproxy, { pool_timeout: 30 }, { connect_timeout: 30 })
  const waiting = ask(pool, 'select 1')
  await until(queued)
  await holder[Symbol.asyncDispose]()
  assert.equal(await waiting, 1)
})

test('a full queue of HAProxy is transient', async () => {
  const lines = ['timeout queue 100ms']
  await using haproxy = await startHaproxy({ servers: { first: `${addressOf(first)} maxconn 1` }, lines })
  await using _ = await openSession(driverThrough(haproxy).driver, source())
  const error = await openingError(driverThrough(haproxy).driver, source())
  assert.deepEqual([error.code, error.transient], ['CONNECTION_CLOSED', true], error.message)
})

test('HAProxy that ends TLS itself: the protocol inside must be named, and a login cannot be bound', async () => {
  const files = { 'front.pem': front.cert + front.key }
  const direct = { sslmode: 'verify-full', sslrootcert: rootFile, sslnegotiation: 'direct' }
  {
    await using haproxy = await startHaproxy({ servers: { first: addressOf(first) }, bind: 'ssl crt front.pem', files })
    const error = await openingError(driverThrough(haproxy, direct).driver, source())
    assert.equal(error.code, 'TLS_ALPN', error.message)
    assert.match(error.hint ?? '', /proxy that terminates TLS/)
  }
  {
    const bind = 'ssl crt front.pem alpn postgresql'
    await using haproxy = await startHaproxy({ servers: { first: addressOf(first) }, bind, files })
    const { driver } = driverThrough(haproxy, direct)
    await using session = await openSession(driver, source())
    assert.equal(driver.info(session.client).authentication, 'scram-sha-256')
    const bound = await openingError(driverThrough(haproxy, { ...direct, channel_binding: 'require' }).driver, source())
    assert.equal(bound.code, 'CHANNEL_BINDING_FAILED', bound.message)
  }
  {
    // Encrypted again: the server offers the binding, and sees another TLS session than we do.
    const servers = { first: `${addressOf(first)} ssl verify none alpn postgresql` }
    await using haproxy = await startHaproxy({ servers, bind: 'ssl crt front.pem alpn postgresql', files })
    const error = await openingError(driverThrough(haproxy, direct).driver, source())
    assert.equal(error.code, 'CHANNEL_BINDING_FAILED', error.message)
    assert.match(error.hint ?? '', /proxy of your own terminates TLS, set channel_binding=disable/)
    const { driver } = driverThrough(haproxy, { ...direct, channel_binding: 'disable' })
    await using _ = await openSession(driver, source())
  }
})
