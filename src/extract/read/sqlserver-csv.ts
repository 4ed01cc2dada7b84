/**
 * SQL Server's values as fields of CSV, written as bytes where the bytes on the wire allow it: making a JavaScript string
 * of each value, and one string of all, takes several times as long. What is written is always what {@link valueText}
 * says, which takes over wherever a value is out of the ordinary.
 */

import type { ColumnMetadata } from '../../drivers/sqlserver/tedious-internals.ts'
import { csvField } from '../sinks/text.ts'
import { valueText } from './sqlserver-text.ts'

/** Writes a value at `at`, where {@link roomFor} bytes are free, and returns where it ends. */
export type FieldWriter = (chunk: Buffer, start: number, end: number, out: Buffer, at: number) => number

/** The most bytes that a value of so many bytes may take. */
export function roomFor(length: number): number {
  return 64 + length * 4
}

export function csvWriter(column: ColumnMetadata): FieldWriter {
  const { text } = valueText(column)
  const asText: FieldWriter = (chunk, start, end, out, at) => at + out.write(csvField(text(chunk, start, end)), at)
  return FAST[column.type.name]?.(column, asText) ?? asText
}

/** Beyond it the steps of a double are greater than one. */
const EXACT = Number.MAX_SAFE_INTEGER
const TWO_32 = 2 ** 32
const ZERO = 0x30
const MINUS = 0x2d
const POINT = 0x2e
const SPACE = 0x20
const COLON = 0x3a
const QUOTE = 0x22
const COMMA = 0x2c

/** `width` digits of a number below 2^53, with zeros before it. */
function digits(value: number, width: number, out: Buffer, at: number): number {
  let rest = value
  let place = at + width
  // Whole numbers of 31 bits are divided several times as fast.
  while (rest > 0x7fff_ffff) {
    const next = Math.floor(rest / 10)
    place -= 1
    out[place] = ZERO + (rest - next * 10)
    rest = next
  }
  let small = rest | 0
  while (place > at) {
    const next = (small / 10) | 0
    place -= 1
    out[place] = ZERO + (small - next * 10)
    small = next
  }
  return at + width
}

function widthOf(value: number): number {
  let width = 1
  for (let limit = 10; value >= limit; limit *= 10) width += 1
  return width
}

/** A number below 2^53 of which `scale` digits stand behind the point. */
function scaled(value: number, isNegative: boolean, scale: number, out: Buffer, from: number): number {
  let at = from
  if (isNegative && value !== 0) {
    out[at] = MINUS
    at += 1
  }
  if (scale === 0) return digits(value, widthOf(value), out, at)
  const unit = 10 ** scale
  const whole = Math.floor(value / unit)
  at = digits(whole, widthOf(whole), out, at)
  out[at] = POINT
  return digits(value - whole * unit, scale, out, at + 1)
}

const integer =
  (asText: FieldWriter): FieldWriter =>
  (chunk, start, end, out, at) => {
    const length = end - start
    const value =
      length === 4
        ? chunk.readInt32LE(start)
        : length === 8
          ? chunk.readInt32LE(start + 4) * TWO_32 + chunk.readUInt32LE(start)
          : length === 2
            ? chunk.readInt16LE(start)
            : (chunk[start] as number)
    const size = Math.abs(value)
    return size > EXACT ? asText(chunk, start, end, out, at) : scaled(size, value < 0, 0, out, at)
  }

const decimal =
  (scale: number, asText: FieldWriter): FieldWriter =>
  (chunk, start, end, out, at) => {
    const length = end - start
    const low = chunk.readUInt32LE(start + 1)
    const value =
      length === 5 ? low : length === 9 ? chunk.readUInt32LE(start + 5) * TWO_32 + low : Number.POSITIVE_INFINITY
    if (value > EXACT || scale > 15) return asText(chunk, start, end, out, at)
    return scaled(value, chunk[start] === 0, scale, out, at)
  }

const DAYS_TO_MARCH_OF_YEAR_ZERO = 306
const DAYS_IN_400_YEARS = 146_097

/** Days since 0001-01-01, by the Gregorian calendar counted from the first of March, so that leap days come last. */
function date(days: number, out: Buffer, from: number): number {
  const shifted = days + DAYS_TO_MARCH_OF_YEAR_ZERO
  const era = (shifted / DAYS_IN_400_YEARS) | 0
  const dayOfEra = shifted - era * DAYS_IN_400_YEARS
  const yearOfEra =
    ((dayOfEra - ((dayOfEra / 1460) | 0) + ((dayOfEra / 36_524) | 0) - ((dayOfEra / 146_096) | 0)) / 365) | 0
  const dayOfYear = dayOfEra - (365 * yearOfEra + (yearOfEra >> 2) - ((yearOfEra / 100) | 0))
  const month = ((5 * dayOfYear + 2) / 153) | 0
  const day = dayOfYear - (((153 * month + 2) / 5) | 0) + 1
  const isNextYear = month >= 10
  let at = digits(era * 400 + yearOfEra + (isNextYear ? 1 : 0), 4, out, from)
  out[at] = MINUS
  at = digits(isNextYear ? month - 9 : month + 3, 2, out, at + 1)
  out[at] = MINUS
  return digits(day, 2, out, at + 1)
}

/** `units` of 10^-scale seconds since midnight. */
function clock(units: number, scale: number, out: Buffer, from: number): number {
  const unit = 10 ** scale
  const seconds = Math.floor(units / unit)
  let at = digits((seconds / 3600) | 0, 2, out, from)
  out[at] = COLON
  at = digits(((seconds / 60) | 0) % 60, 2, out, at + 1)
  out[at] = COLON
  at = digits(seconds % 60, 2, out, at + 1)
  if (scale === 0) return at
  out[at] = POINT
  return digits(units - seconds * unit, scale, out, at + 1)
}

function threeBytes(chunk: Buffer, at: number): number {
  return (chunk[at] as number) | ((chunk[at + 1] as number) << 8) | ((chunk[at + 2] as number) << 16)
}

/** Three to five bytes. */
function timeUnits(chunk: Buffer, start: number, length: number): number {
  const low = threeBytes(chunk, start)
  return length === 3 ? low : low + chunk.readUIntLE(start + 3, length - 3) * 0x100_0000
}

function moment(days: number, units: number, scale: number, out: Buffer, from: number): number {
  const at = date(days, out, from)
  out[at] = SPACE
  return clock(units, scale, out, at + 1)
}

const dateTimeOffset =
  (scale: number): FieldWriter =>
  (chunk, start, end, out, from) => {
    const offset = chunk.readInt16LE(end - 2)
    const dayUnits = 86_400 * 10 ** scale
    const local = timeUnits(chunk, start, end - start - 5) + offset * 60 * 10 ** scale
    const shift = Math.floor(local / dayUnits)
    let at = moment(threeBytes(chunk, end - 5) + shift, local - shift * dayUnits, scale, out, from)
    out[at] = SPACE
    out[at + 1] = offset < 0 ? MINUS : 0x2b
    const size = Math.abs(offset)
    at = digits((size / 60) | 0, 2, out, at + 2)
    out[at] = COLON
    return digits(size % 60, 2, out, at + 1)
  }

const DAYS_TO_1900 = 693_595
/** datetime, whose milliseconds are shown as .000, .003 and .007; smalldatetime is left to its text. */
const dateTime =
  (asText: FieldWriter): FieldWriter =>
  (chunk, start, end, out, at) => {
    if (end - start !== 8) return asText(chunk, start, end, out, at)
    const millis = Math.round((chunk.readUInt32LE(start + 4) * 10) / 3)
    return moment(chunk.readInt32LE(start) + DAYS_TO_1900, millis, 3, out, at)
  }

const HEX = Buffer.from('0123456789ABCDEF')
const GUID_ORDER = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15]

function hexByte(value: number, out: Buffer, at: number): number {
  out[at] = HEX[value >> 4] as number
  out[at + 1] = HEX[value & 15] as number
  return at + 2
}

const guid: FieldWriter = (chunk, start, _end, out, from) => {
  let at = from
  for (let byte = 0; byte < 16; byte += 1) {
    if (byte === 4 || byte === 6 || byte === 8 || byte === 10) {
      out[at] = MINUS
      at += 1
    }
    at = hexByte(chunk[start + (GUID_ORDER[byte] as number)] as number, out, at)
  }
  return at
}

const bytes: FieldWriter = (chunk, start, end, out, from) => {
  out[from] = ZERO
  out[from + 1] = 0x78
  let at = from + 2
  for (let byte = start; byte < end; byte += 1) at = hexByte(chunk[byte] as number, out, at)
  return at
}

/** Plain ASCII as it is, `step` bytes for each character of it; a quote, a comma, a line's end or any other: as text. */
const plain =
  (step: 1 | 2, asText: FieldWriter): FieldWriter =>
  (chunk, start, end, out, from) => {
    let at = from
    for (let byte = start; byte < end; byte += step) {
      const code = chunk[byte] as number
      const isOther = code >= 0x80 || (step === 2 && chunk[byte + 1] !== 0)
      if (isOther || code === QUOTE || code === COMMA || code === 0x0a || code === 0x0d) {
        return asText(chunk, start, end, out, from)
      }
      out[at] = code
      at += 1
    }
    // The empty text is none.
    return at === from ? asText(chunk, start, end, out, from) : at
  }

type Make = (column: ColumnMetadata, asText: FieldWriter) => FieldWriter

const integers: Make = (_column, asText) => integer(asText)
const decimals: Make = ({ scale = 0 }, asText) => decimal(scale, asText)
const wide: Make = (_column, asText) => plain(2, asText)
const narrow: Make = (_column, asText) => plain(1, asText)
const legacy: Make = (_column, asText) => dateTime(asText)
const binary: Make = () => bytes

/** By tedious' names. */
const FAST: Readonly<Record<string, Make>> = {
  TinyInt: integers,
  SmallInt: integers,
  Int: integers,
  BigInt: integers,
  IntN: integers,
  DecimalN: decimals,
  NumericN: decimals,
  Date: () => (chunk, start, _end, out, at) => date(threeBytes(chunk, start), out, at),
  Time:
    ({ scale = 7 }) =>
    (chunk, start, end, out, at) =>
      clock(timeUnits(chunk, start, end - start), scale, out, at),
  DateTime2:
    ({ scale = 7 }) =>
    (chunk, start, end, out, at) =>
      moment(threeBytes(chunk, end - 3), timeUnits(chunk, start, end - start - 3), scale, out, at),
  DateTimeOffset: ({ scale = 7 }) => dateTimeOffset(scale),
  DateTime: legacy,
  DateTimeN: legacy,
  UniqueIdentifier: () => guid,
  VarBinary: binary,
  Binary: binary,
  Image: binary,
  UDT: binary,
  NVarChar: wide,
  NChar: wide,
  NText: wide,
  Xml: wide,
  VarChar: narrow,
  Char: narrow,
  Text: narrow,
}
