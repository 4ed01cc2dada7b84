/** Edits of login messages that tedious cannot make, as pure functions over bytes. */

import type { ClientIdentity } from './client-identity.ts'
import { TOKEN } from './stream-parser.ts'

/** Positions in LOGIN7 (MS-TDS 2.2.6.4). */
const CLIENT_VERSION = 12
const OPTION_FLAGS_2 = 25
const INTEGRATED_SECURITY = 0x80
const EXTENSION_OFFSET = 56
const CLIENT_NAME_OFFSET = 60
const CLIENT_NAME_LENGTH = 62
/** The offsets of language and database. */
const BETWEEN_NAME_AND_SSPI = [64, 68] as const
const CLIENT_ID = 72
const SSPI_OFFSET = 78
const SSPI_LENGTH = 80
const AFTER_SSPI = [82, 86] as const
const SSPI_LONG_LENGTH = 90
const SHORT_MAX = 0xffff

/**
 * The same LOGIN7 message with a GSS token in its place and the flag for integrated security. A token of more than
 * 65,535 bytes (a ticket with many groups) has its length in a field of its own; tedious' builder throws there.
 */
export function withSspi(login7: Buffer, token: Buffer): Buffer {
  const at = login7.readUInt16LE(SSPI_OFFSET)
  const message = Buffer.concat([login7.subarray(0, at), token, login7.subarray(at)])
  message.writeUInt32LE(message.length, 0)
  message[OPTION_FLAGS_2] = (message[OPTION_FLAGS_2] ?? 0) | INTEGRATED_SECURITY
  const long = token.length >= SHORT_MAX
  message.writeUInt16LE(long ? SHORT_MAX : token.length, SSPI_LENGTH)
  message.writeUInt32LE(long ? token.length : 0, SSPI_LONG_LENGTH)
  // The fields behind it are empty; where nothing is, any offset that fits will do.
  for (const field of AFTER_SSPI) message.writeUInt16LE(0, field)
  // The list of features lies behind everything else, and is found through a pointer in the data.
  const pointer = message.readUInt16LE(EXTENSION_OFFSET)
  message.writeUInt32LE(message.readUInt32LE(pointer) + token.length, pointer)
  return message
}

/** The same LOGIN7 message with our name, version and id of the client in place of tedious' constants. */
export function withClient(login7: Buffer, { name, version, id }: ClientIdentity): Buffer {
  const at = login7.readUInt16LE(CLIENT_NAME_OFFSET)
  const end = at + login7.readUInt16LE(CLIENT_NAME_LENGTH) * 2
  const text = Buffer.from(name, 'utf16le')
  const message = Buffer.concat([login7.subarray(0, at), text, login7.subarray(end)])
  const longer = at + text.length - end
  message.writeUInt32LE(message.length, 0)
  message.writeUInt32LE(version, CLIENT_VERSION)
  message.writeUInt16LE(name.length, CLIENT_NAME_LENGTH)
  id.copy(message, CLIENT_ID)
  for (const field of [...BETWEEN_NAME_AND_SSPI, SSPI_OFFSET, ...AFTER_SSPI]) {
    message.writeUInt16LE(message.readUInt16LE(field) + longer, field)
  }
  const pointer = message.readUInt16LE(EXTENSION_OFFSET)
  message.writeUInt32LE(message.readUInt32LE(pointer) + longer, pointer)
  return message
}

const DONE_LENGTH = 13

export interface LoginReply {
  /** The server's GSS tokens, in order. */
  readonly sspi: readonly Buffer[]
  /** All other tokens of the message, as they came. */
  readonly rest: Buffer
}

/**
 * Takes the GSS tokens out of an answer to a login: tedious reads every one of them as NTLM.
 *
 * @throws RangeError when the bytes are no answer to a login
 */
export function splitLoginReply(message: Buffer): LoginReply {
  const sspi: Buffer[] = []
  const rest: Buffer[] = []
  for (let at = 0; at < message.length; ) {
    const end = tokenEnd(message, at)
    if (end > message.length) throw new RangeError('a token that is longer than its message')
    if (message[at] === TOKEN.sspi) sspi.push(message.subarray(at + 3, end))
    else rest.push(message.subarray(at, end))
    at = end
  }
  return { sspi, rest: Buffer.concat(rest) }
}

/**
 * The version of TDS in LOGINACK (MS-TDS 2.2.7.14). Behind it the tokens may have other lengths than ours.
 *
 * @returns undefined for an answer that does not accept a login
 * @throws RangeError when the bytes are no answer to a login
 */
export function acknowledgedVersion(message: Buffer): number | undefined {
  for (let at = 0; at < message.length; at = tokenEnd(message, at)) {
    if (message[at] === TOKEN.loginAck) return message.readUInt32BE(at + 4)
  }
  return undefined
}

function tokenEnd(message: Buffer, at: number): number {
  switch (message[at]) {
    case TOKEN.error:
    case TOKEN.info:
    case TOKEN.loginAck:
    case TOKEN.envChange:
    case TOKEN.sspi:
      return at + 3 + message.readUInt16LE(at + 1)
    case TOKEN.fedAuthInfo:
      return at + 5 + message.readUInt32LE(at + 1)
    case TOKEN.featureExtAck: {
      let next = at + 1
      while (message.readUInt8(next) !== 0xff) next += 5 + message.readUInt32LE(next + 1)
      return next + 1
    }
    case TOKEN.done:
      return at + DONE_LENGTH
    default:
      throw new RangeError(`token 0x${message[at]?.toString(16)} in the answer to a login`)
  }
}
