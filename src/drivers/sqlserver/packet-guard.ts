const HEADER_LENGTH = 8
const LONGEST_PACKET = 32_767
/** What a server sends: answers, and the packets that carry a TLS handshake (MS-TDS 2.2.3.1.1). */
const SERVER_PACKETS: ReadonlySet<number> = new Set([0x04, 0x12])

/**
 * Watches the headers of the packets that come in. tedious takes any four bytes for a header and then waits for as
 * many bytes as they seem to say: a web server's answer, or a damaged one, would be a wait without end.
 */
export class PacketGuard {
  #header = Buffer.alloc(0)
  /** How much of the present packet's body is still to come. */
  #remaining = 0

  /** False as soon as a header cannot be one. */
  accepts(chunk: Buffer): boolean {
    let at = Math.min(this.#remaining, chunk.length)
    this.#remaining -= at
    while (at < chunk.length) {
      const take = Math.min(HEADER_LENGTH - this.#header.length, chunk.length - at)
      this.#header = Buffer.concat([this.#header, chunk.subarray(at, at + take)])
      at += take
      if (!SERVER_PACKETS.has(this.#header[0] ?? 0)) return false
      if (this.#header.length < HEADER_LENGTH) return true
      const length = this.#header.readUInt16BE(2)
      if (length < HEADER_LENGTH || length > LONGEST_PACKET) return false
      this.#header = Buffer.alloc(0)
      const body = Math.min(length - HEADER_LENGTH, chunk.length - at)
      this.#remaining = length - HEADER_LENGTH - body
      at += body
    }
    return true
  }
}
