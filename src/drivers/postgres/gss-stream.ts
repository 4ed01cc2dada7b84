import { Duplex } from 'node:stream'
import { asError } from '../../any-error.ts'
import { kerberosError } from '../../kerberos/errors.ts'
import type { GssContext } from '../../kerberos/gss-api.ts'
import { inPlace } from '../network/read-in-place.ts'

/** The length in front of every packet and token, in network byte order. */
export const LENGTH_BYTES = 4

/** The largest packet, its length included (libpq's PQ_GSS_SEND_BUFFER_SIZE and PQ_GSS_RECV_BUFFER_SIZE). */
const MAX_PACKET = 16_384

/** How many packets are encrypted at a time: a parameter of many megabytes must not hold the event loop. */
const PACKETS_AT_ONCE = 8

/**
 * An encrypted GSSAPI session as a stream (PostgreSQL documentation, "GSSAPI Session Encryption"): packets of a length
 * and one wrapped message each, over a stream with a complete security context. It owns both from then on.
 *
 * A packet that is altered, repeated, missing, too long, not encrypted or cut short destroys the stream with
 * GSS_MESSAGE_DAMAGED. A listener for `error` stays on it, so that a late error does not end the process.
 */
export class GssStream extends Duplex {
  readonly #below: Duplex
  readonly #context: GssContext
  readonly #plainBytes: number
  /** Room for a packet that has arrived in part; made when the first such packet arrives. */
  #room: Buffer | undefined
  #partialBytes = 0

  constructor(below: Duplex, context: GssContext) {
    super({ allowHalfOpen: false })
    this.#below = below
    this.#context = context
    this.#plainBytes = context.wrapSizeLimit(MAX_PACKET - LENGTH_BYTES)
    this.on('error', () => undefined)
    // A part that is needed afterwards is copied.
    below.on(
      'data',
      inPlace((chunk: Buffer) => this.#receive(chunk)),
    )
    below.on('end', () => this.#ended())
    below.on('error', (error) => this.destroy(error))
    below.on('close', () => this.destroy())
  }

  ref(): void {
    if ('ref' in this.#below && typeof this.#below.ref === 'function') this.#below.ref()
  }

  unref(): void {
    if ('unref' in this.#below && typeof this.#below.unref === 'function') this.#below.unref()
  }

  override _read(): void {
    this.#below.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#send(chunk, done)
  }

  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this.#send(Buffer.concat(chunks.map(({ chunk }) => chunk)), done)
  }

  override _final(done: (error?: Error | null) => void): void {
    if (this.#below.destroyed) done()
    else this.#below.end(() => done())
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#context[Symbol.dispose]()
    this.#below.destroy()
    done(error)
  }

  #send(bytes: Buffer, done: (error?: Error | null) => void): void {
    const end = Math.min(bytes.length, this.#plainBytes * PACKETS_AT_ONCE)
    const parts: Buffer[] = []
    try {
      for (let offset = 0; offset < end; offset += this.#plainBytes) {
        const message = this.#context.wrap(bytes.subarray(offset, Math.min(end, offset + this.#plainBytes)))
        const length = Buffer.allocUnsafe(LENGTH_BYTES)
        length.writeUInt32BE(message.length)
        parts.push(length, message)
      }
    } catch (error) {
      done(asError(error))
      return
    }
    this.#below.write(Buffer.concat(parts), (error) => {
      if (error != null || end === bytes.length) done(error)
      else if (this.destroyed) done(new Error('The stream was closed.'))
      else this.#send(bytes.subarray(end), done)
    })
  }

  #receive(chunk: Buffer): void {
    try {
      let offset = this.#partialBytes === 0 ? 0 : this.#completePartial(chunk)
      for (;;) {
        const left = chunk.length - offset
        if (left < LENGTH_BYTES) break
        const size = this.#sizeOf(chunk, offset)
        if (left < LENGTH_BYTES + size) break
        this.#deliver(chunk.subarray(offset + LENGTH_BYTES, offset + LENGTH_BYTES + size))
        offset += LENGTH_BYTES + size
      }
      if (offset < chunk.length) this.#keep(chunk, offset, chunk.length)
    } catch (error) {
      this.destroy(asError(error))
    }
  }

  /** Completes the packet that has arrived in part; returns the number of bytes taken from the chunk. */
  #completePartial(chunk: Buffer): number {
    let offset = 0
    if (this.#partialBytes < LENGTH_BYTES) {
      offset = this.#keep(chunk, 0, LENGTH_BYTES - this.#partialBytes)
      if (this.#partialBytes < LENGTH_BYTES) return offset
    }
    const partial = this.#partial()
    const whole = LENGTH_BYTES + this.#sizeOf(partial, 0)
    offset = this.#keep(chunk, offset, offset + whole - this.#partialBytes)
    if (this.#partialBytes < whole) return offset
    this.#partialBytes = 0
    this.#deliver(partial.subarray(LENGTH_BYTES, whole))
    return offset
  }

  #keep(chunk: Buffer, from: number, to: number): number {
    const end = Math.min(to, chunk.length)
    this.#partialBytes += chunk.copy(this.#partial(), this.#partialBytes, from, end)
    return end
  }

  #partial(): Buffer {
    this.#room ??= Buffer.allocUnsafeSlow(MAX_PACKET)
    return this.#room
  }

  #sizeOf(bytes: Buffer, offset: number): number {
    const size = bytes.readUInt32BE(offset)
    if (size > MAX_PACKET - LENGTH_BYTES) throw this.#damaged(`It would be ${size} bytes long.`)
    return size
  }

  #deliver(message: Buffer): void {
    // The reader of the packet before may have destroyed the stream in the middle of a chunk.
    if (this.destroyed) return
    if (!this.push(this.#context.unwrap(message))) this.#below.pause()
  }

  #ended(): void {
    if (this.#partialBytes === 0) this.push(null)
    else this.destroy(this.#damaged('It ends in the middle, as when the server dies or the connection is cut.'))
  }

  #damaged(more: string): Error {
    return kerberosError('GSS_MESSAGE_DAMAGED', { spn: this.#context.target }, { phase: 'gss', more })
  }
}
