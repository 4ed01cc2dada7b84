/** A scripted TDS server for fuzzing: it plays a genuine conversation, and a mutated message at one stage. */

import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { createSecureContext } from 'node:tls'
import { type Mutation, mutate, Random } from './mutations.ts'
import { PACKET, Transport } from './packets.ts'
import { ENCRYPT, writePrelogin } from './prelogin.ts'
import {
  colMetadata,
  DONE,
  doneProc,
  doneToken,
  envBytes,
  envText,
  errorToken,
  featureExtAck,
  fedAuthInfo,
  loginAck,
  returnStatus,
  returnValue,
  rowToken,
  sspiToken,
} from './tokens.ts'
import { COLLATION, type Column, intN, typeOf } from './types.ts'

/** The server's messages, in order. */
export const STAGES = ['prelogin', 'tls', 'sspi', 'login', 'initial', 'answer'] as const
export type Stage = (typeof STAGES)[number]

/** The script of one connection. */
export interface Play {
  readonly encryption: 'tls' | 'none'
  readonly kind: 'sql' | 'token' | 'gss' | 'ntlm'
  readonly stage: Stage
  readonly seed: number
  /** In place of a mutation: bytes on the wire, after which the server continues. */
  readonly pieces?: Iterable<Buffer>
}

export interface FuzzServer extends AsyncDisposable {
  readonly port: number
  /** The play for the next connection. */
  play: Play
  /** The last play. */
  readonly last: string
  /** Bytes written at the stage of the play, on all connections. */
  readonly written: number
}

const TLS_HANDSHAKE = PACKET.prelogin
const PATIENCE_MILLIS = 300

/** Plays to one connection at a time. */
export async function startFuzzServer(tls: { readonly cert: string; readonly key: string }): Promise<FuzzServer> {
  const context = createSecureContext({ ...tls, maxVersion: 'TLSv1.2' })
  const sockets = new Set<Socket>()
  let last = ''
  let written = 0
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.setNoDelay(true)
    socket.on('error', () => undefined)
    socket.once('close', () => sockets.delete(socket))
    const { play } = fuzz
    const tell: Tell = {
      name: (name) => {
        last = name
      },
      wrote: (bytes) => {
        written += bytes
      },
    }
    perform(socket, play, context, tell).catch((error: unknown) => {
      if (!socket.destroyed) last = `${last} (${String(error)})`
      socket.destroy()
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const fuzz: FuzzServer = {
    port: (server.address() as AddressInfo).port,
    play: { encryption: 'none', kind: 'gss', stage: 'prelogin', seed: 1 },
    get last() {
      return last
    },
    get written() {
      return written
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
  return fuzz
}

interface Tell {
  name(name: string): void
  wrote(bytes: number): void
}

async function perform(
  socket: Socket,
  play: Play,
  context: ReturnType<typeof createSecureContext>,
  tell: Tell,
): Promise<void> {
  const random = new Random(play.seed)
  const transport = new Transport(socket)
  /** Sends the message or its mutation; false when nothing follows. */
  const say = async (stage: Stage, tokens: readonly Buffer[], type: number = PACKET.response): Promise<boolean> => {
    if (stage !== play.stage) {
      await transport.send(type, Buffer.concat(tokens))
      return true
    }
    const { pieces } = play
    const mutation: Mutation =
      pieces === undefined ? mutate(tokens, type, random) : { name: 'as told', behind: 'go-on', pieces }
    tell.name(`${mutation.name}, then ${mutation.behind}`)
    for (const piece of mutation.pieces) {
      if (transport.closed) return false
      await transport.writeRaw(piece)
      tell.wrote(piece.length)
    }
    if (mutation.behind === 'close') socket.end()
    // Only silence makes a client wait until its time limit; here the server hangs up.
    if (mutation.behind === 'go-on') setTimeout(() => socket.end(), PATIENCE_MILLIS).unref()
    return mutation.behind === 'go-on'
  }
  const next = (): Promise<unknown> => transport.read()

  await next()
  const encryption = play.encryption === 'tls' ? ENCRYPT.on : ENCRYPT.notSupported
  const prelogin = writePrelogin({
    version: [16, 0, 1000],
    encryption,
    instanceMatches: true,
    fedAuthRequired: play.kind === 'token',
  })
  if (!(await say('prelogin', [prelogin]))) return
  if (play.stage === 'tls') {
    await next()
    // The beginning of a server's hello, in place of a new handshake for each case.
    const hello = Buffer.concat([Buffer.from('160303004a02000046030360', 'hex'), random.bytes(66)])
    if (await say('tls', [hello.subarray(0, 5), hello.subarray(5, 30), hello.subarray(30)], TLS_HANDSHAKE)) {
      await next()
      socket.end()
    }
    return
  }
  if (play.encryption === 'tls') await transport.startTls(context, true)
  await next()
  if (play.kind === 'gss' || play.kind === 'ntlm') {
    const token = play.kind === 'gss' ? Buffer.from('the token of the server') : ntlmChallenge()
    if (!(await say('sspi', [sspiToken(token)]))) return
    await next()
  }
  if (!(await say('login', play.stage === 'login' && random.below(4) === 0 ? refusal() : loginAnswer(play.kind))))
    return
  await next()
  if (!(await say('initial', initialAnswer()))) return
  while ((await transport.read()) !== undefined) if (!(await say('answer', random.pick(ANSWERS)()))) return
}

function ntlmChallenge(): Buffer {
  const message = Buffer.alloc(60)
  message.write('NTLMSSP\0', 'latin1')
  message.writeUInt32LE(2, 8)
  message.writeUInt32LE(0x0080_0201, 20)
  message.writeUInt16LE(4, 40)
  message.writeUInt16LE(4, 42)
  message.writeUInt32LE(56, 44)
  return message
}

const info = (message: string): Buffer => errorToken({ number: 5701, state: 2, class: 0, message }, 'FUZZ', true)

function loginAnswer(kind: Play['kind']): Buffer[] {
  return [
    envText('database', 'master', ''),
    info("Changed database context to 'master'."),
    envBytes('collation', COLLATION, Buffer.alloc(0)),
    envText('language', 'us_english', ''),
    ...(kind === 'token' ? [fedAuthInfo('https://login.test/', 'https://database.test/')] : []),
    loginAck(0x74000004, 'Microsoft SQL Server', [16, 0, 1000]),
    featureExtAck(kind === 'token' ? [[2, Buffer.alloc(0)]] : [[10, Buffer.from([1])]]),
    envText('packetSize', '4096', '4096'),
    doneToken(DONE.final),
  ]
}

function refusal(): Buffer[] {
  return [
    errorToken({ number: 4060, state: 1, class: 11, message: 'Cannot open database.' }, 'FUZZ'),
    errorToken({ number: 18456, state: 1, class: 14, message: 'Login failed.' }, 'FUZZ'),
    doneToken(DONE.error),
  ]
}

function initialAnswer(): Buffer[] {
  return [info('poolsmith:51:fuzz'), envText('language', 'us_english', ''), doneToken(DONE.final)]
}

/** Values of all types in PostgreSQL's text form: by the ids of its types, and by the names of types that it lacks. */
const VALUES: readonly (readonly [type: number | string, modifier: number, text: string])[] = [
  [16, -1, 't'],
  [17, -1, '\\x00ff'],
  [20, -1, '9007199254740993'],
  [21, -1, '7'],
  [23, -1, '-7'],
  [700, -1, '0.5'],
  [701, -1, '0.1'],
  [1042, 8, 'abcd'],
  [1043, 20, 'text'],
  [25, -1, 'a long text'],
  [1082, -1, '2024-02-29'],
  [1700, ((38 << 16) | 10) + 4, '1234567890.0123456789'],
  [2950, -1, '01234567-89ab-cdef-0123-456789abcdef'],
  ['tinyint', -1, '255'],
  ['money', -1, '1.5'],
  ['smallmoney', -1, '1.5'],
  ['datetime', -1, '2024-02-29 12:34:56'],
  ['smalldatetime', -1, '2024-02-29 12:34:00'],
  ['datetime2', -1, '2024-02-29 12:34:56.1234567'],
  ['datetimeoffset', -1, '2024-02-29 12:34:56.1234567 +01:00'],
  ['time7', -1, '12:34:56.1234567'],
  ['sql_variant', -1, 'decimal(20,4):1.5'],
  ['mssql_xml', -1, '<a/>'],
  ['hierarchyid', -1, '5ac0'],
]

function rows(): Buffer[] {
  const columns = VALUES.map(([type, modifier], index): Column => {
    const names = new Map(typeof type === 'string' ? [[1, type]] : [])
    return { name: `c${index}`, type: typeOf(typeof type === 'string' ? 1 : type, modifier, names) }
  })
  const values = VALUES.map(([, , text]) => text)
  const sparse = values.map((value, index) => (index % 2 === 0 ? value : null))
  return [
    colMetadata(columns),
    rowToken(columns, values),
    rowToken(columns, sparse),
    rowToken(columns, values),
    doneToken(DONE.final, 3),
  ]
}

/** The answers to a statement, to one that fails, and to a procedure. */
const ANSWERS: readonly (() => Buffer[])[] = [
  rows,
  rows,
  () => [
    errorToken({ number: 208, state: 1, class: 16, message: "Invalid object name 'x'." }, 'FUZZ'),
    doneToken(DONE.error),
  ],
  () => [
    returnValue('@handle', intN(4), '7'),
    envText('database', 'sales', 'master'),
    returnStatus(0),
    doneProc(DONE.final),
  ],
]
