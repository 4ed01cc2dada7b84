/** Columns of values of any length: text, bytea, json, uuid as text, and enums as a dictionary of their labels. */

import type { Data, DataType, Utf8, Vector } from 'apache-arrow'
import { type Arrow, type ColumnBuilder, FIRST_ROWS, Nulls, outOfRange, roomFor } from './column.ts'

const FIRST_BYTES = 256
/** Below this many bytes a loop beats the call that copies. */
const SHORT = 24

/** Not set to zeros: what is read of it has been written to. In a buffer of its own, as Arrow hands buffers on whole. */
function room(bytes: number): Uint8Array {
  return Buffer.allocUnsafeSlow(bytes)
}

/** Bytes of values one after the other, and where each begins. */
export abstract class VariableColumn implements ColumnBuilder {
  protected values: Uint8Array = room(FIRST_BYTES)
  protected used = 0
  protected offsets = new Int32Array(FIRST_ROWS + 1)
  protected rows = 0
  protected readonly nulls = new Nulls()
  readonly #arrow: Arrow
  readonly #type: DataType

  constructor(arrow: Arrow, type: DataType) {
    this.#arrow = arrow
    this.#type = type
  }

  abstract append(chunk: Buffer, view: DataView, fields: Int32Array, first: number, stride: number, count: number): void

  protected reserveRows(count: number): Int32Array {
    const needed = this.rows + count + 1
    if (needed > this.offsets.length) {
      const grown = new Int32Array(roomFor(needed, this.offsets.length))
      grown.set(this.offsets)
      this.offsets = grown
    }
    return this.offsets
  }

  protected reserveBytes(needed: number): Uint8Array {
    if (needed > this.values.length) {
      const grown = room(roomFor(needed, this.values.length))
      grown.set(this.values.subarray(0, this.used))
      this.values = grown
    }
    return this.values
  }

  finish(): Data {
    const length = this.rows
    const made = this.#arrow.makeData({
      type: this.#type,
      length,
      valueOffsets: this.offsets.subarray(0, length + 1),
      data: this.values.subarray(0, this.used),
      ...this.nulls.finish(length),
    } as never) as Data
    this.offsets = new Int32Array(Math.max(FIRST_ROWS, length) + 1)
    // The next batch is about as long as this one; a little more spares it from moving at its end.
    this.values = room(Math.max(FIRST_BYTES, this.used + (this.used >> 3)))
    this.rows = 0
    this.used = 0
    return made
  }
}

/** The bytes as they come, less a prefix (jsonb's version number). */
export class BytesColumn extends VariableColumn {
  readonly #skip: number

  constructor(arrow: Arrow, type: DataType, skip = 0) {
    super(arrow, type)
    this.#skip = skip
  }

  append(chunk: Buffer, _view: DataView, fields: Int32Array, first: number, stride: number, count: number): void {
    const offsets = this.reserveRows(count)
    const skip = this.#skip
    let total = this.used
    for (let i = 0, at = first + 1; i < count; i += 1, at += stride) {
      if ((fields[at] as number) > 0) total += fields[at] as number
    }
    const values = this.reserveBytes(total)
    let used = this.used
    let row = this.rows
    for (let i = 0, at = first; i < count; i += 1, at += stride, row += 1) {
      const length = (fields[at + 1] as number) - skip
      if ((fields[at + 1] as number) < 0) {
        this.nulls.add(row)
      } else if (length < SHORT) {
        const start = (fields[at] as number) + skip
        for (let byte = 0; byte < length; byte += 1) values[used + byte] = chunk[start + byte] as number
        used += length
      } else {
        const start = (fields[at] as number) + skip
        chunk.copy(values, used, start, start + length)
        used += length
      }
      offsets[row + 1] = used
    }
    this.used = used
    this.rows = row
  }
}

/** Two hexadecimal digits for each byte, as the codes of their characters. */
const HEX_HIGH = new Uint8Array(256)
const HEX_LOW = new Uint8Array(256)
for (let byte = 0; byte < 256; byte += 1) {
  const text = byte.toString(16).padStart(2, '0')
  HEX_HIGH[byte] = text.charCodeAt(0)
  HEX_LOW[byte] = text.charCodeAt(1)
}
const UUID_TEXT_BYTES = 36
const HYPHEN = 0x2d

/** 16 bytes written as the canonical 36 characters. */
export class UuidColumn extends VariableColumn {
  constructor(arrow: Arrow) {
    super(arrow, new arrow.Utf8())
  }

  append(chunk: Buffer, _view: DataView, fields: Int32Array, first: number, stride: number, count: number): void {
    const offsets = this.reserveRows(count)
    const values = this.reserveBytes(this.used + count * UUID_TEXT_BYTES)
    let used = this.used
    let row = this.rows
    for (let i = 0, at = first; i < count; i += 1, at += stride, row += 1) {
      if ((fields[at + 1] as number) < 0) {
        this.nulls.add(row)
      } else {
        const start = fields[at] as number
        for (let byte = 0; byte < 16; byte += 1) {
          if (byte === 4 || byte === 6 || byte === 8 || byte === 10) {
            values[used] = HYPHEN
            used += 1
          }
          const value = chunk[start + byte] as number
          values[used] = HEX_HIGH[value] as number
          values[used + 1] = HEX_LOW[value] as number
          used += 2
        }
      }
      offsets[row + 1] = used
    }
    this.used = used
    this.rows = row
  }
}

/** Positions in a fixed list of labels. */
export class EnumColumn implements ColumnBuilder {
  readonly #arrow: Arrow
  readonly #type: DataType
  readonly #name: string
  readonly #labels: readonly Buffer[]
  readonly #positions: ReadonlyMap<string, number>
  readonly #dictionary: Vector<Utf8>
  readonly #nulls = new Nulls()
  #values = new Int32Array(FIRST_ROWS)
  #rows = 0

  constructor(arrow: Arrow, type: DataType, dictionary: Vector<Utf8>, labels: readonly string[], name: string) {
    this.#arrow = arrow
    this.#type = type
    this.#dictionary = dictionary
    this.#name = name
    this.#labels = labels.map((label) => Buffer.from(label))
    this.#positions = new Map(this.#labels.map((label, position) => [label.toString('latin1'), position]))
  }

  append(chunk: Buffer, _view: DataView, fields: Int32Array, first: number, stride: number, count: number): void {
    if (this.#rows + count > this.#values.length) {
      const grown = new Int32Array(roomFor(this.#rows + count, this.#values.length))
      grown.set(this.#values)
      this.#values = grown
    }
    let last = 0
    let row = this.#rows
    for (let i = 0, at = first; i < count; i += 1, at += stride, row += 1) {
      const length = fields[at + 1] as number
      if (length < 0) {
        this.#nulls.add(row)
        continue
      }
      const start = fields[at] as number
      if (!sameBytes(this.#labels[last], chunk, start, length)) last = this.#find(chunk, start, length)
      this.#values[row] = last
    }
    this.#rows = row
  }

  #find(chunk: Buffer, start: number, length: number): number {
    const position = this.#positions.get(chunk.toString('latin1', start, start + length))
    if (position !== undefined) return position
    const label = chunk.toString('utf8', start, start + length)
    throw outOfRange(this.#name, `the label ${JSON.stringify(label)} was not among the enum's when reading began`)
  }

  finish(): Data {
    const length = this.#rows
    const made = this.#arrow.makeData({
      type: this.#type,
      length,
      data: this.#values.subarray(0, length),
      dictionary: this.#dictionary,
      ...this.#nulls.finish(length),
    } as never) as Data
    this.#values = new Int32Array(Math.max(FIRST_ROWS, length))
    this.#rows = 0
    return made
  }
}

function sameBytes(label: Buffer | undefined, chunk: Buffer, start: number, length: number): boolean {
  if (label === undefined || label.length !== length) return false
  for (let byte = 0; byte < length; byte += 1) if (label[byte] !== chunk[start + byte]) return false
  return true
}
