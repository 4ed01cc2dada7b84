/** Servers that lie, break off, hang or are something else: each its own error, nothing left open, no crash. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
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

const refused = (code: string, routine: string) => async (peer: Peer) => {
  await peer.startup()
  peer.send(errorResponse({ C: code, M: 'no', R: routine }))
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
    name: 'an error in place of an answer to the request for TLS',
    script: async (peer) => {
      await peer.first()
      peer.send(errorResponse({ C: '53300', M: 'no process left' }))
      peer.end()
    },
    extra: { sslmode: 'prefer' },
    code: 'SERVER_FULL',
    phase: 'login',
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
  { name: 'a refused token', script: refused('28000', 'auth_failed'), code: 'LOGIN_REFUSED', phase: 'login' },
  {
    name: 'no line in pg_hba.conf',
    script: refused('28000', 'ClientAuthentication'),
    code: 'LOGIN_NOT_ADMITTED',
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

const certificate = createPki().then((pki) => pki.issue({ commonName: 'localhost' }))

for (const fault of FAULTS) {
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
