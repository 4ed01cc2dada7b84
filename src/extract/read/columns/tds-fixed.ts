/**
 * SQL Server's numbers, dates and times, from the bytes on the wire, least byte first (MS-TDS 2.2.5.5), into columns
 * whose values all have one width.
 */

import type { DataType } from 'apache-arrow'
import type { Arrow } from './column.ts'
import { DecimalColumn } from './decimal.ts'
import { FixedColumn } from './fixed.ts'

const TWO_32 = 2 ** 32
const DAY_MICROS = 86_400_000_000
/** The microseconds of this many days on either side of 1970 are exact in a double. */
const NEAR_DAYS = Math.floor((Number.MAX_SAFE_INTEGER - DAY_MICROS) / DAY_MICROS)

/** tinyint: one unsigned byte, in 16 bits because many readers of files have no unsigned numbers. */
export class TinyIntColumn extends FixedColumn<Int16Array> {
  constructor(arrow: Arrow) {
    super(arrow, new arrow.Int16(), Int16Array)
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
}

/** Values of 64 bits in halves, low half first, so that few values need a BigInt. */
abstract class WideColumn extends FixedColumn<Int32Array> {
  constructor(arrow: Arrow, type: DataType) {
    super(arrow, type, Int32Array, 2)
  }

  /** Microseconds since 1970 in halves. */
  protected putMoment(values: Int32Array, row: number, days: number, micros: number): void {
    if (days > -NEAR_DAYS && days < NEAR_DAYS) {
      const all = days * DAY_MICROS + micros
      const high = Math.floor(all / TWO_32)
      values[row * 2] = all - high * TWO_32
      values[row * 2 + 1] = high
      return
    }
    const all = BigInt(days) * BigInt(DAY_MICROS) + BigInt(micros)
    values[row * 2] = Number(BigInt.asIntN(32, all))
    values[row * 2 + 1] = Number(all >> 32n)
  }

  protected override toData(values: Int32Array): BigInt64Array {
    return new BigInt64Array(values.buffer as ArrayBuffer, values.byteOffset, values.length / 2)
  }
}

export class BigIntColumn extends WideColumn {
  append(_chunk: Buffer, view: DataView, fields: Int32Array, first: number, stride: number, count: number): void {
    const values = this.reserve(count)
    let row = this.rows
    for (let i = 0, at = first; i < count; i += 1, at += stride, row += 1) {
      if ((fields[at + 1] as number) < 0) {
        this.nulls.add(row)
        continue
      }
      const start = fields[at] as number
      values[row * 2] = view.getInt32(start, true)
      values[row * 2 + 1] = view.getInt32(start + 4, true)
    }
    this.rows = row
  }
}

/** Days from 0001-01-01 to 1970-01-01, and from 1900-01-01. */
const DAYS_FROM_YEAR_ONE = 719_162
const DAYS_FROM_1900 = 25_567

function threeBytes(chunk: Buffer, at: number): number {
  return (chunk[at] as number) | ((chunk[at + 1] as number) << 8) | ((chunk[at + 2] as number) << 16)
}

export class DayColumn extends FixedColumn<Int32Array> {
  constructor(arrow: Arrow) {
    super(arrow, new arrow.DateDay(), Int32Array)
  }

  append(chunk: Buffer, _view: DataView, fields: Int32Array, first: number, stride: number, count: number): void {
    const values = this.reserve(count)
    let row = this.rows
    for (let i = 0, at = first; i < count; i += 1, at += stride, row += 1) {
      if ((fields[at + 1] as number) < 0) this.nulls.add(row)
      else values[row] = threeBytes(chunk, fields[at] as number) - DAYS_FROM_YEAR_ONE
    }
    this.rows = row
  }
}

/** The time of day, or a moment, in units of 10^-scale seconds, three to five bytes. */
abstract class ScaledColumn extends WideColumn {
  readonly #scale: number
  /** How many values had a seventh digit, which microseconds do not hold. */
  #cut = 0

  constructor(arrow: Arrow, type: DataType, scale: number) {
    super(arrow, type)
    this.#scale = scale
  }

  protected micros(chunk: Buffer, start: number, length: number): number {
    const low = threeBytes(chunk, start)
    const units = length === 3 ? low : low + chunk.readUIntLE(start + 3, length - 3) * 0x100_0000
    if (this.#scale < 7) return units * 10 ** (6 - this.#scale)
    const digit = units % 10
    if (digit !== 0) this.#cut += 1
    return (units - digit) / 10
  }

  finding(): string | undefined {
    if (this.#cut === 0) return undefined
    return `the seventh digit of the seconds is cut off (in ${this.#cut} values where it is not zero)`
  }
}

export class TimeColumn extends ScaledColumn {
  constructor(arrow: Arrow, scale: number) {
    super(arrow, new arrow.TimeMicrosecond(), scale)
  }

  append(chunk: Buffer, _view: DataView, fields: Int32Array, first: number, stride: number, count: number): void {
    const values = this.reserve(count)
    let row = this.rows
    for (let i = 0, at = first; i < count; i += 1, at += stride, row += 1) {
      const length = fields[at + 1] as number
      if (length < 0) this.nulls.add(row)
      else this.putMoment(values, row, 0, this.micros(chunk, fields[at] as number, length))
    }
    this.rows = row
  }
}

export class DateTime2Column extends ScaledColumn {
  constructor(arrow: Arrow, scale: number) {
    super(arrow, new arrow.TimestampMicrosecond(), scale)
  }

  append(chunk: Buffer, _view: DataView, fields: Int32Array, first: number, stride: number, count: number): void {
    const values = this.reserve(count)
    let row = this.rows
    for (let i = 0, at = first; i < count; i += 1, at += stride, row += 1) {
      const length = fields[at + 1] as number
      if (length < 0) {
        this.nulls.add(row)
        continue
      }
      const start = fields[at] as number
      const days = threeBytes(chunk, start + length - 3) - DAYS_FROM_YEAR_ONE
      this.putMoment(values, row, days, this.micros(chunk, start, length - 3))
    }
    this.rows = row
  }
}

/** The moment, which is sent in UTC. The offset is left out, and counted. */
export class DateTimeOffsetColumn extends ScaledColumn {
  #offsets = 0

  constructor(arrow: Arrow, scale: number) {
    super(arrow, new arrow.TimestampMicrosecond('UTC'), scale)
  }

  append(chunk: Buffer, _view: DataView, fields: Int32Array, first: number, stride: number, count: number): void {
    const values = this.reserve(count)
    let row = this.rows
    for (let i = 0, at = first; i < count; i += 1, at += stride, row += 1) {
      const length = fields[at + 1] as number
      if (length < 0) {
        this.nulls.add(row)
        continue
      }
      const start = fields[at] as number
      const days = threeBytes(chunk, start + length - 5) - DAYS_FROM_YEAR_ONE
      this.putMoment(values, row, days, this.micros(chunk, start, length - 5))
      if (chunk[start + length - 2] !== 0 || chunk[start + length - 1] !== 0) this.#offsets += 1
    }
    this.rows = row
  }

  override finding(): string | undefined {
    const offsets =
      this.#offsets === 0
        ? undefined
        : `the moments are in UTC; the offset that they were written with is left out (${this.#offsets} are not +00:00)`
    return [offsets, super.finding()].filter((text) => text !== undefined).join('; ') || undefined
  }
}

/** datetime (three-hundredths of a second, in the milliseconds that the server shows) and smalldatetime (minutes). */
export class DateTimeColumn extends WideColumn {
  constructor(arrow: Arrow) {
    super(arrow, new arrow.TimestampMicrosecond())
  }

  append(_chunk: Buffer, view: DataView, fields: Int32Array, first: number, stride: number, count: number): void {
    const values = this.reserve(count)
    let row = this.rows
    for (let i = 0, at = first; i < count; i += 1, at += stride, row += 1) {
      const length = fields[at + 1] as number
      if (length < 0) {
        this.nulls.add(row)
        continue
      }
      const start = fields[at] as number
      const isSmall = length === 4
      const days = isSmall ? view.getUint16(start, true) : view.getInt32(start, true)
      const micros = isSmall
        ? view.getUint16(start + 2, true) * 60_000_000
        : Math.round((view.getUint32(start + 4, true) * 10) / 3) * 1000
      this.putMoment(values, row, days - DAYS_FROM_1900, micros)
    }
    this.rows = row
  }
}

/** decimal: a sign (0 is negative) and a magnitude of 4, 8, 12 or 16 bytes, at the scale of the column already. */
export class TdsDecimalColumn extends DecimalColumn {
  append(chunk: Buffer, view: DataView, fields: Int32Array, first: number, stride: number, count: number): void {
    this.reserve(count)
    const values = this.values
    let row = this.rows
    for (let i = 0, at = first; i < count; i += 1, at += stride, row += 1) {
      const length = fields[at + 1] as number
      if (length < 0) {
        this.nulls.add(row)
        continue
      }
      const start = fields[at] as number
      const words = (length - 1) >> 2
      const negative = chunk[start] === 0
      let carry = 1
      for (let word = 0; word < 4; word += 1) {
        const magnitude = word < words ? view.getUint32(start + 1 + word * 4, true) : 0
        if (negative) {
          // Two's complement: all bits inverted, and one added.
          const turned = (~magnitude >>> 0) + carry
          carry = turned === TWO_32 ? 1 : 0
          values[row * 4 + word] = turned
        } else values[row * 4 + word] = magnitude
      }
    }
    this.rows = row
  }
}

/** money and smallmoney: ten-thousandths in eight bytes, of which the high half comes first, or in four. */
export class TdsMoneyColumn extends DecimalColumn {
  append(_chunk: Buffer, view: DataView, fields: Int32Array, first: number, stride: number, count: number): void {
    this.reserve(count)
    const values = this.values
    let row = this.rows
    for (let i = 0, at = first; i < count; i += 1, at += stride, row += 1) {
      const length = fields[at + 1] as number
      if (length < 0) {
        this.nulls.add(row)
        continue
      }
      const start = fields[at] as number
      const low = view.getUint32(length === 4 ? start : start + 4, true)
      const isNegative = view.getInt32(start, true) < 0
      const sign = isNegative ? 0xffffffff : 0
      values[row * 4] = low
      values[row * 4 + 1] = length === 4 ? sign : view.getUint32(start, true)
      values[row * 4 + 2] = sign
      values[row * 4 + 3] = sign
    }
    this.rows = row
  }
}
