/** Packets of TDS (MS-TDS 2.2.3) that pass before tedious reads the stream: PRELOGIN and the TLS handshake. */

import type { Wire } from '../network/wire.ts'

/** MS-TDS 2.2.3.1.1. */
export const PACKET = { answer: 0x04, sspi: 0x11, prelogin: 0x12 } as const

export const HEADER_BYTES = 8
/** Of the status of a packet (MS-TDS 2.2.3.1.2). */
export const END_OF_MESSAGE = 0x01
/** The size of packets until the login has agreed on one (MS-TDS 2.2.6.4, PacketSize). */
const FIRST_PACKET_BYTES = 4096

/** The most that a server may send in answer to a login until the session stands, in bytes. */
export const LARGEST_LOGIN_BYTES = 1 << 20

/** The peer does not speak TDS. */
export class NotSqlServer extends Error {
  override readonly name = 'NotSqlServer'
}

/** A message, cut into packets. */
export function packetsOf(type: number, body: Buffer): Buffer {
  const room = FIRST_PACKET_BYTES - HEADER_BYTES
  const packets: Buffer[] = []
  for (let at = 0, id = 1; at === 0 || at < body.length; at += room, id++) {
    const part = body.subarray(at, at + room)
    const header = Buffer.alloc(HEADER_BYTES)
    header[0] = type
    header[1] = at + room < body.length ? 0 : END_OF_MESSAGE
    header.writeUInt16BE(HEADER_BYTES + part.length, 2)
    header[6] = id & 0xff
    packets.push(header, part)
  }
  return Buffer.concat(packets)
}

/**
 * Reads one message of a type, and no byte behind it.
 *
 * @param largest of how many bytes, the headers of its packets included
 * @throws NotSqlServer when something else comes, or more; StreamClosed; the signal's reason
 */
export async function readMessage(wire: Wire, type: number, largest: number): Promise<Buffer> {
  const parts: Buffer[] = []
  let total = 0
  for (;;) {
    const header = await wire.read(HEADER_BYTES)
    if (header[0] !== type) throw new NotSqlServer(`a packet of type ${header[0]} in place of one of type ${type}`)
    const length = header.readUInt16BE(2)
    const isLast = ((header[1] ?? 0) & END_OF_MESSAGE) !== 0
    // Empty packets would keep the client reading without end.
    if (length < HEADER_BYTES || (length === HEADER_BYTES && !isLast)) throw new NotSqlServer('a packet without a body')
    total += length
    if (total > largest) throw new NotSqlServer(`a message of more than ${largest} bytes`)
    parts.push(await wire.read(length - HEADER_BYTES))
    if (isLast) return Buffer.concat(parts)
  }
}
