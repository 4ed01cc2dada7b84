/** The fields of SQL Server's rows into Arrow batches, or into lines of text. */

import type { RecordBatch } from 'apache-arrow'
import type { FieldRun } from '../../drivers/sqlserver/row-fields.ts'
import type { ColumnMetadata } from '../../drivers/sqlserver/tedious-internals.ts'
import { ROW_HASH } from './column-names.ts'
import type { ColumnBuilder } from './columns/column.ts'
import type { BatchLimits } from './postgres-rows.ts'
import type { LineStyle, Lines } from './reader.ts'
import { csvWriter, type FieldWriter, guardedCsvWriter, roomFor } from './sqlserver-csv.ts'
import { RowHash } from './sqlserver-row-hash.ts'
import type { FieldConsumer } from './sqlserver-statement.ts'
import { type JsonForm, type ValueText, valueText } from './sqlserver-text.ts'

/** Lets each column's builder take its own out of the bytes that have come. */
export class FieldBatches implements FieldConsumer<RecordBatch> {
  readonly #begin: (sent: readonly ColumnMetadata[]) => readonly ColumnBuilder[]
  readonly #finish: (builders: readonly ColumnBuilder[], rows: number) => RecordBatch
  readonly #limits: BatchLimits
  #builders: readonly ColumnBuilder[] = []
  #columns = 0
  #rows = 0
  #bytes = 0
  #total = 0

  /**
   * @param begin makes the builders for what the server says that it sends
   * @param finish makes a batch of what they hold and empties them
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
        // What is made of whole rows begins at their first field.
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
    // An empty table is one empty batch, so that its schema is seen.
    return this.#rows > 0 || this.#total === 0 ? [this.#emit()] : []
  }

  #emit(): RecordBatch {
    const batch = this.#finish(this.#builders, this.#rows)
    this.#rows = 0
    this.#bytes = 0
    return batch
  }
}

/** From the first field of the run to its last: the rows lie one behind the other. */
function bytesOf(fields: Int32Array, stride: number, rows: number): number {
  const last = rows * stride - 2
  const length = fields[last + 1] as number
  return Math.max(0, (fields[last] as number) + Math.max(0, length) - (fields[0] as number))
}

/** What is gathered before it goes on to the file; a row that does not fit into the margin makes the block longer. */
const BLOCK_CHARACTERS = 1 << 19
const BLOCK_BYTES = 1 << 19
const MARGIN_BYTES = 1 << 14
const HASH_BYTES = 65
const COMMA = 0x2c

/** NULL is an empty field, the empty string is `""`. */
export class FieldCsv implements FieldConsumer<Lines> {
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

  /** The block, with so many bytes free behind `at`. */
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

const MEMBERS: Readonly<Record<JsonForm, (text: string) => string>> = {
  number: (text) => text,
  boolean: (text) => (text === '1' ? 'true' : 'false'),
  text: (text) => JSON.stringify(text),
  moment: (text) => JSON.stringify(text.replace(' ', 'T').replace(' ', '')),
  base64: (text) => JSON.stringify(Buffer.from(text.slice(2), 'hex').toString('base64')),
}

/** An object for each row, open at its end so that the suffix can add members and close it. */
export class FieldJson implements FieldConsumer<Lines> {
  readonly #suffix: string
  readonly #withHash: boolean
  readonly #names: readonly string[]
  readonly #asText: ReadonlySet<string>
  #hash: RowHash | undefined
  #values: readonly ValueText[] = []
  #forms: readonly ((text: string) => string)[] = []
  #parts = ''
  #rows = 0
  #total = 0

  /** @param withHash whether `_row_hash` is the last member of the row's own */
  constructor(suffix: string, withHash: boolean, names: readonly string[], asText: ReadonlySet<string>) {
    this.#suffix = suffix
    this.#withHash = withHash
    this.#names = names.map((name) => JSON.stringify(name))
    this.#asText = new Set([...asText].map((name) => JSON.stringify(name)))
  }

  get total(): number {
    return this.#total
  }

  columns(sent: readonly ColumnMetadata[]): void {
    this.#values = sent.map(valueText)
    this.#forms = this.#values.map(({ json }, column) =>
      this.#asText.has(this.#names[column] ?? '') ? MEMBERS.text : MEMBERS[json],
    )
    if (this.#withHash) this.#hash = new RowHash(sent)
  }

  take({ chunk, fields, rows }: FieldRun): Lines[] {
    const stride = this.#values.length * 2
    const ready: Lines[] = []
    for (let row = 0; row < rows; row += 1) {
      this.#parts += this.#members(chunk, fields, row * stride) + this.#suffix
      this.#rows += 1
      if (this.#parts.length >= BLOCK_CHARACTERS) ready.push(this.#emit())
    }
    this.#total += rows
    return ready
  }

  end(): Lines[] {
    return this.#rows > 0 ? [this.#emit()] : []
  }

  #members(chunk: Buffer, fields: Int32Array, slot: number): string {
    let line = '{'
    for (let column = 0; column < this.#values.length; column += 1) {
      const at = slot + column * 2
      const length = fields[at + 1] as number
      const start = fields[at] as number
      const text = length < 0 ? undefined : this.#values[column]?.text(chunk, start, start + length)
      const value = text === undefined ? 'null' : this.#forms[column]?.(text)
      line += `${column > 0 ? ',' : ''}${this.#names[column]}:${value}`
    }
    if (this.#hash === undefined) return line
    return `${line},"${ROW_HASH}":"${this.#hash.of(chunk, fields, slot)}"`
  }

  #emit(): Lines {
    const lines: Lines = { bytes: Buffer.from(this.#parts), rows: this.#rows }
    this.#parts = ''
    this.#rows = 0
    return lines
  }
}
