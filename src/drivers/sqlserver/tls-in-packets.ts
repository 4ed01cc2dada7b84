/** TLS as TDS has it before version 8.0: the handshake travels in PRELOGIN packets, all that follows goes bare. */

import { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { startTls, type TlsRequest } from '../network/tls.ts'
import { Wire } from '../network/wire.ts'
import { stuffed } from './login-errors.ts'
import { PACKET, packetsOf, readMessage } from './packets.ts'

/** In bytes: OpenSSL takes chains of certificates of at most 100 kB. */
const LARGEST_FLIGHT = 1 << 17

export interface PacketTlsRequest extends TlsRequest {
  /** `write`: TLS covers what we send; the server answers in plain, and its answers stay in the socket. */
  readonly direction: 'both' | 'write'
}

export interface PacketTls {
  readonly stream: TLSSocket
  /** Ends TLS and leaves the socket open, for the plain part of a session whose login alone is encrypted. */
  leave(): void
}

/**
 * Runs the TLS handshake inside PRELOGIN packets (MS-TDS 3.2.5.2) and returns the TLS stream. The socket is closed when
 * it fails.
 *
 * An attacker on the way can let the genuine handshake pass and add plain packets to it, which a client that goes on
 * reading would take for encrypted answers of the server (as CVE-2021-23222 for PostgreSQL). Therefore exactly one message
 * of the handshake's type is read for each flight that is sent, and no byte may wait behind it, neither before the next
 * flight nor when the handshake is complete.
 *
 * @throws PoolsmithError of startTls; TLS_STUFFED; NotSqlServer; the signal's reason
 */
export async function tlsInPackets(socket: Duplex, request: PacketTlsRequest): Promise<PacketTls> {
  const carrier = new HandshakeCarrier(socket, request.host, request.signal)
  try {
    const stream = await startTls(carrier, request)
    carrier.unwrap(request.direction)
    return { stream, leave: () => carrier.leave(stream) }
  } catch (error) {
    carrier.destroy()
    throw carrier.failure ?? error
  }
}

/** The stream below TLS. */
class HandshakeCarrier extends Duplex {
  /** Why the handshake was broken off; TLS itself knows only that it was. */
  failure: unknown
  readonly #socket: Duplex
  readonly #host: string
  readonly #wire: Wire
  readonly #onClose = (): void => void this.destroy(this.#socket.errored ?? undefined)
  #wrapping = true
  #isOwner = true

  constructor(socket: Duplex, host: string, signal: AbortSignal) {
    super({ allowHalfOpen: false })
    this.#socket = socket
    this.#host = host
    this.#wire = new Wire(socket, signal)
    // As on every stream of ours: an error that comes between two owners does not end the process.
    this.on('error', () => undefined)
    socket.once('close', this.#onClose)
  }

  /**
   * From here on bytes pass as they are.
   *
   * @throws PoolsmithError TLS_STUFFED
   */
  unwrap(direction: 'both' | 'write'): void {
    if (this.#wire.waiting > 0) throw stuffed(this.#host)
    this.#wrapping = false
    this.#wire[Symbol.dispose]()
    if (direction === 'write') return
    const socket = this.#socket
    socket.on('data', (chunk: Buffer) => {
      if (!this.push(chunk)) socket.pause()
    })
    socket.on('end', () => this.push(null))
  }

  leave(tls: TLSSocket): void {
    this.#isOwner = false
    this.#socket.off('close', this.#onClose)
    tls.destroy()
  }

  override _read(): void {
    if (!this.#wrapping) this.#socket.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#send(chunk, done)
  }

  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this.#send(Buffer.concat(chunks.map(({ chunk }) => chunk)), done)
  }

  override _final(done: (error?: Error | null) => void): void {
    if (this.#socket.destroyed) done()
    else this.#socket.end(() => done())
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#wire[Symbol.dispose]()
    if (this.#isOwner) this.#socket.destroy()
    done(error)
  }

  #send(bytes: Buffer, done: (error?: Error | null) => void): void {
    if (!this.#wrapping) {
      this.#socket.write(bytes, done)
      return
    }
    // One flight of the handshake, whole: TLS writes all that it has to say at once.
    if (this.#wire.waiting > 0) this.#breakOff(stuffed(this.#host))
    else {
      this.#socket.write(packetsOf(PACKET.prelogin, bytes), done)
      readMessage(this.#wire, PACKET.prelogin, LARGEST_FLIGHT).then(
        (flight) => this.push(flight),
        (error: unknown) => this.#breakOff(error),
      )
    }
  }

  #breakOff(error: unknown): void {
    if (this.destroyed) return
    this.failure = error
    this.destroy()
  }
}
