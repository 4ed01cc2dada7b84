/**
 * Part of the TDS server test double: an NTLMv2 acceptor with every check of MS-NLMP 3.2.5.1.2.
 *
 * It checks the NtChallengeResponse alone: the LM response never admits a client.
 */

import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import type { SspiAcceptor } from './options.ts'

export interface NtlmAccount {
  readonly domain: string
  readonly user: string
  /** MD4 of the password in UTF-16, which Node's OpenSSL no longer computes. */
  readonly ntHash: Buffer
}

export interface NtlmRules {
  /** Extended Protection: the application data of the channel bindings (RFC 5929) that the response must hold. */
  readonly channelBindings?: () => Buffer | undefined
  /** Extended Protection: the accepted service principal names. */
  readonly targetNames?: readonly string[]
  /** Sends no time, and so requires no MIC. Default: it does. */
  readonly withoutTimestamp?: boolean
  /** How far the server's clock is ahead, in milliseconds. */
  readonly clockOffsetMillis?: number
  /** Accepts any time in the response: those of Microsoft's drivers for Java and Go are far from ours. */
  readonly anyTime?: boolean
  /** Replaces the correct CHALLENGE_MESSAGE. */
  readonly challenge?: (right: Buffer) => Buffer
  /** The client's messages, after the login was accepted. */
  readonly onAccepted?: (seen: NtlmSeen) => void
}

export interface NtlmSeen {
  readonly hasMic: boolean
  readonly lmResponse: Buffer
  readonly targetName: string | undefined
  readonly channelBindings: Buffer | undefined
  readonly workstation: string
}

const SIGNATURE = Buffer.from('NTLMSSP\0', 'latin1')
/** Unicode, request target, NTLM, always sign, domain, extended session security, target information. */
const FLAGS = 0x0089_8205
const AV = { computer: 1, domain: 2, flags: 6, timestamp: 7, targetName: 9, channelBindings: 10 } as const
const MIC_OFFSET = 72
/** MS-NLMP allows 30 minutes between the time in the response and the domain controller's. */
const MAXIMUM_SKEW_MILLIS = 30 * 60_000

const hmac = (key: Buffer, ...data: readonly Buffer[]): Buffer =>
  data.reduce((mac, part) => mac.update(part), createHmac('md5', key)).digest()

export function ntlmAcceptor(account: NtlmAccount, rules: NtlmRules = {}): SspiAcceptor {
  let negotiate: Buffer | undefined
  let challenge: Buffer | undefined
  return {
    async step(token) {
      if (!token.subarray(0, 8).equals(SIGNATURE)) throw new Error('no NTLM message')
      const type = token.readUInt32LE(8)
      if (type === 1 && negotiate === undefined) {
        negotiate = Buffer.from(token)
        const right = challengeMessage(account.domain, rules)
        challenge = rules.challenge?.(right) ?? right
        return { output: challenge }
      }
      if (type !== 3 || negotiate === undefined || challenge === undefined) throw new Error(`a type ${type} message`)
      const seen = verify(Buffer.from(token), negotiate, challenge, account, rules)
      rules.onAccepted?.(seen)
      return { principal: `${account.domain}\\${account.user}` }
    },
    close: () => undefined,
  }
}

function verify(
  message: Buffer,
  negotiate: Buffer,
  challenge: Buffer,
  account: NtlmAccount,
  rules: NtlmRules,
): NtlmSeen {
  const response = field(message, 20)
  const domain = field(message, 28).toString('utf16le')
  const user = field(message, 36).toString('utf16le')
  if (domain.toUpperCase() !== account.domain || user.toLowerCase() !== account.user) throw new Error('unknown account')
  if (response.length < 16 + 32) throw new Error('no NTLMv2 response')
  const [proof, blob] = [response.subarray(0, 16), response.subarray(16)]
  if (blob[0] !== 1 || blob[1] !== 1) throw new Error('no NTLMv2_CLIENT_CHALLENGE')
  const key = hmac(account.ntHash, Buffer.from(user.toUpperCase() + domain, 'utf16le'))
  if (!timingSafeEqual(hmac(key, challenge.subarray(24, 32), blob), proof)) throw new Error('the wrong password')

  const skew = Math.abs(toMillis(blob.readBigUInt64LE(8)) - (Date.now() + (rules.clockOffsetMillis ?? 0)))
  if (rules.anyTime !== true && skew > MAXIMUM_SKEW_MILLIS) throw new Error(`a time that is ${skew} ms away from ours`)
  const pairs = readPairs(blob.subarray(28))
  const hasMic = ((pairs.get(AV.flags)?.readUInt32LE() ?? 0) & 2) !== 0
  if (hasMic) {
    const sent = Buffer.from(message.subarray(MIC_OFFSET, MIC_OFFSET + 16))
    message.fill(0, MIC_OFFSET, MIC_OFFSET + 16)
    if (!timingSafeEqual(hmac(hmac(key, proof), negotiate, challenge, message), sent)) throw new Error('a wrong MIC')
  }
  const channelBindings = pairs.get(AV.channelBindings)
  const bound = rules.channelBindings?.()
  if (rules.channelBindings !== undefined && (bound === undefined || channelBindings?.equals(hashOf(bound)) !== true)) {
    throw new Error('other channel bindings')
  }
  const targetName = pairs.get(AV.targetName)?.toString('utf16le')
  if (rules.targetNames !== undefined && !rules.targetNames.includes(targetName ?? '')) {
    throw new Error(`another target name: ${targetName}`)
  }
  const workstation = field(message, 44).toString('utf16le')
  return { hasMic, lmResponse: field(message, 12), targetName, channelBindings, workstation }
}

/** MD5 of a gss_channel_bindings_struct without addresses (MS-NLMP 2.2.2.1). */
function hashOf(applicationData: Buffer): Buffer {
  const length = Buffer.alloc(4)
  length.writeUInt32LE(applicationData.length)
  return createHash('md5').update(Buffer.alloc(16)).update(length).update(applicationData).digest()
}

function field(message: Buffer, at: number): Buffer {
  const offset = message.readUInt32LE(at + 4)
  return message.subarray(offset, offset + message.readUInt16LE(at))
}

function readPairs(bytes: Buffer): Map<number, Buffer> {
  const pairs = new Map<number, Buffer>()
  for (let at = 0; bytes.readUInt16LE(at) !== 0; at += 4 + bytes.readUInt16LE(at + 2)) {
    pairs.set(bytes.readUInt16LE(at), bytes.subarray(at + 4, at + 4 + bytes.readUInt16LE(at + 2)))
  }
  return pairs
}

function pair(id: number, value: Buffer): Buffer {
  return Buffer.concat([Buffer.from([id, 0, value.length & 0xff, value.length >> 8]), value])
}

function challengeMessage(domain: string, rules: NtlmRules): Buffer {
  const name = Buffer.from(domain, 'utf16le')
  const time = Buffer.alloc(8)
  time.writeBigUInt64LE((BigInt(Date.now() + (rules.clockOffsetMillis ?? 0)) + 11_644_473_600_000n) * 10_000n)
  const info = Buffer.concat([
    pair(AV.domain, name),
    pair(AV.computer, Buffer.from('SQL1', 'utf16le')),
    rules.withoutTimestamp === true ? Buffer.alloc(0) : pair(AV.timestamp, time),
    Buffer.alloc(4),
  ])
  const head = Buffer.alloc(56)
  SIGNATURE.copy(head)
  head.writeUInt32LE(2, 8)
  head.writeUInt16LE(name.length, 12)
  head.writeUInt16LE(name.length, 14)
  head.writeUInt32LE(56, 16)
  head.writeUInt32LE(FLAGS, 20)
  randomBytes(8).copy(head, 24)
  head.writeUInt16LE(info.length, 40)
  head.writeUInt16LE(info.length, 42)
  head.writeUInt32LE(56 + name.length, 44)
  return Buffer.concat([head, name, info])
}

function toMillis(fileTime: bigint): number {
  return Number(fileTime / 10_000n - 11_644_473_600_000n)
}
