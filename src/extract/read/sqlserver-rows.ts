/** The fields of SQL Server's rows into Arrow batches, or into lines of text. */

import type { RecordBatch } from 'apache-arrow'
import type { FieldRun } from '../../drivers/sqlserver/row-fields.ts'
import type { ColumnMetadata } from '../../drivers/sqlserver/tedious-internals.ts'
import { csvField } from '../sinks/text.ts'
import type { ColumnBuilder } from './columns/column.ts'
import type { BatchLimits } from './postgres-rows.ts'
import type { Lines } from './reader.ts'
import { ROW_HASH, RowHash } from './sqlserver-row-hash.ts'
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

/** Bytes that are gathered before they go on to the file. */
const BLOCK_CHARACTERS = 1 << 19

/** One line for each row. */
abstract class FieldLines implements FieldConsumer<Lines> {
  readonly #suffix: string
  readonly #withHash: boolean
  #hash: RowHash | undefined
  #parts = ''
  #rows = 0
  #total = 0
  protected values: readonly ValueText[] = []

  /** @param withHash whether `_row_hash` ends each row */
  constructor(suffix: string, withHash: boolean) {
    this.#suffix = suffix
    this.#withHash = withHash
  }

  get total(): number {
    return this.#total
  }

  /** A row without what ends it; its fields begin at `slot`. */
  protected abstract line(chunk: Buffer, fields: Int32Array, slot: number): string

  protected abstract hashed(hash: string): string

  columns(sent: readonly ColumnMetadata[]): void {
    this.values = sent.map(valueText)
    if (this.#withHash) this.#hash = new RowHash(sent)
  }

  take({ chunk, fields, rows }: FieldRun): Lines[] {
    const stride = this.values.length * 2
    const ready: Lines[] = []
    for (let row = 0; row < rows; row += 1) {
      this.#parts += this.line(chunk, fields, row * stride)
      if (this.#hash !== undefined) this.#parts += this.hashed(this.#hash.of(chunk, fields, row * stride))
      this.#parts += this.#suffix
      this.#rows += 1
      if (this.#parts.length >= BLOCK_CHARACTERS) ready.push(this.#emit())
    }
    this.#total += rows
    return ready
  }

  end(): Lines[] {
    return this.#rows > 0 ? [this.#emit()] : []
  }

  #emit(): Lines {
    const lines: Lines = { bytes: Buffer.from(this.#parts), rows: this.#rows }
    this.#parts = ''
    this.#rows = 0
    return lines
  }
}

/** NULL is an empty field, the empty string is `""`. */
export class FieldCsv extends FieldLines {
  protected hashed(hash: string): string {
    return `,${hash}`
  }

  protected line(chunk: Buffer, fields: Int32Array, slot: number): string {
    let line = ''
    this.values.forEach(({ text }, column) => {
      if (column > 0) line += ','
      const at = slot + column * 2
      const length = fields[at + 1] as number
      if (length >= 0) line += csvField(text(chunk, fields[at] as number, (fields[at] as number) + length))
    })
    return line
  }
}

const MEMBERS: Readonly<Record<JsonForm, (text: string) => string>> = {
  number: (text) => text,
  boolean: (text) => (text === '1' ? 'true' : 'false'),
  text: (text) => JSON.stringify(text),
  moment: (text) => JSON.stringify(text.replace(' ', 'T').replace(' ', '')),
  base64: (text) => JSON.stringify(Buffer.from(text.slice(2), 'hex').toString('base64')),
}

/** An object, open at its end so that the suffix can add members and close it. */
export class FieldJson extends FieldLines {
  readonly #names: readonly string[]
  readonly #asText: ReadonlySet<string>
  #forms: readonly ((text: string) => string)[] = []

  constructor(suffix: string, withHash: boolean, names: readonly string[], asText: ReadonlySet<string>) {
    super(suffix, withHash)
    this.#names = names.map((name) => JSON.stringify(name))
    this.#asText = new Set([...asText].map((name) => JSON.stringify(name)))
  }

  protected hashed(hash: string): string {
    return `,"${ROW_HASH}":"${hash}"`
  }

  override columns(sent: readonly ColumnMetadata[]): void {
    super.columns(sent)
    this.#forms = this.values.map(({ json }, column) =>
      this.#asText.has(this.#names[column] ?? '') ? MEMBERS.text : MEMBERS[json],
    )
  }

  protected line(chunk: Buffer, fields: Int32Array, slot: number): string {
    let line = '{'
    for (let column = 0; column < this.values.length; column += 1) {
      const at = slot + column * 2
      const length = fields[at + 1] as number
      const start = fields[at] as number
      const text = length < 0 ? undefined : this.values[column]?.text(chunk, start, start + length)
      const value = text === undefined ? 'null' : this.#forms[column]?.(text)
      line += `${column > 0 ? ',' : ''}${this.#names[column]}:${value}`
    }
    return line
  }
}
