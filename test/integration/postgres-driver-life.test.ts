/** The PostgreSQL driver while certificates rotate, servers restart and freeze, and many sessions come and go. */

import assert from 'node:assert/strict'
import { chmod, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import pg from 'pg'
import type { Credential } from '../../src/credentials/credential.ts'
import { resetClient } from '../../src/drivers/postgres/reset.ts'
import { Secret } from '../../src/secret.ts'
import { credential, driver, folder, pki, rootFile, server, until } from '../support/driver-server.ts'
import { openingError, openSession, type TestDriver } from '../support/postgres-driver.ts'
import { stall } from '../support/stall.ts'

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

test('a returned session is kept if the event loop stands still while its statement is cancelled', async () => {
  const { driver: d } = driver('by_trust', { sslmode: 'disable' })
  await using session = await openSession(d, credential)
  const { client } = session
  const cancelled = assert.rejects(client.query('select pg_sleep(60)'), { code: '57014' })
  await resetClient(client, 'rollback', {
    cancel: async (signal) => {
      await d.cancel(client, signal)
      // From here on the loop runs its timers before its sockets.
      await new Promise((resolve) => setImmediate(resolve))
      stall(2500)
    },
    restoreSettings: () => Promise.reject(new Error('not asked for')),
  })
  await cancelled
  assert.deepEqual((await client.query('select 1 as one')).rows, [{ one: 1 }])
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
