/** Columns of values of any length: text, bytea, json, uuid as text, and enums as a dictionary of their labels. */

import type { Data, DataType, Utf8, Vector } from 'apache-arrow'
import { Arrays, type Arrow, type ColumnBuilder, FIRST_ROWS, Nulls, outOfRange, roomFor } from './column.ts'
import { copyBytes, viewed } from './copy-bytes.ts'
import { UUID_TEXT_BYTES, writeUuid } from './uuid-text.ts'

const FIRST_BYTES = 256

/**
 * Not filled with zeros, because only bytes that were written are read. In a buffer of its own, because Arrow passes
 * whole buffers on.
 */
function room(bytes: number): Uint8Array {
  return Buffer.allocUnsafeSlow(bytes)
}

/** The bytes of values one after the other, and the place where each begins. */
export abstract class VariableColumn implements ColumnBuilder {
  protected values: Uint8Array = room(FIRST_BYTES)
  protected used = 0
  protected offsets = new Int32Array(FIRST_ROWS + 1)
  readonly #offsetArrays = new Arrays(Int32Array)
  #spare: Uint8Array | undefined
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
      const grown = this.#offsetArrays.take(roomFor(needed, this.offsets.length))
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
    this.offsets = this.#offsetArrays.take(Math.max(FIRST_ROWS, length) + 1)
    this.offsets[0] = 0
    // The next batch is about as long as this one. With a little more room it need not be moved at its end.
    const likely = Math.max(FIRST_BYTES, this.used + (this.used >> 3))
    this.values = this.#spare !== undefined && this.#spare.length >= this.used ? this.#spare : room(likely)
    this.#spare = undefined
    this.rows = 0
    this.used = 0
    return made
  }

  reuse(data: Data): void {
    this.#offsetArrays.giveBack(data.valueOffsets)
    this.#spare = new Uint8Array(data.values.buffer as ArrayBuffer)
  }
}

/** The bytes as they arrive, without a prefix (jsonb's version number). */
export class BytesColumn extends VariableColumn {
  readonly #skip: number

  constructor(arrow: Arrow, type: DataType, skip = 0) {
    super(arrow, type)
    this.#skip = skip
  }

  append(chunk: Buffer, view: DataView, fields: Int32Array, first: number, stride: number, count: number): void {
    const offsets = this.reserveRows(count)
    const skip = this.#skip
    let total = this.used
    for (let i = 0, at = first + 1; i < count; i += 1, at += stride) {
      if ((fields[at] as number) > 0) total += fields[at] as number
    }
    const from = { buffer: chunk, view }
    const values = viewed(this.reserveBytes(total))
    let used = this.used
    let row = this.rows
    for (let i = 0, at = first; i < count; i += 1, at += stride, row += 1) {
      const length = fields[at + 1] as number
      if (length < 0) {
        this.nulls.add(row)
      } else {
        const start = fields[at] as number
        copyBytes(from, start + skip, start + length, values, used)
        used += length - skip
      }
      offsets[row + 1] = used
    }
    this.used = used
    this.rows = row
  }
}

/** 16 bytes written as the canonical 36 characters. */
export class UuidColumn extends VariableColumn {
  constructor(arrow: Arrow) {
    super(arrow, new arrow.Utf8())
  }

  append(_chunk: Buffer, view: DataView, fields: Int32Array, first: number, stride: number, count: number): void {
    const offsets = this.reserveRows(count)
    const text = viewed(this.reserveBytes(this.used + count * UUID_TEXT_BYTES))
    let used = this.used
    let row = this.rows
    for (let i = 0, at = first; i < count; i += 1, at += stride, row += 1) {
      if ((fields[at + 1] as number) < 0) {
        this.nulls.add(row)
      } else {
        const start = fields[at] as number
        writeUuid(view, start, text, used)
        used += UUID_TEXT_BYTES
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
  readonly #arrays = new Arrays(Int32Array)
  #values = this.#arrays.take(FIRST_ROWS)
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
      const grown = this.#arrays.take(roomFor(this.#rows + count, this.#values.length))
      grown.set(this.#values)
      this.#values = grown
    }
    this.#arrays.clear(this.#values, this.#rows, this.#rows + count)
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
    this.#values = this.#arrays.take(Math.max(FIRST_ROWS, length))
    this.#rows = 0
    return made
  }

  reuse(data: Data): void {
    this.#arrays.giveBack(data.values)
  }
}

function sameBytes(label: Buffer | undefined, chunk: Buffer, start: number, length: number): boolean {
  if (label === undefined || label.length !== length) return false
  for (let byte = 0; byte < length; byte += 1) if (label[byte] !== chunk[start + byte]) return false
  return true
}
