/**
 * Servers that misbehave while a session is being encrypted, or while a Kerberos login is under way. psql is the
 * oracle for what is final and what falls back: it must open as many connections as we do.
 */

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { PoolsmithError } from '../../src/errors.ts'
import {
  authentication,
  errorResponse,
  int32,
  message,
  type Peer,
  startFakePostgres,
} from '../support/fake-postgres.ts'
import { type GssAcceptor, gssAcceptor } from '../support/gss-acceptor.ts'
import { enterRealm, type Kdc, startKdc } from '../support/kdc.ts'
import { gssCredential } from '../support/kerberos-postgres.ts'
import { psql } from '../support/postgres.ts'
import { driverFor, openingError, openSession, passwordCredential } from '../support/postgres-driver.ts'

const GSS_REQUEST = 80877104
const REFUSED = errorResponse({ C: '28000', M: 'no pg_hba.conf entry for you', R: 'ClientAuthentication' })
const LET_IN = Buffer.concat([authentication(0), message('K', int32(4711), int32(99)), message('Z', Buffer.from('I'))])

let kdc: Kdc
let cache: string
let serverKeytab: string
const acceptors: GssAcceptor[] = []

before(async () => {
  kdc = await startKdc()
  enterRealm(kdc)
  for (const name of ['alice', 'postgres/localhost']) await kdc.addPrincipal(name)
  cache = `FILE:${kdc.path('cc')}`
  await kdc.kinit('alice', cache, { keytab: await kdc.keytab('alice') })
  serverKeytab = await kdc.keytab('postgres/localhost')
})
after(async () => {
  for (const acceptor of acceptors) acceptor.close()
  await kdc[Symbol.asyncDispose]()
})

function acceptor(): GssAcceptor {
  const made = gssAcceptor(serverKeytab)
  acceptors.push(made)
  return made
}

const framed = (bytes: Buffer): Buffer => Buffer.concat([int32(bytes.length), bytes])

async function readFrame(peer: Peer): Promise<Buffer> {
  return peer.take((await peer.take(4)).readInt32BE())
}

/** Sets the encryption up as a server does, after it has granted it. */
async function accept(peer: Peer): Promise<GssAcceptor> {
  const gss = acceptor()
  const { output } = await gss.step(await readFrame(peer))
  if (output !== undefined) peer.send(framed(output))
  return gss
}

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

test('an expired ticket counts as a credential, a missing cache does not, as in psql', async (t) => {
  await kdc.addPrincipal('brief', { maxLife: '1 second' })
  const expired = `FILE:${kdc.path('expired')}`
  await kdc.kinit('brief', expired, { keytab: await kdc.keytab('brief') })
  await sleep(2000)
  t.after(() => enterRealm(kdc))
  const START_UP = 196608
  for (const [ticket, expected] of [
    [cache, [GSS_REQUEST, START_UP]],
    [expired, [GSS_REQUEST, START_UP]],
    [`FILE:${kdc.path('none')}`, [START_UP]],
  ] as const) {
    const listen = (asked: number[]) =>
      startFakePostgres(async (peer) => {
        const code = (await peer.first()).readInt32BE()
        asked.push(code)
        if (code === GSS_REQUEST) {
          peer.send(Buffer.from('G'))
          await readFrame(peer)
        } else peer.send(REFUSED)
        peer.end()
      })
    const [ours, theirs]: [number[], number[]] = [[], []]
    const extra = { gssencmode: 'prefer', sslmode: 'disable', hostaddr: '127.0.0.1' }
    process.env.KRB5CCNAME = ticket
    await using one = await listen(ours)
    const { driver } = driverFor({ host: 'localhost', port: one.port, login: 'alice' }, extra)
    await openingError(driver, passwordCredential('x'))
    await using other = await listen(theirs)
    const words = Object.entries({ ...extra, host: 'localhost', port: String(other.port), user: 'alice' })
    await psql(['-c', 'select 1', words.map(([key, value]) => `${key}=${value}`).join(' ')], { KRB5CCNAME: ticket })
    assert.deepEqual([ours, theirs], [expected, expected], ticket)
  }
})

async function openAgainst(
  script: (peer: Peer) => Promise<void>,
  extra: Readonly<Record<string, string>> = {},
): Promise<{ authentication: string; server: string | undefined }> {
  await using fake = await startFakePostgres(async (peer) => {
    await peer.startup()
    await script(peer)
  })
  const { driver } = driverFor(
    { host: 'localhost', port: fake.port, login: 'alice' },
    { gssencmode: 'disable', sslmode: 'disable', hostaddr: '127.0.0.1', ...extra },
  )
  await using session = await openSession(driver, gssCredential(cache, 'alice'))
  const { authentication: method, kerberos } = driver.info(session.client)
  driver.abort(session.client)
  return { authentication: method, server: kerberos?.server }
}

/** A server that asks for a Kerberos login by this code and then lets us in. */
const asking =
  (code: number, prove = true) =>
  async (peer: Peer): Promise<void> => {
    peer.send(authentication(code))
    const { body } = await peer.message()
    const { output = Buffer.alloc(0) } = await acceptor().step(body)
    if (prove) peer.send(message('R', int32(8), output))
    peer.send(LET_IN)
  }

test('a server that asks for SSPI, as on Windows, gets a Kerberos ticket', async () => {
  const opened = await openAgainst(asking(9))
  assert.deepEqual(opened, { authentication: 'sspi', server: 'postgres/localhost@TEST.REALM' })
  await assert.rejects(openAgainst(asking(9), { require_auth: 'gss' }), { code: 'AUTH_METHOD_REFUSED' })
})

test('a server that accepts the login without its own proof is not trusted', async () => {
  assert.equal((await openAgainst(asking(7))).authentication, 'gss')
  await assert.rejects(openAgainst(asking(7, false)), { code: 'SERVER_NOT_GENUINE' })
})

test('require_auth and channel_binding hold for Kerberos too', async () => {
  assert.equal((await openAgainst(asking(7), { require_auth: 'gss' })).authentication, 'gss')
  await assert.rejects(openAgainst(asking(7), { require_auth: '!gss' }), { code: 'AUTH_METHOD_REFUSED' })
  await assert.rejects(openAgainst(asking(7), { channel_binding: 'require' }), { code: 'CHANNEL_BINDING_FAILED' })
  await assert.rejects(
    openAgainst(async (peer) => peer.send(LET_IN), { require_auth: 'gss' }),
    { code: 'AUTH_METHOD_REFUSED' },
  )
})

test('messages out of turn in a Kerberos login are refused', async () => {
  const scripts: readonly ((peer: Peer) => Promise<void>)[] = [
    async (peer) => peer.send(message('R', int32(8), Buffer.from('x'))),
    async (peer) => {
      peer.send(authentication(7))
      await peer.message()
      peer.send(authentication(7))
    },
    async (peer) => {
      peer.send(authentication(7))
      const { body } = await peer.message()
      const { output = Buffer.alloc(0) } = await acceptor().step(body)
      peer.send(Buffer.concat([message('R', int32(8), output), message('R', int32(8), output)]))
    },
  ]
  for (const script of scripts) await assert.rejects(openAgainst(script), { code: 'NOT_POSTGRES' })
  const nonsense = async (peer: Peer): Promise<void> => {
    peer.send(authentication(7))
    await peer.message()
    peer.send(message('R', int32(8), Buffer.from('nonsense')))
  }
  await assert.rejects(openAgainst(nonsense), { code: 'GSS_SERVER_REFUSED', phase: 'gss' })
})

test('the principal of the server is named by service and host, or in full', async () => {
  await assert.rejects(openAgainst(asking(7), { krbsrvname: 'pgsql' }), {
    code: 'SPN_UNKNOWN',
    message: /pgsql\/localhost@TEST\.REALM/,
  })
  await assert.rejects(openAgainst(asking(7), { krbspn: 'postgres/elsewhere@TEST.REALM' }), { code: 'SPN_UNKNOWN' })
  for (const krbspn of ['postgres/localhost@TEST.REALM', 'postgres/localhost']) {
    assert.equal((await openAgainst(asking(7), { krbspn })).server, 'postgres/localhost@TEST.REALM')
  }
})
