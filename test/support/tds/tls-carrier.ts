/** Part of the TDS server test double: the stream below TLS. */

import { Duplex } from 'node:stream'
import { HEADER_LENGTH, PACKET, packet } from './packet.ts'

const TLS_APPLICATION_DATA = 23

/** A socket, or a session of a connection with MARS. */
export type Carrier = Duplex & { resetAndDestroy(): unknown }

/** The stream below TLS: the socket, with the handshake wrapped in packets if asked. */
export class TlsCarrier extends Duplex {
  readonly #socket: Carrier
  #wrapping: boolean
  /** Whether the client may still send packets: once it sends bare records, a piece may begin with any byte. */
  #unwrapping: boolean
  #rest: Buffer = Buffer.alloc(0)

  constructor(socket: Carrier, wrapping: boolean) {
    super()
    this.#socket = socket
    this.#wrapping = wrapping
    this.#unwrapping = wrapping
  }

  feed(chunk: Buffer): void {
    if (!this.#unwrapping) {
      this.push(chunk)
      return
    }
    let data = Buffer.concat([this.#rest, chunk])
    while (data[0] === PACKET.prelogin) {
      const length = data.length < HEADER_LENGTH ? HEADER_LENGTH : data.readUInt16BE(2)
      if (data.length < length) break
      this.push(data.subarray(HEADER_LENGTH, length))
      data = data.subarray(length)
    }
    if (data.length > 0 && data[0] !== PACKET.prelogin) {
      this.#unwrapping = false
      this.push(data)
      data = Buffer.alloc(0)
    }
    this.#rest = data
  }

  override _read(): void {
    this.#socket.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    // The last flight of a handshake is still wrapped; application data is not.
    if (chunk[0] === TLS_APPLICATION_DATA) this.#wrapping = false
    if (chunk.length === 0) callback()
    else this.#socket.write(this.#wrapping ? packet(PACKET.prelogin, chunk, true, 0) : chunk, callback)
  }
}
