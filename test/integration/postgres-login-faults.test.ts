/** Servers that refuse the login, violate its rules or ask for a method that is not allowed: each becomes its own error. */

import assert from 'node:assert/strict'
import { authentication, errorResponse, int32, message } from '../support/fake-postgres.ts'
import { passwordCredential, tokenCredential } from '../support/postgres-driver.ts'
import {
  asks,
  certificate,
  type Fault,
  PASSWORD,
  refused,
  SCRAM,
  scram,
  testFaults,
} from '../support/postgres-faults.ts'

const METHODS: readonly Fault[] = [
  { name: 'a request for GSSAPI', script: asks(7), code: 'AUTH_METHOD_UNSUPPORTED', phase: 'login' },
  { name: 'a request for SSPI', script: asks(9), code: 'AUTH_METHOD_UNSUPPORTED', phase: 'login' },
  { name: 'a request for the old Kerberos 5 method', script: asks(2), code: 'AUTH_METHOD_UNSUPPORTED', phase: 'login' },
  { name: 'a request for an unknown method', script: asks(99), code: 'AUTH_METHOD_UNSUPPORTED', phase: 'login' },
  { name: 'a GSSAPI token without a request', script: asks(8, 'x'), code: 'NOT_POSTGRES', phase: 'login' },
  { name: 'a SCRAM message without a request', script: asks(11, 'r=x'), code: 'NOT_POSTGRES', phase: 'login' },
  {
    name: 'a request for another SASL mechanism',
    script: asks(10, 'OAUTHBEARER\0\0'),
    code: 'AUTH_METHOD_UNSUPPORTED',
    phase: 'login',
  },
  {
    name: 'an offer of SCRAM-SHA-256-PLUS without TLS',
    script: asks(10, 'SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0'),
    code: 'SERVER_NOT_GENUINE',
    phase: 'login',
  },
  { name: 'a list of mechanisms without an end', script: asks(10, 'SCRAM'), code: 'NOT_POSTGRES', phase: 'login' },
  { name: 'an md5 request without a salt', script: asks(5), code: 'NOT_POSTGRES', phase: 'login' },
  {
    name: 'a request for a cleartext password without TLS',
    script: asks(3),
    code: 'CLEARTEXT_REFUSED',
    phase: 'login',
  },
  {
    name: 'a request for SCRAM where a token is used',
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
    name: 'a request for md5 where a token is used',
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
    name: 'a token with a server without TLS under sslmode=prefer',
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
    name: 'a request for a password where none is set',
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
]

const REFUSALS: readonly Fault[] = [
  { name: 'a wrong password', script: refused('28P01', 'auth_failed'), code: 'LOGIN_REFUSED', phase: 'login' },
  {
    name: 'a wrong password after TLS was declined under sslmode=prefer',
    script: refused('28P01', 'auth_failed'),
    extra: { sslmode: 'prefer' },
    code: 'LOGIN_REFUSED',
    phase: 'login',
  },
  { name: 'a refused token', script: refused('28000', 'auth_failed'), code: 'LOGIN_REFUSED', phase: 'login' },
  {
    name: 'a missing line in pg_hba.conf',
    script: refused('28000', 'ClientAuthentication', 'kein pg_hba.conf-Eintrag für Host'),
    code: 'LOGIN_NOT_ADMITTED',
    phase: 'login',
  },
  {
    name: 'a missing client certificate, reported in German,',
    script: refused('28000', 'ClientAuthentication', 'Verbindung erfordert ein gültiges Clientzertifikat'),
    code: 'TLS_CLIENT_CERTIFICATE_REFUSED',
    phase: 'login',
  },
  {
    name: 'an unknown role',
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
    name: 'an unknown database, reported after the login,',
    script: async (peer) => {
      await peer.startup()
      peer.send(Buffer.concat([authentication(0), errorResponse({ C: '3D000', M: 'no' })]))
    },
    code: 'DATABASE_NOT_FOUND',
    phase: 'login',
  },
]

const EXCHANGES: readonly Fault[] = [
  {
    name: 'a SCRAM nonce that does not begin with the nonce of the client',
    script: (peer) => scram(peer, () => 'r=another,s=c2FsdA==,i=4096'),
    code: 'SCRAM_FAILED',
    phase: 'login',
  },
  {
    name: 'a SCRAM nonce that adds nothing to the nonce of the client',
    script: (peer) => scram(peer, (nonce) => `r=${nonce},s=c2FsdA==,i=4096`),
    code: 'SCRAM_FAILED',
    phase: 'login',
  },
  {
    name: 'a request for two thousand million rounds of SCRAM',
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
    name: 'an accepted login in the middle of SCRAM',
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
    name: 'an accepted login without a proof under require_auth',
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

testFaults(METHODS)
testFaults(REFUSALS)
testFaults(EXCHANGES)
