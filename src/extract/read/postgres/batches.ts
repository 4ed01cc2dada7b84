/**
 * The binary COPY format (PostgreSQL: COPY, "Binary Format"): finds the fields of each row, and lets each column's
 * builder take its own out of the network's buffer, a run of rows at a time.
 */

import type { RecordBatch } from 'apache-arrow'
import type { CopyConsumer } from '../../../drivers/postgres/copy.ts'
import { PoolsmithError } from '../../../errors.ts'
import type { BatchLimits } from '../batch-limits.ts'
import type { ColumnBuilder } from '../columns/column.ts'

const SIGNATURE = Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1')
/** At most this many rows are found before the columns take their fields. */
const RUN_ROWS = 1024
/** In place of the number of a row's fields: the end of the copy. */
export const TRAILER = -1

export class Batches implements CopyConsumer<RecordBatch> {
  readonly #columns: readonly ColumnBuilder[]
  readonly #finish: (rows: number) => RecordBatch
  readonly #limits: BatchLimits
  readonly #runRows: number
  /** Start and length of every field of the run, row by row; length -1 is NULL. */
  readonly #fields: Int32Array
  #run = 0
  #chunk: Buffer | undefined
  #view: DataView = new DataView(new ArrayBuffer(0))
  #rows = 0
  #bytes = 0
  #begun = false
  #ended = false
  #batches: RecordBatch[] = []
  #total = 0

  /** @param finish makes a batch of the rows in the builders, and empties them */
  constructor(columns: readonly ColumnBuilder[], limits: BatchLimits, finish: (rows: number) => RecordBatch) {
    this.#columns = columns
    this.#limits = limits
    this.#finish = finish
    this.#runRows = Math.max(1, Math.min(RUN_ROWS, limits.rows, Math.floor((1 << 16) / Math.max(1, columns.length))))
    this.#fields = new Int32Array(this.#runRows * columns.length * 2)
  }

  /** Rows decoded so far. */
  get total(): number {
    return this.#total
  }

  data(chunk: Buffer, start: number, end: number): void {
    if (chunk !== this.#chunk) this.#enter(chunk)
    let at = start
    if (!this.#begun) {
      at = rowsBegin(chunk, start, end)
      this.#begun = true
    }
    while (at < end) at = this.#row(at, end)
  }

  flush(): RecordBatch[] {
    this.#take()
    this.#chunk = undefined
    const batches = this.#batches
    if (batches.length > 0) this.#batches = []
    return batches
  }

  end(): RecordBatch[] {
    if (!this.#ended) throw malformed('it ended without its trailer')
    this.#take()
    // An empty table gives one empty batch, so that its schema is known.
    if (this.#rows > 0 || this.#total === 0) this.#emit()
    return this.flush()
  }

  #enter(chunk: Buffer): void {
    this.#take()
    this.#chunk = chunk
    this.#view = new DataView(chunk.buffer, chunk.byteOffset, chunk.length)
  }

  #row(start: number, end: number): number {
    const view = this.#view
    const fields = this.#fields
    const count = this.#columns.length
    const given = view.getInt16(start)
    let at = start + 2
    if (given === TRAILER) {
      this.#ended = true
      return at
    }
    if (given !== count) throw malformed(`a row has ${given} fields where ${count} were asked for`)
    let slot = this.#run * count * 2
    for (let column = 0; column < count; column += 1) {
      const length = view.getInt32(at)
      at += 4
      fields[slot] = at
      fields[slot + 1] = length
      slot += 2
      if (length > 0) at += length
    }
    if (at > end) throw malformed('a row is longer than its message')
    this.#run += 1
    this.#bytes += at - start
    if (
      this.#run === this.#runRows ||
      this.#rows + this.#run >= this.#limits.rows ||
      this.#bytes >= this.#limits.bytes
    ) {
      this.#take()
    }
    return at
  }

  /** The columns take the fields found so far; a full batch is set aside. */
  #take(): void {
    const chunk = this.#chunk
    const run = this.#run
    if (chunk === undefined || run === 0) return
    const columns = this.#columns
    const stride = columns.length * 2
    for (let column = 0; column < columns.length; column += 1) {
      columns[column]?.append(chunk, this.#view, this.#fields, column * 2, stride, run)
    }
    this.#rows += run
    this.#total += run
    this.#run = 0
    if (this.#rows >= this.#limits.rows || this.#bytes >= this.#limits.bytes) this.#emit()
  }

  #emit(): void {
    this.#batches.push(this.#finish(this.#rows))
    this.#rows = 0
    this.#bytes = 0
  }
}

/** Checks the header; returns where the first row begins. */
export function rowsBegin(chunk: Buffer, start: number, end: number): number {
  const fixed = SIGNATURE.length + 8
  if (end - start < fixed || chunk.compare(SIGNATURE, 0, SIGNATURE.length, start, start + SIGNATURE.length) !== 0) {
    throw malformed('it does not begin with the signature of COPY')
  }
  const flags = chunk.readUInt32BE(start + SIGNATURE.length)
  // Bits 16 to 31 are critical: an unknown one means another layout.
  if (flags >>> 16 !== 0) throw malformed(`it has the unknown flags 0x${flags.toString(16)}`)
  return start + fixed + chunk.readUInt32BE(start + SIGNATURE.length + 4)
}

export function malformed(what: string): PoolsmithError {
  return new PoolsmithError(`The server's binary copy cannot be understood: ${what}.`, {
    code: 'EXTRACT_PROTOCOL',
    phase: 'query',
    hint: 'Report this with the server version; until then use format csv or jsonl, which read text.',
  })
}
