/** The fields of SQL Server's rows as JSON Lines. */

import type { ColumnMetadata, FieldConsumer, FieldRun } from '../../../drivers/sqlserver/statement.ts'
import { ROW_HASH } from '../chosen-columns.ts'
import type { Lines } from '../table.ts'
import { RowHash } from './row-hash.ts'
import { type JsonForm, type ValueText, valueText } from './value-text.ts'

/** Characters that are gathered before they go on to the file. */
const BLOCK_CHARACTERS = 1 << 19

const MEMBERS: Readonly<Record<JsonForm, (text: string) => string>> = {
  number: (text) => text,
  boolean: (text) => (text === '1' ? 'true' : 'false'),
  text: (text) => JSON.stringify(text),
  moment: (text) => JSON.stringify(text.replace(' ', 'T').replace(' ', '')),
  base64: (text) => JSON.stringify(Buffer.from(text.slice(2), 'hex').toString('base64')),
}

/** An object for each row; the suffix adds members and closes it. */
export class JsonLines implements FieldConsumer<Lines> {
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
