/** The smallest and the largest value of a column chunk, by which readers skip row groups. */

import type { Data } from 'apache-arrow'
import { type LeafType, PHYSICAL } from './schema.ts'
import { isValid, wordsOf } from './values.ts'

/** Longer texts and blobs than this would only make the footer heavy. */
const MOST_BYTES = 64

export interface Bounds {
  readonly min: Uint8Array
  readonly max: Uint8Array
}

/** Gathers bounds over the pages of a chunk; `bounds` are in PLAIN encoding, or undefined when there are none. */
export interface Statistics {
  add(data: Data): void
  bounds(): Bounds | undefined
}

export function statisticsFor(type: LeafType): Statistics {
  switch (type.layout) {
    case 'int16':
      return new NumberBounds(false)
    case 'float':
    case 'double':
      return new NumberBounds(type.layout === 'double')
    case 'words':
      return type.physical === PHYSICAL.INT32
        ? new IntegerBounds(type.words?.stride ?? 1, 1, 4)
        : new IntegerBounds(type.words?.stride ?? 2, 2, 8)
    case 'decimal':
      return new IntegerBounds(type.words?.stride ?? 4, type.words?.stride ?? 4, type.length ?? 16, true)
    case 'bytes':
      return new BytesBounds()
    case 'bool':
    case 'dictionary':
      return NONE
  }
}

const NONE: Statistics = { add: () => undefined, bounds: () => undefined }

/** int16, float and double: whatever is a number here. NaN has no place in an order. */
class NumberBounds implements Statistics {
  readonly #double: boolean
  #isFloat = false
  #min = Number.POSITIVE_INFINITY
  #max = Number.NEGATIVE_INFINITY

  constructor(double: boolean) {
    this.#double = double
  }

  add(data: Data): void {
    const values = data.values as Float64Array | Float32Array | Int16Array
    this.#isFloat = !(values instanceof Int16Array)
    let min = this.#min
    let max = this.#max
    const hasNulls = data.nullCount > 0
    for (let row = 0; row < data.length; row += 1) {
      if (hasNulls && !isValid(data, row)) continue
      const value = values[row] as number
      if (value < min) min = value
      if (value > max) max = value
    }
    this.#min = min
    this.#max = max
  }

  bounds(): Bounds | undefined {
    // Nothing but NaN and NULL.
    if (this.#min > this.#max) return undefined
    return { min: this.#plain(this.#min, -0), max: this.#plain(this.#max, 0) }
  }

  /** Zero stands for both zeros: as the smallest it is -0, as the largest +0 (parquet.thrift, ColumnOrder). */
  #plain(value: number, zero: number): Uint8Array {
    const bytes = new Uint8Array(this.#double ? 8 : 4)
    const view = new DataView(bytes.buffer)
    if (!this.#isFloat) view.setInt32(0, value, true)
    else if (this.#double) view.setFloat64(0, value === 0 ? zero : value, true)
    else view.setFloat32(0, value === 0 ? zero : value, true)
    return bytes
  }
}

/** Two's complement integers of any number of words. */
class IntegerBounds implements Statistics {
  readonly #stride: number
  readonly #take: number
  readonly #bytes: number
  readonly #bigEndian: boolean
  #min: Uint32Array | undefined
  #max: Uint32Array | undefined

  constructor(stride: number, take: number, bytes: number, bigEndian = false) {
    this.#stride = stride
    this.#take = take
    this.#bytes = bytes
    this.#bigEndian = bigEndian
  }

  add(data: Data): void {
    const words = wordsOf(data)
    const top = this.#take - 1
    const hasNulls = data.nullCount > 0
    for (let row = 0; row < data.length; row += 1) {
      if (hasNulls && !isValid(data, row)) continue
      const at = row * this.#stride
      if (this.#min === undefined || this.#max === undefined) {
        this.#min = words.slice(at, at + this.#take)
        this.#max = words.slice(at, at + this.#take)
        continue
      }
      if (compare(words, at, this.#min, top) < 0) this.#min.set(words.subarray(at, at + this.#take))
      else if (compare(words, at, this.#max, top) > 0) this.#max.set(words.subarray(at, at + this.#take))
    }
  }

  bounds(): Bounds | undefined {
    if (this.#min === undefined || this.#max === undefined) return undefined
    return { min: this.#plain(this.#min), max: this.#plain(this.#max) }
  }

  #plain(words: Uint32Array): Uint8Array {
    const bytes = new Uint8Array(words.buffer as ArrayBuffer, words.byteOffset, words.byteLength).slice(0, this.#bytes)
    return this.#bigEndian ? bytes.reverse() : bytes
  }
}

/** Words at `at` against others, the highest first, which alone has a sign. */
function compare(words: Uint32Array, at: number, others: Uint32Array, top: number): number {
  const high = ((words[at + top] as number) | 0) - ((others[top] as number) | 0)
  if (high !== 0) return high
  for (let word = top - 1; word >= 0; word -= 1) {
    const difference = (words[at + word] as number) - (others[word] as number)
    if (difference !== 0) return difference
  }
  return 0
}

/** Bytes in their unsigned order, which for UTF-8 is that of code points. */
class BytesBounds implements Statistics {
  #min: Uint8Array | undefined
  #max: Uint8Array | undefined
  #tooLong = false

  add(data: Data): void {
    if (this.#tooLong) return
    const { valueOffsets } = data
    const values = data.values as Uint8Array
    const hasNulls = data.nullCount > 0
    for (let row = 0; row < data.length; row += 1) {
      if (hasNulls && !isValid(data, row)) continue
      const start = valueOffsets[row] as number
      const end = valueOffsets[row + 1] as number
      if (this.#min === undefined || compareBytes(values, start, end, this.#min) < 0) {
        this.#min = values.slice(start, end)
      }
      if (this.#max === undefined || compareBytes(values, start, end, this.#max) > 0) {
        this.#max = values.slice(start, end)
      }
    }
    this.#tooLong = Math.max(this.#min?.length ?? 0, this.#max?.length ?? 0) > MOST_BYTES
  }

  bounds(): Bounds | undefined {
    if (this.#tooLong || this.#min === undefined || this.#max === undefined) return undefined
    return { min: this.#min, max: this.#max }
  }
}

function compareBytes(values: Uint8Array, start: number, end: number, other: Uint8Array): number {
  const common = Math.min(end - start, other.length)
  for (let byte = 0; byte < common; byte += 1) {
    const difference = (values[start + byte] as number) - (other[byte] as number)
    if (difference !== 0) return difference
  }
  return end - start - other.length
}
