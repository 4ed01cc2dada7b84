/**
 * Reads numbers, truth values, dates and timestamps from the bytes of a row, where pg's default parser would read them
 * from a text: a select of many timestamps spends most of its time in the regular expressions of that parser. The results
 * are the same, and a parser that the application registers is used.
 */

import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { byteAt, textIn } from './bytes-in.ts'

/** The function that pg calls with the text of a value. */
export type Parse = (value: string) => unknown

/** Reads `bytes[from, to)`. Undefined: a form that it does not know, which pg's parser must read. */
export type ValueReader = (bytes: Buffer, from: number, to: number) => unknown

const MINUS = 45
const PLUS = 43
const DOT = 46
const COLON = 58
const SPACE = 32
const ZERO = 48
const TRUE = 116
const FALSE = 102

/** Of ten, by their exponents. */
const POWERS = [1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14]
/** PostgreSQL sends microseconds at the most. */
const MOST_FRACTION_DIGITS = 6
/** In place of a number of two digits that are none: sums with it are negative. */
const NO_DIGITS = -100_000
/** In place of an offset from UTC, of which none is as long. */
const NO_OFFSET = 1_000_000
/** Of a year that begins in March, before each month from January on. */
const DAYS_BEFORE = [306, 337, 0, 31, 61, 92, 122, 153, 184, 214, 245, 275]
/** From the first of March of the year 0 to 1970. */
const DAYS_TO_1970 = 719_468
const MILLIS_OF_DAY = 86_400_000
/** Earlier years are left to pg's parser, since the constructors of Date read 0 to 99 as 1900 to 1999. */
const FIRST_YEAR = 100
/** A number of so many digits is a safe integer. */
const MOST_DIGITS = 15

const READERS: ReadonlyMap<number, ValueReader> = new Map<number, ValueReader>([
  [16, truthIn], // bool
  [20, textIn], // int8, whose default parser returns its text
  [21, integerIn], // int2
  [23, integerIn], // int4
  [26, integerIn], // oid
  [700, decimalIn], // float4
  [701, decimalIn], // float8
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
let textParser: Parse | undefined

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

/** Whether a parser is the one of pg that returns the text, which it has for types that it does not know. */
export function isPlainText(parser: Parse): boolean {
  return parser === textParser
}

/** The parsers that pg-types begins with. */
function defaultParsers(): ReadonlyMap<number, Parse> {
  const found = new Map<number, Parse>()
  try {
    const pgTypes = createRequire(createRequire(import.meta.url).resolve('pg')).resolve('pg-types')
    textParser = createRequire(pgTypes)(pgTypes).getTypeParser(0, 'a format that it does not know')
    const texts: { init(register: (id: number, parse: Parse) => void): void } = createRequire(pgTypes)(
      join(dirname(pgTypes), 'lib', 'textParsers.js'),
    )
    texts.init((id, parse) => found.set(id, parse))
  } catch {
    // In a bundle, or under another layout of packages, the registered parsers read all values.
  }
  return found
}

/** As by the default parser, of the two forms that the server sends. */
function truthIn(bytes: Buffer, from: number, to: number): boolean | undefined {
  const letter = bytes[from]
  return to - from === 1 && (letter === TRUE || letter === FALSE) ? letter === TRUE : undefined
}

/** A whole number, as by parseInt. */
function integerIn(bytes: Buffer, from: number, to: number): number | undefined {
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
 * A number without an exponent, as by parseFloat. The quotient of a whole number below 2^53 and a power of ten up to
 * 10^22 is the double that is nearest to the decimal number.
 */
function decimalIn(bytes: Buffer, from: number, to: number): number | undefined {
  const negative = bytes[from] === MINUS
  const first = negative ? from + 1 : from
  if (to <= first || to - first > MOST_DIGITS) return undefined
  let digits = 0
  let point = to
  for (let at = first; at < to; at++) {
    const digit = byteAt(bytes, at) - ZERO
    if (digit >= 0 && digit <= 9) digits = digits * 10 + digit
    else if (bytes[at] === DOT && point === to) point = at
    else return undefined
  }
  // parseFloat takes ".5" and "5." too, which no server sends.
  if (point === first || point === to - 1) return undefined
  const value = point === to ? digits : digits / powerOfTen(to - 1 - point)
  return negative ? -value : value
}

/**
 * The date of a text in ISO form with a year of four digits (PostgreSQL documentation, "Date/Time Output"): a date or a
 * timestamp without a zone is in the local zone.
 */
function dateIn(bytes: Buffer, from: number, to: number): Date | undefined {
  const length = to - from
  if (length !== 10 && length < 19) return undefined
  const year = two(bytes, from) * 100 + two(bytes, from + 2)
  const month = two(bytes, from + 5)
  const day = two(bytes, from + 8)
  if (year < FIRST_YEAR || month < 1 || month > 12 || day < 1) return undefined
  if (bytes[from + 4] !== MINUS || bytes[from + 7] !== MINUS) return undefined
  if (length === 10) return new Date(year, month - 1, day)
  if (bytes[from + 10] !== SPACE || bytes[from + 13] !== COLON || bytes[from + 16] !== COLON) return undefined
  const hour = two(bytes, from + 11)
  const minute = two(bytes, from + 14)
  const second = two(bytes, from + 17)
  if ((hour | minute | second) < 0) return undefined
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
    if (at === first || at - first > MOST_FRACTION_DIGITS) return undefined
    // As pg's parser rounds: the quotient is the same double that parseFloat makes of the fraction.
    millis = Math.floor(1000 * (fraction / powerOfTen(at - first)))
  }
  if (at === to) return new Date(year, month - 1, day, hour, minute, second, millis)
  const offset = offsetSeconds(bytes, at, to)
  if (offset === NO_OFFSET) return undefined
  const seconds = (hour * 60 + minute) * 60 + second - offset
  return new Date(daysSince1970(year, month, day) * MILLIS_OF_DAY + seconds * 1000 + millis)
}

/** The offset of `+02`, `-03:30` or `+00:19:32`, to which all of `bytes[at, to)` must belong. */
function offsetSeconds(bytes: Buffer, at: number, to: number): number {
  const sign = bytes[at]
  const hours = two(bytes, at + 1)
  const minutes = at + 3 < to ? twoAfterColon(bytes, at + 3) : 0
  const seconds = at + 6 < to ? twoAfterColon(bytes, at + 6) : 0
  if ((sign !== PLUS && sign !== MINUS) || (hours | minutes | seconds) < 0) return NO_OFFSET
  if (to - at !== 3 && to - at !== 6 && to - at !== 9) return NO_OFFSET
  const offset = (hours * 60 + minutes) * 60 + seconds
  return sign === MINUS ? -offset : offset
}

/** The number of the days between a day of the Gregorian calendar and 1970. A year ends with its leap day here. */
function daysSince1970(year: number, month: number, day: number): number {
  const from = month > 2 ? year : year - 1
  const leapDays = (from >> 2) - Math.trunc(from / 100) + Math.trunc(from / 400)
  return from * 365 + leapDays + (DAYS_BEFORE[month - 1] ?? 0) + day - 1 - DAYS_TO_1970
}

function twoAfterColon(bytes: Buffer, at: number): number {
  return bytes[at] === COLON ? two(bytes, at + 1) : NO_DIGITS
}

/** The number that two digits write. */
function two(bytes: Buffer, at: number): number {
  const tens = byteAt(bytes, at) - ZERO
  const ones = byteAt(bytes, at + 1) - ZERO
  return tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9 ? tens * 10 + ones : NO_DIGITS
}

function powerOfTen(exponent: number): number {
  return POWERS[exponent] ?? Number.NaN
}
