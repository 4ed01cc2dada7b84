/** The smallest and the largest value of a column chunk, by which readers skip row groups. */

import type { Data } from 'apache-arrow'
import { type LeafType, PHYSICAL } from './schema.ts'
import { isValid, validityOf, wordsOf } from './values.ts'

/** Longer bounds of texts and blobs would make the footer too large. */
const MOST_BYTES = 64
/** One byte more than a bound may have: enough to see that a value is longer. */
const KEPT_BYTES = MOST_BYTES + 1

export interface Bounds {
  readonly min: Uint8Array
  /** Undefined where no short text or blob is greater than all values. */
  readonly max: Uint8Array | undefined
  /** Whether the smallest value is this one, and not a longer one. */
  readonly isMinExact: boolean
  readonly isMaxExact: boolean
}

const EXACT = { isMinExact: true, isMaxExact: true } as const

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
      return new BytesBounds(type.isText ?? false)
    case 'bool':
    case 'dictionary':
      return NONE
  }
}

const NONE: Statistics = { add: () => undefined, bounds: () => undefined }

/**
 * int16, float and double, which are JavaScript numbers. NaN has no place in their order, and some readers put it above
 * all numbers: they would skip it by bounds that leave it out, so a chunk that holds NaN has none.
 */
class NumberBounds implements Statistics {
  readonly #double: boolean
  #isFloat = false
  #hasNaN = false
  #min = Number.POSITIVE_INFINITY
  #max = Number.NEGATIVE_INFINITY

  constructor(double: boolean) {
    this.#double = double
  }

  add(data: Data): void {
    const values = data.values as Float64Array | Float32Array | Int16Array
    this.#isFloat = !(values instanceof Int16Array)
    if (this.#hasNaN) return
    let min = this.#min
    let max = this.#max
    const validity = validityOf(data)
    for (let row = 0; row < data.length; row += 1) {
      if (!isValid(validity, row)) continue
      const value = values[row] as number
      if (value >= min && value <= max) continue
      if (value < min) min = value
      if (value > max) max = value
      if (Number.isNaN(value)) this.#hasNaN = true
    }
    this.#min = min
    this.#max = max
  }

  bounds(): Bounds | undefined {
    // No value, or only NULL, leaves them as they began.
    if (this.#hasNaN || this.#min > this.#max) return undefined
    return { min: this.#plain(this.#min, -0), max: this.#plain(this.#max, 0), ...EXACT }
  }

  /** A zero may be either zero: the smallest is written as -0, the largest as +0 (parquet.thrift, ColumnOrder). */
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
    const validity = validityOf(data)
    let row = 0
    while (row < data.length && !isValid(validity, row)) row += 1
    if (row === data.length) return
    // Only their places are kept, because in numbers that rise from row to row every value is the largest so far.
    let min = row * stride
    let max = min
    // The highest word, which alone has a sign, decides in nearly all cases.
    let least = (words[min + top] as number) | 0
    let most = least
    for (; row < data.length; row += 1) {
      if (!isValid(validity, row)) continue
      const at = row * stride
      const high = (words[at + top] as number) | 0
      if (high > most || (high === most && compareLower(words, at, words, max, top) > 0)) {
        max = at
        most = high
      } else if (high < least || (high === least && compareLower(words, at, words, min, top) < 0)) {
        min = at
        least = high
      }
    }
    if (this.#min === undefined || compareWords(words, min, this.#min, top) < 0)
      this.#min = words.slice(min, min + take)
    if (this.#max === undefined || compareWords(words, max, this.#max, top) > 0)
      this.#max = words.slice(max, max + take)
  }

  bounds(): Bounds | undefined {
    if (this.#min === undefined || this.#max === undefined) return undefined
    return { min: this.#plain(this.#min), max: this.#plain(this.#max), ...EXACT }
  }

  #plain(words: Uint32Array): Uint8Array {
    const bytes = new Uint8Array(words.buffer as ArrayBuffer, words.byteOffset, words.byteLength).slice(0, this.#bytes)
    return this.#bigEndian ? bytes.reverse() : bytes
  }
}

/** Compares the words from `at` to `at + top`, of which the last has a sign, with those of a bound. */
function compareWords(words: Uint32Array, at: number, bound: Uint32Array, top: number): number {
  const difference = ((words[at + top] as number) | 0) - ((bound[top] as number) | 0)
  return difference !== 0 ? difference : compareLower(words, at, bound, 0, top)
}

/** Compares the words at `at` below the one at `top` with those at `other`, the highest first. */
function compareLower(words: Uint32Array, at: number, others: Uint32Array, other: number, top: number): number {
  for (let word = top - 1; word >= 0; word -= 1) {
    const difference = (words[at + word] as number) - (others[other + word] as number)
    if (difference !== 0) return difference
  }
  return 0
}

/**
 * Bytes in their unsigned order, which for UTF-8 is that of code points. Of long values only the beginning is compared
 * and kept: a bound then lies a little below or above all values, and is marked as inexact.
 */
class BytesBounds implements Statistics {
  readonly #isText: boolean
  #min: DataView | undefined
  #max: DataView | undefined

  constructor(isText: boolean) {
    this.#isText = isText
  }

  add(data: Data): void {
    const { valueOffsets } = data
    const validity = validityOf(data)
    const view = viewOf(data.values as Uint8Array)
    let row = 0
    while (row < data.length && !isValid(validity, row)) row += 1
    if (row === data.length) return
    const first = { view, start: valueOffsets[row] as number, end: valueOffsets[row + 1] as number }
    // Only their places are kept, because in text that rises from row to row every value is the largest so far.
    const min = this.#min === undefined ? { ...first } : { view: this.#min, start: 0, end: this.#min.byteLength }
    const max = this.#max === undefined ? { ...first } : { view: this.#max, start: 0, end: this.#max.byteLength }
    // The first four bytes decide for most values.
    let least = headOf(min.view, min.start, min.end)
    let most = headOf(max.view, max.start, max.end)
    for (; row < data.length; row += 1) {
      if (!isValid(validity, row)) continue
      const start = valueOffsets[row] as number
      const end = valueOffsets[row + 1] as number
      const head = headOf(view, start, end)
      // In text that rises from row to row one comparison is enough.
      if (head >= most && compareBytes(view, start, end, max) > 0) {
        max.view = view
        max.start = start
        max.end = end
        most = head
      } else if (head <= least && compareBytes(view, start, end, min) < 0) {
        min.view = view
        min.start = start
        min.end = end
        least = head
      }
    }
    this.#min = copyOf(min)
    this.#max = copyOf(max)
  }

  bounds(): Bounds | undefined {
    if (this.#min === undefined || this.#max === undefined) return undefined
    const min = new Uint8Array(this.#min.buffer)
    const max = new Uint8Array(this.#max.buffer)
    const isMinExact = min.length <= MOST_BYTES
    const isMaxExact = max.length <= MOST_BYTES
    return {
      min: isMinExact ? min : beginningOf(min, this.#isText),
      max: isMaxExact ? max : above(beginningOf(max, this.#isText), this.#isText),
      isMinExact,
      isMaxExact,
    }
  }
}

/** The first bytes of a long value; a text is not cut within a character. */
function beginningOf(bytes: Uint8Array, isText: boolean): Uint8Array {
  let end = MOST_BYTES
  if (isText) while (end > 0 && isContinuation(bytes[end])) end -= 1
  // Text that is not UTF-8 may have no beginning of a character.
  return bytes.slice(0, end === 0 ? MOST_BYTES : end)
}

function isContinuation(byte: number | undefined): boolean {
  return byte !== undefined && (byte & 0xc0) === 0x80
}

/** A short value that is greater than all that begin with these bytes; undefined where there is none. */
function above(bytes: Uint8Array, isText: boolean): Uint8Array | undefined {
  const text = isText ? textOf(bytes) : undefined
  return text === undefined ? bytesAbove(bytes) : textAbove(text)
}

/** Undefined for what is not UTF-8. */
function textOf(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return undefined
  }
}

function bytesAbove(bytes: Uint8Array): Uint8Array | undefined {
  const last = bytes.findLastIndex((byte) => byte < 0xff)
  if (last < 0) return undefined
  const found = bytes.slice(0, last + 1)
  found[last] = (found[last] as number) + 1
  return found
}

const LAST_BEFORE_SURROGATES = 0xd7ff
const FIRST_AFTER_SURROGATES = 0xe000
const LAST_CODE_POINT = 0x10ffff

function textAbove(text: string): Uint8Array | undefined {
  const points = Array.from(text, (character) => character.codePointAt(0) as number)
  const last = points.findLastIndex((point) => point < LAST_CODE_POINT)
  const point = points[last]
  if (point === undefined) return undefined
  const next = point === LAST_BEFORE_SURROGATES ? FIRST_AFTER_SURROGATES : point + 1
  return Buffer.from(String.fromCodePoint(...points.slice(0, last), next))
}

function viewOf({ buffer, byteOffset, byteLength }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, byteLength)
}

/** A value in the column's own bytes. */
interface Place {
  readonly view: DataView
  readonly start: number
  readonly end: number
}

/** A copy, which stays when the column's bytes change. */
function copyOf({ view, start, end }: Place): DataView {
  return viewOf(new Uint8Array(new Uint8Array(view.buffer, view.byteOffset + start, Math.min(end - start, KEPT_BYTES))))
}

/** The first four bytes as a number; a shorter value is padded with zeros. */
function headOf(view: DataView, start: number, end: number): number {
  if (end - start >= 4) return view.getUint32(start)
  let head = 0
  for (let byte = 0; byte < 4; byte += 1) head = head * 256 + (start + byte < end ? view.getUint8(start + byte) : 0)
  return head
}

function compareBytes(view: DataView, start: number, end: number, other: Place): number {
  const length = Math.min(end - start, KEPT_BYTES)
  const otherLength = Math.min(other.end - other.start, KEPT_BYTES)
  const common = Math.min(length, otherLength)
  let byte = 0
  for (; byte + 4 <= common; byte += 4) {
    const difference = view.getUint32(start + byte) - other.view.getUint32(other.start + byte)
    if (difference !== 0) return difference
  }
  for (; byte < common; byte += 1) {
    const difference = view.getUint8(start + byte) - other.view.getUint8(other.start + byte)
    if (difference !== 0) return difference
  }
  return length - otherLength
}
