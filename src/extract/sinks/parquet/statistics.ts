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
    const stride = this.#stride
    const take = this.#take
    const top = take - 1
    const hasNulls = data.nullCount > 0
    let row = 0
    while (hasNulls && row < data.length && !isValid(data, row)) row += 1
    if (row === data.length) return
    const min = this.#min ?? words.slice(row * stride, row * stride + take)
    const max = this.#max ?? words.slice(row * stride, row * stride + take)
    this.#min = min
    this.#max = max
    // Nearly always the highest word decides, which alone has a sign.
    let least = (min[top] as number) | 0
    let most = (max[top] as number) | 0
    for (; row < data.length; row += 1) {
      if (hasNulls && !isValid(data, row)) continue
      const at = row * stride
      const high = (words[at + top] as number) | 0
      if (high < least || (high === least && compareLower(words, at, min, top) < 0)) {
        for (let word = 0; word < take; word += 1) min[word] = words[at + word] as number
        least = high
      }
      if (high > most || (high === most && compareLower(words, at, max, top) > 0)) {
        for (let word = 0; word < take; word += 1) max[word] = words[at + word] as number
        most = high
      }
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

/** Words at `at` below the one at `top` against others, the highest first. */
function compareLower(words: Uint32Array, at: number, others: Uint32Array, top: number): number {
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
    let min = this.#min
    let max = this.#max
    // What all values so far have in common needs one look, not two.
    let shared = commonPrefix(min, max)
    for (let row = 0; row < data.length; row += 1) {
      if (hasNulls && !isValid(data, row)) continue
      const start = valueOffsets[row] as number
      const end = valueOffsets[row + 1] as number
      if (min === undefined || max === undefined) {
        min = values.slice(start, end)
        max = min
        shared = min.length
        continue
      }
      let byte = 0
      while (byte < shared && start + byte < end && values[start + byte] === min[byte]) byte += 1
      if (compareBytes(values, start, end, min, byte) < 0) min = values.slice(start, end)
      else if (compareBytes(values, start, end, max, byte) > 0) max = values.slice(start, end)
      else continue
      shared = commonPrefix(min, max)
    }
    this.#min = min
    this.#max = max
    this.#tooLong = Math.max(min?.length ?? 0, max?.length ?? 0) > MOST_BYTES
  }

  bounds(): Bounds | undefined {
    if (this.#tooLong || this.#min === undefined || this.#max === undefined) return undefined
    return { min: this.#min, max: this.#max }
  }
}

function commonPrefix(one: Uint8Array | undefined, other: Uint8Array | undefined): number {
  if (one === undefined || other === undefined) return 0
  let byte = 0
  while (byte < one.length && byte < other.length && one[byte] === other[byte]) byte += 1
  return byte
}

/** @param from so many bytes are known to be the same */
function compareBytes(values: Uint8Array, start: number, end: number, other: Uint8Array, from: number): number {
  const common = Math.min(end - start, other.length)
  for (let byte = from; byte < common; byte += 1) {
    const difference = (values[start + byte] as number) - (other[byte] as number)
    if (difference !== 0) return difference
  }
  return end - start - other.length
}
