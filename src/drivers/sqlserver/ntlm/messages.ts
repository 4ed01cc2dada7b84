/**
 * The three messages of NTLM, as bytes (MS-NLMP 2.2.1), and the proof of NTLMv2 (MS-NLMP 3.3.2).
 *
 * Only NTLMv2 is spoken: the response to LM is 24 zero bytes, and neither signing nor sealing is asked for, since the
 * session is protected by TLS.
 */

import { createHash, createHmac } from 'node:crypto'
import { md4 } from './md4.ts'

const SIGNATURE = Buffer.from('NTLMSSP\0', 'latin1')

/** MS-NLMP 2.2.2.5. */
const FLAG = {
  unicode: 0x0000_0001,
  requestTarget: 0x0000_0004,
  ntlm: 0x0000_0200,
  alwaysSign: 0x0000_8000,
  extendedSessionSecurity: 0x0008_0000,
  targetInfo: 0x0080_0000,
} as const
const OFFERED =
  FLAG.unicode | FLAG.requestTarget | FLAG.ntlm | FLAG.alwaysSign | FLAG.extendedSessionSecurity | FLAG.targetInfo

/** MS-NLMP 2.2.2.1. */
const AV = { end: 0, flags: 6, timestamp: 7, targetName: 9, channelBindings: 10 } as const
/** The message carries a MIC. */
const AV_FLAG_MIC = 0x2

const NEGOTIATE_LENGTH = 32
const CHALLENGE_LENGTH = 48
/** The fields of AUTHENTICATE_MESSAGE with Version (all zero: not negotiated) and MIC. */
const AUTHENTICATE_LENGTH = 88
const MIC_OFFSET = 72
const LM_LENGTH = 24

/** A message of the server that cannot be answered. `reason` goes on with the sentence "the server's NTLM challenge ...". */
export class ChallengeError extends Error {
  override readonly name = 'ChallengeError'
  readonly reason: string
  constructor(reason: string) {
    super(`The NTLM challenge ${reason}`)
    this.reason = reason
  }
}

/** NEGOTIATE_MESSAGE (MS-NLMP 2.2.1.1), without a domain and a workstation: neither is known to the server yet. */
export function negotiateMessage(): Buffer {
  const message = Buffer.alloc(NEGOTIATE_LENGTH)
  SIGNATURE.copy(message)
  message.writeUInt32LE(1, 8)
  message.writeUInt32LE(OFFERED, 12)
  message.writeUInt32LE(NEGOTIATE_LENGTH, 20)
  message.writeUInt32LE(NEGOTIATE_LENGTH, 28)
  return message
}

export interface Challenge {
  readonly flags: number
  readonly serverChallenge: Buffer
  /** The pairs of TargetInfo without the end mark, in the server's order. */
  readonly targetInfo: ReadonlyMap<number, Buffer>
}

/**
 * Reads CHALLENGE_MESSAGE (MS-NLMP 2.2.1.2).
 *
 * @throws ChallengeError for a message that is damaged, or that leads to anything weaker than NTLMv2
 */
export function readChallenge(message: Buffer): Challenge {
  if (message.length < CHALLENGE_LENGTH || !message.subarray(0, 8).equals(SIGNATURE) || message.readUInt32LE(8) !== 2) {
    throw new ChallengeError('is not a CHALLENGE_MESSAGE')
  }
  const flags = message.readUInt32LE(20)
  if ((flags & FLAG.unicode) === 0) throw new ChallengeError('does not accept Unicode')
  if ((flags & FLAG.ntlm) === 0 || (flags & FLAG.targetInfo) === 0) {
    throw new ChallengeError('has no target information: the server asks for LM or NTLMv1')
  }
  const length = message.readUInt16LE(40)
  const offset = message.readUInt32LE(44)
  if (offset < CHALLENGE_LENGTH || offset + length > message.length) {
    throw new ChallengeError('has target information that is longer than the message')
  }
  const targetInfo = readPairs(message.subarray(offset, offset + length))
  // The server's time is what asks for a MIC; the flag says that one is there, which only our message can.
  const claimsMic = ((targetInfo.get(AV.flags)?.readUInt32LE() ?? 0) & AV_FLAG_MIC) !== 0
  if (claimsMic && !targetInfo.has(AV.timestamp))
    throw new ChallengeError('claims a MIC, and sends no time to ask for one')
  return { flags, serverChallenge: message.subarray(24, 32), targetInfo }
}

function readPairs(bytes: Buffer): Map<number, Buffer> {
  const pairs = new Map<number, Buffer>()
  for (let at = 0; at + 4 <= bytes.length; ) {
    const id = bytes.readUInt16LE(at)
    if (id === AV.end) {
      if (pairs.size === 0) break
      return pairs
    }
    const end = at + 4 + bytes.readUInt16LE(at + 2)
    const sizes = { [AV.flags]: 4, [AV.timestamp]: 8 } as Readonly<Record<number, number>>
    if (end > bytes.length || (sizes[id] !== undefined && end - at - 4 !== sizes[id]) || pairs.has(id)) break
    pairs.set(id, bytes.subarray(at + 4, end))
    at = end
  }
  throw new ChallengeError('has target information that is empty, damaged or without its end')
}

function writePairs(pairs: ReadonlyMap<number, Buffer>): Buffer {
  const parts: Buffer[] = []
  for (const [id, value] of [...pairs, [AV.end, Buffer.alloc(0)] as const]) {
    const head = Buffer.alloc(4)
    head.writeUInt16LE(id, 0)
    head.writeUInt16LE(value.length, 2)
    parts.push(head, value)
  }
  return Buffer.concat(parts)
}

export interface AuthenticateInput {
  readonly negotiate: Buffer
  readonly challenge: Buffer
  readonly user: string
  readonly domain: string
  readonly password: string
  readonly workstation: string
  /** The server's service principal name, `MSSQLSvc/db.example.com:1433`. */
  readonly targetName: string
  /** From {@link channelBindingHash}; undefined without TLS. */
  readonly channelBindings: Buffer | undefined
  /** Eight random bytes. */
  readonly clientChallenge: Buffer
  /** The time of this machine in milliseconds since the epoch, for a server that does not send its own. */
  readonly now: number
}

/**
 * AUTHENTICATE_MESSAGE (MS-NLMP 2.2.1.3) with an NTLMv2 response (3.3.2) and, where the server sent its time, a MIC over
 * all three messages (3.1.5.1.2).
 *
 * @throws ChallengeError
 */
export function authenticateMessage(input: AuthenticateInput): Buffer {
  const { flags, serverChallenge, targetInfo } = readChallenge(input.challenge)
  const serverTime = targetInfo.get(AV.timestamp)
  const pairs = new Map(targetInfo)
  if (serverTime !== undefined) {
    const given = Buffer.alloc(4)
    given.writeUInt32LE((targetInfo.get(AV.flags)?.readUInt32LE() ?? 0) | AV_FLAG_MIC)
    pairs.set(AV.flags, given)
  }
  pairs.set(AV.channelBindings, input.channelBindings ?? Buffer.alloc(16))
  pairs.set(AV.targetName, utf16(input.targetName))

  const key = ntlmV2Key(input.user, input.domain, input.password)
  const blob = Buffer.concat([
    Buffer.from([1, 1, 0, 0, 0, 0, 0, 0]),
    serverTime ?? fileTime(input.now),
    input.clientChallenge,
    Buffer.alloc(4),
    writePairs(pairs),
    Buffer.alloc(4),
  ])
  const proof = hmacMd5(key, serverChallenge, blob)

  const message = pack(flags & OFFERED, [
    Buffer.alloc(LM_LENGTH),
    Buffer.concat([proof, blob]),
    utf16(input.domain),
    utf16(input.user),
    utf16(input.workstation),
    Buffer.alloc(0),
  ])
  if (serverTime !== undefined) {
    // No key exchange is negotiated, so the session's key is the one of the response (MS-NLMP 3.4.5.1).
    hmacMd5(hmacMd5(key, proof), input.negotiate, input.challenge, message).copy(message, MIC_OFFSET)
  }
  return message
}

/** The six fields in the order of their headers, and their contents behind the fixed part. */
function pack(flags: number, fields: readonly Buffer[]): Buffer {
  const head = Buffer.alloc(AUTHENTICATE_LENGTH)
  SIGNATURE.copy(head)
  head.writeUInt32LE(3, 8)
  let offset = AUTHENTICATE_LENGTH
  for (const [index, field] of fields.entries()) {
    const at = 12 + index * 8
    head.writeUInt16LE(field.length, at)
    head.writeUInt16LE(field.length, at + 2)
    head.writeUInt32LE(offset, at + 4)
    offset += field.length
  }
  head.writeUInt32LE(flags, 60)
  return Buffer.concat([head, ...fields])
}

/** NTOWFv2 (MS-NLMP 3.3.2). The domain counts as it is written, the user in capitals. */
function ntlmV2Key(user: string, domain: string, password: string): Buffer {
  return hmacMd5(md4(utf16(password)), utf16(user.toUpperCase() + domain))
}

/** MD5 of a gss_channel_bindings_struct that holds application data alone (MS-NLMP 2.2.2.1, RFC 2744 3.11). */
export function channelBindingHash(applicationData: Buffer): Buffer {
  const head = Buffer.alloc(20)
  head.writeUInt32LE(applicationData.length, 16)
  return createHash('md5').update(head).update(applicationData).digest()
}

/** 100 ns since 1601 (MS-DTYP 2.3.3). */
function fileTime(millis: number): Buffer {
  const time = Buffer.alloc(8)
  time.writeBigUInt64LE((BigInt(Math.round(millis)) + 11_644_473_600_000n) * 10_000n)
  return time
}

function utf16(text: string): Buffer {
  return Buffer.from(text, 'utf16le')
}

function hmacMd5(key: Buffer, ...data: readonly Buffer[]): Buffer {
  const mac = createHmac('md5', key)
  for (const part of data) mac.update(part)
  return mac.digest()
}
