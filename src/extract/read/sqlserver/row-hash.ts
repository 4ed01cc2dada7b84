/** `_row_hash`: defined as for PostgreSQL, over the text that CSV has of each value. */

import { hash } from 'node:crypto'
import type { ColumnMetadata } from '../../../drivers/sqlserver/statement.ts'
import { VariableColumn } from '../columns/bytes.ts'
import type { Arrow } from '../columns/column.ts'
import { type ValueText, valueText } from './value-text.ts'

const HASH_DIGITS = 64

export class RowHash {
  readonly #values: readonly ValueText[]

  constructor(sent: readonly ColumnMetadata[]) {
    this.#values = sent.map(valueText)
  }

  /** The hash of the row whose fields begin at `slot`. */
  of(chunk: Buffer, fields: Int32Array, slot: number): string {
    let row = '('
    for (let column = 0; column < this.#values.length; column += 1) {
      if (column > 0) row += ','
      const start = fields[slot + column * 2] as number
      const length = fields[slot + column * 2 + 1] as number
      if (length >= 0) row += member(this.#values[column]?.text(chunk, start, start + length) ?? '')
    }
    return hash('sha256', `${row})`)
  }
}

/** PostgreSQL: "Composite Type Input and Output Syntax". */
function member(text: string): string {
  if (text !== '' && !/["\\(),\t\n\v\f\r ]/.test(text)) return text
  return `"${text.replaceAll('\\', '\\\\').replaceAll('"', '""')}"`
}

/** A column with the hash of each row; `first` is the slot of the row's first field. */
export class RowHashColumn extends VariableColumn {
  readonly #hash: RowHash

  constructor(arrow: Arrow, sent: readonly ColumnMetadata[]) {
    super(arrow, new arrow.Utf8())
    this.#hash = new RowHash(sent)
  }

  append(chunk: Buffer, _view: DataView, fields: Int32Array, first: number, stride: number, count: number): void {
    const offsets = this.reserveRows(count)
    const values = Buffer.from(this.reserveBytes(this.used + count * HASH_DIGITS).buffer as ArrayBuffer)
    for (let i = 0, at = first; i < count; i += 1, at += stride) {
      this.used += values.write(this.#hash.of(chunk, fields, at), this.used, 'latin1')
      this.rows += 1
      offsets[this.rows] = this.used
    }
  }
}
