/** Servers that speak another protocol, close the connection, or send damaged messages before a session is open. */

import { authentication, int32, message, type Peer } from '../support/fake-postgres.ts'
import { type Fault, SCRAM, testFaults } from '../support/postgres-faults.ts'

const NEGOTIATIONS: readonly Fault[] = [
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
    name: 'a web server that is asked for TLS',
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
    name: 'an SSH server that is asked for TLS, whose greeting begins with S,',
    script: (peer) => peer.send(Buffer.from('SSH-2.0-OpenSSH_9.2\r\n')),
    extra: { sslmode: 'prefer' },
    code: 'NOT_POSTGRES',
    phase: 'tls',
  },
  {
    name: 'a server that sends bytes after S',
    script: async (peer) => {
      await peer.first()
      peer.send(Buffer.concat([Buffer.from('S'), authentication(0)]))
    },
    extra: { sslmode: 'prefer' },
    code: 'TLS_STUFFED',
    phase: 'tls',
  },
  {
    name: 'a server that sends bytes after N',
    script: async (peer) => {
      await peer.first()
      peer.send(Buffer.concat([Buffer.from('N'), authentication(0)]))
    },
    extra: { sslmode: 'prefer' },
    code: 'TLS_STUFFED',
    phase: 'tls',
  },
  {
    name: 'a server without TLS under sslmode=require',
    script: async (peer) => {
      await peer.startup()
    },
    extra: { sslmode: 'require' },
    code: 'TLS_NOT_OFFERED',
    phase: 'tls',
  },
  {
    name: 'a connection that is closed inside the TLS handshake',
    script: async (peer) => {
      await peer.first()
      peer.send(Buffer.from('S'))
      peer.end()
    },
    extra: { sslmode: 'require' },
    code: 'TLS_HANDSHAKE_FAILED',
    phase: 'tls',
  },
]

const DAMAGE: readonly Fault[] = [
  {
    name: 'a connection that is closed at once',
    script: (peer) => peer.end(),
    code: 'CONNECTION_CLOSED',
    phase: 'login',
  },
  {
    name: 'a connection that is reset',
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
    name: 'a protocol that answers ERROR and waits',
    script: async (peer) => {
      await peer.startup()
      peer.send(Buffer.from('ERROR\r\n'))
    },
    code: 'NOT_POSTGRES',
    phase: 'login',
  },
  {
    name: 'a protocol that answers ERROR to the request for TLS and waits',
    script: async (peer) => {
      await peer.first()
      peer.send(Buffer.from('ERROR\r\n'))
    },
    extra: { sslmode: 'prefer' },
    code: 'NOT_POSTGRES',
    phase: 'tls',
  },
  {
    name: 'an ErrorResponse that is cut off',
    script: async (peer) => {
      await peer.startup()
      peer.send(message('E', Buffer.from('SFATAL')))
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
    name: 'a flood of long settings after the login',
    script: flood(authentication(0), message('S', Buffer.from(`TimeZone\0${'x'.repeat(20_000)}\0`))),
    code: 'NOT_POSTGRES',
    phase: 'login',
  },
  {
    name: 'a flood of short settings after the login',
    script: flood(authentication(0), Buffer.concat(Array(1000).fill(message('S', Buffer.from('a\0b\0'))))),
    code: 'NOT_POSTGRES',
    phase: 'login',
  },
  {
    name: 'a flood of notices before the request for a login',
    script: flood(Buffer.alloc(0), message('N', Buffer.from('SNOTICE\0Mhello\0\0'))),
    code: 'NOT_POSTGRES',
    phase: 'login',
  },
]

testFaults(NEGOTIATIONS)
testFaults(DAMAGE)
testFaults(FLOODS)
