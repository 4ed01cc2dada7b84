/** Columns whose values all have one width: integers, floats and booleans. */

import type { Data, DataType } from 'apache-arrow'
import { Arrays, type Arrow, type ColumnBuilder, FIRST_ROWS, Nulls, roomFor } from './column.ts'

type Values = Int16Array | Int32Array | Float32Array | Float64Array | Uint8Array

/** Rows, NULLs and room; each kind adds its loop. */
export abstract class FixedColumn<V extends Values> implements ColumnBuilder {
  protected values: V
  protected rows = 0
  protected readonly nulls = new Nulls()
  readonly #arrow: Arrow
  readonly #type: DataType
  readonly #arrays: Arrays<V>
  readonly #unitsPerRow: number

  constructor(arrow: Arrow, type: DataType, kind: new (room: number | ArrayBuffer) => V, unitsPerRow = 1) {
    this.#arrow = arrow
    this.#type = type
    this.#arrays = new Arrays(kind)
    this.#unitsPerRow = unitsPerRow
    this.values = this.#arrays.take(FIRST_ROWS * unitsPerRow)
  }

  abstract append(chunk: Buffer, view: DataView, fields: Int32Array, first: number, stride: number, count: number): void

  /** Room for the next rows, filled with zeros, which stay where a value is NULL. */
  protected reserve(count: number): V {
    const needed = (this.rows + count) * this.#unitsPerRow
    if (needed > this.values.length) {
      const grown = this.#arrays.take(roomFor(needed, this.values.length))
      grown.set(this.values as never)
      this.values = grown
    }
    this.#arrays.clear(this.values, this.rows * this.#unitsPerRow, needed)
    return this.values
  }

  finish(): Data {
    const length = this.rows
    const data = this.values.subarray(0, length * this.#unitsPerRow)
    const made = this.#arrow.makeData({
      type: this.#type,
      length,
      data: this.toData(data as V),
      ...this.nulls.finish(length),
    } as never) as Data
    this.rows = 0
    this.values = this.#arrays.take(Math.max(FIRST_ROWS, length) * this.#unitsPerRow)
    return made
  }

  reuse(data: Data): void {
    this.#arrays.giveBack(data.values)
  }

  /** The array in Arrow's form. */
  protected toData(values: V): Values | BigInt64Array {
    return values
  }
}

export class Int16Column extends FixedColumn<Int16Array> {
  readonly #littleEndian: boolean

  constructor(arrow: Arrow, littleEndian = false) {
    super(arrow, new arrow.Int16(), Int16Array)
    this.#littleEndian = littleEndian
  }

  append(_chunk: Buffer, view: DataView, fields: Int32Array, first: number, stride: number, count: number): void {
    const values = this.reserve(count)
    const littleEndian = this.#littleEndian
    let row = this.rows
    for (let i = 0, at = first; i < count; i += 1, at += stride, row += 1) {
      if ((fields[at + 1] as number) < 0) this.nulls.add(row)
      else values[row] = view.getInt16(fields[at] as number, littleEndian)
    }
    this.rows = row
  }
}

export class Int32Column extends FixedColumn<Int32Array> {
  readonly #littleEndian: boolean

  constructor(arrow: Arrow, littleEndian = false) {
    super(arrow, new arrow.Int32(), Int32Array)
    this.#littleEndian = littleEndian
  }

  append(_chunk: Buffer, view: DataView, fields: Int32Array, first: number, stride: number, count: number): void {
    const values = this.reserve(count)
    const littleEndian = this.#littleEndian
    let row = this.rows
    for (let i = 0, at = first; i < count; i += 1, at += stride, row += 1) {
      if ((fields[at + 1] as number) < 0) this.nulls.add(row)
      else values[row] = view.getInt32(fields[at] as number, littleEndian)
    }
    this.rows = row
  }
}

/** 64 bits as they are: bigint, and microseconds of the day. As two halves of 32 bits no value needs a BigInt. */
export class Int64Column extends FixedColumn<Int32Array> {
  constructor(arrow: Arrow, type: DataType) {
    super(arrow, type, Int32Array, 2)
  }

  append(_chunk: Buffer, view: DataView, fields: Int32Array, first: number, stride: number, count: number): void {
    const values = this.reserve(count)
    let row = this.rows
    for (let i = 0, at = first; i < count; i += 1, at += stride, row += 1) {
      if ((fields[at + 1] as number) < 0) {
        this.nulls.add(row)
        continue
      }
      const start = fields[at] as number
      values[row * 2] = view.getInt32(start + 4)
      values[row * 2 + 1] = view.getInt32(start)
    }
    this.rows = row
  }

  protected override toData(values: Int32Array): BigInt64Array {
    return new BigInt64Array(values.buffer as ArrayBuffer, values.byteOffset, values.length / 2)
  }
}

/** An unsigned 32-bit number (oid, xid) in 64 bits, because many readers of files have no unsigned numbers. */
export class Uint32Column extends Int64Column {
  override append(
    _chunk: Buffer,
    view: DataView,
    fields: Int32Array,
    first: number,
    stride: number,
    count: number,
  ): void {
    const values = this.reserve(count)
    let row = this.rows
    for (let i = 0, at = first; i < count; i += 1, at += stride, row += 1) {
      if ((fields[at + 1] as number) < 0) this.nulls.add(row)
      else values[row * 2] = view.getInt32(fields[at] as number)
    }
    this.rows = row
  }
}

export class Float32Column extends FixedColumn<Float32Array> {
  readonly #littleEndian: boolean

  constructor(arrow: Arrow, littleEndian = false) {
    super(arrow, new arrow.Float32(), Float32Array)
    this.#littleEndian = littleEndian
  }

  append(_chunk: Buffer, view: DataView, fields: Int32Array, first: number, stride: number, count: number): void {
    const values = this.reserve(count)
    const littleEndian = this.#littleEndian
    let row = this.rows
    for (let i = 0, at = first; i < count; i += 1, at += stride, row += 1) {
      if ((fields[at + 1] as number) < 0) this.nulls.add(row)
      else values[row] = view.getFloat32(fields[at] as number, littleEndian)
    }
    this.rows = row
  }
}

export class Float64Column extends FixedColumn<Float64Array> {
  readonly #littleEndian: boolean

  constructor(arrow: Arrow, littleEndian = false) {
    super(arrow, new arrow.Float64(), Float64Array)
    this.#littleEndian = littleEndian
  }

  append(_chunk: Buffer, view: DataView, fields: Int32Array, first: number, stride: number, count: number): void {
    const values = this.reserve(count)
    const littleEndian = this.#littleEndian
    let row = this.rows
    for (let i = 0, at = first; i < count; i += 1, at += stride, row += 1) {
      if ((fields[at + 1] as number) < 0) this.nulls.add(row)
      else values[row] = view.getFloat64(fields[at] as number, littleEndian)
    }
    this.rows = row
  }
}

/** One byte for each value while they are gathered, one bit when finished. */
export class BoolColumn extends FixedColumn<Uint8Array> {
  constructor(arrow: Arrow) {
    super(arrow, new arrow.Bool(), Uint8Array)
  }

  append(chunk: Buffer, _view: DataView, fields: Int32Array, first: number, stride: number, count: number): void {
    const values = this.reserve(count)
    let row = this.rows
    for (let i = 0, at = first; i < count; i += 1, at += stride, row += 1) {
      if ((fields[at + 1] as number) < 0) this.nulls.add(row)
      else values[row] = chunk[fields[at] as number] as number
    }
    this.rows = row
  }

  protected override toData(values: Uint8Array): Uint8Array {
    const bits = new Uint8Array((values.length + 7) >> 3)
    let gathered = 0
    for (let row = 0; row < values.length; row += 1) {
      if (values[row] === 1) gathered |= 1 << (row & 7)
      if ((row & 7) === 7 || row + 1 === values.length) {
        bits[row >> 3] = gathered
        gathered = 0
      }
    }
    return bits
  }
}
