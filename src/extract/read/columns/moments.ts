/** PostgreSQL's dates, times and timestamps. Values that few readers of files take are counted for the manifest. */

import type { DataType } from 'apache-arrow'
import { type Arrow, outOfRange } from './column.ts'
import { FixedColumn, Int64Column } from './fixed.ts'

const INT32_MAX = 0x7fffffff
const INT32_MIN = -0x80000000
/** Days from 1970-01-01 to 2000-01-01, where PostgreSQL's dates begin. */
const EPOCH_DAYS = 10957
/** 0001-01-01 and 9999-12-31, in days since 2000. */
const FIRST_DAY = -730_119
const LAST_DAY = 2_921_939

/** Counts the values that are infinite, and those outside the years 1 to 9999. */
class Rarities {
  infinite = 0
  far = 0

  /** @param shown how infinities are written */
  finding(what: string, shown: string): string | undefined {
    const notes = [
      ...(this.infinite === 0 ? [] : [`infinite ${what} stand as ${shown} (${this.infinite} of them)`]),
      ...(this.far === 0
        ? []
        : [`${what} outside the years 1 to 9999, which many readers refuse (${this.far} of them)`]),
    ]
    return notes.join('; ') || undefined
  }
}

/** Days since 1970. Infinities become the ends of the range, +-(2^31 - 1), which DuckDB reads as infinities too. */
export class DateColumn extends FixedColumn<Int32Array> {
  readonly #rare = new Rarities()

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
      values[row] = days < FIRST_DAY || days > LAST_DAY ? this.#distant(days) : days + EPOCH_DAYS
    }
    this.rows = row
  }

  #distant(days: number): number {
    if (days === INT32_MAX || days === INT32_MIN) {
      this.#rare.infinite += 1
      return days === INT32_MAX ? INT32_MAX : -INT32_MAX
    }
    this.#rare.far += 1
    return days + EPOCH_DAYS
  }

  finding(): string | undefined {
    return this.#rare.finding('dates', '2147483647 and -2147483647 days')
  }
}

/** Microseconds of a day in halves: 24:00. */
const MIDNIGHT_HIGH = Math.floor(86_400_000_000 / 2 ** 32)
const MIDNIGHT_LOW = 86_400_000_000 % 2 ** 32

/** Microseconds of the day. PostgreSQL has the time 24:00, which most readers do not. */
export class TimeOfDayColumn extends Int64Column {
  #midnights = 0

  constructor(arrow: Arrow) {
    super(arrow, new arrow.TimeMicrosecond())
  }

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
      if ((fields[at + 1] as number) < 0) {
        this.nulls.add(row)
        continue
      }
      const start = fields[at] as number
      const high = view.getInt32(start)
      const low = view.getInt32(start + 4)
      if (high === MIDNIGHT_HIGH && low === MIDNIGHT_LOW) this.#midnights += 1
      values[row * 2] = low
      values[row * 2 + 1] = high
    }
    this.rows = row
  }

  finding(): string | undefined {
    if (this.#midnights === 0) return undefined
    return `the time 24:00 stands as 86400000000 microseconds, which many readers refuse (${this.#midnights} of them)`
  }
}

/** Microseconds from 1970-01-01 to 2000-01-01, in halves. */
const EPOCH_MICROS = 946_684_800_000_000n
const EPOCH_LOW = Number(EPOCH_MICROS & 0xffffffffn)
const EPOCH_HIGH = Number(EPOCH_MICROS >> 32n)
const TWO_32 = 2 ** 32
const INT64_MAX = 2n ** 63n - 1n
const INT64_MIN = -(2n ** 63n)
/** 0001-01-01 and the last microsecond of 9999-12-31, in microseconds since 2000; and in halves. */
const FIRST_MICROS = BigInt(FIRST_DAY) * 86_400_000_000n
const LAST_MICROS = BigInt(LAST_DAY + 1) * 86_400_000_000n - 1n
const FIRST_HIGH = Number(FIRST_MICROS >> 32n)
const FIRST_LOW = Number(FIRST_MICROS & 0xffffffffn)
const LAST_HIGH = Number(LAST_MICROS >> 32n)
const LAST_LOW = Number(LAST_MICROS & 0xffffffffn)

/**
 * Microseconds since 1970-01-01 (UTC, or of no zone). Infinities become +-(2^63 - 1), which DuckDB reads as
 * infinities too. PostgreSQL's last 29 years (294247 to 294276 AD) do not fit and are an error.
 */
export class TimestampColumn extends FixedColumn<Int32Array> {
  readonly #name: string
  readonly #rare = new Rarities()

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
      const sent = view.getUint32(start + 4)
      if ((high >= LAST_HIGH || high <= FIRST_HIGH) && isFar(high, sent)) {
        this.#distant(values, row, view.getBigInt64(start))
        continue
      }
      const low = sent + EPOCH_LOW
      values[row * 2] = low
      values[row * 2 + 1] = low < TWO_32 ? high + EPOCH_HIGH : high + EPOCH_HIGH + 1
    }
    this.rows = row
  }

  #distant(values: Int32Array, row: number, sent: bigint): void {
    let micros = sent + EPOCH_MICROS
    if (sent === INT64_MAX || sent === INT64_MIN) {
      micros = sent === INT64_MAX ? INT64_MAX : -INT64_MAX
      this.#rare.infinite += 1
    } else {
      if (micros >= INT64_MAX) {
        throw outOfRange(this.#name, 'a timestamp after 294247-01-10 does not fit into 64 bits of microseconds')
      }
      this.#rare.far += 1
    }
    values[row * 2] = Number(BigInt.asIntN(32, micros))
    values[row * 2 + 1] = Number(micros >> 32n)
  }

  protected override toData(values: Int32Array): BigInt64Array {
    return new BigInt64Array(values.buffer as ArrayBuffer, values.byteOffset, values.length / 2)
  }

  finding(): string | undefined {
    return this.#rare.finding('timestamps', '2^63-1 and -(2^63-1) microseconds')
  }
}

/** Whether it lies outside the years 1 to 9999; exact without a BigInt, because the ends of them are common values. */
function isFar(high: number, low: number): boolean {
  return (
    high > LAST_HIGH ||
    high < FIRST_HIGH ||
    (high === LAST_HIGH && low > LAST_LOW) ||
    (high === FIRST_HIGH && low < FIRST_LOW)
  )
}
