import type { Duplex } from 'node:stream'
import { onAbort } from '../../abort.ts'

/** The other side closed the stream, or it broke, while we waited for bytes. */
export class StreamClosed extends Error {
  override readonly name = 'StreamClosed'
}

/** The end of the message did not come within the permitted number of bytes. */
export class TooLong extends Error {
  override readonly name = 'TooLong'
}

const EVENTS = ['readable', 'end', 'close', 'error'] as const

/**
 * Reads exactly as many bytes as are asked for and leaves the rest in the stream, so that the next reader
 * (TLS, the driver's own parser) finds every byte that we did not take. Dispose it before the stream is handed on.
 */
export class Wire implements Disposable {
  readonly stream: Duplex
  readonly #signal: AbortSignal
  readonly #registration: Disposable
  #wake: (() => void) | undefined
  // Listening all the time: a listener for `readable` that is added while half a message lies in the buffer is
  // called at once, and one that is added again for each wait would be called for ever.
  readonly #onChange = (): void => this.#wake?.()

  /** Does not close the stream when the signal is aborted: its owner does that. */
  constructor(stream: Duplex, signal: AbortSignal) {
    this.stream = stream
    this.#signal = signal
    for (const event of EVENTS) stream.on(event, this.#onChange)
    this.#registration = onAbort(signal, this.#onChange)
  }

  [Symbol.dispose](): void {
    for (const event of EVENTS) this.stream.off(event, this.#onChange)
    this.#registration[Symbol.dispose]()
  }

  write(bytes: Buffer): void {
    this.stream.write(bytes)
  }

  /** How many bytes have arrived and are not read yet. */
  get waiting(): number {
    return this.stream.readableLength
  }

  /** @throws StreamClosed; the signal's reason when it is aborted */
  async read(size: number): Promise<Buffer> {
    if (size === 0) return Buffer.alloc(0)
    for (;;) {
      this.#signal.throwIfAborted()
      const chunk: Buffer | null = this.stream.read(size)
      if (chunk !== null) {
        if (chunk.length === size) return chunk
        throw new StreamClosed('closed in the middle of a message')
      }
      if (this.stream.errored) throw new StreamClosed(this.stream.errored.message, { cause: this.stream.errored })
      if (this.stream.readableEnded || this.stream.destroyed) throw new StreamClosed('closed')
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  /**
   * Everything up to and with `end`, which must come within `maximum` bytes.
   *
   * @throws TooLong; StreamClosed; the signal's reason when it is aborted
   */
  async readUntil(end: string, maximum: number): Promise<Buffer> {
    let taken: Buffer = Buffer.alloc(0)
    for (;;) {
      const chunk = await this.read(Math.max(1, this.waiting))
      // The end may lie across two chunks.
      const from = Math.max(0, taken.length - end.length + 1)
      taken = Buffer.concat([taken, chunk])
      const found = taken.indexOf(end, from, 'latin1')
      const length = found === -1 ? taken.length : found + end.length
      if (length > maximum) throw new TooLong(`more than ${maximum} bytes`)
      if (found === -1) continue
      if (length < taken.length) this.stream.unshift(taken.subarray(length))
      return taken.subarray(0, length)
    }
  }
}
