/** The SQL Server driver against the TDS server test double: encryption, and open sessions. */

import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { PoolsmithError } from '../../src/errors.ts'
import { createPki } from '../support/pki.ts'
import { runStock } from '../support/tds/clients.ts'
import { open, testDriver } from '../support/tds/driver.ts'
import type { TdsServer } from '../support/tds/server.ts'
import { driverFor as driverTrusting, failure, sa, sqlServerSetup } from '../support/tds/setup.ts'

const { caFile, certificate, folder, pki, start } = await sqlServerSetup()
const driverFor = (server: TdsServer, extra = {}) => driverTrusting(server, caFile, extra)

describe('encryption', () => {
  test('is on by default, verified, and reported', async () => {
    await using server = await start()
    const { driver, events } = driverFor(server)
    const { raw, phases } = await open(driver, sa())
    const info = driver.info(raw)
    assert.equal(info.user, 'sa')
    assert.equal(info.database, 'master')
    assert.equal(info.peer, `127.0.0.1:${server.port}`)
    assert.equal(info.serverVersion, '16.0.1000')
    assert.equal(info.processId, server.journal.logins[0]?.spid)
    assert.equal(info.authentication, 'sql')
    assert.equal(info.encryption.kind, 'tls')
    assert.equal(info.encryption.verified, 'hostname')
    assert.equal(info.encryption.serverCertificate?.subject, 'CN=localhost')
    assert.deepEqual([...new Set(phases)], ['dns', 'connect', 'tls', 'login'])
    assert.ok((info.timings.tls ?? 0) > 0 && (info.timings.login ?? 0) > 0)
    assert.equal(server.journal.logins[0]?.encryption, 'tls')
    assert.equal(server.journal.logins[0]?.applicationName, 'poolsmith')
    assert.deepEqual(events, [])
    await driver.close(raw)
    assert.equal(driver.isBroken(raw), true)
    assert.deepEqual(server.complaints, [])
  })

  test('comes first under strict', async () => {
    await using server = await start({ encryption: 'strict' })
    const { driver } = driverFor(server, { encrypt: 'strict' })
    const { raw } = await open(driver, sa())
    assert.equal(server.journal.logins[0]?.encryption, 'strict')
    assert.equal(driver.info(raw).encryption.protocol, 'TLSv1.3')
    await driver.close(raw)
    // A server without TDS 8.0, and one with only TDS 8.0.
    await using old = await start()
    const error = await failure(driverFor(old, { encrypt: 'strict' }).driver)
    assert.equal(error.code, 'TLS_HANDSHAKE_FAILED')
    assert.match(error.hint ?? '', /needs SQL Server 2022/)
    assert.equal((await failure(driverFor(server).driver)).code, 'CONNECTION_CLOSED')
  })

  test('under encrypt=false covers the login, with a warning about the session', async () => {
    await using server = await start()
    const { driver, events } = driverFor(server, { encrypt: 'false' })
    for (let round = 0; round < 2; round++) {
      const { raw } = await open(driver, sa())
      assert.equal(driver.info(raw).encryption.kind, 'none')
      // Plain text in both directions, in more than one packet.
      const text = 'x'.repeat(20_000)
      const { rows } = await runStock(raw, `select N'${text}' as t`)
      assert.deepEqual(rows, [{ t: text }])
      await driver.close(raw)
    }
    assert.ok(server.journal.logins.every((login) => login.encryption === 'login-only'))
    assert.deepEqual(
      events.map((event) => [event.name, (event.payload as { code: string }).code]),
      [['security:warning', 'SESSION_NOT_ENCRYPTED']],
    )
    assert.deepEqual(server.complaints, [])
  })

  test('under encrypt=false covers the session when the server requires it', async () => {
    await using server = await start({ encryption: 'required' })
    const { driver } = driverFor(server, { encrypt: 'false' })
    const { raw } = await open(driver, sa())
    assert.equal(driver.info(raw).encryption.kind, 'tls')
    assert.equal(driver.info(raw).encryption.verified, 'hostname')
    await driver.close(raw)
    // A server that requires it must show a valid certificate, as with Microsoft's drivers.
    const logins = server.journal.logins.length
    const doubtful = testDriver({ port: server.port }, { encrypt: 'false' })
    assert.equal((await failure(doubtful.driver)).code, 'TLS_UNTRUSTED')
    const elsewhere = driverFor(server, { encrypt: 'false', host_name_in_certificate: 'db.example.com' })
    assert.equal((await failure(elsewhere.driver)).code, 'TLS_HOSTNAME_MISMATCH')
    assert.equal(server.journal.logins.length, logins)
    const trusting = testDriver({ port: server.port }, { encrypt: 'false', trust_server_certificate: true })
    const trusted = await open(trusting.driver, sa())
    assert.equal(trusting.driver.info(trusted.raw).encryption.verified, undefined)
    await trusting.driver.close(trusted.raw)
  })

  test('is required where the server offers none', async () => {
    await using server = await start({ encryption: 'not-supported' })
    const error = await failure(driverFor(server).driver)
    assert.equal(error.code, 'TLS_NOT_OFFERED')
    assert.equal(error.phase, 'tls')
    // A password is not sent in plain text.
    assert.equal((await failure(driverFor(server, { encrypt: 'false' }).driver)).code, 'CLEARTEXT_REFUSED')
    assert.deepEqual(server.journal.logins, [])
  })

  test('ends the attempt when the certificate is not trusted, expired or of another name', async () => {
    await using server = await start()
    const untrusted = testDriver({ port: server.port }, {})
    const first = await failure(untrusted.driver)
    assert.equal(first.code, 'TLS_UNTRUSTED')
    assert.match(first.hint ?? '', /ca_file/)

    const elsewhere = await pki.issue({ commonName: 'db.example.com', dns: ['db.example.com'] })
    await using other = await start({ tls: elsewhere })
    const second = await failure(driverFor(other).driver)
    assert.equal(second.code, 'TLS_HOSTNAME_MISMATCH')
    assert.equal(second.phase, 'tls')
    const named = await failure(driverFor(other, { host_name_in_certificate: 'db.example.org' }).driver)
    assert.match(named.message, /not issued for db\.example\.org, but for DNS:db\.example\.com/)
    await using strict = await start({ tls: elsewhere, encryption: 'strict' })
    assert.equal((await failure(driverFor(strict, { encrypt: 'strict' }).driver)).code, 'TLS_HOSTNAME_MISMATCH')

    const over = await pki.issue({ commonName: 'localhost', dns: ['localhost'], notAfter: new Date(Date.now() - 1000) })
    await using expired = await start({ tls: over })
    assert.equal((await failure(driverFor(expired).driver)).code, 'TLS_CERTIFICATE_EXPIRED')

    for (const [name, encryption] of [
      [other, 'true'],
      [strict, 'strict'],
    ] as const) {
      const named = driverFor(name, { encrypt: encryption, host_name_in_certificate: 'db.example.com' })
      const { raw } = await open(named.driver, sa())
      await named.driver.close(raw)
    }
    // SNI is the server's name, not the name in the certificate, which may be a wildcard.
    assert.equal(strict.journal.logins[0]?.tlsServerName, 'localhost')
    assert.deepEqual(server.journal.logins, [])
  })

  test('accepts the certificate in server_certificate, with any authority and names, and no other one', async () => {
    const own = await (await createPki()).issue({ commonName: 'box-17', dns: ['box-17'] })
    const [pem, der, wrong, empty] = ['own.pem', 'own.cer', 'wrong.pem', 'empty.pem'].map((name) =>
      join(folder.path, name),
    ) as [string, string, string, string]
    await writeFile(pem, own.cert)
    await writeFile(der, new X509Certificate(own.cert).raw)
    await writeFile(wrong, certificate.cert)
    await writeFile(empty, '')
    for (const encrypt of ['true', 'false', 'strict'] as const) {
      const encryption = encrypt === 'strict' ? 'strict' : 'required'
      await using server = await start({ tls: own, encryption })
      for (const server_certificate of [pem, der]) {
        const { driver } = testDriver({ port: server.port }, { encrypt, server_certificate })
        const { raw } = await open(driver, sa())
        assert.equal(driver.info(raw).encryption.verified, 'exact')
        await driver.close(raw)
      }
      const logins = server.journal.logins.length
      // This certificate would be valid by its authority and its name.
      await using honest = await start({ encryption })
      for (const [file, port, code] of [
        [wrong, server.port, 'TLS_CERTIFICATE_OTHER'],
        [pem, honest.port, 'TLS_CERTIFICATE_OTHER'],
        [empty, server.port, 'CA_FILE_MALFORMED'],
        [join(folder.path, 'gone.pem'), server.port, 'CA_FILE_MISSING'],
      ] as const) {
        const { driver } = testDriver({ port }, { encrypt, ca_file: caFile, server_certificate: file })
        const error = await failure(driver)
        assert.deepEqual([error.code, error.phase], [code, 'tls'])
        assert.match(error.hint ?? '', /server_certificate|administrator/)
      }
      assert.equal(server.journal.logins.length, logins)
      assert.equal(honest.journal.logins.length, 0)
    }
  })

  test('accepts any certificate only under trust_server_certificate, with a warning', async () => {
    await using server = await start()
    const { driver, events } = testDriver({ port: server.port }, { trust_server_certificate: true })
    const { raw } = await open(driver, sa())
    assert.equal(driver.info(raw).encryption.verified, undefined)
    await driver.close(raw)
    assert.deepEqual(
      events.map((event) => (event.payload as { code: string }).code),
      ['SERVER_NOT_VERIFIED'],
    )
    assert.throws(
      () => testDriver({ port: 1 }, { encrypt: 'strict', trust_server_certificate: true }),
      (error: PoolsmithError) => error.code === 'CONFIG_INVALID' && /strict/.test(error.message),
    )
  })
})

describe('an open session', () => {
  test('is pinged without being used', async () => {
    await using server = await start()
    const { driver } = driverFor(server)
    const { raw } = await open(driver, sa())
    await driver.ping(raw)
    assert.equal(driver.needsReset(raw, 'full'), false)
    await runStock(raw, 'select 1')
    assert.equal(driver.needsReset(raw, 'rollback'), false)
    assert.equal(driver.needsReset(raw, 'full'), true)
    await driver.close(raw)
  })

  test('has packets of the size that the server grants, which may be less than was asked for', async () => {
    const text = 'ä'.repeat(40_000)
    for (const [encrypt, asked, granted] of [
      ['false', 32_767, 32_767],
      ['false', 32_767, 512],
      ['true', 16_383, 16_383],
      ['true', 16_383, 4096],
      ['strict', 512, 512],
    ] as const) {
      await using server = await start({ largestPacket: granted, strictToo: true })
      const { driver } = driverFor(server, { encrypt, packet_size: asked })
      const { raw } = await open(driver, sa())
      assert.equal(server.journal.logins[0]?.packetSize, asked)
      assert.deepEqual((await runStock(raw, `select N'${text}' as t`)).rows, [{ t: text }])
      await driver.close(raw)
      assert.deepEqual(server.complaints, [])
    }
  })

  test('is rolled back, and reset by the protocol', async () => {
    await using server = await start()
    const { driver } = driverFor(server)
    const { raw } = await open(driver, sa())
    await runStock(raw, 'begin transaction', { batch: true })
    await runStock(raw, 'set lock_timeout 7', { batch: true })
    assert.equal(driver.needsReset(raw, 'rollback'), true)
    await driver.reset(raw, 'rollback')
    assert.equal(server.journal.resets, 0)
    assert.deepEqual((await runStock(raw, 'select @@trancount as n, @@lock_timeout as t')).rows, [{ n: 0, t: 7 }])
    await runStock(raw, 'begin transaction', { batch: true })
    await driver.reset(raw, 'full')
    assert.equal(server.journal.resets, 1)
    assert.equal(driver.needsReset(raw, 'full'), false)
    assert.deepEqual((await runStock(raw, 'select @@trancount as n, @@lock_timeout as t')).rows, [{ n: 0, t: -1 }])
    await driver.close(raw)
    assert.deepEqual(server.complaints, [])
  })

  test('cancels its statement first when it is returned while one runs', async () => {
    await using server = await start()
    const { driver } = driverFor(server)
    const { raw } = await open(driver, sa())
    const left = runStock(raw, "waitfor delay '00:00:30'")
    left.catch(() => undefined)
    assert.equal(driver.needsReset(raw, 'rollback'), true)
    await driver.reset(raw, 'rollback')
    await assert.rejects(left, /Canceled/)
    assert.equal(server.journal.attentions, 1)
    assert.deepEqual((await runStock(raw, 'select 1 as one')).rows, [{ one: 1 }])
    // When a server does not answer the attention, only the session is lost.
    server.faults.add({ at: 'attention', fault: { do: 'hang' } })
    const stuck = runStock(raw, "waitfor delay '00:00:30'")
    stuck.catch(() => undefined)
    await assert.rejects(driver.reset(raw, 'rollback'), (error: PoolsmithError) => error.code === 'SESSION_BUSY')
    driver.abort(raw)
    await assert.rejects(stuck)
  })

  test('keeps no listeners when it is returned busy repeatedly', async () => {
    await using server = await start()
    const { driver } = driverFor(server)
    const { raw } = await open(driver, sa())
    const listeners = (): number[] => raw.eventNames().map((name) => raw.listenerCount(name))
    const before = listeners()
    for (let round = 0; round < 15; round++) {
      const left = runStock(raw, "waitfor delay '00:00:30'")
      left.catch(() => undefined)
      await driver.reset(raw, 'rollback')
      await assert.rejects(left, /Canceled/)
    }
    assert.deepEqual(listeners(), before)
    await driver.close(raw)
  })

  test('is cancelled at once', async () => {
    await using server = await start()
    const { driver } = driverFor(server)
    const { raw } = await open(driver, sa())
    const running = runStock(raw, 'select n from generate_series(1, 5000000) as n')
    running.catch(() => undefined)
    await sleep(50)
    await driver.cancel(raw)
    await assert.rejects(running, /Canceled/)
    assert.deepEqual((await runStock(raw, 'select 1 as one')).rows, [{ one: 1 }])
    await driver.close(raw)
  })

  test('can be aborted in the middle of an answer that has arrived completely', async () => {
    await using server = await start()
    const { driver } = driverFor(server)
    const { Request } = await import('tedious')
    for (const isCancelled of [false, true]) {
      const { raw } = await open(driver, sa())
      const error = await new Promise<Error | undefined>((resolve) => {
        const request = new Request('select 1 union all select 2', (failed) => resolve(failed ?? undefined))
        request.once('row', () => {
          if (isCancelled) raw.cancel()
          driver.abort(raw)
        })
        raw.execSqlBatch(request)
      })
      assert.match(String(error), /Connection closed/)
      await sleep(20)
    }
  })

  test('is known to be dead when the server ends it', async () => {
    await using server = await start()
    const { driver } = driverFor(server)
    const { raw } = await open(driver, sa())
    assert.equal(driver.isBroken(raw), false)
    const ended = once(raw, 'end')
    server.sessions()[0]?.kill()
    await ended
    assert.equal(driver.isBroken(raw), true)
    await assert.rejects(driver.ping(raw))
    // An error that is severe enough to end the session takes effect before the socket closes.
    const { raw: other } = await open(driver, sa())
    server.faults.add({ at: 'request', fault: { do: 'refuse', number: 596, class: 21, message: 'Kill state.' } })
    await assert.rejects(runStock(other, 'select 1'))
    assert.equal(driver.isBroken(other), true)
    await driver.close(other)
  })
})
