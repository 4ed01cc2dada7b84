/** The contract between driver and pool for an open session, on a real server. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import QueryStream from 'pg-query-stream'
import { credential, driver, PASSWORD, rootFile, server, until } from '../support/driver-server.ts'
import { psql } from '../support/postgres.ts'
import {
  driverFor,
  openingError,
  openSession,
  passwordCredential,
  tokenCredential,
} from '../support/postgres-driver.ts'

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
  // Passwords that SASLprep maps to the same text are the same.
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
