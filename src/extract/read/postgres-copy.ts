/**
 * COPY ... TO STDOUT over a pg client, without an object for each row.
 *
 * This file alone in this room touches the inside of pg: while a copy runs it stands between the socket and
 * pg's parser, keeps the CopyData messages for itself and hands every other byte on, so that errors, notices and
 * the end of the statement stay pg's own business. PostgreSQL: "Message Flow", 54.2.6 COPY Operations; the server
 * sends one CopyData message for each row, which the text formats here rely on.
 */

import type { EventEmitter } from 'node:events'
import { readInPlace } from '../../drivers/network/read-in-place.ts'

/** Takes the CopyData payloads of a copy and turns them into items for the reader. */
export interface CopyConsumer<Item> {
  /** One payload: `chunk[start, end)`. The bytes are the consumer's for this call and until `flush` only. */
  data(chunk: Buffer, start: number, end: number): void
  /** All payloads of a chunk have been given; returns what is ready. */
  flush(): Item[]
  /** The copy is whole; returns the rest. */
  end(): Item[]
}

const COPY_DATA = 0x64
const HEADER_BYTES = 5

type DataListener = (chunk: Buffer) => void

interface Socket extends EventEmitter {
  pause(): unknown
  resume(): unknown
  destroy(error?: Error): unknown
}

interface PgConnection {
  readonly stream: Socket
  query(text: string): void
}

/** pg runs this as its active query (its word for the interface is Submittable). */
export class CopyOut<Item> {
  readonly #text: string
  readonly #consumer: CopyConsumer<Item>
  readonly #ready: Item[] = []
  #socket: Socket | undefined
  #parse: DataListener | undefined
  #parts: Buffer[] = []
  #have = 0
  #need = HEADER_BYTES
  #paused = false
  #discarding = false
  #settled = false
  #failure: Error | undefined
  #complete = false
  #rows = 0
  #wake: (() => void) | undefined

  constructor(text: string, consumer: CopyConsumer<Item>) {
    this.#text = text
    this.#consumer = consumer
  }

  /** The number of rows that the server says it sent; known once the copy is complete. */
  get rows(): number {
    return this.#rows
  }

  /** True when the server has ended the statement, well or badly: the session is free for the next one. */
  get settled(): boolean {
    return this.#settled
  }

  /**
   * The next item, or undefined after the last one. The socket rests while an item waits to be taken.
   * Rejects with the server's or the socket's error, with what the consumer threw, or with the signal's reason.
   */
  async next(signal?: AbortSignal): Promise<Item | undefined> {
    for (;;) {
      signal?.throwIfAborted()
      if (this.#failure !== undefined) throw this.#failure
      const item = this.#ready.shift()
      if (item !== undefined) return item
      // Not before the server is ready for the next statement: until then the socket must not rest.
      if (this.#complete && this.#settled) return undefined
      this.#resume()
      await this.#change(signal)
    }
  }

  /** Reads on without keeping anything, until the server has ended the statement or the signal ends the wait. */
  async discard(signal: AbortSignal): Promise<void> {
    this.#discarding = true
    this.#ready.length = 0
    this.#resume()
    while (!this.#settled && !signal.aborted) await this.#change(signal)
  }

  async #change(signal: AbortSignal | undefined): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const wake = (): void => resolve()
    this.#wake = wake
    signal?.addEventListener('abort', wake, { once: true })
    if (signal?.aborted) wake()
    try {
      await promise
    } finally {
      signal?.removeEventListener('abort', wake)
      this.#wake = undefined
    }
  }

  #resume(): void {
    if (!this.#paused) return
    this.#paused = false
    this.#socket?.resume()
  }

  #onData(chunk: Buffer): void {
    this.#feed(chunk)
    if (this.#ready.length > 0 && !this.#discarding && !this.#settled) {
      this.#paused = true
      this.#socket?.pause()
    }
    this.#wake?.()
  }

  #feed(chunk: Buffer): void {
    const parse = this.#parse
    let from = 0
    // Only the message that began before is put together; all others stay where they are.
    while (this.#have > 0) {
      const missing = this.#need - this.#have
      // A copy, as the chunk may lie where the next one will.
      const part = Buffer.from(chunk.subarray(from, from + missing))
      this.#parts.push(part)
      this.#have += part.length
      if (part.length < missing) return
      from += missing
      const whole = Buffer.concat(this.#parts, this.#have)
      this.#keep(whole, this.#frames(whole))
      if (this.#settled) {
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

  /** Walks over the whole messages of a buffer; returns where the first one begins that is not whole. */
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
        // What pg hears may end the statement, and then the rest of the bytes is pg's too.
        const parse = this.#parse
        this.#flush()
        parse?.(Buffer.from(buffer.subarray(at, end)))
        if (this.#settled) {
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
    if (this.#discarding) return
    try {
      this.#consumer.data(buffer, start, end)
    } catch (error) {
      this.#fail(error)
    }
  }

  #flush(): void {
    if (this.#discarding) return
    try {
      for (const item of this.#consumer.flush()) this.#ready.push(item)
    } catch (error) {
      this.#fail(error)
    }
  }

  /** The consumer cannot go on: what follows is of no use, and the reader is told. */
  #fail(error: unknown): void {
    this.#failure ??= error instanceof Error ? error : new Error(String(error))
    this.#discarding = true
  }

  /** Ends our part. At once when pg says so, because pg may start its next query before it returns to us. */
  #settle(): void {
    this.#settled = true
    if (this.#socket !== undefined && this.#parse !== undefined) {
      readInPlace(this.#socket, undefined)
      this.#socket.off('data', this.#listener)
      this.#socket.on('data', this.#parse)
    }
    this.#socket = undefined
    this.#parse = undefined
    this.callback?.()
    this.#wake?.()
  }

  readonly #listener: DataListener = (chunk) => this.#onData(chunk)

  // From here on: what pg reads and calls.

  /** In place of the client's own `query_timeout`, which counts from the start of a statement: the longest timer. */
  readonly query_timeout = 2 ** 31 - 1
  /** Set by pg, to clear that timer. */
  callback: (() => void) | undefined

  submit(connection: unknown): Error | null {
    const { stream } = connection as PgConnection
    const listeners = stream.listeners('data') as DataListener[]
    const [parse] = listeners
    if (listeners.length !== 1 || parse === undefined) {
      return new Error(`pg has changed inside: ${listeners.length} listeners for data on its socket instead of 1.`)
    }
    this.#socket = stream
    this.#parse = parse
    stream.off('data', parse)
    stream.on('data', this.#listener)
    readInPlace(stream, this.#listener)
    ;(connection as PgConnection).query(this.#text)
    return null
  }

  handleError(error: Error): void {
    this.#failure ??= error
    this.#settle()
  }

  handleCommandComplete(message: { readonly text: string }): void {
    this.#rows = Number(/^COPY (\d+)$/.exec(message.text)?.[1] ?? Number.NaN)
    if (this.#discarding) return
    try {
      for (const item of this.#consumer.end()) this.#ready.push(item)
      this.#complete = true
    } catch (error) {
      this.#fail(error)
    }
  }

  handleReadyForQuery(): void {
    this.#settle()
  }
}
