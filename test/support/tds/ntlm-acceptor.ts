/** Part of the TDS server test double: checks an LMv2 login (MS-NLMP 3.3.2) for one account. */

import { createHmac, timingSafeEqual } from 'node:crypto'
import type { SspiAcceptor } from './options.ts'

export interface NtlmAccount {
  readonly domain: string
  readonly user: string
  /** MD4 of the password in UTF-16, which Node's OpenSSL no longer computes. */
  readonly ntHash: Buffer
}

const SIGNATURE = Buffer.from('NTLMSSP\0', 'latin1')
/** Unicode, NTLM, target information. */
const FLAGS = 0x0080_0201
const CHALLENGE = Buffer.from('0123456789abcdef', 'hex')

const hmac = (key: Buffer, ...data: readonly Buffer[]): Buffer =>
  data.reduce((mac, part) => mac.update(part), createHmac('md5', key)).digest()

export function ntlmAcceptor(account: NtlmAccount): SspiAcceptor {
  return {
    async step(token) {
      if (!token.subarray(0, 8).equals(SIGNATURE)) throw new Error('no NTLM message')
      const type = token.readUInt32LE(8)
      if (type === 1) return { output: challenge(account.domain) }
      if (type !== 3) throw new Error(`an NTLM message of type ${type}`)
      // LMv2: tedious' field for NTLMv2 covers the proof without what it is a proof of.
      const response = field(token, 12)
      const domain = field(token, 28).toString('utf16le')
      const user = field(token, 36).toString('utf16le')
      const key = hmac(account.ntHash, Buffer.from(user.toUpperCase() + domain, 'utf16le'))
      const proof = hmac(key, CHALLENGE, response.subarray(16, 24))
      const same = domain.toUpperCase() === account.domain && user.toLowerCase() === account.user
      if (!same || !timingSafeEqual(proof, response.subarray(0, 16))) throw new Error('the wrong password')
      return { principal: `${account.domain}\\${account.user}` }
    },
    close: () => undefined,
  }
}

function field(message: Buffer, at: number): Buffer {
  const offset = message.readUInt32LE(at + 4)
  return message.subarray(offset, offset + message.readUInt16LE(at))
}

function challenge(domain: string): Buffer {
  const name = Buffer.from(domain, 'utf16le')
  /** MsvAvNbDomainName, then the end of the list. */
  const info = Buffer.concat([Buffer.from([2, 0, name.length, 0]), name, Buffer.alloc(4)])
  const message = Buffer.alloc(56)
  SIGNATURE.copy(message)
  message.writeUInt32LE(2, 8)
  message.writeUInt16LE(name.length, 12)
  message.writeUInt16LE(name.length, 14)
  message.writeUInt32LE(56, 16)
  message.writeUInt32LE(FLAGS, 20)
  CHALLENGE.copy(message, 24)
  message.writeUInt16LE(info.length, 40)
  message.writeUInt16LE(info.length, 42)
  message.writeUInt32LE(56 + name.length, 44)
  return Buffer.concat([message, name, info])
}
