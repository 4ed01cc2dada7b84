/** SQL Server's values as text with every digit, out of the bytes on the wire (MS-TDS 2.2.5.5). */

import { TextDecoder } from 'node:util'
import * as exact from '../../../drivers/sqlserver/exact-values.ts'
import type { ColumnMetadata } from '../../../drivers/sqlserver/statement.ts'

export type FieldText = (chunk: Buffer, start: number, end: number) => string

/** How a value is written in JSON, as FOR JSON does. */
export type JsonForm = 'number' | 'boolean' | 'text' | 'moment' | 'base64'

export interface ValueText {
  readonly text: FieldText
  readonly json: JsonForm
}

/** Code pages that Node decodes exactly as the server does, by tedious' names; the server transcodes the others. */
const CODE_PAGES: Readonly<Record<string, string>> = {
  utf8: 'utf-8',
  'utf-8': 'utf-8',
  CP1250: 'windows-1250',
  CP1251: 'windows-1251',
  CP1252: 'windows-1252',
  CP1254: 'windows-1254',
  CP1256: 'windows-1256',
}
/** The same, by the numbers of COLLATIONPROPERTY. */
export const READABLE_CODE_PAGES: ReadonlySet<number> = new Set([1250, 1251, 1252, 1254, 1256, 65001])

/** @throws RangeError for another code page */
export function decoderFor(column: ColumnMetadata): TextDecoder {
  const label = CODE_PAGES[column.collation?.codepage ?? '']
  if (label === undefined) throw new RangeError(`text of the code page ${column.collation?.codepage}`)
  return new TextDecoder(label, { ignoreBOM: true })
}

const utf16: FieldText = (chunk, start, end) => chunk.toString('utf16le', start, end)
const hex: FieldText = (chunk, start, end) => `0x${chunk.toString('hex', start, end).toUpperCase()}`

const integer: FieldText = (chunk, start, end) => {
  if (end - start === 8) return chunk.readBigInt64LE(start).toString()
  if (end - start === 1) return String(chunk[start])
  return String(end - start === 4 ? chunk.readInt32LE(start) : chunk.readInt16LE(start))
}

/** The smallest normal number of 32 bits, with all binary digits. */
const LEAST_WHOLE = 2 ** -126

/** The fewest digits that give the same number again. */
const float: FieldText = (chunk, start, end) => {
  if (end - start === 8) return shown(chunk.readDoubleLE(start))
  const value = chunk.readFloatLE(start)
  if (value === 0) return shown(value)
  // Six digits are always exact, except in the numbers next to zero.
  for (let digits = Math.abs(value) < LEAST_WHOLE ? 1 : 6; digits < 9; digits += 1) {
    const rounded = Number(value.toPrecision(digits))
    if (Math.fround(rounded) === value) return shown(rounded)
  }
  return shown(Number(value.toPrecision(9)))
}

function shown(value: number): string {
  return Object.is(value, -0) ? '-0' : String(value)
}

const guid: FieldText = (chunk, start) => {
  const part = (from: number, to: number): string => chunk.toString('hex', start + from, start + to)
  const number = (from: number, to: number): string =>
    Buffer.from(chunk.subarray(start + from, start + to))
      .reverse()
      .toString('hex')
  const text = [number(0, 4), number(4, 6), number(6, 8), part(8, 10), part(10, 16)].join('-')
  return text.toUpperCase()
}

/** For functions over a value's bytes alone. */
const whole =
  (text: (data: Buffer) => string): FieldText =>
  (chunk, start, end) =>
    text(chunk.subarray(start, end))

/** Base types of sql_variant (MS-TDS 2.2.5.5.4) beyond those whose digits the driver reads. */
const VARIANT: Readonly<Record<number, FieldText>> = {
  36: guid,
  48: integer,
  50: (chunk, start) => String(chunk[start]),
  52: integer,
  56: integer,
  59: float,
  62: float,
  127: integer,
  165: hex,
  173: hex,
  231: utf16,
  239: utf16,
}

/** A sql_variant is its base type, the number of its properties, the properties, and the value. */
const variant: FieldText = (chunk, start, end) => {
  const text = exact.variantText(chunk.subarray(start, end))
  if (text !== undefined) return text
  const read = VARIANT[chunk[start] as number]
  if (read === undefined) throw new RangeError(`a sql_variant that holds the type 0x${chunk[start]?.toString(16)}`)
  return read(chunk, start + 2 + (chunk[start + 1] as number), end)
}

/** @throws RangeError for a type that SQL Server does not send in answer to these statements */
export function valueText(column: ColumnMetadata): ValueText {
  const { scale = 7 } = column
  switch (column.type.name) {
    case 'TinyInt':
    case 'SmallInt':
    case 'Int':
    case 'BigInt':
    case 'IntN':
      return { text: integer, json: 'number' }
    case 'Bit':
    case 'BitN':
      return { text: (chunk, start) => String(chunk[start]), json: 'boolean' }
    case 'Real':
    case 'Float':
    case 'FloatN':
      return { text: float, json: 'number' }
    case 'DecimalN':
    case 'NumericN':
      return { text: whole((data) => exact.decimalText(data, column.scale ?? 0)), json: 'number' }
    case 'Money':
    case 'SmallMoney':
    case 'MoneyN':
      return { text: whole(exact.moneyText), json: 'number' }
    case 'Date':
      return { text: whole(exact.dateText), json: 'text' }
    case 'Time':
      return { text: whole((data) => exact.timeText(data, scale)), json: 'text' }
    case 'DateTime2':
      return { text: whole((data) => exact.dateTime2Text(data, scale)), json: 'moment' }
    case 'DateTimeOffset':
      return { text: whole((data) => exact.dateTimeOffsetText(data, scale)), json: 'moment' }
    case 'DateTime':
    case 'DateTimeN':
    case 'SmallDateTime':
      return {
        text: whole((data) => (data.length === 4 ? exact.smallDateTimeText(data) : exact.dateTimeText(data))),
        json: 'moment',
      }
    case 'UniqueIdentifier':
      return { text: guid, json: 'text' }
    case 'NVarChar':
    case 'NChar':
    case 'NText':
    case 'Xml':
      return { text: utf16, json: 'text' }
    case 'VarChar':
    case 'Char':
    case 'Text': {
      const decoder = decoderFor(column)
      return { text: whole((data) => decoder.decode(data)), json: 'text' }
    }
    case 'VarBinary':
    case 'Binary':
    case 'Image':
    case 'UDT':
      return { text: hex, json: 'base64' }
    case 'Variant':
      return { text: variant, json: 'text' }
    default:
      throw new RangeError(`the type ${column.type.name}`)
  }
}
