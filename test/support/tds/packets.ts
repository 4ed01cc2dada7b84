/**
 * Part of the TDS server test double: messages in packets (MS-TDS 2.2.3), over a bare socket, over TLS whose
 * handshake travels inside TDS packets (MS-TDS 2.2.6.5), and over TLS from the first byte (TDS 8.0).
 */

import { once } from 'node:events'
import { type SecureContext, TLSSocket } from 'node:tls'
import { HEADER_LENGTH, PACKET, packet, STATUS } from './packet.ts'
import { type Carrier, TlsCarrier } from './tls-carrier.ts'

export { PACKET, packet } from './packet.ts'

const TLS_HANDSHAKE = 22

export interface Message {
  readonly type: number
  readonly data: Buffer
  /** The client cancelled the message while sending it. */
  readonly ignored: boolean
  readonly reset: 'no' | 'all' | 'keep-transaction'
}

/** One client's connection as messages. */
export class Transport {
  readonly socket: Carrier
  #packetSize = 4096
  /** How long the client's packets may be. */
  #largest = 0xffff
  /** The session's number, in the header of every packet after the login's request. */
  spid = 0
  onAttention: () => void = () => undefined
  /** The application data that binds a login to the TLS session (RFC 5929), also after {@link stopTls}. */
  channelBindings: Buffer | undefined
  #tls: TLSSocket | undefined
  #carrier: TlsCarrier | undefined
  #rest: Buffer = Buffer.alloc(0)
  #parts: Buffer[] = []
  #messages: Message[] = []
  #wake: (() => void) | undefined
  #first: ((byte: number) => void) | undefined
  #closed = false
  #ending = false
  #handOver: ((chunk: Buffer) => void) | undefined

  constructor(socket: Carrier) {
    this.socket = socket
    socket.on('data', (chunk: Buffer) => {
      const first = this.#first
      if (first !== undefined) {
        // The first byte decides whether TLS comes first; until then nothing is read as a packet.
        this.#first = undefined
        first(chunk[0] ?? 0)
      }
      if (this.#carrier === undefined) this.#receive(chunk)
      else this.#carrier.feed(chunk)
    })
    const close = (): void => {
      this.#closed = true
      this.#carrier?.destroy()
      this.#wake?.()
    }
    socket.on('close', close)
    socket.on('end', close)
    // A client may leave by a reset.
    socket.on('error', close)
  }

  get tls(): TLSSocket | undefined {
    return this.#tls
  }

  get closed(): boolean {
    return this.#closed
  }

  /** The size of the server's packets. */
  get packetSize(): number {
    return this.#packetSize
  }

  /** From here on the packets of both sides have at most this size. */
  grant(packetSize: number): void {
    this.#packetSize = packetSize
    this.#largest = packetSize
  }

  /** Whether {@link end} was called. */
  get ending(): boolean {
    return this.#ending
  }

  /** Hangs up behind all that was written: TLS still has records of it when the socket has none. */
  end(): void {
    this.#ending = true
    const end = (): void => void this.socket.end()
    if (this.#tls === undefined || this.#tls.destroyed) end()
    else this.#tls.write('', end)
  }

  /** Whether a message waits to be read. */
  get hasMessage(): boolean {
    return this.#messages.length > 0
  }

  /** Whether the client begins with a TLS handshake: calls `begin` before the first byte is read as a packet. */
  onFirstByte(begin: (isTls: boolean) => void): void {
    this.#first = (byte) => begin(byte === TLS_HANDSHAKE)
  }

  /** @param wrapped the handshake arrives in PRELOGIN packets (every version before TDS 8.0) */
  async startTls(secureContext: SecureContext, wrapped: boolean): Promise<void> {
    const carrier = new TlsCarrier(this.socket, wrapped)
    this.#carrier = carrier
    const tls = new TLSSocket(carrier, {
      isServer: true,
      secureContext,
      ...(wrapped ? {} : { ALPNProtocols: ['tds/8.0'] }),
    })
    this.#tls = tls
    tls.on('data', (chunk: Buffer) => this.#receive(chunk))
    tls.on('error', () => this.socket.destroy())
    await Promise.race([
      once(tls, 'secure'),
      once(this.socket, 'close').then(() => {
        throw new Error('The client left during the TLS handshake.')
      }),
    ])
  }

  /** Returns to the bare socket, as after a login under ENCRYPT_OFF. */
  stopTls(): void {
    this.#carrier = undefined
    this.#tls = undefined
  }

  /** The messages of a session inside of this connection. */
  within(session: Carrier): Transport {
    const inside = new Transport(session)
    inside.grant(this.#packetSize)
    inside.spid = this.spid
    return inside
  }

  /** From here on somebody else reads what arrives. */
  handOver(receive: (chunk: Buffer) => void): void {
    this.#handOver = receive
  }

  #receive(chunk: Buffer): void {
    if (this.#handOver !== undefined) {
      this.#handOver(chunk)
      return
    }
    let data = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    while (data.length >= HEADER_LENGTH) {
      const length = data.readUInt16BE(2)
      if (length < HEADER_LENGTH || length > this.#largest) {
        this.socket.destroy()
        return
      }
      if (data.length < length) break
      this.#packet(data[0] ?? 0, data[1] ?? 0, data.subarray(HEADER_LENGTH, length))
      data = data.subarray(length)
    }
    this.#rest = data
  }

  #packet(type: number, status: number, payload: Buffer): void {
    this.#parts.push(payload)
    if ((status & STATUS.endOfMessage) === 0) return
    const data = Buffer.concat(this.#parts)
    this.#parts = []
    if (type === PACKET.attention) {
      this.onAttention()
      return
    }
    this.#messages.push({
      type,
      data,
      ignored: (status & STATUS.ignore) !== 0,
      reset:
        (status & STATUS.reset) !== 0
          ? 'all'
          : (status & STATUS.resetKeepTransaction) !== 0
            ? 'keep-transaction'
            : 'no',
    })
    this.#wake?.()
  }

  /** The next message; undefined when the client has disconnected. */
  async read(): Promise<Message | undefined> {
    while (this.#messages.length === 0) {
      if (this.#closed) return undefined
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      this.#wake = undefined
    }
    return this.#messages.shift()
  }

  /** Writes raw bytes, through TLS where it is active; waits while the client does not read. */
  async writeRaw(data: Buffer): Promise<void> {
    const stream = this.#tls ?? this.socket
    if (this.#closed || stream.destroyed) return
    if (stream.write(data)) return
    await new Promise<void>((resolve) => {
      const done = (): void => {
        stream.off('drain', done)
        this.socket.off('close', done)
        resolve()
      }
      stream.once('drain', done)
      this.socket.once('close', done)
    })
  }

  /** Writes a whole message at once. */
  async send(type: number, data: Buffer): Promise<void> {
    const writer = new MessageWriter(this, type)
    await writer.write(data)
    await writer.end()
  }
}

/** A message that is written while it is made. */
export class MessageWriter {
  readonly #transport: Transport
  readonly #type: number
  #pending: Buffer[] = []
  #length = 0
  #id = 0
  /** All written bytes with packet headers, while `record` is on. */
  readonly recorded: Buffer[] = []
  record = false

  constructor(transport: Transport, type: number = PACKET.response) {
    this.#transport = transport
    this.#type = type
  }

  #packet(payload: Buffer, last: boolean): Buffer {
    return packet(this.#type, payload, last, ++this.#id, this.#transport.spid)
  }

  async #send(data: Buffer): Promise<void> {
    if (this.record) this.recorded.push(data)
    await this.#transport.writeRaw(data)
  }

  async write(data: Buffer): Promise<void> {
    this.#pending.push(data)
    this.#length += data.length
    const room = this.#transport.packetSize - HEADER_LENGTH
    if (this.#length <= room) return
    let all = Buffer.concat(this.#pending)
    const packets: Buffer[] = []
    // One packet is kept back: the last packet must be marked as the last.
    while (all.length > room) {
      packets.push(this.#packet(all.subarray(0, room), false))
      all = all.subarray(room)
    }
    this.#pending = [all]
    this.#length = all.length
    await this.#send(Buffer.concat(packets))
  }

  async end(): Promise<void> {
    await this.#send(this.#packet(Buffer.concat(this.#pending), true))
    this.#pending = []
    this.#length = 0
  }

  /** Sends the bytes so far, without the end mark. */
  async flush(): Promise<void> {
    if (this.#length === 0) return
    const data = Buffer.concat(this.#pending)
    this.#pending = []
    this.#length = 0
    await this.#send(this.#packet(data, false))
  }
}
