/** The server name in TLS, and the authorities of the operating system. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { createSecureContext, TLSSocket } from 'node:tls'
import { promisify } from 'node:util'
import { startFakePostgres } from '../support/fake-postgres.ts'
import { temporaryFolder } from '../support/folder.ts'
import { createPki } from '../support/pki.ts'
import { driverFor, openingError, passwordCredential } from '../support/postgres-driver.ts'

interface Greeting {
  readonly serverName: string | undefined
  readonly protocol: string | false | null
}

/** A server that notes what the TLS greeting says, and hangs up. */
async function greeting(
  host: string,
  extra: Record<string, unknown>,
  alpn: string[] | undefined,
): Promise<Partial<Greeting> & { code: string }> {
  const { cert, key } = await (await createPki()).issue({ commonName: 'localhost' })
  const greeted = Promise.withResolvers<Greeting | undefined>()
  const server = createServer((socket: Socket) => {
    const begin = (): void => {
      let serverName: string | undefined
      const stream = new TLSSocket(socket, {
        isServer: true,
        secureContext: createSecureContext({ cert, key }),
        ...(alpn === undefined ? {} : { ALPNProtocols: alpn }),
        SNICallback: (name, done) => {
          serverName = name
          done(null)
        },
      })
      stream.on('error', () => undefined)
      stream.once('close', () => greeted.resolve(undefined))
      stream.once('secure', () => {
        greeted.resolve({ serverName, protocol: stream.alpnProtocol })
        stream.end()
      })
      stream.resume()
    }
    socket.on('error', () => undefined)
    if (extra.sslnegotiation === 'direct') begin()
    else {
      socket.once('data', () => {
        socket.write('S')
        begin()
      })
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  assert.ok(address !== null && typeof address === 'object')
  try {
    const { driver } = driverFor(
      { host, port: address.port, login: 'alice' },
      { sslmode: 'require', hostaddr: '127.0.0.1', ...extra },
    )
    // The client may be done, and gone, before the server has taken its last message of the handshake.
    const [{ code }, seen] = await Promise.all([openingError(driver, passwordCredential('x')), greeted.promise])
    return { ...seen, code }
  } finally {
    server.close()
  }
}

test('the host name is sent, unless it is an address or sslsni is off', async () => {
  assert.equal((await greeting('db.example.test', {}, undefined)).serverName, 'db.example.test')
  assert.equal((await greeting('db.example.test', { sslsni: false }, undefined)).serverName, undefined)
  assert.equal((await greeting('127.0.0.1', {}, undefined)).serverName, undefined)
})

test('the protocol inside TLS: named always, and insisted on where TLS comes first', async () => {
  const known = await greeting('localhost', {}, ['postgresql'])
  assert.deepEqual([known.protocol, known.code], ['postgresql', 'CONNECTION_CLOSED'])
  const older = await greeting('localhost', {}, undefined)
  assert.equal(older.code, 'CONNECTION_CLOSED', 'a server without ALPN is spoken to')
  const direct = await greeting('localhost', { sslnegotiation: 'direct' }, undefined)
  assert.equal(direct.code, 'TLS_ALPN')
  const agreed = await greeting('localhost', { sslnegotiation: 'direct' }, ['postgresql'])
  assert.equal(agreed.code, 'CONNECTION_CLOSED')
})

test('the authorities of the operating system, and no others', async () => {
  await using folder = await temporaryFolder()
  const pki = await createPki()
  const certificate = await pki.issue({ commonName: 'x', dns: ['localhost'] })
  await using fake = await startFakePostgres(async (peer) => {
    await peer.tls(certificate)
    await peer.startup()
    peer.letIn()
  })
  const ca = join(folder.path, 'system.pem')
  const script = join(folder.path, 'open.ts')
  const support = new URL('../support/postgres-driver.ts', import.meta.url).href
  await writeFile(
    script,
    `import { driverFor, openSession, passwordCredential } from ${JSON.stringify(support)}
const { driver } = driverFor({ host: process.argv[2], port: ${fake.port}, login: 'alice' }, { sslrootcert: 'system', hostaddr: '127.0.0.1' })
try {
  await using session = await openSession(driver, passwordCredential('x'))
  console.log(driver.info(session.client).encryption.verified)
} catch (error) {
  console.log(error.code)
}
process.exit()`,
  )
  const open = async (authorities: string, host: string): Promise<string> => {
    await writeFile(ca, authorities)
    const { stdout } = await promisify(execFile)(process.execPath, [script, host], {
      timeout: 20_000,
      env: { ...process.env, SSL_CERT_FILE: ca, SSL_CERT_DIR: folder.path },
    })
    return stdout.trim()
  }
  assert.equal(await open(pki.ca, 'localhost'), 'hostname')
  assert.equal(await open(pki.ca, 'db.example.test'), 'TLS_HOSTNAME_MISMATCH')
  assert.equal(await open((await createPki('another')).ca, 'localhost'), 'TLS_UNTRUSTED')
})
