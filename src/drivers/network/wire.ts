import type { Duplex } from 'node:stream'

/** The other side closed the stream, or it broke, while we waited for bytes. */
export class StreamClosed extends Error {
  override readonly name = 'StreamClosed'
}

const EVENTS = ['readable', 'end', 'close', 'error'] as const

/**
 * Reads exactly as many bytes as are asked for and leaves the rest in the stream, so that whoever comes next
 * (TLS, the driver's own parser) finds every byte that we did not take. Dispose it before the stream is handed on.
 */
export class Wire implements Disposable {
  readonly stream: Duplex
  readonly #signal: AbortSignal
  #wake: (() => void) | undefined
  // Listening all the time: a listener for `readable` that is added while half a message lies in the buffer is
  // called at once, and one that is added again for each wait would be called for ever.
  readonly #onChange = (): void => this.#wake?.()

  /** Does not close the stream when the signal is aborted: that is for its owner to do. */
  constructor(stream: Duplex, signal: AbortSignal) {
    this.stream = stream
    this.#signal = signal
    for (const event of EVENTS) stream.on(event, this.#onChange)
    signal.addEventListener('abort', this.#onChange)
  }

  [Symbol.dispose](): void {
    for (const event of EVENTS) this.stream.off(event, this.#onChange)
    this.#signal.removeEventListener('abort', this.#onChange)
  }

  write(bytes: Buffer): void {
    this.stream.write(bytes)
  }

  /** How many bytes have arrived that nobody has taken. */
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
}
