/** The fields of SQL Server's rows as CSV. */

import type { ColumnMetadata, FieldConsumer, FieldRun } from '../../../drivers/sqlserver/statement.ts'
import type { LineStyle, Lines } from '../table.ts'
import { LineBlocks } from '../text/line-blocks.ts'
import { csvWriter, type FieldWriter, guardedCsvWriter, roomFor } from './csv-values.ts'
import { RowHash } from './row-hash.ts'

const HASH_BYTES = 65
const COMMA = 0x2c

/** NULL is an empty field, the empty string is `""`. */
export class CsvLines implements FieldConsumer<Lines> {
  readonly #suffix: Buffer
  readonly #writerOf: (column: ColumnMetadata) => FieldWriter
  readonly #withHash: boolean
  #hash: RowHash | undefined
  #writers: readonly FieldWriter[] = []
  readonly #blocks = new LineBlocks()
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
    for (let row = 0; row < rows; row += 1) this.#row(chunk, fields, row * this.#writers.length * 2)
    this.#total += rows
    return this.#blocks.take()
  }

  #row(chunk: Buffer, fields: Int32Array, slot: number): void {
    const blocks = this.#blocks
    const columns = this.#writers.length
    for (let column = 0; column < columns; column += 1) {
      const length = fields[slot + column * 2 + 1] as number
      blocks.reserve(roomFor(length))
      const out = blocks.block.buffer
      if (column > 0) {
        out[blocks.used] = COMMA
        blocks.used += 1
      }
      if (length < 0) continue
      const start = fields[slot + column * 2] as number
      blocks.used = (this.#writers[column] as FieldWriter)(chunk, start, start + length, out, blocks.used)
    }
    blocks.reserve(this.#suffix.length + HASH_BYTES)
    const out = blocks.block.buffer
    if (this.#hash !== undefined) {
      blocks.used += out.write(`,${this.#hash.of(chunk, fields, slot)}`, blocks.used, 'latin1')
    }
    out.set(this.#suffix, blocks.used)
    blocks.used += this.#suffix.length
    blocks.endLine()
  }

  end(): Lines[] {
    return this.#blocks.end()
  }

  reuse(lines: Lines): void {
    this.#blocks.reuse(lines)
  }
}
