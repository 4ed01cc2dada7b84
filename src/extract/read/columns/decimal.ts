/**
 * Decimals: numeric of a declared precision, and money, as 128-bit or 256-bit integers of a fixed scale.
 * PostgreSQL sends numeric as groups of four decimal digits (src/backend/utils/adt/numeric.c, numeric_send).
 */

import type { Data, DataType } from 'apache-arrow'
import { Arrays, type Arrow, type ColumnBuilder, FIRST_ROWS, Nulls, outOfRange, roomFor } from './column.ts'

const NEGATIVE = 0x4000
const NOT_A_NUMBER = 0xc000
const GROUP_DIGITS = 4
/** Up to this many digits every integer is exact in a double. */
const DOUBLE_DIGITS = 15
const POWERS = Array.from({ length: 23 }, (_, exponent) => 10 ** exponent)
const TWO_32 = 2 ** 32
const MASK_32 = 0xffffffffn

/** Integers of 128 or 256 bits, and NULLs; each kind adds how it reads them. */
export abstract class DecimalColumn implements ColumnBuilder {
  protected readonly name: string
  protected readonly words: number
  protected readonly nulls = new Nulls()
  protected values: Uint32Array
  protected rows = 0
  readonly #arrow: Arrow
  readonly #type: DataType
  readonly #arrays = new Arrays<Uint32Array>(Uint32Array)

  constructor(arrow: Arrow, type: DataType, bits: number, name: string) {
    this.#arrow = arrow
    this.#type = type
    this.name = name
    this.words = bits / 32
    this.values = this.#arrays.take(FIRST_ROWS * this.words)
  }

  abstract append(chunk: Buffer, view: DataView, fields: Int32Array, first: number, stride: number, count: number): void

  /** Makes room for the next rows, filled with zeros, which stay where a value is NULL and above a small one. */
  protected reserve(count: number): void {
    const needed = (this.rows + count) * this.words
    if (needed > this.values.length) {
      const grown = this.#arrays.take(roomFor(needed, this.values.length))
      grown.set(this.values)
      this.values = grown
    }
    this.#arrays.clear(this.values, this.rows * this.words, needed)
  }

  /** Two's complement, low words first. */
  protected put(row: number, value: bigint): void {
    let rest = value
    for (let word = row * this.words; word < (row + 1) * this.words; word += 1) {
      this.values[word] = Number(rest & MASK_32)
      rest >>= 32n
    }
  }

  /** As {@link put}, for a magnitude below 2^53. */
  protected putSmall(row: number, magnitude: number, negative: boolean): void {
    const values = this.values
    const at = row * this.words
    let low = magnitude >>> 0
    let high = (magnitude - low) / TWO_32
    if (negative && magnitude !== 0) {
      low = (~low + 1) >>> 0
      high = low === 0 ? -high : ~high
      for (let word = at + 2; word < at + this.words; word += 1) values[word] = 0xffffffff
    }
    values[at] = low
    values[at + 1] = high
  }

  finish(): Data {
    const length = this.rows
    const made = this.#arrow.makeData({
      type: this.#type,
      length,
      data: this.values.subarray(0, length * this.words),
      ...this.nulls.finish(length),
    } as never) as Data
    this.values = this.#arrays.take(Math.max(FIRST_ROWS, length) * this.words)
    this.rows = 0
    return made
  }

  reuse(data: Data): void {
    this.#arrays.giveBack(data.values)
  }
}

/** numeric(precision, scale). A decimal has no NaN, so NaN becomes NULL and is counted for the manifest. */
export class NumericColumn extends DecimalColumn {
  readonly #precision: number
  readonly #scale: number
  readonly #limit: bigint
  #notNumbers = 0

  constructor(arrow: Arrow, type: DataType, shape: { precision: number; scale: number; bits: number }, name: string) {
    super(arrow, type, shape.bits, name)
    this.#precision = shape.precision
    this.#scale = shape.scale
    this.#limit = 10n ** BigInt(shape.precision)
  }

  append(_chunk: Buffer, view: DataView, fields: Int32Array, first: number, stride: number, count: number): void {
    this.reserve(count)
    const small = this.#precision <= DOUBLE_DIGITS
    let row = this.rows
    for (let i = 0, at = first; i < count; i += 1, at += stride, row += 1) {
      if ((fields[at + 1] as number) < 0) {
        this.nulls.add(row)
        continue
      }
      const start = fields[at] as number
      const sign = view.getUint16(start + 4)
      if (sign >= NOT_A_NUMBER) this.#special(row, sign)
      else if (small) this.putSmall(row, this.#smallMagnitude(view, start), sign === NEGATIVE)
      else this.put(row, sign === NEGATIVE ? -this.#magnitude(view, start) : this.#magnitude(view, start))
    }
    this.rows = row
  }

  #special(row: number, sign: number): void {
    if (sign !== NOT_A_NUMBER) throw outOfRange(this.name, 'a decimal has no infinity')
    this.nulls.add(row)
    this.#notNumbers += 1
  }

  #smallMagnitude(view: DataView, start: number): number {
    const groups = view.getUint16(start)
    let exponent = view.getInt16(start + 2) * GROUP_DIGITS + this.#scale
    let sum = 0
    for (let group = 0, at = start + 8; group < groups; group += 1, at += 2, exponent -= GROUP_DIGITS) {
      const digits = view.getUint16(at)
      if (exponent >= 0) {
        if (digits !== 0) sum += digits * (POWERS[exponent] ?? Number.POSITIVE_INFINITY)
      } else {
        sum += this.#partOf(digits, -exponent)
      }
    }
    if (sum >= (POWERS[this.#precision] as number)) throw this.#tooLarge()
    return sum
  }

  #magnitude(view: DataView, start: number): bigint {
    const groups = view.getUint16(start)
    let exponent = view.getInt16(start + 2) * GROUP_DIGITS + this.#scale
    let sum = 0n
    for (let group = 0, at = start + 8; group < groups; group += 1, at += 2, exponent -= GROUP_DIGITS) {
      const digits = view.getUint16(at)
      sum += exponent >= 0 ? BigInt(digits) * 10n ** BigInt(exponent) : BigInt(this.#partOf(digits, -exponent))
    }
    if (sum >= this.#limit) throw this.#tooLarge()
    return sum
  }

  /** The digits of a group up to the end of the scale; those after it must be zero. */
  #partOf(digits: number, beyond: number): number {
    const divisor = POWERS[Math.min(beyond, GROUP_DIGITS)] as number
    if (digits % divisor !== 0) throw outOfRange(this.name, `it has more than ${this.#scale} digits after the point`)
    return digits / divisor
  }

  #tooLarge(): Error {
    return outOfRange(this.name, `it does not fit into numeric(${this.#precision}, ${this.#scale})`)
  }

  finding(): string | undefined {
    if (this.#notNumbers === 0) return undefined
    return `NaN stands as NULL, since a decimal has none (${this.#notNumbers} of them)`
  }
}

/** money: 64 bits of the currency's smallest unit. */
export class MoneyColumn extends DecimalColumn {
  append(_chunk: Buffer, view: DataView, fields: Int32Array, first: number, stride: number, count: number): void {
    this.reserve(count)
    let row = this.rows
    for (let i = 0, at = first; i < count; i += 1, at += stride, row += 1) {
      if ((fields[at + 1] as number) < 0) this.nulls.add(row)
      else this.put(row, view.getBigInt64(fields[at] as number))
    }
    this.rows = row
  }
}
