/**
 * Servers that misbehave while a session is being encrypted. psql is the oracle for what is final and what falls back:
 * it must open as many connections as we do.
 */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PoolsmithError } from '../../src/errors.ts'
import { authentication, errorResponse, int32, type Peer, startFakePostgres } from '../support/fake-postgres.ts'
import type { GssAcceptor } from '../support/gss-acceptor.ts'
import { accept, cache, framed, GSS_REQUEST, LET_IN, REFUSED, readFrame } from '../support/gss-server.ts'
import { gssCredential } from '../support/kerberos-postgres.ts'
import { psql } from '../support/postgres.ts'
import { driverFor, openingError } from '../support/postgres-driver.ts'

interface Script {
  readonly name: string
  /** Plays a connection that asks for encryption; all others are refused at their start-up message. */
  readonly gss: (peer: Peer) => Promise<void> | void
  /** Connections under prefer, where TLS is not tried. */
  readonly connections: number
  readonly code: string
  /** Under `require`, where it differs. */
  readonly requiredCode?: string
}

const SCRIPTS: readonly Script[] = [
  { name: 'hangs up when asked', gss: (peer) => peer.end(), connections: 1, code: 'CONNECTION_CLOSED' },
  { name: 'resets when asked', gss: (peer) => peer.reset(), connections: 1, code: 'CONNECTION_CLOSED' },
  {
    name: 'answers neither G, N nor E',
    gss: (peer) => peer.send(Buffer.from('X')),
    connections: 1,
    code: 'NOT_POSTGRES',
  },
  {
    name: 'answers with an error',
    gss: (peer) => {
      peer.send(REFUSED)
      peer.end()
    },
    connections: 2,
    code: 'LOGIN_NOT_ADMITTED',
    requiredCode: 'NEGOTIATION_FAILED',
  },
  {
    name: 'is older than GSSAPI encryption',
    gss: (peer) => {
      peer.send(errorResponse({ C: '0A000', M: 'unsupported frontend protocol 1234.5680: server supports 2.0 to 3.0' }))
      peer.end()
    },
    connections: 2,
    code: 'LOGIN_NOT_ADMITTED',
    requiredCode: 'GSS_NOT_OFFERED',
  },
  {
    name: 'declines',
    gss: async (peer) => {
      peer.send(Buffer.from('N'))
      await peer.startup()
      peer.send(REFUSED)
    },
    connections: 1,
    code: 'LOGIN_NOT_ADMITTED',
    requiredCode: 'GSS_NOT_OFFERED',
  },
  {
    name: 'stuffs bytes behind its answer',
    gss: async (peer) => {
      peer.send(Buffer.concat([Buffer.from('G'), LET_IN]))
      await accept(peer)
    },
    connections: 1,
    code: 'GSS_STUFFED',
  },
  {
    name: 'grants and hangs up',
    gss: async (peer) => {
      peer.send(Buffer.from('G'))
      await readFrame(peer)
      peer.end()
    },
    connections: 2,
    code: 'LOGIN_NOT_ADMITTED',
    requiredCode: 'GSS_SERVER_REFUSED',
  },
  {
    name: 'grants and sends an error in place of a token',
    gss: async (peer) => {
      peer.send(Buffer.from('G'))
      await readFrame(peer)
      peer.send(REFUSED)
      peer.end()
    },
    connections: 2,
    code: 'LOGIN_NOT_ADMITTED',
    requiredCode: 'NEGOTIATION_FAILED',
  },
  {
    name: 'grants and sends a token that is too long',
    gss: async (peer) => {
      peer.send(Buffer.from('G'))
      await readFrame(peer)
      peer.send(int32(0x0100_0000))
    },
    connections: 2,
    code: 'LOGIN_NOT_ADMITTED',
    requiredCode: 'NOT_POSTGRES',
  },
  {
    name: 'grants and sends a token of nonsense',
    gss: async (peer) => {
      peer.send(Buffer.from('G'))
      await readFrame(peer)
      peer.send(framed(Buffer.from('nonsense')))
    },
    connections: 2,
    code: 'LOGIN_NOT_ADMITTED',
    requiredCode: 'GSS_SERVER_REFUSED',
  },
  {
    name: 'encrypts and then refuses the login',
    gss: async (peer) => {
      peer.send(Buffer.from('G'))
      const gss = await accept(peer)
      gss.unwrap(await readFrame(peer))
      peer.send(framed(gss.wrap(REFUSED)))
      peer.end()
    },
    connections: 2,
    code: 'LOGIN_NOT_ADMITTED',
  },
  {
    name: 'encrypts, believes us and then gives up',
    gss: async (peer) => {
      peer.send(Buffer.from('G'))
      const gss = await accept(peer)
      gss.unwrap(await readFrame(peer))
      peer.send(framed(gss.wrap(authentication(0))))
      peer.send(framed(gss.wrap(errorResponse({ C: '3D000', M: 'no such database' }))))
      peer.end()
    },
    connections: 1,
    code: 'DATABASE_NOT_FOUND',
  },
  {
    name: 'encrypts and asks for a Kerberos login all the same',
    gss: async (peer) => {
      peer.send(Buffer.from('G'))
      const gss = await accept(peer)
      gss.unwrap(await readFrame(peer))
      peer.send(framed(gss.wrap(authentication(7))))
    },
    connections: 1,
    code: 'NOT_POSTGRES',
  },
  ...(
    [
      ['sends plaintext', (_gss) => framed(LET_IN)],
      ['signs without encrypting', (gss) => framed(gss.wrap(LET_IN, false))],
      [
        'alters a byte',
        (gss) => {
          const packet = gss.wrap(LET_IN)
          packet[packet.length - 1] = (packet.at(-1) ?? 0) ^ 1
          return framed(packet)
        },
      ],
      [
        'repeats a packet',
        (gss) => {
          const packet = framed(gss.wrap(authentication(0)))
          return Buffer.concat([packet, packet])
        },
      ],
      [
        'drops a packet',
        (gss) => {
          gss.wrap(authentication(0))
          return framed(gss.wrap(LET_IN))
        },
      ],
      [
        'swaps two packets',
        (gss) => Buffer.concat([framed(gss.wrap(authentication(0))), framed(gss.wrap(LET_IN))].reverse()),
      ],
      ['sends an empty packet', () => framed(Buffer.alloc(0))],
      ['sends a packet that is too long', () => int32(16_381)],
    ] satisfies readonly (readonly [string, (gss: GssAcceptor) => Buffer])[]
  ).map(
    ([name, bytes]): Script => ({
      name: `encrypts and then ${name}`,
      gss: async (peer) => {
        peer.send(Buffer.from('G'))
        const gss = await accept(peer)
        gss.unwrap(await readFrame(peer))
        peer.send(bytes(gss))
        // psql would wait for ever behind an empty packet.
        peer.end()
      },
      connections: 1,
      code: 'GSS_MESSAGE_DAMAGED',
    }),
  ),
  {
    name: 'encrypts and then ends in the middle of a packet',
    gss: async (peer) => {
      peer.send(Buffer.from('G'))
      const gss = await accept(peer)
      gss.unwrap(await readFrame(peer))
      peer.send(framed(gss.wrap(LET_IN)).subarray(0, 40))
      peer.end()
    },
    connections: 1,
    code: 'GSS_MESSAGE_DAMAGED',
  },
]

async function play(peer: Peer, script: Script): Promise<void> {
  const first = await peer.first()
  if (first.readInt32BE() === GSS_REQUEST) await script.gss(peer)
  else {
    peer.send(REFUSED)
    peer.end()
  }
}

for (const script of SCRIPTS) {
  test(`a server that ${script.name}`, async () => {
    for (const gssencmode of ['prefer', 'require']) {
      const extra = { gssencmode, sslmode: 'disable', hostaddr: '127.0.0.1' }
      await using ours = await startFakePostgres((peer) => play(peer, script))
      const { driver } = driverFor({ host: 'localhost', port: ours.port, login: 'alice' }, extra)
      const error: PoolsmithError = await openingError(driver, gssCredential(cache, 'alice'))
      const expected = gssencmode === 'require' ? (script.requiredCode ?? script.code) : script.code
      assert.equal(error.code, expected, error.message)
      assert.notEqual(error.hint, undefined)
      if (gssencmode === 'require') assert.doesNotMatch(error.message, /unsupported frontend/)
      await ours.deserted()

      await using theirs = await startFakePostgres((peer) => play(peer, script))
      const words = Object.entries({ ...extra, host: 'localhost', port: String(theirs.port), user: 'alice' })
      const answer = await psql(['-c', 'select 1', words.map(([key, value]) => `${key}=${value}`).join(' ')], {
        KRB5CCNAME: cache,
      })
      assert.equal(answer.code, 2)
      // Under `require` an error in place of the answer makes psql connect once more, only to give up then.
      const asked = gssencmode === 'require' ? 1 : script.connections
      assert.equal(ours.accepted(), asked)
      if (gssencmode === 'prefer') assert.equal(theirs.accepted(), asked, answer.stderr)
    }
  })
}
