/** The text formats of COPY: a message for each row, to which the columns that are the same in all rows are added. */

import { PoolsmithError } from '../../errors.ts'
import type { CopyConsumer } from './postgres-copy.ts'
import type { Lines } from './reader.ts'

/** Bytes that are gathered before they go on to the file. */
const BLOCK_BYTES = 1 << 20
const NEWLINE = 0x0a
const SPACE = 0x20
const CLOSING_BRACE = 0x7d
/** JSON never holds this byte, so COPY is told to quote with it: quotes and backslashes then stay as they are. */
export const JSON_QUOTE = 0x01

/** Cuts what ends a row, lets a format look at the rest, and adds the suffix. */
abstract class TextRows implements CopyConsumer<Lines> {
  readonly #suffix: Buffer
  #block = Buffer.allocUnsafeSlow(BLOCK_BYTES)
  #used = 0
  #rows = 0
  #ready: Lines[] = []

  constructor(suffix: string) {
    this.#suffix = Buffer.from(suffix)
  }

  /** Writes a row without its newline to `block` at `at`; returns where it ends there. */
  protected abstract write(block: Buffer, at: number, chunk: Buffer, start: number, end: number): number

  data(chunk: Buffer, start: number, end: number): void {
    if (chunk[end - 1] !== NEWLINE) {
      throw new PoolsmithError("The server's text copy cannot be understood: a message is not a whole row.", {
        code: 'EXTRACT_PROTOCOL',
        phase: 'query',
        hint: 'Something on the way re-cuts the rows; use format parquet.',
      })
    }
    const suffix = this.#suffix
    const room = end - start + suffix.length
    if (this.#used + room > this.#block.length) this.#next(room)
    let at = this.write(this.#block, this.#used, chunk, start, end - 1)
    for (let byte = 0; byte < suffix.length; byte += 1) this.#block[at + byte] = suffix[byte] as number
    at += suffix.length
    this.#used = at
    this.#rows += 1
  }

  #next(room: number): void {
    if (this.#rows > 0) this.#ready.push({ bytes: this.#block.subarray(0, this.#used), rows: this.#rows })
    this.#block = Buffer.allocUnsafeSlow(Math.max(BLOCK_BYTES, room))
    this.#used = 0
    this.#rows = 0
  }

  flush(): Lines[] {
    const ready = this.#ready
    if (ready.length > 0) this.#ready = []
    return ready
  }

  end(): Lines[] {
    this.#next(0)
    return this.flush()
  }
}

/** CSV as COPY writes it. */
export class CsvRows extends TextRows {
  protected write(block: Buffer, at: number, chunk: Buffer, start: number, end: number): number {
    chunk.copy(block, at, start, end)
    return at + end - start
  }
}

/** One JSON object, open at its end so that the suffix can add members and close it. */
export class JsonRows extends TextRows {
  protected write(block: Buffer, at: number, chunk: Buffer, start: number, end: number): number {
    // COPY quotes a value that holds a line break.
    const quoted = chunk[start] === JSON_QUOTE
    const from = quoted ? start + 1 : start
    const to = (quoted ? end - 1 : end) - 1
    if (chunk[to] !== CLOSING_BRACE) throw new TypeError('A row is no JSON object.')
    chunk.copy(block, at, from, to)
    const stop = at + to - from
    // A line break inside JSON can only stand between its tokens (a column of type json keeps its layout).
    if (quoted) {
      for (let byte = at; byte < stop; byte += 1) {
        if (block[byte] === NEWLINE || block[byte] === 0x0d) block[byte] = SPACE
      }
    }
    return stop
  }
}
