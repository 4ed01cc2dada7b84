/** The fields of SQL Server's rows as CSV. */

import type { ColumnMetadata, FieldConsumer, FieldRun } from '../../../drivers/sqlserver/statement.ts'
import type { LineStyle, Lines } from '../table.ts'
import { csvWriter, type FieldWriter, guardedCsvWriter, roomFor } from './csv-values.ts'
import { RowHash } from './row-hash.ts'

/**
 * Bytes that are gathered before they go on to the file; a row that does not fit into the margin makes the block
 * longer.
 */
const BLOCK_BYTES = 1 << 19
const MARGIN_BYTES = 1 << 14
const HASH_BYTES = 65
const COMMA = 0x2c

/** NULL is an empty field, the empty string is `""`. */
export class CsvLines implements FieldConsumer<Lines> {
  readonly #suffix: Buffer
  readonly #writerOf: (column: ColumnMetadata) => FieldWriter
  readonly #withHash: boolean
  #hash: RowHash | undefined
  #writers: readonly FieldWriter[] = []
  #out = Buffer.allocUnsafeSlow(BLOCK_BYTES)
  #used = 0
  #rows = 0
  #total = 0

  /** @param withHash whether `_row_hash` ends each row */
  constructor({ suffix, guardFormulas = false }: LineStyle, withHash: boolean) {
    this.#suffix = Buffer.from(suffix)
    this.#writerOf = guardFormulas ? guardedCsvWriter : csvWriter
    this.#withHash = withHash
  }

  get total(): number {
    return this.#total
  }

  columns(sent: readonly ColumnMetadata[]): void {
    this.#writers = sent.map(this.#writerOf)
    if (this.#withHash) this.#hash = new RowHash(sent)
  }

  take({ chunk, fields, rows }: FieldRun): Lines[] {
    const columns = this.#writers.length
    const ready: Lines[] = []
    for (let row = 0; row < rows; row += 1) {
      const slot = row * columns * 2
      let at = this.#used
      for (let column = 0; column < columns; column += 1) {
        const length = fields[slot + column * 2 + 1] as number
        const out = this.#room(at, roomFor(length))
        if (column > 0) {
          out[at] = COMMA
          at += 1
        }
        if (length < 0) continue
        const start = fields[slot + column * 2] as number
        at = (this.#writers[column] as FieldWriter)(chunk, start, start + length, out, at)
      }
      const end = this.#room(at, this.#suffix.length + HASH_BYTES)
      if (this.#hash !== undefined) at += end.write(`,${this.#hash.of(chunk, fields, slot)}`, at, 'latin1')
      end.set(this.#suffix, at)
      this.#used = at + this.#suffix.length
      this.#rows += 1
      if (this.#used >= BLOCK_BYTES - MARGIN_BYTES) ready.push(this.#emit())
    }
    this.#total += rows
    return ready
  }

  end(): Lines[] {
    return this.#rows > 0 ? [this.#emit()] : []
  }

  /** The block, with this many bytes free from `at` on. */
  #room(at: number, bytes: number): Buffer {
    if (at + bytes > this.#out.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(this.#out.length * 2, at + bytes))
      this.#out.copy(grown, 0, 0, at)
      this.#out = grown
    }
    return this.#out
  }

  #emit(): Lines {
    const lines: Lines = { bytes: this.#out.subarray(0, this.#used), rows: this.#rows }
    this.#out = Buffer.allocUnsafeSlow(BLOCK_BYTES)
    this.#used = 0
    this.#rows = 0
    return lines
  }
}
