/**
 * Rows of a result straight from the bytes of a session, without a message, an event and an array for each row, which
 * take a third of the processor time of a large select. The rows are those that pg's `Result` makes of pg's messages.
 */

import { int32At, textIn, uint16At } from './bytes-in.ts'
import { rowIn, wrongCount, wrongLength } from './data-rows.ts'
import { isPlainText, type Parse, readersFor, type ValueReader } from './value-readers.ts'

/** The columns of rows as pg's `Result` has them; all are in text form. */
export interface Columns {
  readonly names: readonly string[]
  readonly parsers: readonly Parse[]
  /** An object with every name. */
  readonly blank: object
}

type Row = Record<string, unknown>

/** The length of a NULL. */
const NULL = -1

/** Makes the rows of one result. */
export class ResultRows {
  readonly #names: readonly string[]
  readonly #parsers: readonly Parse[]
  readonly #readers: readonly ValueReader[]
  readonly #blank: Row

  constructor({ names, parsers, blank }: Columns) {
    const readers = readersFor(parsers)
    this.#names = names
    this.#parsers = parsers
    this.#readers = parsers.map((parse, index) => readers?.[index] ?? (isPlainText(parse) ? textIn : unread))
    this.#blank = blank as Row
  }

  /**
   * The row whose body is `chunk[start, end)`, by names. Of columns with the same name the last one counts.
   * @throws NotPostgres when a length or the count does not fit; the error of a parser
   */
  byName(chunk: Buffer, start: number, end: number): Row {
    const names = this.#names
    const count = names.length
    if (uint16At(chunk, start) !== count) throw wrongCount(uint16At(chunk, start), count)
    const row = { ...this.#blank }
    let offset = start + 2
    for (let index = 0; index < count; index++) {
      const length = int32At(chunk, offset)
      const from = offset + 4
      offset = length === NULL ? from : from + length
      if (length < NULL || offset > end) throw wrongLength()
      row[names[index] as string] = length === NULL ? null : this.#value(index, chunk, from, offset)
    }
    if (offset !== end) throw wrongLength()
    return row
  }

  /** The same by positions. */
  byPosition(chunk: Buffer, start: number, end: number): unknown[] {
    const { fields } = rowIn(chunk, start, end, this.#parsers.length, this.#readers)
    for (let index = 0; index < fields.length; index++) {
      const value = fields[index]
      if (typeof value === 'string') fields[index] = (this.#parsers[index] as Parse)(value)
    }
    return fields
  }

  #value(index: number, chunk: Buffer, from: number, to: number): unknown {
    const value = (this.#readers[index] as ValueReader)(chunk, from, to)
    return value === undefined ? (this.#parsers[index] as Parse)(textIn(chunk, from, to)) : value
  }
}

/** For a column whose parser takes the text. */
const unread: ValueReader = () => undefined
