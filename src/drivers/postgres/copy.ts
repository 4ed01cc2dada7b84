/**
 * COPY ... TO STDOUT over a pg client, without an object for each row.
 *
 * While a copy runs, this file stands between the socket and pg's parser. It keeps the CopyData messages and passes
 * every other byte on, so that pg itself handles errors, notices and the end of the statement. The server sends one
 * CopyData message for each row, on which the text formats rely (PostgreSQL: "Message Flow", 54.2.6 COPY Operations).
 */

import type { EventEmitter } from 'node:events'
import { inPlace } from '../network/read-in-place.ts'
import { Pull } from '../pull.ts'

/** Turns the CopyData payloads of a copy into items for the reader. */
export interface CopyConsumer<Item> {
  /** One payload: `chunk[start, end)`. The bytes are valid during this call and until `flush` only. */
  data(chunk: Buffer, start: number, end: number): void
  /** All payloads of a chunk have been given; returns the items that are ready. */
  flush(): Item[]
  /** The copy is complete; returns the last items. */
  end(): Item[]
}

const COPY_DATA = 0x64
const HEADER_BYTES = 5

type DataListener = (chunk: Buffer) => void

interface Socket extends EventEmitter {
  pause(): unknown
  resume(): unknown
}

interface PgConnection {
  readonly stream: Socket
  query(text: string): void
}

/** One copy, which pg runs as its active query (pg calls the interface Submittable). */
export class CopyOut<Item> {
  /** Read by what watches the statements of a session. */
  readonly text: string
  readonly #consumer: CopyConsumer<Item>
  readonly #pull: Pull<Item>
  #socket: Socket | undefined
  #parse: DataListener | undefined
  /** The beginning of a message that is not complete yet. */
  #parts: Buffer[] = []
  #have = 0
  #need = HEADER_BYTES
  #rows = 0

  constructor(text: string, consumer: CopyConsumer<Item>) {
    this.text = text
    this.#consumer = consumer
    this.#pull = new Pull({ pause: () => this.#socket?.pause(), resume: () => this.#socket?.resume() })
  }

  /** The number of rows that the server says it sent; known once the copy is complete. */
  get rows(): number {
    return this.#rows
  }

  /** Whether the server has ended the statement: the session is free for the next one. */
  get settled(): boolean {
    return this.#pull.settled
  }

  /** As {@link Pull.next}. */
  next(signal?: AbortSignal): Promise<Item | undefined> {
    return this.#pull.next(signal)
  }

  /** As {@link Pull.discard}. The server is not asked to cancel: that takes another connection. */
  async discard(signal: AbortSignal): Promise<void> {
    await this.#pull.discard(signal)
  }

  #onData(chunk: Buffer): void {
    this.#feed(chunk)
    this.#pull.offer()
  }

  #feed(chunk: Buffer): void {
    const parse = this.#parse
    let from = 0
    // Only the message that began in an earlier chunk is copied; all others are read where they lie.
    while (this.#have > 0) {
      const missing = this.#need - this.#have
      // A copy, because the next chunk may be read into the same memory.
      const part = Buffer.from(chunk.subarray(from, from + missing))
      this.#parts.push(part)
      this.#have += part.length
      if (part.length < missing) return
      from += missing
      const whole = Buffer.concat(this.#parts, this.#have)
      this.#keep(whole, this.#frames(whole))
      if (this.settled) {
        if (from < chunk.length) parse?.(Buffer.from(chunk.subarray(from)))
        return
      }
    }
    if (from === chunk.length) return
    const buffer = from === 0 ? chunk : chunk.subarray(from)
    this.#keep(buffer, this.#frames(buffer))
  }

  #keep(buffer: Buffer, rest: number): void {
    this.#parts = rest < buffer.length ? [Buffer.from(buffer.subarray(rest))] : []
    this.#have = buffer.length - rest
  }

  /** Walks over the complete messages of a buffer; returns where the first incomplete one begins. */
  #frames(buffer: Buffer): number {
    const length = buffer.length
    let at = 0
    while (at + HEADER_BYTES <= length) {
      const end = at + 1 + buffer.readUInt32BE(at + 1)
      if (end > length) {
        this.#need = end - at
        this.#flush()
        return at
      }
      if (buffer[at] === COPY_DATA) {
        this.#give(buffer, at + HEADER_BYTES, end)
      } else {
        // This message may end the statement; then pg reads the rest of the bytes too.
        const parse = this.#parse
        this.#flush()
        parse?.(Buffer.from(buffer.subarray(at, end)))
        if (this.settled) {
          if (end < length) parse?.(Buffer.from(buffer.subarray(end)))
          return length
        }
      }
      at = end
    }
    this.#need = HEADER_BYTES
    this.#flush()
    return at
  }

  #give(buffer: Buffer, start: number, end: number): void {
    if (this.#pull.discarding) return
    try {
      this.#consumer.data(buffer, start, end)
    } catch (error) {
      this.#pull.fail(error)
    }
  }

  #flush(): void {
    this.#pull.take(() => this.#consumer.flush())
  }

  /** Gives the socket back to pg at once, because pg may start its next query before it returns to us. */
  #settle(error?: Error): void {
    this.#pull.settle(error)
    if (this.#socket !== undefined && this.#parse !== undefined) {
      this.#socket.off('data', this.#listener)
      this.#socket.on('data', this.#parse)
    }
    this.#socket = undefined
    this.#parse = undefined
    this.callback?.()
  }

  readonly #listener: DataListener = inPlace(
    (chunk) => this.#onData(chunk),
    (bytes, isDrained) => {
      this.#onData(bytes)
      if (isDrained) this.#pull.rest()
    },
  )

  // From here on: what pg reads and calls.

  /** In place of the client's `query_timeout`, which would count from the start of the statement: the longest timer. */
  readonly query_timeout = 2 ** 31 - 1
  /** Set by pg, to clear that timer. */
  callback: (() => void) | undefined

  submit(connection: unknown): Error | null {
    const { stream } = connection as PgConnection
    const listeners = stream.listeners('data') as DataListener[]
    const [parse] = listeners
    if (listeners.length !== 1 || parse === undefined) {
      return new Error(`pg has changed inside: its socket has ${listeners.length} listeners for data instead of 1.`)
    }
    this.#socket = stream
    this.#parse = parse
    stream.off('data', parse)
    stream.on('data', this.#listener)
    ;(connection as PgConnection).query(this.text)
    return null
  }

  handleError(error: Error): void {
    this.#settle(error)
  }

  handleCommandComplete(message: { readonly text: string }): void {
    this.#rows = Number(/^COPY (\d+)$/.exec(message.text)?.[1] ?? Number.NaN)
    this.#pull.take(() => this.#consumer.end())
  }

  handleReadyForQuery(): void {
    this.#settle()
  }
}
