/** Kerberos logins to the TDS server test double, which verifies them with a real keytab of a real realm. */

import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { describe, test } from 'node:test'
import type { Credential } from '../../src/credentials/credential.ts'
import type { PoolsmithError } from '../../src/errors.ts'
import { runStock } from '../support/tds/clients.ts'
import { open, testDriver } from '../support/tds/driver.ts'
import { alice, caFile, driverFor, failure, kdc, start } from '../support/tds/kerberos-server.ts'

describe('by a real ticket', () => {
  for (const encrypt of ['true', 'false', 'strict'] as const) {
    for (const gss_mechanism of ['krb5', 'spnego'] as const) {
      for (const reply of ['together', 'apart'] as const) {
        test(`encrypt=${encrypt}, ${gss_mechanism}, the reply ${reply}`, async () => {
          await using server = await start({ reply, ...(encrypt === 'strict' ? { encryption: 'strict' } : {}) })
          const { driver } = driverFor(server, { encrypt, gss_mechanism })
          const { raw, phases } = await open(driver, alice)
          const info = driver.info(raw)
          assert.equal(info.authentication, 'kerberos')
          assert.equal(info.user, `alice@${kdc.realm}`)
          const { rows } = await runStock(
            raw,
            'select auth_scheme, encrypt_option from sys.dm_exec_connections where session_id = @@spid',
          )
          assert.deepEqual(rows, [{ auth_scheme: 'KERBEROS', encrypt_option: encrypt === 'false' ? 'FALSE' : 'TRUE' }])
          assert.ok(phases.includes('gss'))
          const login = server.journal.logins[0]
          assert.equal(login?.sspiHead.includes('NTLMSSP'), false)
          // Raw: APPLICATION 0 with the OID of krb5 (1.2.840.113554.1.2.2). SPNEGO: with its own (1.3.6.1.5.5.2).
          const oid = gss_mechanism === 'krb5' ? '06092a864886f712010202' : '06062b0601050502'
          assert.ok(login?.sspiHead.toString('hex').includes(oid))
          await driver.close(raw)
          assert.deepEqual(server.complaints, [])
        })
      }
    }
  }

  for (const encrypt of ['true', 'false', 'strict'] as const) {
    for (const gss_mechanism of ['krb5', 'spnego'] as const) {
      for (const asksKdc of [true, false]) {
        const way = asksKdc ? 'a new ticket' : 'a ticket of the cache'
        test(`a server that insists on channel bindings, encrypt=${encrypt}, ${gss_mechanism}, ${way}`, async () => {
          await using server = await start({
            insists: true,
            ...(encrypt === 'strict' ? { encryption: 'strict' } : {}),
          })
          const { driver } = driverFor(server, { encrypt, gss_mechanism })
          if (!asksKdc) await driver.close((await open(driver, alice)).raw)
          const { raw } = await open(driver, alice)
          assert.equal(driver.info(raw).user, `alice@${kdc.realm}`)
          await driver.close(raw)
          const bare = driverFor(server, { encrypt, gss_mechanism, extended_protection: false })
          const error = await failure(open(bare.driver, alice))
          assert.equal(error.phase, 'login')
          assert.equal(server.journal.logins.at(-1)?.accepted, false)
          assert.deepEqual(server.complaints, [])
        })
      }
    }
  }

  test('of a server without any encryption', async () => {
    await using server = await start({ encryption: 'not-supported' })
    const { driver } = testDriver({ port: server.port }, { encrypt: 'false' })
    const { raw } = await open(driver, alice)
    assert.equal(server.journal.logins[0]?.encryption, 'none')
    await driver.close(raw)
    // An option that verifies a certificate needs a server with one.
    const error = await failure(open(driverFor(server, { encrypt: 'false' }).driver, alice))
    assert.deepEqual([error.code, error.phase], ['TLS_NOT_OFFERED', 'tls'])
    assert.equal(server.journal.logins.length, 1)
  })

  test('under a silent KDC fails with the KDC, and not with the server that waits for the login', async () => {
    await using server = await start()
    kdc.freeze()
    try {
      const { driver } = driverFor(server, { connect_timeout: 1 })
      const error = await failure(open(driver, alice, 20_000))
      assert.deepEqual([error.code, error.phase, error.transient], ['KDC_TIMEOUT', 'gss', true])
      assert.match(error.message, new RegExp(`KDC.*${kdc.port}`, 's'))
      assert.doesNotMatch(`${error.message} ${error.hint}`, /server accepts connections/)
      assert.equal((error.cause as PoolsmithError).code, 'CONNECT_TIMEOUT')
    } finally {
      kdc.thaw()
    }
    assert.equal(server.journal.logins.length, 0)
  })

  test('for the principal that mssql_spn names', async () => {
    await using server = await start({ spn: 'MSSQLSvc/cluster.test:SALES' })
    const error = await failure(open(driverFor(server).driver, alice))
    assert.equal(error.code, 'SPN_UNKNOWN')
    const { driver } = driverFor(server, { mssql_spn: `MSSQLSvc/cluster.test:SALES@${kdc.realm}` })
    const { raw } = await open(driver, alice)
    await driver.close(raw)
  })

  test('for a named instance: by its name, or by the port from the Browser', async () => {
    // The order matters: a ticket for the name would stay in the cache after the name is deleted.
    for (const registered of ['port', 'name'] as const) {
      await using server = await start({
        instance: 'SALES',
        ...(registered === 'name' ? { spn: 'MSSQLSvc/localhost:SALES' } : {}),
      })
      const browser = createSocket('udp4')
      browser.bind(0, '127.0.0.1')
      await once(browser, 'listening')
      browser.on('message', (_, from) => {
        const text = `ServerName;HOST;InstanceName;SALES;IsClustered;No;Version;16.0.1000.6;tcp;${server.port};;`
        browser.send(Buffer.from(`\u0005\0\0${text}`, 'latin1'), from.port, from.address)
      })
      try {
        const { driver } = testDriver(
          {},
          { ca_file: caFile, instance_name: 'SALES' },
          { browserPort: browser.address().port, lookup: async () => ['127.0.0.1'] },
        )
        const { raw } = await open(driver, alice)
        const service = registered === 'name' ? 'SALES' : server.port
        assert.equal(driver.info(raw).kerberos?.server, `MSSQLSvc/localhost:${service}@${kdc.realm}`)
        await driver.close(raw)
      } finally {
        browser.close()
      }
    }
  })

  test('delegated only where the option asks for it', async () => {
    await using server = await start()
    const cache = `FILE:${kdc.path('forward')}`
    await kdc.addPrincipal('carol', { password: 'pw' })
    await kdc.kadmin(`modprinc +ok_as_delegate MSSQLSvc/localhost:${server.port}`)
    await kdc.configure(['  forwardable = true'])
    await kdc.kinit('carol', cache, { password: 'pw' })
    const carol: Credential = { kind: 'gss', identity: 'carol', cache, issuedAt: Date.now() }
    for (const gssdelegation of [false, true]) {
      const { driver } = driverFor(server, { gssdelegation })
      const { raw } = await open(driver, carol)
      await driver.close(raw)
    }
    assert.deepEqual(
      server.seen.map((one) => one.delegated),
      [false, true],
    )
  })

  for (const encrypt of ['true', 'false', 'strict'] as const) {
    test(`of another server after routing, under encrypt=${encrypt}: its own principal, in place of mssql_spn`, async () => {
      const strict = encrypt === 'strict' ? ({ encryption: 'strict' } as const) : {}
      await using target = await start(strict)
      await using gateway = await start({
        ...strict,
        routing: { server: 'localhost', port: target.port },
      })
      const mssql_spn = `MSSQLSvc/localhost:${gateway.port}@${kdc.realm}`
      const { driver } = driverFor(gateway, { encrypt, mssql_spn })
      const { raw } = await open(driver, alice)
      assert.equal(driver.info(raw).peer, `127.0.0.1:${target.port}`)
      assert.equal(driver.info(raw).kerberos?.server, `MSSQLSvc/localhost:${target.port}@${kdc.realm}`)
      assert.equal(gateway.seen.length, 1)
      assert.equal(target.seen.length, 1)
      await driver.close(raw)
    })
  }

  test('is refused with the reason', async () => {
    await using server = await start()
    const { driver } = driverFor(server)
    // After a new key the server's keytab is out of date.
    await kdc.changeKeys(`MSSQLSvc/localhost:${server.port}`)
    const stale: Credential = { ...alice, cache: `FILE:${kdc.path('alice-fresh')}` } as Credential
    await kdc.kinit('alice', `FILE:${kdc.path('alice-fresh')}`, { password: 'pw' })
    const old = await failure(open(driver, stale))
    assert.equal(old.code, 'GSS_SERVER_REFUSED')
    assert.equal(old.details.number, 18452)

    await using choosy = await start({})
    const nobody: Credential = { kind: 'gss', identity: 'nobody', cache: `FILE:${kdc.path('nothing')}`, issuedAt: 0 }
    const without = await failure(open(driverFor(choosy).driver, nobody))
    assert.equal(without.code, 'TICKET_CACHE_MISSING')
    assert.deepEqual(choosy.journal.logins, [])
  })
})
