/** Lists of hosts of SQL Server: what goes on to the next host, what stops, and which role is taken. */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { SspiTarget } from '../../src/drivers/sqlserver/sspi.ts'
import { PoolsmithError } from '../../src/errors.ts'
import { freePort } from '../support/free-port.ts'
import { createPki } from '../support/pki.ts'
import { open, testDriver } from '../support/tds/driver.ts'
import type { Fault } from '../support/tds/faults.ts'
import type { TdsServer } from '../support/tds/server.ts'
import { failure, sa, sqlServerSetup } from '../support/tds/setup.ts'

const { caFile, pki, start } = await sqlServerSetup()

const used = new Set<number>()

/** On a port that no server had before: a place that was down is remembered for a while. */
async function startElsewhere(): Promise<TdsServer> {
  for (;;) {
    const server = await start()
    if (!used.has(server.port)) {
      used.add(server.port)
      return server
    }
    await server[Symbol.asyncDispose]()
  }
}

type Extra = Readonly<Record<string, unknown>>

function driverOf(servers: readonly Pick<TdsServer, 'port'>[], extra: Extra = {}) {
  const [only, ...others] = servers
  const host = servers.map(({ port }) => `localhost:${port}`).join(',')
  const target = others.length > 0 ? { host } : { host: 'localhost', port: only?.port }
  return testDriver({ ...target, login: 'sa' }, { ca_file: caFile, ...extra }).driver
}

/** The port of the server that took the session. */
async function portOf(servers: readonly Pick<TdsServer, 'port'>[], extra: Extra = {}): Promise<number> {
  const driver = driverOf(servers, extra)
  const { raw } = await open(driver, sa())
  const { peer } = driver.info(raw)
  await driver.close(raw)
  return Number(peer.split(':').at(-1))
}

const refusing = (number: number, state = 1): Fault => ({ do: 'refuse', number, state })

describe('after a first host that', () => {
  const FAULTS: readonly (readonly [what: string, fault: Fault, goesOn: boolean])[] = [
    ['is shutting down (17142)', refusing(17_142), true],
    ['is shutting down (18456, state 23)', refusing(18_456, 23), true],
    ['has the secondary replica (976)', refusing(976), true],
    ['has a replica that is resolving its role (983)', refusing(983), true],
    ['has the mirror of the database (954)', refusing(954), true],
    ['is recovering the database (922)', refusing(922), true],
    ['cannot open the database (4060)', refusing(4060), true],
    ['has a replica for readers alone (978)', refusing(978), true],
    ['is moving the database (40613)', refusing(40_613), true],
    ['closes the connection', { do: 'cut' }, true],
    ['is silent for connect_timeout', { do: 'hang' }, true],
    ['refuses the password (18456)', refusing(18_456), false],
    ['says that the password has expired (18487)', refusing(18_487), false],
    ['has locked the login (18486)', refusing(18_486), false],
    ['is full (17809)', refusing(17_809), false],
    ['is too busy (40501)', refusing(40_501), false],
    ['does not let this address in (40615)', refusing(40_615), false],
  ]
  for (const [what, fault, goesOn] of FAULTS) {
    test(`${what}, ${goesOn ? 'the next one is tried' : 'the attempt ends'}`, async () => {
      await using first = await startElsewhere()
      await using second = await startElsewhere()
      first.faults.add({ at: 'login', fault })
      const extra = fault.do === 'hang' ? { connect_timeout: 1 } : {}
      if (goesOn) assert.equal(await portOf([first, second], extra), second.port)
      else {
        const error = await failure(driverOf([first, second], extra))
        assert.equal(error.phase, 'login')
        assert.equal(error.details.number, fault.do === 'refuse' ? fault.number : undefined)
      }
      assert.deepEqual([first.journal.logins.length, second.journal.logins.length], [1, goesOn ? 1 : 0])
    })
  }

  test('has a certificate of another authority, the attempt ends', async () => {
    const stranger = await createPki()
    await using first = await start({ tls: await stranger.issue({ commonName: 'localhost', dns: ['localhost'] }) })
    await using second = await start()
    assert.equal((await failure(driverOf([first, second]))).code, 'TLS_UNTRUSTED')
    assert.equal(second.journal.logins.length, 0)
  })

  test('refuses a wrong password, the password is tried nowhere else', async () => {
    await using first = await start({ logins: { sa: 'another' } })
    await using second = await start()
    assert.equal((await failure(driverOf([first, second]))).code, 'LOGIN_REFUSED')
    assert.equal(second.journal.logins.length, 0)
  })

  test('has no address, or no listener, the next one is tried', async () => {
    await using server = await start()
    const host = `no-such-host.invalid:1433,localhost:${await freePort()},localhost:${server.port}`
    const { driver } = testDriver({ host, login: 'sa' }, { ca_file: caFile })
    const { raw } = await open(driver, sa())
    assert.equal(driver.info(raw).peer, `127.0.0.1:${server.port}`)
    await driver.close(raw)
  })
})

test('a silent first host leaves the others their share of the time', async () => {
  await using silent = await start()
  await using server = await start()
  silent.faults.add({ at: 'prelogin', fault: { do: 'hang' } })
  const driver = driverOf([silent, server], { connect_timeout: 0 })
  // Without a limit of its own the first host gets half of the time that the opening has.
  const deadline = performance.now() + 4000
  const raw = await driver.open(sa(), { signal: AbortSignal.timeout(20_000), enter: () => undefined, deadline })
  assert.equal(driver.info(raw).peer, `127.0.0.1:${server.port}`)
  await driver.close(raw)
})

test('hosts on one port each prove their own name', async () => {
  const port = await freePort()
  const lookup = async (host: string) => [host.startsWith('db1') ? '127.0.0.2' : '127.0.0.3']
  const certificate = (name: string) => pki.issue({ commonName: name, dns: [name] })
  await using _ = await start({ listen: { host: '127.0.0.3', port }, tls: await certificate('db2.test') })
  const target = { host: 'db1.test,db2.test', port, login: 'sa' }
  const { driver } = testDriver(target, { ca_file: caFile }, { lookup })
  const { raw } = await open(driver, sa())
  assert.equal(driver.info(raw).peer, `127.0.0.3:${port}`)
  await driver.close(raw)
  // The next host's certificate does not do for this one.
  await using __ = await start({ listen: { host: '127.0.0.2', port }, tls: await certificate('db2.test') })
  assert.equal(
    (await failure(testDriver(target, { ca_file: caFile }, { lookup }).driver)).code,
    'TLS_HOSTNAME_MISMATCH',
  )
})

test('a host of the list may send the login on', async () => {
  await using target = await start()
  await using gateway = await start({ routing: { server: 'localhost', port: target.port } })
  await using dead = await start()
  await dead.stop()
  assert.equal(await portOf([dead, gateway]), target.port)
})

test('every target_session_attrs takes the first server with the role', async () => {
  await using writable = await start()
  await using readable = await start()
  readable.faults.readOnly = true
  const EXPECTED: readonly (readonly [target: string, chosen: TdsServer])[] = [
    ['read-write', writable],
    ['primary', writable],
    ['read-only', readable],
    ['standby', readable],
    ['prefer-standby', readable],
  ]
  for (const servers of [
    [writable, readable],
    [readable, writable],
  ]) {
    assert.equal(await portOf(servers), servers[0]?.port)
    for (const [target_session_attrs, { port }] of EXPECTED) {
      assert.equal(await portOf(servers, { target_session_attrs }), port, target_session_attrs)
    }
  }
  assert.equal(await portOf([writable], { target_session_attrs: 'prefer-standby' }), writable.port)
  const before = writable.journal.requests.length
  await portOf([writable])
  assert.ok(!writable.journal.requests.slice(before).join().includes('databasepropertyex'), 'any does not ask')
  const error = await failure(driverOf([readable], { target_session_attrs: 'primary' }))
  assert.deepEqual([error.code, error.transient], ['SERVER_ROLE_MISMATCH', true])
  assert.match(error.message, new RegExp(`localhost:${readable.port} has the database read-only`))
})

test('load_balance_hosts=random opens sessions at every host', async () => {
  await using one = await start()
  await using other = await start()
  const seen = new Set<number>()
  // The chance that 60 openings miss one of two hosts is below one in 10^17.
  for (let openings = 0; seen.size < 2 && openings < 60; openings++) {
    seen.add(await portOf([one, other], { load_balance_hosts: 'random' }))
  }
  assert.deepEqual(seen, new Set([one.port, other.port]))
})

test('the error of a list names every place with its phase and its cause', async () => {
  await using starting = await start()
  starting.faults.add({ at: 'login', fault: refusing(18_401) })
  const dead = await freePort()
  const error = await failure(driverOf([{ port: dead }, starting]))
  assert.ok(error instanceof PoolsmithError)
  const { places } = error.details as { places: { place: string; phase: string; code: string }[] }
  assert.deepEqual(
    places.map(({ place, phase, code }) => [place, phase, code]),
    [
      [`localhost:${dead}`, 'connect', 'CONNECT_REFUSED'],
      [`localhost:${starting.port}`, 'login', 'SERVER_NOT_READY'],
    ],
  )
  assert.deepEqual([error.code, error.transient], ['SERVER_NOT_READY', true])
  assert.match(error.message, new RegExp(`${dead} \\(connect\\): .*${starting.port} \\(login\\): `))
})

test('a session can be opened at one host of the list, whatever its role', async () => {
  await using first = await start()
  await using second = await start()
  first.faults.readOnly = true
  const driver = driverOf([first, second], { target_session_attrs: 'primary' })
  const found: unknown[] = []
  for (const place of driver.places ?? []) {
    const raw = await driver.open(sa(), { signal: AbortSignal.timeout(10_000), enter: () => undefined, at: place })
    const { peer, place: told } = driver.info(raw)
    found.push([Number(peer.split(':').at(-1)), told?.role, driver.rankOf?.(place)])
    await driver.close(raw)
  }
  assert.deepEqual(found, [
    [first.port, 'secondary', Number.POSITIVE_INFINITY],
    [second.port, 'primary', 1],
  ])
})

test('a session that is opened at one host tells its role, although none was asked for', async () => {
  await using server = await start()
  const driver = driverOf([server, { port: await freePort() }])
  const [place] = driver.places ?? []
  const raw = await driver.open(sa(), { signal: AbortSignal.timeout(10_000), enter: () => undefined, at: place })
  assert.equal(driver.info(raw).place?.role, 'primary')
  await driver.close(raw)
})

test('failover_partner is tried after the host', async () => {
  await using principal = await start()
  await using partner = await start()
  const target = { host: 'localhost', port: principal.port, login: 'sa' }
  const extra = { ca_file: caFile, failover_partner: `localhost,${partner.port}` }
  const { driver } = testDriver(target, extra)
  const first = await open(driver, sa())
  assert.equal(driver.info(first.raw).peer, `127.0.0.1:${principal.port}`)
  await driver.close(first.raw)
  principal.faults.add({ at: 'login', fault: refusing(954) })
  const second = await open(driver, sa())
  assert.equal(driver.info(second.raw).peer, `127.0.0.1:${partner.port}`)
  await driver.close(second.raw)
})

test('each host has a service principal name of its own', async () => {
  await using first = await start()
  await using second = await start()
  for (const server of [first, second]) server.faults.add({ at: 'login', fault: refusing(983) })
  const asked: (string | undefined)[] = []
  const sspi = async ({ host, port, spn }: SspiTarget) => {
    asked.push(spn ?? `${host}:${port}`)
    return { step: async () => ({ output: Buffer.from('ticket'), complete: true }) }
  }
  const credential = { kind: 'gss', identity: 'etl', issuedAt: Date.now() } as never
  const host = `localhost:${first.port},localhost:${second.port}`
  await failure(testDriver({ host }, { ca_file: caFile }, { sspi }).driver, credential)
  const target = { host: 'localhost', port: first.port }
  const partner = {
    failover_partner: `localhost,${second.port}`,
    mssql_spn: 'MSSQLSvc/a',
    failover_partner_spn: 'MSSQLSvc/b',
  }
  await failure(testDriver(target, { ca_file: caFile, ...partner }, { sspi }).driver, credential)
  assert.deepEqual(asked, [`localhost:${first.port}`, `localhost:${second.port}`, 'MSSQLSvc/a', 'MSSQLSvc/b'])
})
