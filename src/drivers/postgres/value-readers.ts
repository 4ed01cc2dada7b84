/**
 * Reads integers, dates and timestamps from the bytes of a row, where pg's default parser would read them from a text:
 * a select of many timestamps spends most of its time in the regular expressions of that parser. The results are the
 * same, and a parser that the application registers is used.
 */

import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

/** The function that pg calls with the text of a value. */
export type Parse = (value: string) => unknown

/** Reads `bytes[from, to)`. Undefined: a form that it does not know, which pg's parser must read. */
export type ValueReader = (bytes: Uint8Array, from: number, to: number) => unknown

const MINUS = 45
const PLUS = 43
const DOT = 46
const COLON = 58
const SPACE = 32
const ZERO = 48

/** By the number of digits of a fraction of a second; PostgreSQL sends six at the most. */
const POWERS = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000]
/** Earlier years are left to pg's parser, since the constructors of Date read 0 to 99 as 1900 to 1999. */
const FIRST_YEAR = 100
/** A number of so many digits is a safe integer. */
const MOST_DIGITS = 15

const READERS: ReadonlyMap<number, ValueReader> = new Map<number, ValueReader>([
  [21, integerIn], // int2
  [23, integerIn], // int4
  [26, integerIn], // oid
  [1082, dateIn], // date
  [1114, dateIn], // timestamp
  [1184, dateIn], // timestamptz
])

/** The parsers that stand for a reader: they return what has been read already. */
const readerOf = new WeakMap<Parse, ValueReader>()

/** For a type with a reader: pg's default parser, and the one that stands for the reader in its place. */
interface Replacement {
  readonly parser: Parse
  readonly standIn: Parse
}

let replacements: ReadonlyMap<number, Replacement> | undefined

/** The parser for the texts of a type: one that stands for a reader where pg's default is registered, else `registered`. */
export function parserFor(id: number, registered: Parse): Parse {
  replacements ??= findReplacements()
  const found = replacements.get(id)
  return found?.parser === registered ? found.standIn : registered
}

function findReplacements(): ReadonlyMap<number, Replacement> {
  const found = new Map<number, Replacement>()
  for (const [id, parser] of defaultParsers()) {
    const reader = READERS.get(id)
    if (reader === undefined) continue
    const standIn = (value: unknown): unknown => (typeof value === 'string' ? parser(value) : value)
    readerOf.set(standIn, reader)
    found.set(id, { parser, standIn })
  }
  return found
}

/** The readers for the columns of a result, by its parsers. Undefined: it has none. */
export function readersFor(parsers: readonly Parse[] | undefined): readonly (ValueReader | undefined)[] | undefined {
  if (parsers === undefined) return undefined
  let readers: (ValueReader | undefined)[] | undefined
  for (let index = 0; index < parsers.length; index++) {
    const reader = readerOf.get(parsers[index] as Parse)
    if (reader === undefined) continue
    readers ??= new Array<ValueReader | undefined>(parsers.length)
    readers[index] = reader
  }
  return readers
}

/** The parsers that pg-types begins with. */
function defaultParsers(): ReadonlyMap<number, Parse> {
  const found = new Map<number, Parse>()
  try {
    const pgTypes = createRequire(createRequire(import.meta.url).resolve('pg')).resolve('pg-types')
    const texts: { init(register: (id: number, parse: Parse) => void): void } = createRequire(pgTypes)(
      join(dirname(pgTypes), 'lib', 'textParsers.js'),
    )
    texts.init((id, parse) => found.set(id, parse))
  } catch {
    // In a bundle, or under another layout of packages, the registered parsers read all values.
  }
  return found
}

/** A whole number, as by parseInt. */
function integerIn(bytes: Uint8Array, from: number, to: number): number | undefined {
  const negative = bytes[from] === MINUS
  const first = negative ? from + 1 : from
  if (to <= first || to - first > MOST_DIGITS) return undefined
  let value = 0
  for (let at = first; at < to; at++) {
    const digit = byteAt(bytes, at) - ZERO
    if (digit < 0 || digit > 9) return undefined
    value = value * 10 + digit
  }
  return negative ? -value : value
}

/**
 * The date of a text in ISO form with a year of four digits (PostgreSQL documentation, "Date/Time Output"): a date or a
 * timestamp without a zone is in the local zone.
 */
function dateIn(bytes: Uint8Array, from: number, to: number): Date | undefined {
  const length = to - from
  if (length !== 10 && length < 19) return undefined
  const year = two(bytes, from) * 100 + two(bytes, from + 2)
  const month = two(bytes, from + 5) - 1
  const day = two(bytes, from + 8)
  if (!(year >= FIRST_YEAR) || bytes[from + 4] !== MINUS || bytes[from + 7] !== MINUS) return undefined
  if (length === 10) return Number.isNaN(month + day) ? undefined : new Date(year, month, day)
  if (bytes[from + 10] !== SPACE || bytes[from + 13] !== COLON || bytes[from + 16] !== COLON) return undefined
  const hour = two(bytes, from + 11)
  const minute = two(bytes, from + 14)
  const second = two(bytes, from + 17)
  if (Number.isNaN(month + day + hour + minute + second)) return undefined
  let at = from + 19
  let millis = 0
  if (at < to && bytes[at] === DOT) {
    const first = ++at
    let fraction = 0
    for (; at < to; at++) {
      const digit = byteAt(bytes, at) - ZERO
      if (digit < 0 || digit > 9) break
      fraction = fraction * 10 + digit
    }
    const power = POWERS[at - first]
    if (at === first || power === undefined) return undefined
    // As pg's parser rounds: the quotient is the same double that parseFloat makes of the fraction.
    millis = Math.floor(1000 * (fraction / power))
  }
  if (at === to) return new Date(year, month, day, hour, minute, second, millis)
  const offset = offsetSeconds(bytes, at, to)
  if (Number.isNaN(offset)) return undefined
  return new Date(midnight(year, month, day) + ((hour * 60 + minute) * 60 + second - offset) * 1000 + millis)
}

/** The offset of `+02`, `-03:30` or `+00:19:32`, to which all of `bytes[at, to)` must belong; else NaN. */
function offsetSeconds(bytes: Uint8Array, at: number, to: number): number {
  const sign = bytes[at]
  if (sign !== PLUS && sign !== MINUS) return Number.NaN
  let seconds = two(bytes, at + 1) * 3600
  let next = at + 3
  for (let unit = 60; next < to && unit >= 1; unit /= 60, next += 3) {
    if (bytes[next] !== COLON) return Number.NaN
    seconds += two(bytes, next + 1) * unit
  }
  if (next !== to) return Number.NaN
  return sign === MINUS ? -seconds : seconds
}

let lastDay = Number.NaN
let lastMidnight = Number.NaN

/** The beginning of a day in UTC. Kept, since rows that stand together often are of one day. */
function midnight(year: number, month: number, day: number): number {
  const key = (year * 100 + month) * 100 + day
  if (key !== lastDay) {
    lastDay = key
    lastMidnight = Date.UTC(year, month, day)
  }
  return lastMidnight
}

/** The number that two digits write; NaN where they are none. */
function two(bytes: Uint8Array, at: number): number {
  const tens = byteAt(bytes, at) - ZERO
  const ones = byteAt(bytes, at + 1) - ZERO
  return tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9 ? tens * 10 + ones : Number.NaN
}

function byteAt(bytes: Uint8Array, at: number): number {
  return bytes[at] ?? 0
}
