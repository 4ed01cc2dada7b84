/** The contract between driver and pool for an open session, on a real server. */

import assert from 'node:assert/strict'
import { chmod, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import QueryStream from 'pg-query-stream'
import type { Credential } from '../../src/credentials/credential.ts'
import { Secret } from '../../src/secret.ts'
import { temporaryFolder } from '../support/folder.ts'
import { createPki, type Pki } from '../support/pki.ts'
import { type PostgresServer, psql, startPostgres } from '../support/postgres.ts'
import {
  driverFor,
  openingError,
  openSession,
  passwordCredential,
  type TestDriver,
  tokenCredential,
} from '../support/postgres-driver.ts'

const PASSWORD = 'a p4ssword'

let folder: { readonly path: string } & AsyncDisposable
let pki: Pki
let server: PostgresServer
let rootFile: string

before(async () => {
  folder = await temporaryFolder()
  pki = await createPki()
  rootFile = join(folder.path, 'root.crt')
  await writeFile(rootFile, pki.ca)
  const certificate = await pki.issue({ commonName: 'localhost', dns: ['localhost'] })
  server = await startPostgres({
    tls: { ...certificate, ca: pki.ca },
    hba: [
      'hostssl all by_cert 127.0.0.1/32 cert',
      'host all by_md5 127.0.0.1/32 md5',
      'host all by_password 127.0.0.1/32 password',
      'host all by_trust 127.0.0.1/32 trust',
      'host all all 127.0.0.1/32 scram-sha-256',
    ],
  })
  for (const role of ['by_cert', 'by_password', 'by_trust', 'alice']) {
    await server.sql(`create role ${role} login password '${PASSWORD}'`)
  }
  await server.sql(`set password_encryption = 'md5'; create role by_md5 login password '${PASSWORD}'`)
})

after(async () => {
  await server?.[Symbol.asyncDispose]()
  await folder?.[Symbol.asyncDispose]()
})

function driver(login = 'alice', extra: Record<string, unknown> = {}): TestDriver {
  return driverFor(
    { host: 'localhost', port: server.port, login, database: 'postgres' },
    { hostaddr: '127.0.0.1', ...extra },
  )
}

const credential = passwordCredential(PASSWORD)

async function until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (let waited = 0; waited < 5000; waited += 20) {
    if (await condition()) return
    await sleep(20)
  }
  assert.fail(`not within five seconds: ${what}`)
}

test('info agrees with what the server sees', async () => {
  const { driver: d } = driver('alice', { sslmode: 'verify-full', sslrootcert: rootFile, application_name: 'a test' })
  await using session = await openSession(d, credential)
  const info = d.info(session.client)
  const { rows } = await session.client.query(
    'select current_user as user, pid, version, cipher, application_name from pg_stat_ssl join pg_stat_activity using (pid) where pid = pg_backend_pid()',
  )
  assert.deepEqual(rows, [
    {
      user: 'alice',
      pid: info.processId,
      version: info.encryption.protocol,
      cipher: info.encryption.cipher,
      application_name: 'a test',
    },
  ])
  assert.equal(info.user, 'alice')
  assert.equal(info.database, 'postgres')
  assert.equal(info.peer, `127.0.0.1:${server.port}`)
  assert.equal(info.authentication, 'scram-sha-256-plus')
  assert.equal(info.encryption.verified, 'hostname')
  assert.equal(info.encryption.serverCertificate?.subject, 'CN=localhost')
  assert.match(info.serverVersion, /^18\./)
  for (const phase of ['connect', 'tls', 'login'] as const) assert.ok((info.timings[phase] ?? -1) >= 0, phase)
  assert.ok(session.phases.indexOf('connect') < session.phases.lastIndexOf('tls'))
  assert.equal(session.phases.at(-1), 'login')
})

test("options, the user of the credential and the user's own database", async () => {
  await server.sql('create database alice')
  const { driver: d } = driverFor(
    { host: 'localhost', port: server.port, login: 'somebody else' },
    { hostaddr: '127.0.0.1', options: '-c statement_timeout=4321 -c search_path=pg_catalog' },
  )
  await using session = await openSession(d, { ...credential, user: 'alice' })
  const { rows } = await session.client.query(
    "select current_user as u, current_database() as d, current_setting('statement_timeout') as t, current_setting('client_encoding') as e",
  )
  assert.deepEqual(rows, [{ u: 'alice', d: 'alice', t: '4321ms', e: 'UTF8' }])
})

test('a login without any user is refused', async () => {
  const { driver: d } = driverFor({ host: 'localhost', port: server.port }, { hostaddr: '127.0.0.1' })
  const error = await openingError(d, credential)
  assert.deepEqual([error.code, error.phase], ['CONFIG_INVALID', 'config'])
})

test('sslnegotiation=direct starts TLS at once', async () => {
  const { driver: d } = driver('alice', { sslmode: 'verify-full', sslrootcert: rootFile, sslnegotiation: 'direct' })
  await using session = await openSession(d, credential)
  const { rows } = await session.client.query('select ssl from pg_stat_ssl where pid = pg_backend_pid()')
  assert.deepEqual(rows, [{ ssl: true }])
  assert.equal(d.info(session.client).authentication, 'scram-sha-256-plus')
})

test('require_auth decides which methods the server may ask for', async () => {
  const asked = { by_md5: 'md5', by_password: 'password', by_trust: 'none', alice: 'scram-sha-256' }
  const methods = ['md5', 'password', 'none', 'scram-sha-256', 'gss']
  for (const [user, method] of Object.entries(asked)) {
    for (const word of methods) {
      for (const [rule, admitted] of [
        [word, word === method],
        [`!${word}`, word !== method],
        [`${word},${method}`, true],
      ] as const) {
        if (rule === `${method},${method}`) continue
        const { driver: d } = driver(user, { sslmode: 'require', require_auth: rule })
        if (admitted) await (await openSession(d, credential))[Symbol.asyncDispose]()
        else assert.equal((await openingError(d, credential)).code, 'AUTH_METHOD_REFUSED', `${user}: ${rule}`)
      }
    }
  }
})

test('an md5 login works and raises a warning', async () => {
  const { driver: d, events } = driver('by_md5')
  await using session = await openSession(d, credential)
  assert.equal(d.info(session.client).authentication, 'md5')
  assert.equal(events.filter(({ payload }) => 'code' in payload && payload.code === 'MD5_PASSWORD').length, 1)
  assert.ok(!JSON.stringify(events).includes(PASSWORD))
})

test('a token is sent inside TLS only', async () => {
  const token = tokenCredential(PASSWORD)
  const { driver: encrypted } = driver('by_password', { sslmode: 'prefer' })
  await using session = await openSession(encrypted, token)
  assert.equal(encrypted.info(session.client).encryption.kind, 'tls')
  assert.equal((await openingError(driver('by_password', { sslmode: 'disable' }).driver, token)).code, 'TLS_NEEDED')
  // allow would begin without TLS; a token does not.
  await using allowed = await openSession(driver('by_password', { sslmode: 'allow' }).driver, token)
  const { rows } = await allowed.client.query('select ssl from pg_stat_ssl where pid = pg_backend_pid()')
  assert.deepEqual(rows, [{ ssl: true }])
})

test('passwords with other than ASCII characters are prepared as by the server and psql', async () => {
  const odd = ['pä55\u00a0wörd', 'ﬁne ª Ⅸ', '\u00ad soft', 'пароль', '密码', 'back\u0007space', '\u0627\u0031x']
  for (const [index, password] of odd.entries()) {
    const role = `odd_${index}`
    await server.sql(`create role ${role} login password '${password}'`)
    const words = `host=127.0.0.1 port=${server.port} user=${role} dbname=postgres`
    const oracle = await psql(['-At', '-c', 'select 1', words], { PGPASSWORD: password })
    assert.equal(oracle.code, 0, oracle.stderr)
    await (await openSession(driver(role).driver, passwordCredential(password)))[Symbol.asyncDispose]()
  }
  // What SASLprep maps to the same is the same password.
  await (await openSession(driver('odd_1').driver, passwordCredential('fine a IX')))[Symbol.asyncDispose]()
})

test('a full reset removes all state of the session', async () => {
  const { driver: d } = driver()
  await using session = await openSession(d, credential)
  const { client } = session
  assert.equal(d.needsReset(client, 'full'), false, 'a new session is clean')
  await d.ping(client)
  assert.equal(d.needsReset(client, 'full'), false, 'a ping leaves no trace')

  await client.query(
    "set statement_timeout = '7s'; create temp table t (a int); listen here; select pg_advisory_lock(7)",
  )
  await client.query('set session characteristics as transaction read only')
  await client.query({ name: 'kept', text: 'select $1::int as a', values: [1] })
  client.on('notification', () => undefined)
  await client.query('begin')
  assert.equal(d.needsReset(client, 'full'), true)
  await d.reset(client, 'full')
  assert.equal(d.needsReset(client, 'full'), false)
  assert.equal(client.listenerCount('notification'), 0)

  const { rows } = await client.query(`select
    current_setting('statement_timeout') as timeout, to_regclass('pg_temp.t') as temp,
    current_setting('default_transaction_read_only') as readonly,
    (select count(*)::int from pg_prepared_statements) as statements,
    (select count(*)::int from pg_locks where locktype = 'advisory') as locks,
    (select count(*)::int from pg_listening_channels()) as channels, pg_current_xact_id_if_assigned() as xact`)
  assert.deepEqual(rows, [
    { timeout: '0', temp: null, readonly: 'off', statements: 0, locks: 0, channels: 0, xact: null },
  ])
  // pg must not believe that the server still knows the statement.
  const again = await client.query({ name: 'kept', text: 'select $1::int as a', values: [2] })
  assert.deepEqual(again.rows, [{ a: 2 }])
})

test('rollback ends an open or failed transaction and keeps everything else', async () => {
  const { driver: d } = driver()
  await using session = await openSession(d, credential)
  const { client } = session
  await client.query("set statement_timeout = '7s'")
  assert.equal(d.needsReset(client, 'rollback'), false)
  for (const statement of ['select 1', 'select 1/0']) {
    await client.query('begin')
    await client.query(statement).catch(() => undefined)
    assert.equal(d.needsReset(client, 'rollback'), true)
    await d.reset(client, 'rollback')
    assert.equal(client.getTransactionStatus(), 'I')
    assert.equal(d.needsReset(client, 'rollback'), false)
  }
  const { rows } = await client.query('show statement_timeout')
  assert.deepEqual(rows, [{ statement_timeout: '7s' }])
})

test('a statement that is still running on a returned session is cancelled', async () => {
  const { driver: d } = driver('alice', { sslmode: 'verify-full', sslrootcert: rootFile })
  await using session = await openSession(d, credential)
  const { client } = session
  await client.query('begin')
  const forgotten = assert.rejects(client.query('select pg_sleep(60)'), { code: '57014' })
  assert.equal(d.needsReset(client, 'rollback'), true)
  await d.reset(client, 'rollback')
  await forgotten
  assert.equal(d.isBroken(client), false)
  assert.deepEqual((await client.query('select 1 as a')).rows, [{ a: 1 }])
})

test('a session with a destroyed stream is reused, and one with an abandoned stream is not', async () => {
  const { driver: d } = driver()
  const { client } = await openSession(d, credential)
  const left = client.query(new QueryStream('select generate_series(1, 100000)'))
  for await (const row of left) {
    assert.ok(row)
    break
  }
  if (d.needsReset(client, 'rollback')) await d.reset(client, 'rollback')
  assert.deepEqual((await client.query('select 1 as a')).rows, [{ a: 1 }])

  const abandoned = client.query(new QueryStream('select generate_series(1, 100000)'))
  abandoned.on('error', () => undefined)
  await new Promise((resolve) => abandoned.once('readable', resolve))
  assert.equal(d.needsReset(client, 'rollback'), true)
  await assert.rejects(d.reset(client, 'rollback'), { code: 'SESSION_BUSY' })
  d.abort(client)
  assert.equal(d.isBroken(client), true)
})

test('a cancel request works without TLS and over a Unix socket', async () => {
  const unix = driverFor({
    host: server.socketDirectory,
    port: server.port,
    login: 'alice',
    database: 'postgres',
  }).driver
  for (const d of [driver('alice', { sslmode: 'disable' }).driver, unix]) {
    await using session = await openSession(d, credential)
    const running = assert.rejects(session.client.query('select pg_sleep(60)'), { code: '57014' })
    // A request that overtakes the statement finds nothing to cancel.
    const pid = d.info(session.client).processId
    await until(
      async () => (await server.sql(`select state from pg_stat_activity where pid = ${pid}`)) === 'active',
      'the statement runs',
    )
    await d.cancel(session.client, AbortSignal.timeout(5000))
    await running
  }
})

test('a session that the administrator ends is broken, whether idle or busy', async () => {
  const { driver: d } = driver()
  const idle = await openSession(d, credential)
  const busy = await openSession(d, credential)
  const running = assert.rejects(busy.client.query('select pg_sleep(60)'), { code: '57P01' })
  await server.sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'alice'")
  await running
  assert.equal(d.isBroken(busy.client), true)
  await until(() => d.isBroken(idle.client), 'the idle session is known to be dead')
  await assert.rejects(d.ping(idle.client))
  await Promise.all([d.close(idle.client), d.close(busy.client)])
})

test('abort closes the socket at once, and close ends the session first', async () => {
  const { driver: d } = driver()
  const sessions = async (): Promise<string> =>
    server.sql("select count(*) from pg_stat_activity where usename = 'alice'")
  await until(async () => (await sessions()) === '0', 'no session left over')
  const one = await openSession(d, credential)
  const two = await openSession(d, credential)
  assert.equal(await sessions(), '2')
  d.abort(one.client)
  assert.equal(d.isBroken(one.client), true)
  await d.close(one.client)
  await d.close(two.client)
  await d.close(two.client)
  await until(async () => (await sessions()) === '0', 'the server sees both gone')
})

test('a rotated client certificate is used by the next connection, and an expiring one is reported once', async () => {
  const sslcert = join(folder.path, 'rotating.crt')
  const sslkey = join(folder.path, 'rotating.key')
  const put = async (notAfter?: Date): Promise<string> => {
    const issued = await pki.issue({
      commonName: 'by_cert',
      client: true,
      ...(notAfter === undefined ? {} : { notAfter }),
    })
    for (const [path, content] of [
      [sslcert, issued.cert],
      [sslkey, issued.key],
    ] as const) {
      await writeFile(`${path}.new`, content, { mode: 0o600 })
      await rename(`${path}.new`, path)
    }
    return issued.serial
  }
  const seen = async (d: TestDriver['driver']): Promise<string> => {
    await using session = await openSession(d, credential)
    const { rows } = await session.client.query(
      'select client_serial::text as n from pg_stat_ssl where pid = pg_backend_pid()',
    )
    return BigInt(rows[0].n).toString(16)
  }
  const first = await put()
  const { driver: d, events } = driver('by_cert', { sslmode: 'require', sslcert, sslkey })
  assert.equal(await seen(d), first)
  const second = await put()
  assert.equal(await seen(d), second)
  // Not of the certificate: that the mode leaves the server unverified.
  const told = () =>
    events.filter(({ payload }) => !JSON.stringify(payload).includes('SERVER_NOT_VERIFIED')).map(({ name }) => name)
  assert.deepEqual(told(), [])
  const third = await put(new Date(Date.now() + 60_000))
  assert.equal(await seen(d), third)
  assert.equal(await seen(d), third)
  assert.deepEqual(told(), ['certificate:expiring'])

  await chmod(sslkey, 0o644)
  assert.equal(await seen(d), third, 'the pair read before serves while the new one cannot be used')
  assert.deepEqual(told(), ['certificate:expiring', 'security:warning'])
})

test('a certificate that is the credential replaces the files', async () => {
  const issued = await pki.issue({ commonName: 'by_cert', client: true })
  const certificate: Credential = {
    kind: 'certificate',
    certificate: issued.cert,
    privateKey: new Secret(issued.key),
    identity: 'CN=by_cert',
    issuedAt: 0,
  }
  const { driver: d } = driver('by_cert', { sslmode: 'verify-full', sslrootcert: rootFile })
  await using session = await openSession(d, certificate)
  const info = d.info(session.client)
  assert.equal(info.authentication, 'none')
  assert.equal(info.encryption.clientCertificate?.subject, 'CN=by_cert')
  const asked = await openingError(driver('alice', { sslmode: 'require' }).driver, certificate)
  assert.equal(asked.code, 'AUTH_METHOD_UNSUPPORTED')
  assert.equal((await openingError(driver('by_cert', { sslmode: 'disable' }).driver, certificate)).code, 'TLS_NEEDED')
})

test('PG* variables of the process decide nothing', async () => {
  const hostile = {
    PGSSLMODE: 'verify-full',
    PGSSLNEGOTIATION: 'direct',
    PGUSER: 'x',
    PGDATABASE: 'x',
    PGOPTIONS: '-c x=y',
  }
  const before = Object.fromEntries(Object.keys(hostile).map((name) => [name, process.env[name]]))
  Object.assign(process.env, hostile)
  try {
    const { driver: d } = driver('alice', { sslmode: 'disable' })
    await using session = await openSession(d, credential)
    assert.ok(session.client instanceof pg.Client)
    assert.equal(session.client.user, 'alice')
    assert.deepEqual((await session.client.query('select current_database() as d')).rows, [{ d: 'postgres' }])
  } finally {
    for (const [name, value] of Object.entries(before)) {
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    }
  }
})

test('a restart breaks the sessions, and the next one opens', async () => {
  const { driver: d } = driver()
  const { client } = await openSession(d, credential)
  await server.stop('immediate')
  await until(() => d.isBroken(client), 'the crash is noticed')
  const down = await openingError(d, credential)
  assert.deepEqual([down.code, down.phase, down.transient], ['CONNECT_REFUSED', 'connect', true])
  await server.start()
  await using again = await openSession(d, credential)
  await d.ping(again.client)
  await d.close(client)
})

test('an attempt at a frozen server ends at the limit, wherever it hangs', async () => {
  const { driver: d } = driver('alice', { connect_timeout: 0.3 })
  server.freeze()
  try {
    const error = await openingError(d, credential)
    assert.equal(error.code, 'CONNECT_TIMEOUT')
    assert.equal(error.phase, 'tls')
  } finally {
    server.thaw()
  }
  await (await openSession(driver().driver, credential))[Symbol.asyncDispose]()
})

test('many sessions that are opened and closed together leave no socket open', async () => {
  const { driver: d } = driver('alice', { sslmode: 'verify-full', sslrootcert: rootFile })
  const sockets = (): number => process.getActiveResourcesInfo().filter((name) => /TCP|TLS|Socket/.test(name)).length
  const before = sockets()
  for (let round = 0; round < 3; round++) {
    const opened = await Promise.all(Array.from({ length: 20 }, () => openSession(d, credential)))
    await Promise.all(opened.map((session) => d.ping(session.client)))
    await Promise.all(opened.map((session) => session[Symbol.asyncDispose]()))
  }
  await Promise.all(
    Array.from({ length: 20 }, (_, index) =>
      openSession(d, credential, AbortSignal.timeout(1 + index)).then(
        (session) => session[Symbol.asyncDispose](),
        (error: unknown) => assert.equal((error as { code?: string }).code, 'ABORTED'),
      ),
    ),
  )
  await until(() => sockets() <= before, 'every socket is closed')
})
