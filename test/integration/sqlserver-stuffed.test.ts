/** Plain bytes that an attacker adds to the server's TLS handshake are refused, whatever they contain. */

import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { parseFields } from '../../src/connections/fields.ts'
import { proxyFields } from '../../src/drivers/network/proxy/options.ts'
import { createProxies } from '../../src/drivers/network/proxy/proxies.ts'
import { PoolsmithError } from '../../src/errors.ts'
import { temporaryFolder } from '../support/folder.ts'
import { type Middle, startMiddle } from '../support/middle.ts'
import { createPki, type Pki } from '../support/pki.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { startProxyDouble } from '../support/proxy-double.ts'
import { runStock } from '../support/tds/clients.ts'
import { open, password, type TestDriver, testDriver } from '../support/tds/driver.ts'
import type { TdsServerOptions } from '../support/tds/options.ts'
import { PACKET, packet } from '../support/tds/packets.ts'
import { startTdsServer, type TdsServer } from '../support/tds/server.ts'
import { DONE, doneToken, envRouting, envText, errorToken, loginAck } from '../support/tds/tokens.ts'

const SECRET = 'the-password-of-sa'
const TLS_APPLICATION_DATA = 0x17
const stack = new AsyncDisposableStack()
let postgres: PostgresServer
let pki: Pki
let caFile: string
let elsewhere: TdsServer

before(async () => {
  const folder = stack.use(await temporaryFolder())
  postgres = stack.use(await startPostgres())
  pki = await createPki()
  caFile = join(folder.path, 'ca.pem')
  await writeFile(caFile, pki.ca)
  elsewhere = stack.use(await start('elsewhere.test'))
})
after(() => stack.disposeAsync())

async function start(name: string, options: Partial<TdsServerOptions> = {}): Promise<TdsServer> {
  const tls = await pki.issue({ commonName: name, dns: [name] })
  return startTdsServer({ postgres, logins: { sa: SECRET }, tls, ...options })
}

function driverTo(port: number, extra: Readonly<Record<string, unknown>> = {}): TestDriver {
  return testDriver(
    { host: 'db.test', port, login: 'sa' },
    { ca_file: caFile, connect_timeout: 5, ...extra },
    { lookup: async () => ['127.0.0.1'] },
  )
}

const acknowledgement = loginAck(0x74000004, 'Microsoft SQL Server', [16, 0, 1000])

/** Possible contents of an answer to a login, as a plain message of the server. */
const FORGED: Readonly<Record<string, () => Buffer>> = {
  'a routing to another server': () => answer(acknowledgement, envRouting('elsewhere.test', elsewhere.port)),
  'an acknowledgement of the login': () => answer(acknowledgement),
  'a refusal of the login': () =>
    answer(errorToken({ number: 18456, state: 8, class: 14, message: 'Login failed.' }, 'FORGED')),
  'a packet size': () => answer(acknowledgement, envText('packetSize', '512', '4096')),
  'another message of the handshake': () => packet(PACKET.prelogin, Buffer.from('160303000100', 'hex'), true, 1),
  'half a packet': () => answer(acknowledgement).subarray(0, 5),
}

function answer(...tokens: readonly Buffer[]): Buffer {
  return packet(PACKET.response, Buffer.concat([...tokens, doneToken(DONE.final)]), true, 1)
}

/** Adds the bytes to the handshake's last message of the server: in its segment, or in a separate one after it. */
function stuff(middle: Middle, bytes: Buffer, segment: 'same' | 'next'): void {
  let flights = 0
  middle.toClient = (chunk) => {
    if (chunk[0] === PACKET.prelogin) flights++
    if (flights !== 2) return [chunk]
    flights++
    return segment === 'same' ? [Buffer.concat([chunk, bytes])] : [chunk, bytes]
  }
}

/** Sends the bytes to the client once its first encrypted record passes. */
function stuffLater(middle: Middle, bytes: Buffer): void {
  let done = false
  middle.toServer = (chunk) => {
    if (done || chunk[0] !== TLS_APPLICATION_DATA) return [chunk]
    done = true
    middle.inject(bytes)
    return []
  }
}

async function failure({ driver }: TestDriver): Promise<PoolsmithError> {
  try {
    const { raw } = await open(driver, password('sa', SECRET))
    await driver.close(raw)
  } catch (error) {
    assert.ok(error instanceof PoolsmithError, `not one of ours: ${String(error)}`)
    return error
  }
  throw new assert.AssertionError({ message: 'the forged answer was believed' })
}

async function refused(driver: TestDriver, what: string): Promise<void> {
  const error = await failure(driver)
  assert.deepEqual([error.code, error.phase, error.transient], ['TLS_STUFFED', 'tls', false], `${what}: ${error}`)
  assert.deepEqual(elsewhere.journal.logins, [])
}

describe('encrypt=true refuses', () => {
  for (const [what, bytes] of Object.entries(FORGED)) {
    test(`${what} in plain bytes after the handshake`, async () => {
      await using server = await start('db.test')
      for (const segment of ['same', 'next', 'later'] as const) {
        await using middle = await startMiddle(server.port)
        if (segment === 'later') stuffLater(middle, bytes())
        else stuff(middle, bytes(), segment)
        await refused(driverTo(middle.port), segment)
      }
      assert.deepEqual(server.journal.logins, [])
    })
  }

  test('the same bytes from a proxy on the way', async () => {
    await using server = await start('db.test')
    for (const segment of ['same', 'later'] as const) {
      await using middle = await startMiddle(server.port)
      await using proxy = await startProxyDouble({ hosts: { 'db.test': '127.0.0.1' } })
      const bytes = FORGED['a routing to another server']?.() ?? Buffer.alloc(0)
      if (segment === 'later') stuffLater(middle, bytes)
      else stuff(middle, bytes, segment)
      const { values } = parseFields(proxyFields, { proxy: `http://127.0.0.1:${proxy.port}` })
      const { route } = createProxies(values, { environment: {}, emit: () => undefined })
      const through = testDriver(
        { host: 'db.test', port: middle.port, login: 'sa' },
        { ca_file: caFile, connect_timeout: 5 },
        { route },
      )
      await refused(through, segment)
      assert.equal(proxy.requests.length, 1)
    }
  })

  test('plain bytes after the answer to PRELOGIN, before the handshake', async () => {
    await using server = await start('db.test')
    await using middle = await startMiddle(server.port)
    const bytes = FORGED['an acknowledgement of the login']?.() ?? Buffer.alloc(0)
    middle.toClient = (chunk) => [chunk[0] === PACKET.response ? Buffer.concat([chunk, bytes]) : chunk]
    await refused(driverTo(middle.port), 'prelogin')
  })

  test('a message of another type in place of the handshake', async () => {
    await using server = await start('db.test')
    await using middle = await startMiddle(server.port)
    middle.toClient = (chunk) => {
      if (chunk[0] !== PACKET.prelogin) return [chunk]
      const relabelled = Buffer.from(chunk)
      relabelled[0] = PACKET.response
      return [relabelled]
    }
    assert.equal((await failure(driverTo(middle.port))).code, 'NOT_SQL_SERVER')
  })
})

test('encrypt=false refuses plain bytes after the handshake of its login', async () => {
  await using server = await start('db.test')
  for (const [what, bytes] of Object.entries(FORGED)) {
    await using middle = await startMiddle(server.port)
    stuff(middle, bytes(), 'same')
    await refused(driverTo(middle.port, { encrypt: 'false' }), what)
  }
  assert.deepEqual(server.journal.logins, [])
})

test('encrypt=strict refuses plain bytes after the handshake', async () => {
  await using server = await start('db.test', { encryption: 'strict' })
  for (const [what, bytes] of Object.entries(FORGED)) {
    await using middle = await startMiddle(server.port)
    // The client's second flight is encrypted: the server's part of the handshake has ended.
    let flights = 0
    middle.toServer = (chunk) => {
      if (++flights === 2) middle.inject(bytes())
      return flights >= 2 ? [] : [chunk]
    }
    await refused(driverTo(middle.port, { encrypt: 'strict' }), what)
  }
  assert.deepEqual(server.journal.logins, [])
})

test('a handshake in many pieces is accepted, and the session works', async () => {
  await using server = await start('db.test')
  for (const encrypt of ['true', 'false']) {
    await using middle = await startMiddle(server.port)
    middle.toClient = () => 'dribble'
    middle.toServer = () => 'dribble'
    const { driver } = driverTo(middle.port, { encrypt })
    const { raw } = await open(driver, password('sa', SECRET))
    const { rows } = await runStock(raw, `select N'${'x'.repeat(9000)}' as t`)
    assert.deepEqual(rows, [{ t: 'x'.repeat(9000) }])
    await driver.close(raw)
  }
  assert.deepEqual(server.complaints, [])
})
