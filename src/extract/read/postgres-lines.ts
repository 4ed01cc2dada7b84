/** The text formats of COPY: a message for each row, to which the columns that are the same in all rows are added. */

import { PoolsmithError } from '../../errors.ts'
import { copyBytes, type Viewed, viewed } from './columns/copy-bytes.ts'
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
  readonly #suffix: Viewed
  #block = viewed(Buffer.allocUnsafeSlow(BLOCK_BYTES))
  #spare: Viewed | undefined
  #used = 0
  #rows = 0
  #ready: Lines[] = []

  constructor(suffix: string) {
    this.#suffix = viewed(Buffer.from(suffix))
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
    const suffixBytes = suffix.buffer.length
    const room = end - start + suffixBytes
    if (this.#used + room > this.#block.buffer.length) this.#next(room)
    const at = this.write(this.#block.buffer, this.#used, chunk, start, end - 1)
    copyBytes(suffix, 0, suffixBytes, this.#block, at)
    this.#used = at + suffixBytes
    this.#rows += 1
  }

  #next(room: number): void {
    if (this.#rows > 0) this.#ready.push({ bytes: this.#block.buffer.subarray(0, this.#used), rows: this.#rows })
    const spare = this.#spare
    const fits = spare !== undefined && spare.buffer.length >= room
    this.#block = fits ? spare : viewed(Buffer.allocUnsafeSlow(Math.max(BLOCK_BYTES, room)))
    this.#spare = undefined
    this.#used = 0
    this.#rows = 0
  }

  /** Nobody reads these lines any more: their memory may be filled again. */
  reuse({ bytes }: Lines): void {
    this.#spare = viewed(new Uint8Array(bytes.buffer))
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
