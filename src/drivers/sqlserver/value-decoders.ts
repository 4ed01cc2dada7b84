/** Values of rows (MS-TDS 2.2.5.5), one decoder for each column. */

import {
  dateText,
  dateTime2Text,
  dateTimeOffsetText,
  dateTimeText,
  decimalText,
  moneyText,
  smallDateTimeText,
  timeText,
  variantText,
} from './exact-values.ts'
import type { OwnStreamParser } from './stream-parser.ts'
import type { ColumnMetadata } from './tedious-internals.ts'

/**
 * Takes the next value out of the parser. Nothing of it may be taken before all of it is there: the decoder is called
 * again when there is more.
 */
export type Decode = (parser: OwnStreamParser) => unknown

const NO_BYTES = 0xffff
const TICKS_PER_MILLI = 10_000
const DAY_MILLIS = 86_400_000
/** 0001-01-01 in milliseconds since 1970. */
const YEAR_ONE = -62_135_596_800_000

/** @param exact decimals, money, dates and times as text, with every digit */
export function decoderFor(metadata: ColumnMetadata, exact: boolean): Decode {
  const { scale = 7 } = metadata
  switch (metadata.type.name) {
    case 'NVarChar':
    case 'NChar':
      return nText
    case 'IntN':
      return integer
    case 'FloatN':
      return float
    default:
  }
  if (!exact) return metadata.type.name === 'DateTime2' ? dateTime2(scale, stock(metadata)) : stock(metadata)
  switch (metadata.type.name) {
    case 'DecimalN':
    case 'NumericN':
      return short((data) => decimalText(data, metadata.scale ?? 0))
    case 'MoneyN':
      return short(moneyText)
    case 'Money':
      return fixed(8, moneyText)
    case 'SmallMoney':
      return fixed(4, moneyText)
    case 'Date':
      return short(dateText)
    case 'Time':
      return short((data) => timeText(data, scale))
    case 'DateTime2':
      return short((data) => dateTime2Text(data, scale))
    case 'DateTimeOffset':
      return short((data) => dateTimeOffsetText(data, scale))
    case 'DateTimeN':
      return short((data) => (data.length === 4 ? smallDateTimeText(data) : dateTimeText(data)))
    case 'DateTime':
      return fixed(8, dateTimeText)
    case 'SmallDateTime':
      return fixed(4, smallDateTimeText)
    case 'Variant':
      return variant(metadata)
    default:
      return stock(metadata)
  }
}

/** A value of at most 255 bytes behind its length in one byte; no bytes is null. */
function short(decode: (data: Buffer) => unknown): Decode {
  return (parser) => {
    const at = parser.position
    parser.need(at + 1)
    const end = at + 1 + (parser.buffer[at] ?? 0)
    parser.need(end)
    parser.position = end
    return end === at + 1 ? null : decode(parser.buffer.subarray(at + 1, end))
  }
}

function fixed(length: number, decode: (data: Buffer) => unknown): Decode {
  return (parser) => {
    const at = parser.position
    parser.need(at + length)
    parser.position = at + length
    return decode(parser.buffer.subarray(at, at + length))
  }
}

const nText: Decode = (parser) => {
  const at = parser.position
  parser.need(at + 2)
  const length = parser.buffer.readUInt16LE(at)
  const end = length === NO_BYTES ? at + 2 : at + 2 + length
  parser.need(end)
  parser.position = end
  return length === NO_BYTES ? null : parser.buffer.toString('utf16le', at + 2, end)
}

/** A number behind its length; eight bytes are a bigint, which tedious gives as text. */
const integer: Decode = (parser) => {
  const { buffer, position: at } = parser
  parser.need(at + 1)
  const length = buffer[at] ?? 0
  parser.need(at + 1 + length)
  parser.position = at + 1 + length
  if (length === 4) return buffer.readInt32LE(at + 1)
  if (length === 8) return buffer.readBigInt64LE(at + 1).toString()
  if (length === 2) return buffer.readInt16LE(at + 1)
  return length === 0 ? null : buffer[at + 1]
}

const float: Decode = (parser) => {
  const { buffer, position: at } = parser
  parser.need(at + 1)
  const length = buffer[at] ?? 0
  parser.need(at + 1 + length)
  parser.position = at + 1 + length
  return length === 8 ? buffer.readDoubleLE(at + 1) : length === 4 ? buffer.readFloatLE(at + 1) : null
}

/** As tedious gives it, with what is finer than a millisecond in a property of its own, where there is such a thing. */
function dateTime2(scale: number, inLocalTime: Decode): Decode {
  return (parser) => {
    if ((parser.options as { readonly useUTC?: boolean }).useUTC === false) return inLocalTime(parser)
    const { buffer, position: at } = parser
    parser.need(at + 1)
    const length = buffer[at] ?? 0
    const end = at + 1 + length
    parser.need(end)
    parser.position = end
    if (length === 0) return null
    const ticks = buffer.readUIntLE(at + 1, length - 3) * 10 ** (7 - scale)
    const millis = Math.trunc(ticks / TICKS_PER_MILLI)
    const date = new Date(YEAR_ONE + buffer.readUIntLE(end - 3, 3) * DAY_MILLIS + millis)
    const rest = ticks - millis * TICKS_PER_MILLI
    return rest === 0 ? date : Object.defineProperty(date, 'nanosecondsDelta', { value: rest / 1e7 })
  }
}

function stock(metadata: ColumnMetadata): Decode {
  return (parser) => parser.stockValue(metadata)
}

function variant(metadata: ColumnMetadata): Decode {
  return (parser) => {
    const at = parser.position
    parser.need(at + 4)
    const end = at + 4 + parser.buffer.readUInt32LE(at)
    parser.need(end)
    const exact = variantText(parser.buffer.subarray(at + 4, end))
    if (exact === undefined) return parser.stockValue(metadata)
    parser.position = end
    return exact
  }
}
