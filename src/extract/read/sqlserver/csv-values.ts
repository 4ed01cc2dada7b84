/**
 * SQL Server's values as fields of CSV, written as bytes where the bytes on the wire allow it: a JavaScript string of
 * each value takes several times as long. The result is always the text of {@link valueText}, which takes over for
 * every value that is out of the ordinary.
 */

import type { ColumnMetadata } from '../../../drivers/sqlserver/statement.ts'
import { csvField, guardFormula } from '../text/csv.ts'
import { clock, date, digits, scaled } from '../text/digits.ts'
import { valueText } from './value-text.ts'

/** Writes a value at `at`, where {@link roomFor} bytes are free; returns where it ends. */
export type FieldWriter = (chunk: Buffer, start: number, end: number, out: Buffer, at: number) => number

/** The most bytes that the field of a value of this length may take. */
export function roomFor(length: number): number {
  return 64 + length * 4
}

export function csvWriter(column: ColumnMetadata): FieldWriter {
  const { text } = valueText(column)
  const asText: FieldWriter = (chunk, start, end, out, at) => at + out.write(csvField(text(chunk, start, end)), at)
  return FAST[column.type.name]?.(column, asText) ?? asText
}

const TEXTS = new Set(['NVarChar', 'NChar', 'NText', 'Xml', 'VarChar', 'Char', 'Text', 'Variant'])

/** The same, with an apostrophe before text that a spreadsheet would take for a formula. */
export function guardedCsvWriter(column: ColumnMetadata): FieldWriter {
  const write = csvWriter(column)
  if (!TEXTS.has(column.type.name)) return write
  const { text } = valueText(column)
  return (chunk, start, end, out, at) => {
    const value = text(chunk, start, end)
    const guarded = guardFormula(value)
    return guarded === value ? write(chunk, start, end, out, at) : at + out.write(csvField(guarded), at)
  }
}

/** Beyond it a double does not hold every whole number. */
const EXACT = Number.MAX_SAFE_INTEGER
const TWO_32 = 2 ** 32
const ZERO = 0x30
const MINUS = 0x2d
const SPACE = 0x20
const COLON = 0x3a
const QUOTE = 0x22
const COMMA = 0x2c

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

/**
 * Plain ASCII is copied, `step` bytes for each character. `asText` writes text with any other character, a quote, a
 * comma or a line break.
 */
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
    // The empty text is quoted.
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
