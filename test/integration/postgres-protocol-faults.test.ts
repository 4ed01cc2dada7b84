/** Servers that lie, break off, hang or are something else: each its own error, nothing left open, no crash. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { Credential } from '../../src/credentials/credential.ts'
import { type ErrorCode, type Phase, PoolsmithError } from '../../src/errors.ts'
import {
  authentication,
  errorResponse,
  type FakePostgres,
  int32,
  message,
  type Peer,
  startFakePostgres,
} from '../support/fake-postgres.ts'
import { createPki } from '../support/pki.ts'
import {
  driverFor,
  openingError,
  openSession,
  passwordCredential,
  type TestDriver,
  type TestDriverContext,
  tokenCredential,
} from '../support/postgres-driver.ts'

const PASSWORD = 'do not tell'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

function driverTo(fake: FakePostgres, extra: Record<string, unknown> = {}, context?: TestDriverContext): TestDriver {
  return driverFor({ host: '127.0.0.1', port: fake.port, login: 'alice' }, { sslmode: 'disable', ...extra }, context)
}

interface Fault {
  readonly name: string
  readonly script: (peer: Peer) => Promise<void> | void
  readonly extra?: Record<string, unknown>
  readonly credential?: Credential
  readonly code: ErrorCode
  readonly phase: Phase
}

const SCRAM = 'SCRAM-SHA-256\0\0'

/** Plays the server's first SCRAM message; `shape` gets the client's nonce. */
async function scram(peer: Peer, shape: (nonce: string) => string): Promise<void> {
  await peer.startup()
  peer.send(authentication(10, SCRAM))
  const { body } = await peer.message()
  const nonce = /r=(.*)$/.exec(body.toString('latin1'))?.[1] ?? ''
  peer.send(authentication(11, shape(nonce)))
}

const refused =
  (code: string, routine: string, words = 'no') =>
  async (peer: Peer) => {
    await peer.startup()
    peer.send(errorResponse({ C: code, M: words, R: routine }))
    peer.end()
  }

const asks = (code: number, rest?: string) => async (peer: Peer) => {
  await peer.startup()
  peer.send(authentication(code, rest))
  const answer = await peer.message()
  assert.fail(`the client answered with ${answer.type}`)
}

const FAULTS: readonly Fault[] = [
  {
    name: 'a web server',
    script: async (peer) => {
      await peer.startup()
      peer.send(Buffer.from('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n'))
      peer.end()
    },
    code: 'NOT_POSTGRES',
    phase: 'login',
  },
  {
    name: 'a web server asked for TLS',
    script: async (peer) => {
      await peer.first()
      peer.send(Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'))
    },
    extra: { sslmode: 'prefer' },
    code: 'NOT_POSTGRES',
    phase: 'tls',
  },
  {
    name: 'an SSH server that greets first',
    script: (peer) => peer.send(Buffer.from('SSH-2.0-OpenSSH_9.2\r\n')),
    code: 'NOT_POSTGRES',
    phase: 'login',
  },
  {
    name: 'an SSH server that is asked for TLS, whose greeting begins like a yes',
    script: (peer) => peer.send(Buffer.from('SSH-2.0-OpenSSH_9.2\r\n')),
    extra: { sslmode: 'prefer' },
    code: 'NOT_POSTGRES',
    phase: 'tls',
  },
  {
    name: 'bytes stuffed behind the S',
    script: async (peer) => {
      await peer.first()
      peer.send(Buffer.concat([Buffer.from('S'), authentication(0)]))
    },
    extra: { sslmode: 'prefer' },
    code: 'TLS_STUFFED',
    phase: 'tls',
  },
  {
    name: 'bytes stuffed behind the N',
    script: async (peer) => {
      await peer.first()
      peer.send(Buffer.concat([Buffer.from('N'), authentication(0)]))
    },
    extra: { sslmode: 'prefer' },
    code: 'TLS_STUFFED',
    phase: 'tls',
  },
  {
    name: 'no TLS under require',
    script: async (peer) => {
      await peer.startup()
    },
    extra: { sslmode: 'require' },
    code: 'TLS_NOT_OFFERED',
    phase: 'tls',
  },
  {
    name: 'a hang-up inside the TLS handshake',
    script: async (peer) => {
      await peer.first()
      peer.send(Buffer.from('S'))
      peer.end()
    },
    extra: { sslmode: 'require' },
    code: 'TLS_HANDSHAKE_FAILED',
    phase: 'tls',
  },
  { name: 'GSSAPI', script: asks(7), code: 'AUTH_METHOD_UNSUPPORTED', phase: 'login' },
  { name: 'SSPI', script: asks(9), code: 'AUTH_METHOD_UNSUPPORTED', phase: 'login' },
  { name: 'Kerberos 5 of old', script: asks(2), code: 'AUTH_METHOD_UNSUPPORTED', phase: 'login' },
  { name: 'a method that nobody knows', script: asks(99), code: 'AUTH_METHOD_UNSUPPORTED', phase: 'login' },
  { name: 'a GSSAPI token out of the blue', script: asks(8, 'x'), code: 'NOT_POSTGRES', phase: 'login' },
  { name: 'a SCRAM message out of the blue', script: asks(11, 'r=x'), code: 'NOT_POSTGRES', phase: 'login' },
  { name: 'SASL by other means', script: asks(10, 'OAUTHBEARER\0\0'), code: 'AUTH_METHOD_UNSUPPORTED', phase: 'login' },
  {
    name: 'SCRAM-PLUS without TLS',
    script: asks(10, 'SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0'),
    code: 'SERVER_NOT_GENUINE',
    phase: 'login',
  },
  { name: 'a list of mechanisms without its end', script: asks(10, 'SCRAM'), code: 'NOT_POSTGRES', phase: 'login' },
  { name: 'an md5 request without salt', script: asks(5), code: 'NOT_POSTGRES', phase: 'login' },
  { name: 'a cleartext password over plain TCP', script: asks(3), code: 'CLEARTEXT_REFUSED', phase: 'login' },
  {
    name: 'a token asked for by SCRAM',
    script: async (peer) => {
      await peer.tls(await certificate)
      await asks(10, SCRAM)(peer)
    },
    credential: tokenCredential(PASSWORD),
    extra: { sslmode: 'require' },
    code: 'AUTH_METHOD_UNSUPPORTED',
    phase: 'login',
  },
  {
    name: 'a token asked for by md5',
    script: async (peer) => {
      await peer.tls(await certificate)
      await asks(5, 'salt')(peer)
    },
    credential: tokenCredential(PASSWORD),
    extra: { sslmode: 'require' },
    code: 'AUTH_METHOD_UNSUPPORTED',
    phase: 'login',
  },
  {
    name: 'a token, and a server without TLS under prefer',
    script: async (peer) => {
      await peer.startup()
      assert.fail('the client went on without TLS')
    },
    credential: tokenCredential(PASSWORD),
    extra: { sslmode: 'prefer' },
    code: 'TLS_NOT_OFFERED',
    phase: 'tls',
  },
  {
    name: 'a password asked for where there is none',
    script: asks(10, SCRAM),
    credential: passwordCredential(''),
    code: 'PASSWORD_MISSING',
    phase: 'login',
  },
  {
    name: 'a server that speaks another version',
    script: async (peer) => {
      await peer.startup()
      peer.send(message('v', int32(0), int32(0)))
    },
    code: 'PROTOCOL_UNSUPPORTED',
    phase: 'login',
  },
  { name: 'a wrong password', script: refused('28P01', 'auth_failed'), code: 'LOGIN_REFUSED', phase: 'login' },
  {
    name: 'a wrong password, where TLS was declined under prefer',
    script: refused('28P01', 'auth_failed'),
    extra: { sslmode: 'prefer' },
    code: 'LOGIN_REFUSED',
    phase: 'login',
  },
  { name: 'a refused token', script: refused('28000', 'auth_failed'), code: 'LOGIN_REFUSED', phase: 'login' },
  {
    name: 'no line in pg_hba.conf',
    script: refused('28000', 'ClientAuthentication', 'kein pg_hba.conf-Eintrag für Host'),
    code: 'LOGIN_NOT_ADMITTED',
    phase: 'login',
  },
  {
    name: 'no client certificate, in the language of the server',
    script: refused('28000', 'ClientAuthentication', 'Verbindung erfordert ein gültiges Clientzertifikat'),
    code: 'TLS_CLIENT_CERTIFICATE_REFUSED',
    phase: 'login',
  },
  {
    name: 'no such role',
    script: refused('28000', 'InitializeSessionUserId'),
    code: 'LOGIN_ROLE_UNUSABLE',
    phase: 'login',
  },
  { name: 'a full server', script: refused('53300', 'InitProcess'), code: 'SERVER_FULL', phase: 'login' },
  {
    name: 'a starting server',
    script: refused('57P03', 'ProcessStartupPacket'),
    code: 'SERVER_NOT_READY',
    phase: 'login',
  },
  { name: 'another error', script: refused('XX000', 'x'), code: 'SERVER_ERROR', phase: 'login' },
  {
    name: 'no such database, said after the login',
    script: async (peer) => {
      await peer.startup()
      peer.send(Buffer.concat([authentication(0), errorResponse({ C: '3D000', M: 'no' })]))
    },
    code: 'DATABASE_NOT_FOUND',
    phase: 'login',
  },
  { name: 'a hang-up at once', script: (peer) => peer.end(), code: 'CONNECTION_CLOSED', phase: 'login' },
  {
    name: 'a reset',
    script: async (peer) => {
      await peer.startup()
      peer.reset()
    },
    code: 'CONNECTION_CLOSED',
    phase: 'login',
  },
  {
    name: 'half a message',
    script: async (peer) => {
      await peer.startup()
      peer.send(authentication(10, SCRAM).subarray(0, 11))
      peer.end()
    },
    code: 'CONNECTION_CLOSED',
    phase: 'login',
  },
  {
    name: 'a message of two gigabytes',
    script: async (peer) => {
      await peer.startup()
      peer.send(Buffer.concat([Buffer.from('R'), int32(0x7fffffff)]))
    },
    code: 'NOT_POSTGRES',
    phase: 'login',
  },
  {
    name: 'a message of negative length',
    script: async (peer) => {
      await peer.startup()
      peer.send(Buffer.concat([Buffer.from('R'), int32(-1)]))
    },
    code: 'NOT_POSTGRES',
    phase: 'login',
  },
  {
    name: 'another protocol that says ERROR and waits',
    script: async (peer) => {
      await peer.startup()
      peer.send(Buffer.from('ERROR\r\n'))
    },
    code: 'NOT_POSTGRES',
    phase: 'login',
  },
  {
    name: 'another protocol that says ERROR to the request for TLS and waits',
    script: async (peer) => {
      await peer.first()
      peer.send(Buffer.from('ERROR\r\n'))
    },
    extra: { sslmode: 'prefer' },
    code: 'NOT_POSTGRES',
    phase: 'tls',
  },
  {
    name: 'an error response that is cut short inside',
    script: async (peer) => {
      await peer.startup()
      peer.send(message('E', Buffer.from('SFATAL')))
    },
    code: 'NOT_POSTGRES',
    phase: 'login',
  },
  {
    name: 'a SCRAM nonce that is not built on ours',
    script: (peer) => scram(peer, () => 'r=another,s=c2FsdA==,i=4096'),
    code: 'SCRAM_FAILED',
    phase: 'login',
  },
  {
    name: 'a SCRAM nonce that is only ours',
    script: (peer) => scram(peer, (nonce) => `r=${nonce},s=c2FsdA==,i=4096`),
    code: 'SCRAM_FAILED',
    phase: 'login',
  },
  {
    name: 'two thousand million rounds of SCRAM',
    script: (peer) => scram(peer, (nonce) => `r=${nonce}x,s=c2FsdA==,i=2000000000`),
    code: 'SCRAM_FAILED',
    phase: 'login',
  },
  {
    name: 'a wrong SCRAM signature',
    script: async (peer) => {
      await scram(peer, (nonce) => `r=${nonce}x,s=c2FsdA==,i=1`)
      await peer.message()
      peer.send(authentication(12, `v=${Buffer.alloc(32).toString('base64')}`))
    },
    code: 'SERVER_NOT_GENUINE',
    phase: 'login',
  },
  {
    name: 'a welcome in the middle of SCRAM',
    script: async (peer) => {
      await scram(peer, (nonce) => `r=${nonce}x,s=c2FsdA==,i=1`)
      await peer.message()
      peer.letIn()
    },
    code: 'SERVER_NOT_GENUINE',
    phase: 'login',
  },
  {
    name: 'a cleartext request after SCRAM has begun',
    script: async (peer) => {
      await scram(peer, (nonce) => `r=${nonce}x,s=c2FsdA==,i=1`)
      await peer.message()
      peer.send(authentication(3))
    },
    code: 'NOT_POSTGRES',
    phase: 'login',
  },
  {
    name: 'a welcome without a proof under require_auth',
    script: async (peer) => {
      await peer.startup()
      peer.letIn()
    },
    extra: { require_auth: 'scram-sha-256' },
    code: 'AUTH_METHOD_REFUSED',
    phase: 'login',
  },
  {
    name: 'garbage after the login',
    script: async (peer) => {
      await peer.startup()
      peer.send(Buffer.concat([authentication(0), Buffer.from('????????')]))
    },
    code: 'NOT_POSTGRES',
    phase: 'login',
  },
]

/** Sends the same message until the client hangs up. */
const flood =
  (before: Buffer, repeated: Buffer) =>
  async (peer: Peer): Promise<void> => {
    await peer.startup()
    peer.send(before)
    await peer.floodWith(repeated)
  }

const FLOODS: readonly Fault[] = [
  {
    name: 'settings without an end after the login',
    script: flood(authentication(0), message('S', Buffer.from(`TimeZone\0${'x'.repeat(20_000)}\0`))),
    code: 'NOT_POSTGRES',
    phase: 'login',
  },
  {
    name: 'short settings without an end after the login',
    script: flood(authentication(0), Buffer.concat(Array(1000).fill(message('S', Buffer.from('a\0b\0'))))),
    code: 'NOT_POSTGRES',
    phase: 'login',
  },
  {
    name: 'notices without an end in place of a request for a login',
    script: flood(Buffer.alloc(0), message('N', Buffer.from('SNOTICE\0Mhello\0\0'))),
    code: 'NOT_POSTGRES',
    phase: 'login',
  },
]

const certificate = createPki().then((pki) => pki.issue({ commonName: 'localhost' }))

for (const fault of [...FAULTS, ...FLOODS]) {
  test(`fault: ${fault.name}`, async () => {
    await using fake = await startFakePostgres(fault.script)
    const { driver } = driverTo(fake, fault.extra)
    const error = await openingError(driver, fault.credential ?? passwordCredential(PASSWORD))
    assert.equal(error.code, fault.code, error.message)
    assert.equal(error.phase, fault.phase)
    assert.ok(error.hint !== undefined && error.hint.length > 10)
    assert.ok(!JSON.stringify(error).includes(PASSWORD))
    await fake.deserted()
    assert.equal(fake.accepted(), 1, 'a fault that is final is tried once')
  })
}

interface Hang {
  readonly name: string
  readonly script: (peer: Peer) => Promise<void> | void
  readonly extra?: Record<string, unknown>
  readonly phase: Phase
}

const HANGS: readonly Hang[] = [
  {
    name: 'before the answer to the request for TLS',
    script: () => undefined,
    extra: { sslmode: 'require' },
    phase: 'tls',
  },
  {
    name: 'in the TLS handshake',
    script: async (peer) => {
      await peer.first()
      peer.send(Buffer.from('S'))
    },
    extra: { sslmode: 'require' },
    phase: 'tls',
  },
  {
    name: 'in a direct TLS handshake',
    script: () => undefined,
    extra: { sslmode: 'require', sslnegotiation: 'direct' },
    phase: 'tls',
  },
  { name: 'before asking for a proof', script: () => undefined, phase: 'login' },
  {
    name: 'inside TLS, before asking for a proof',
    script: async (peer) => peer.tls(await certificate),
    extra: { sslmode: 'require' },
    phase: 'login',
  },
  { name: 'in the middle of a message', script: async (peer) => peer.send(Buffer.from('R\0\0')), phase: 'login' },
  {
    name: 'in the middle of SCRAM',
    script: (peer) => scram(peer, (nonce) => `r=${nonce}x,s=c2FsdA==,i=1`),
    phase: 'login',
  },
  {
    name: 'after the login',
    script: async (peer) => {
      await peer.startup()
      peer.send(authentication(0))
    },
    phase: 'login',
  },
]

/** Within this time every attempt has come to where it hangs, on a busy machine too. */
const REACHED_MILLIS = 600

for (const hang of HANGS) {
  test(`a server that hangs ${hang.name}`, async () => {
    await using fake = await startFakePostgres(hang.script)
    const { driver } = driverTo(fake, hang.extra)
    const given = await openingError(driver, passwordCredential(PASSWORD), AbortSignal.timeout(REACHED_MILLIS))
    assert.equal(given.code, 'ABORTED')
    assert.equal(given.phase, hang.phase)
    await fake.deserted()

    const limited = driverTo(fake, { ...hang.extra, connect_timeout: REACHED_MILLIS / 1000 })
    const late = await openingError(limited.driver, passwordCredential(PASSWORD))
    assert.equal(late.code, 'CONNECT_TIMEOUT')
    assert.equal(late.phase, hang.phase)
    assert.equal(late.transient, true)
    await fake.deserted()
  })
}

test('the reason of an abort comes through when it is one of our errors', async () => {
  await using fake = await startFakePostgres(() => undefined)
  const reason = new PoolsmithError('pool_timeout is over', { code: 'POOL_EXHAUSTED', phase: 'pool' })
  const controller = new AbortController()
  setTimeout(() => controller.abort(reason), 50)
  const { driver } = driverTo(fake)
  assert.equal(await openingError(driver, passwordCredential(PASSWORD), controller.signal), reason)
  const already = driverTo(fake)
  assert.equal(await openingError(already.driver, passwordCredential(PASSWORD), controller.signal), reason)
  await fake.deserted()
})

test('name resolution: hanging, unknown, failing', async () => {
  const resolver = (lookup: () => Promise<readonly string[]>): TestDriver =>
    driverFor({ host: 'db.example.test', login: 'alice' }, {}, { lookup })
  const failing = (code: string): TestDriver => resolver(() => Promise.reject(Object.assign(new Error(code), { code })))
  const credential = passwordCredential(PASSWORD)

  const hung = await openingError(
    resolver(() => new Promise(() => undefined)).driver,
    credential,
    AbortSignal.timeout(50),
  )
  assert.deepEqual([hung.code, hung.phase], ['ABORTED', 'dns'])
  const unknown = await openingError(failing('ENOTFOUND').driver, credential)
  assert.deepEqual([unknown.code, unknown.phase, unknown.transient], ['DNS_NOT_FOUND', 'dns', false])
  const broken = await openingError(failing('EAI_AGAIN').driver, credential)
  assert.deepEqual([broken.code, broken.phase, broken.transient], ['DNS_FAILED', 'dns', true])
  const empty = await openingError(resolver(async () => []).driver, credential)
  assert.equal(empty.code, 'DNS_NOT_FOUND')
})

test('every address of a host is tried in turn, and only one that refuses the login is final', async () => {
  const letIn = async (peer: Peer): Promise<void> => {
    await peer.startup()
    peer.letIn()
  }
  await using good = await startFakePostgres(letIn, { host: '127.0.0.3' })
  const { port } = good
  const to = (addresses: string[], extra: Record<string, unknown> = {}): TestDriver =>
    driverFor(
      { host: 'db.example.test', port, login: 'alice' },
      { sslmode: 'disable', ...extra },
      { lookup: async () => addresses },
    )
  const credential = passwordCredential(PASSWORD)
  {
    const { driver } = to(['127.0.0.2', '127.0.0.3'])
    await using session = await openSession(driver, credential)
    assert.equal(driver.info(session.client).peer, `127.0.0.3:${port}`)
  }
  {
    await using silent = await startFakePostgres(() => undefined, { host: '127.0.0.4', port })
    const { driver } = to(['127.0.0.4', '127.0.0.3'], { connect_timeout: 1 })
    await using session = await openSession(driver, credential)
    assert.equal(driver.info(session.client).peer, `127.0.0.3:${port}`)
    await silent.deserted()
  }
  {
    await using refusing = await startFakePostgres(refused('28P01', 'auth_failed'), { host: '127.0.0.5', port })
    const error = await openingError(to(['127.0.0.5', '127.0.0.3']).driver, credential)
    assert.equal(error.code, 'LOGIN_REFUSED')
    assert.equal(refusing.accepted(), 1)
  }
  const none = await openingError(to(['127.0.0.6', '127.0.0.7']).driver, credential)
  assert.deepEqual([none.code, none.phase], ['CONNECT_REFUSED', 'connect'])
})

test('a Unix socket that is not there', async () => {
  const { driver } = driverFor({ host: '/nonexistent', login: 'alice' })
  const error = await openingError(driver, passwordCredential(PASSWORD))
  assert.deepEqual([error.code, error.phase], ['SOCKET_NOT_FOUND', 'connect'])
})

/** A session in which the server says `said` when the first statement comes. */
async function afterLogin(said: Buffer, then: (peer: Peer) => void = () => undefined): Promise<FakePostgres> {
  return startFakePostgres(async (peer) => {
    await peer.startup()
    peer.letIn()
    await peer.message()
    peer.send(said)
    then(peer)
  })
}

const DAMAGE: Readonly<Record<string, Buffer>> = {
  'a request for a login in mid-session': authentication(7),
  'a request for a cleartext password in mid-session': authentication(3),
  'a message that is cut short inside': message('T', Buffer.from([0, 9])),
  'an error without its end': message('E', Buffer.from('SERROR\0C22012\0')),
  'an error that ends the session': errorResponse({ C: '57P01', M: 'terminating connection' }),
}

for (const [name, said] of Object.entries(DAMAGE)) {
  test(`an open session, and ${name}`, async () => {
    await using fake = await afterLogin(said, (peer) => peer.end())
    const { driver } = driverTo(fake)
    const { client } = await openSession(driver, passwordCredential(PASSWORD))
    assert.equal(driver.isBroken(client), false)
    await assert.rejects(driver.ping(client), {
      code: said[0] === 0x45 && said.includes('57P01') ? '57P01' : 'NOT_POSTGRES',
    })
    assert.equal(driver.isBroken(client), true)
    await assert.rejects(client.query('select 1'), 'what comes later is refused at once')
    await driver.close(client)
    await fake.deserted()
  })
}

test('an idle session that the server ends is broken, and nothing else happens', async () => {
  const { promise: told, resolve: tell } = Promise.withResolvers<void>()
  await using fake = await startFakePostgres(async (peer) => {
    await peer.startup()
    peer.letIn()
    await told
    peer.send(errorResponse({ C: '57P05', M: 'idle for too long' }))
    peer.end()
  })
  const { driver } = driverTo(fake)
  const { client } = await openSession(driver, passwordCredential(PASSWORD))
  tell()
  await fake.deserted()
  assert.equal(driver.isBroken(client), true)
  await driver.close(client)
})

test('settings that a server makes up take no memory', async () => {
  const settings = Buffer.concat(
    Array.from({ length: 50_000 }, (_, n) => message('S', Buffer.from(`made_up_${n}\0${'x'.repeat(400)}\0`))),
  )
  await using fake = await startFakePostgres(async (peer) => {
    await peer.startup()
    peer.letIn()
    await peer.message()
    peer.send(Buffer.concat([settings, message('I'), message('Z', Buffer.from('I'))]))
  })
  const { driver } = driverTo(fake)
  const { client } = await openSession(driver, passwordCredential(PASSWORD))
  collectGarbage()
  const before = process.memoryUsage().heapUsed
  await driver.ping(client)
  collectGarbage()
  assert.ok(process.memoryUsage().heapUsed - before < settings.length / 4)
  driver.abort(client)
})

for (const how of ['end', 'reset'] as const) {
  test(`a hang-up right behind the welcome (${how})`, async () => {
    await using fake = await startFakePostgres(async (peer) => {
      await peer.startup()
      peer.letIn()
      peer[how]()
    })
    const { driver } = driverTo(fake)
    for (let round = 0; round < 20; round++) {
      try {
        const { client } = await openSession(driver, passwordCredential(PASSWORD), AbortSignal.timeout(2000))
        await assert.rejects(client.query('select 1'))
        assert.equal(driver.isBroken(client), true)
        await driver.close(client)
      } catch (error) {
        assert.ok(error instanceof PoolsmithError)
        assert.equal(error.code, 'CONNECTION_CLOSED')
      }
    }
    await fake.deserted()
  })
}
