/** The fields of SQL Server's rows into Arrow batches. */

import type { RecordBatch } from 'apache-arrow'
import type { ColumnMetadata, FieldConsumer, FieldRun } from '../../../drivers/sqlserver/statement.ts'
import type { BatchLimits } from '../batch-limits.ts'
import type { ColumnBuilder } from '../columns/column.ts'

/** Lets each column's builder take its own out of the bytes that have arrived. */
export class Batches implements FieldConsumer<RecordBatch> {
  readonly #begin: (sent: readonly ColumnMetadata[]) => readonly ColumnBuilder[]
  readonly #finish: (builders: readonly ColumnBuilder[], rows: number) => RecordBatch
  readonly #limits: BatchLimits
  #builders: readonly ColumnBuilder[] = []
  #columns = 0
  #rows = 0
  #bytes = 0
  #total = 0

  /**
   * @param begin makes the builders for the columns that the server sends
   * @param finish makes a batch of the rows in the builders, and empties them
   */
  constructor(
    limits: BatchLimits,
    begin: (sent: readonly ColumnMetadata[]) => readonly ColumnBuilder[],
    finish: (builders: readonly ColumnBuilder[], rows: number) => RecordBatch,
  ) {
    this.#limits = limits
    this.#begin = begin
    this.#finish = finish
  }

  /** Rows decoded so far. */
  get total(): number {
    return this.#total
  }

  columns(sent: readonly ColumnMetadata[]): void {
    this.#columns = sent.length
    this.#builders = this.#begin(sent)
  }

  take({ chunk, fields, rows }: FieldRun): RecordBatch[] {
    const builders = this.#builders
    const columns = this.#columns
    const stride = columns * 2
    const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.length)
    const batches: RecordBatch[] = []
    for (let from = 0; from < rows; ) {
      const count = Math.min(rows - from, this.#limits.rows - this.#rows)
      for (let column = 0; column < builders.length; column += 1) {
        // A column that is made of whole rows begins at their first field.
        const slot = column < columns ? column * 2 : 0
        builders[column]?.append(chunk, view, fields, from * stride + slot, stride, count)
      }
      from += count
      this.#rows += count
      this.#total += count
      if (this.#rows >= this.#limits.rows) batches.push(this.#emit())
    }
    this.#bytes += bytesOf(fields, stride, rows)
    if (this.#bytes >= this.#limits.bytes && this.#rows > 0) batches.push(this.#emit())
    return batches
  }

  end(): RecordBatch[] {
    // An empty table gives one empty batch, so that its schema is known.
    return this.#rows > 0 || this.#total === 0 ? [this.#emit()] : []
  }

  #emit(): RecordBatch {
    const batch = this.#finish(this.#builders, this.#rows)
    this.#rows = 0
    this.#bytes = 0
    return batch
  }
}

/** From the first field of the run to its last: the rows lie one after the other. */
function bytesOf(fields: Int32Array, stride: number, rows: number): number {
  const last = rows * stride - 2
  const length = fields[last + 1] as number
  return Math.max(0, (fields[last] as number) + Math.max(0, length) - (fields[0] as number))
}
