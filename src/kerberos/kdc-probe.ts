import { createSocket } from 'node:dgram'
import { connect } from 'node:net'
import { orAbort } from '../abort.ts'
import {
  application,
  elements,
  field,
  fieldOf,
  generalizedTime,
  generalString,
  integer,
  sequence,
  tagged,
} from '../der.ts'

/** The answer of a KDC to one question, by one transport. */
export interface KdcAnswer {
  readonly millis: number
  /** The KDC's clock minus ours, in milliseconds, exact to a second; absent when it issued a ticket. */
  readonly clockOffsetMillis?: number
  /** The error code of RFC 4120 7.5.9, mostly 25 (preauthentication required); absent when it issued a ticket. */
  readonly error?: number
}

export interface KdcAddress {
  readonly host: string
  readonly port: number
}

export const KDC_ERR_ETYPE_NOSUPP = 14

/** In bytes; a real answer has a few hundred, or some thousand with a PAC. */
const MAX_ANSWER = 1 << 20

export interface KdcQuestion {
  readonly principal: string
  readonly realm: string
  readonly encryptionTypes: readonly number[]
}

/** No KDC knows this type: it always answers with an error, and errors carry its time. */
export const NO_ENCRYPTION_TYPE = 511

/** krb5's names of encryption types and their numbers (IANA, "Kerberos Encryption Type Numbers"). */
export const ENCRYPTION_TYPES: Readonly<Record<string, number>> = {
  'aes128-cts-hmac-sha1-96': 17,
  'aes256-cts-hmac-sha1-96': 18,
  'aes128-cts-hmac-sha256-128': 19,
  'aes256-cts-hmac-sha384-192': 20,
  'des3-cbc-sha1': 16,
  'arcfour-hmac': 23,
  'camellia128-cts-cmac': 25,
  'camellia256-cts-cmac': 26,
}

/** `db.example.com`, `db.example.com:88`, `[::1]:88`, `tcp/host`: as krb5.conf names a KDC. Undefined for a proxy's URL. */
export function parseKdc(text: string): KdcAddress | undefined {
  const match = /^(?:(?:tcp|udp)\/)?(?:\[([^\]]+)\]|([^:/\s]+))(?::(\d+))?$/.exec(text.trim())
  const host = match?.[1] ?? match?.[2]
  return host === undefined ? undefined : { host, port: Number(match?.[3] ?? 88) }
}

/**
 * Asks a KDC for a first ticket without preauthentication (AS-REQ, RFC 4120 5.4.1). It mostly declines, and its answer
 * shows that it can be reached, the time of its clock, and whether it accepts the encryption types.
 */
export async function probeKdc(
  kdc: KdcAddress,
  transport: 'udp' | 'tcp',
  question: KdcQuestion,
  signal: AbortSignal,
): Promise<KdcAnswer> {
  const request = asRequest(question)
  const begin = performance.now()
  const answer = await (transport === 'udp' ? overUdp : overTcp)(kdc, request, signal)
  const millis = performance.now() - begin
  const now = Date.now() - millis / 2
  return { millis, ...reading(answer, now) }
}

function reading(answer: Buffer, now: number): Omit<KdcAnswer, 'millis'> {
  try {
    return factsIn(answer, now)
  } catch (cause) {
    throw new Error('its answer is not one of a KDC', { cause })
  }
}

/** RFC 4120 5.10: the application tags of an issued ticket and of an error. */
const AS_REP = 0x60 | 11
const KRB_ERROR = 0x60 | 30

/** @throws RangeError when the bytes are neither */
function factsIn(answer: Buffer, now: number): Omit<KdcAnswer, 'millis'> {
  const [outer] = elements(answer)
  if (outer?.tag === AS_REP) return {}
  if (outer?.tag !== KRB_ERROR) throw new RangeError('neither a ticket nor an error')
  const fields = elements(elements(outer.content)[0]?.content ?? Buffer.alloc(0))
  const time = fieldOf(fields, 4)?.content.toString('latin1') ?? ''
  const code = fieldOf(fields, 6)?.content
  const iso = time.replace(/^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z')
  const microseconds = fieldOf(fields, 5)?.content
  const fraction = microseconds === undefined ? 0 : microseconds.readUIntBE(0, microseconds.length) / 1000
  const clockOffsetMillis = Math.round(Date.parse(iso) + fraction - now)
  if (Number.isNaN(clockOffsetMillis)) throw new RangeError('an error without a time')
  return {
    clockOffsetMillis,
    ...(code === undefined ? {} : { error: code.readIntBE(0, code.length) }),
  }
}

function asRequest({ principal, realm, encryptionTypes }: KdcQuestion): Buffer {
  const name = (type: number, parts: readonly string[]): Buffer =>
    sequence(field(0, integer(type)), field(1, sequence(...parts.map(generalString))))
  const body = sequence(
    // No options.
    field(0, tagged(0x03, Buffer.alloc(5))),
    field(1, name(1, principal.replace(/(?<!\\)@.*$/, '').split('/'))),
    field(2, generalString(realm)),
    field(3, name(2, ['krbtgt', realm])),
    field(5, generalizedTime(new Date(Date.now() + 3_600_000))),
    field(7, integer(Math.floor(Math.random() * 0x7fff_ffff))),
    field(8, sequence(...encryptionTypes.map(integer))),
  )
  return application(10, sequence(field(1, integer(5)), field(2, integer(10)), field(4, body)))
}

async function overUdp(kdc: KdcAddress, request: Buffer, signal: AbortSignal): Promise<Buffer> {
  const socket = createSocket(kdc.host.includes(':') ? 'udp6' : 'udp4')
  const answered = new Promise<Buffer>((resolve, reject) => {
    socket.on('message', resolve)
    socket.on('error', reject)
    // The callback of connect() is called for a failure too.
    socket.once('connect', () => socket.send(request))
    // A connected socket reports a closed port as an error.
    socket.connect(kdc.port, kdc.host)
  })
  try {
    return await orAbort(answered, signal)
  } finally {
    socket.close()
  }
}

/** Over TCP both messages begin with their length (RFC 4120 7.2.2). */
async function overTcp(kdc: KdcAddress, request: Buffer, signal: AbortSignal): Promise<Buffer> {
  const socket = connect({ ...kdc })
  const answered = new Promise<Buffer>((resolve, reject) => {
    let answer = Buffer.alloc(0)
    socket.on('error', reject)
    socket.once('close', () => reject(new Error('it closed the connection without an answer')))
    socket.on('data', (chunk) => {
      answer = Buffer.concat([answer, chunk])
      if (answer.length > MAX_ANSWER) reject(new Error('its answer is too long'))
      if (answer.length < 4 || answer.length < 4 + answer.readUInt32BE()) return
      resolve(answer.subarray(4))
    })
  })
  const length = Buffer.alloc(4)
  length.writeUInt32BE(request.length)
  socket.write(Buffer.concat([length, request]))
  try {
    return await orAbort(answered, signal)
  } finally {
    socket.destroy()
  }
}
