import type { Duplex } from 'node:stream'

/** The other side closed the stream, or it broke, while we waited for bytes. */
export class StreamClosed extends Error {
  override readonly name = 'StreamClosed'
}

/**
 * Reads exactly as many bytes as are asked for and leaves the rest in the stream, so that whoever comes next
 * (TLS, the driver's own parser) finds every byte that we did not take.
 */
export class Wire {
  readonly stream: Duplex
  readonly #signal: AbortSignal

  /** Does not close the stream when the signal is aborted: that is for its owner to do. */
  constructor(stream: Duplex, signal: AbortSignal) {
    this.stream = stream
    this.#signal = signal
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
      await this.#change()
    }
  }

  /** Resolves when the stream has something new to tell: bytes, its end, an error; or the signal has. */
  #change(): Promise<void> {
    const { stream } = this
    const signal = this.#signal
    return new Promise((resolve) => {
      const events = ['readable', 'end', 'close', 'error'] as const
      const done = (): void => {
        for (const event of events) stream.off(event, done)
        signal.removeEventListener('abort', done)
        resolve()
      }
      for (const event of events) stream.on(event, done)
      signal.addEventListener('abort', done)
    })
  }
}
