/** Columns whose values all have one width: integers, floats, booleans, dates, times and timestamps. */

import type { Data, DataType } from 'apache-arrow'
import { Arrays, type Arrow, type ColumnBuilder, FIRST_ROWS, Nulls, outOfRange, roomFor } from './column.ts'

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

  protected reserve(count: number): V {
    const needed = (this.rows + count) * this.#unitsPerRow
    if (needed > this.values.length) {
      const grown = this.#arrays.take(roomFor(needed, this.values.length))
      grown.set(this.values as never)
      this.values = grown
    }
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

const INT32_MAX = 0x7fffffff
const INT32_MIN = -0x80000000
/** Days from 1970-01-01 to 2000-01-01, where PostgreSQL's dates begin. */
const EPOCH_DAYS = 10957

/** Days since 1970. Infinities become the ends of the range, +-(2^31 - 1), which DuckDB reads as infinities too. */
export class DateColumn extends FixedColumn<Int32Array> {
  #infinite = 0

  constructor(arrow: Arrow) {
    super(arrow, new arrow.DateDay(), Int32Array)
  }

  append(_chunk: Buffer, view: DataView, fields: Int32Array, first: number, stride: number, count: number): void {
    const values = this.reserve(count)
    let row = this.rows
    for (let i = 0, at = first; i < count; i += 1, at += stride, row += 1) {
      if ((fields[at + 1] as number) < 0) {
        this.nulls.add(row)
        continue
      }
      const days = view.getInt32(fields[at] as number)
      if (days === INT32_MAX || days === INT32_MIN) {
        values[row] = days === INT32_MAX ? INT32_MAX : -INT32_MAX
        this.#infinite += 1
      } else {
        values[row] = days + EPOCH_DAYS
      }
    }
    this.rows = row
  }

  finding(): string | undefined {
    if (this.#infinite === 0) return undefined
    return `infinite dates stand as 2147483647 and -2147483647 days (${this.#infinite} of them)`
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

/** Microseconds from 1970-01-01 to 2000-01-01, in halves. */
const EPOCH_MICROS = 946_684_800_000_000n
const EPOCH_LOW = Number(EPOCH_MICROS & 0xffffffffn)
const EPOCH_HIGH = Number(EPOCH_MICROS >> 32n)
const TWO_32 = 2 ** 32
const INT64_MAX = 2n ** 63n - 1n
const INT64_MIN = -(2n ** 63n)

/**
 * Microseconds since 1970-01-01 (UTC, or of no zone). Infinities become +-(2^63 - 1), which DuckDB reads as
 * infinities too. PostgreSQL's last 29 years (294247 to 294276 AD) do not fit and are an error.
 */
export class TimestampColumn extends FixedColumn<Int32Array> {
  readonly #name: string
  #infinite = 0

  constructor(arrow: Arrow, type: DataType, name: string) {
    super(arrow, type, Int32Array, 2)
    this.#name = name
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
      const high = view.getInt32(start)
      const low = view.getUint32(start + 4) + EPOCH_LOW
      const carried = low < TWO_32 ? high + EPOCH_HIGH : high + EPOCH_HIGH + 1
      if (carried >= INT32_MAX || high === INT32_MIN) {
        this.#extreme(values, row, view.getBigInt64(start))
      } else {
        values[row * 2] = low
        values[row * 2 + 1] = carried
      }
    }
    this.rows = row
  }

  /** Infinities, and values that are close to them. */
  #extreme(values: Int32Array, row: number, sent: bigint): void {
    let micros = sent + EPOCH_MICROS
    if (sent === INT64_MAX || sent === INT64_MIN) {
      micros = sent === INT64_MAX ? INT64_MAX : -INT64_MAX
      this.#infinite += 1
    } else if (micros >= INT64_MAX) {
      throw outOfRange(this.#name, 'a timestamp after 294247-01-10 does not fit into 64 bits of microseconds')
    }
    values[row * 2] = Number(BigInt.asIntN(32, micros))
    values[row * 2 + 1] = Number(micros >> 32n)
  }

  protected override toData(values: Int32Array): BigInt64Array {
    return new BigInt64Array(values.buffer as ArrayBuffer, values.byteOffset, values.length / 2)
  }

  finding(): string | undefined {
    if (this.#infinite === 0) return undefined
    return `infinite timestamps stand as 2^63-1 and -(2^63-1) microseconds (${this.#infinite} of them)`
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
    for (let row = 0; row < values.length; row += 1) {
      if (values[row] === 1) bits[row >> 3] = (bits[row >> 3] as number) | (1 << (row & 7))
    }
    return bits
  }
}
