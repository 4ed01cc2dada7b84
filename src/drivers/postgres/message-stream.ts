/**
 * Splits the bytes of a server into messages and checks them before pg's parser reads them. The messages of
 * usual answers are read here ({@link answerIn}); pg's parser receives all other messages complete.
 */

import { type AnswerContext, type AnswerMessage, answerIn, type FieldConstructor } from './answers.ts'
import { LONGEST_MESSAGE, type MessageRules } from './message-rules.ts'
import { NotPostgres } from './messages.ts'
import type { ValueReader } from './value-readers.ts'

const DATA_ROW = 0x44
/** Type and length. */
const HEADER_BYTES = 5
/** The length counts itself. */
const LENGTH_BYTES = 4
/** Memory for a message that is spread over chunks. It grows with the bytes that arrive, not with the announced length. */
const FIRST_ROOM = 8192
const NO_ROOM = Buffer.alloc(0)

export interface MessageStreamParts {
  readonly rules: MessageRules
  /** For the descriptions of columns. */
  readonly Field: FieldConstructor
  /** Receives each message that is read here. */
  readonly onAnswer: (message: AnswerMessage) => void
  /** Receives one or more complete messages, which may be a part of the chunk. */
  readonly parse: (messages: Buffer) => void
}

/** Takes the rows of one result in place of {@link MessageStreamParts.onAnswer}. */
export interface RowSink {
  /** Asked before each chunk. */
  takesMore(): boolean
  /**
   * Takes the row whose body is `chunk[start, end)`, which is valid during this call only.
   * @returns whether it takes more
   * @throws NotPostgres when a length or the count does not fit
   */
  take(chunk: Buffer, start: number, end: number): boolean
}

/** Reads the bytes of one session, starting at the beginning of a message. */
export class MessageStream implements AnswerContext {
  readonly rules: MessageRules
  readonly Field: FieldConstructor
  readonly #onAnswer: (message: AnswerMessage) => void
  readonly #parse: (messages: Buffer) => void
  /** The first `#have` bytes of a message that is spread over chunks. */
  #room = NO_ROOM
  #have = 0
  /** For the columns of the rows that follow. */
  readers: readonly (ValueReader | undefined)[] | undefined
  /** For the rows of the result that has just been described; ends with it. */
  sink: RowSink | undefined

  constructor({ rules, Field, onAnswer, parse }: MessageStreamParts) {
    this.rules = rules
    this.Field = Field
    this.#onAnswer = onAnswer
    this.#parse = parse
  }

  /**
   * Takes the next chunk, and keeps no part of it. Messages before a damaged one are still passed on.
   * @throws NotPostgres
   */
  take(chunk: Buffer): void {
    if (this.sink?.takesMore() === false) this.sink = undefined
    const begin = this.#have === 0 ? 0 : this.#complete(chunk)
    if (begin < chunk.length) this.#read(chunk, begin)
  }

  /** Reads the messages that are complete in the chunk, and keeps the beginning of the last one otherwise. */
  #read(chunk: Buffer, begin: number): void {
    const { rules } = this
    let parsed = begin
    let offset = begin
    try {
      while (chunk.length - offset >= HEADER_BYTES) {
        const end = this.#endOf(chunk, offset)
        if (end > chunk.length) {
          rules.assertLength(chunk[offset] ?? 0, end - offset - HEADER_BYTES)
          break
        }
        const code = chunk[offset] ?? 0
        const start = offset + HEADER_BYTES
        const isTaken = code === DATA_ROW && this.sink !== undefined
        const message = isTaken ? undefined : answerIn(code, chunk, start, end, this)
        if (!isTaken && message === undefined) {
          rules.check(code, chunk, start, end)
        } else {
          const before = parsed
          parsed = end
          if (before < offset) this.#leave(chunk, before, offset)
          if (message === undefined) this.#give(chunk, start, end)
          else this.#tell(message)
        }
        offset = end
      }
    } finally {
      if (parsed < offset) this.#leave(chunk, parsed, offset)
    }
    if (offset < chunk.length) this.#keep(chunk, offset, chunk.length)
  }

  #tell(message: AnswerMessage): void {
    this.sink = undefined
    this.#onAnswer(message)
  }

  #give(chunk: Buffer, start: number, end: number): void {
    if (this.sink?.take(chunk, start, end) === false) this.sink = undefined
  }

  /** Leaves messages to pg's parser, with memory of their own: it keeps parts of some. */
  #leave(chunk: Buffer, from: number, to: number): void {
    this.#parse(Buffer.from(chunk.subarray(from, to)))
  }

  /** The offset at which a message ends. */
  #endOf(bytes: Buffer, offset: number): number {
    const length = bytes.readUInt32BE(offset + 1)
    if (length < LENGTH_BYTES || length > LONGEST_MESSAGE) throw new NotPostgres(`a message of ${length} bytes`)
    return offset + 1 + length
  }

  /** Completes the message that has begun, and reads it once it is complete. Returns the bytes taken from the chunk. */
  #complete(chunk: Buffer): number {
    let offset = 0
    if (this.#have < HEADER_BYTES) {
      offset = this.#keep(chunk, 0, HEADER_BYTES - this.#have)
      if (this.#have < HEADER_BYTES) return offset
    }
    const end = this.#endOf(this.#room, 0)
    this.rules.assertLength(this.#room[0] ?? 0, end - HEADER_BYTES)
    offset = this.#keep(chunk, offset, offset + end - this.#have)
    if (this.#have < end) return offset
    const message = this.#room.subarray(0, end)
    this.#have = 0
    // Not used again: the message may have been long.
    this.#room = NO_ROOM
    this.#read(message, 0)
    return offset
  }

  #keep(chunk: Buffer, from: number, to: number): number {
    const end = Math.min(to, chunk.length)
    const needed = this.#have + end - from
    if (needed > this.#room.length) {
      const larger = Buffer.allocUnsafe(Math.max(FIRST_ROOM, needed, 2 * this.#room.length))
      this.#room.copy(larger, 0, 0, this.#have)
      this.#room = larger
    }
    chunk.copy(this.#room, this.#have, from, end)
    this.#have = needed
    return end
  }
}
