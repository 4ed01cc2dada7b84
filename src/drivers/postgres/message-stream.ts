/**
 * What a server sends, cut into messages and checked before pg's parser sees it; rows are read here
 * ({@link rowIn}), and pg gets everything else as whole messages.
 */

import { type RowMessage, rowIn } from './data-rows.ts'
import { LONGEST_MESSAGE, type MessageRules } from './message-rules.ts'
import { NotPostgres } from './messages.ts'

const DATA_ROW = 0x44
/** Type and length. */
const HEADER_BYTES = 5
/** The length counts itself. */
const LENGTH_BYTES = 4
/** Memory for a message that does not lie in one chunk; it grows with what arrives, whatever length is announced. */
const FIRST_ROOM = 8192
const NO_ROOM = Buffer.alloc(0)

/** Reads the bytes of one session, from the beginning of a message on. */
export class MessageStream {
  readonly #rules: MessageRules
  readonly #onRow: (row: RowMessage) => void
  readonly #parse: (messages: Buffer) => void
  /** The message that does not lie in one chunk: its first `#have` bytes. */
  #room = NO_ROOM
  #have = 0

  /** @param parse gets one or several whole messages; they may lie in the chunk itself */
  constructor(rules: MessageRules, onRow: (row: RowMessage) => void, parse: (messages: Buffer) => void) {
    this.#rules = rules
    this.#onRow = onRow
    this.#parse = parse
  }

  /**
   * Takes the next chunk. What comes before a damaged message is still handed on.
   * @throws NotPostgres
   */
  take(chunk: Buffer): void {
    const begin = this.#have === 0 ? 0 : this.#complete(chunk)
    if (begin < chunk.length) this.#read(chunk, begin)
  }

  /** Reads the messages that lie in the chunk, and keeps the beginning of one that does not. */
  #read(chunk: Buffer, begin: number): void {
    const rules = this.#rules
    let parsed = begin
    let offset = begin
    try {
      while (chunk.length - offset >= HEADER_BYTES) {
        const end = this.#endOf(chunk, offset)
        if (end > chunk.length) {
          rules.assertLength(chunk[offset] ?? 0, end - offset - HEADER_BYTES)
          break
        }
        if (chunk[offset] === DATA_ROW) {
          const before = parsed
          parsed = end
          if (before < offset) this.#parse(chunk.subarray(before, offset))
          this.#onRow(rowIn(chunk, offset + HEADER_BYTES, end, rules.columns ?? rules.undescribed()))
        } else {
          rules.check(chunk[offset] ?? 0, chunk, offset + HEADER_BYTES, end)
        }
        offset = end
      }
    } finally {
      if (parsed < offset) this.#parse(chunk.subarray(parsed, offset))
    }
    if (offset < chunk.length) this.#keep(chunk, offset, chunk.length)
  }

  /** Where a message ends; checks its length. */
  #endOf(bytes: Buffer, offset: number): number {
    const length = bytes.readUInt32BE(offset + 1)
    if (length < LENGTH_BYTES || length > LONGEST_MESSAGE) throw new NotPostgres(`a message of ${length} bytes`)
    return offset + 1 + length
  }

  /** Adds what the message that has begun lacks, and reads it when it is whole; returns how much of the chunk that took. */
  #complete(chunk: Buffer): number {
    let offset = 0
    if (this.#have < HEADER_BYTES) {
      offset = this.#keep(chunk, 0, HEADER_BYTES - this.#have)
      if (this.#have < HEADER_BYTES) return offset
    }
    const end = this.#endOf(this.#room, 0)
    this.#rules.assertLength(this.#room[0] ?? 0, end - HEADER_BYTES)
    offset = this.#keep(chunk, offset, offset + end - this.#have)
    if (this.#have < end) return offset
    const message = this.#room.subarray(0, end)
    this.#have = 0
    // Given away: pg may keep a part of it.
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
