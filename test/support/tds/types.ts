/**
 * Part of the TDS server test double: the data types (MS-TDS 2.2.5.4 and 2.2.5.5), from PostgreSQL's text form to
 * TYPE_INFO and value bytes. Every type follows the specification, not a client.
 */

import { COLLATED } from './collations.ts'
import {
  encodeDate,
  encodeDateTime,
  encodeDateTime2,
  encodeDateTimeOffset,
  encodeSmallDateTime,
  encodeTime,
} from './temporal.ts'

export interface TdsType {
  /** TYPE_INFO. */
  readonly info: Buffer
  /** The value after its length. */
  encode(text: string): Buffer
  /** The bytes of a null in a plain ROW. */
  readonly absent: Buffer
}

export interface Column {
  readonly name: string
  readonly type: TdsType
}

/** Latin1_General_CI_AS. */
export const COLLATION = Buffer.from([0x09, 0x04, 0xd0, 0x00, 0x34])

const MAX = 0xffff
const NO_BYTES = Buffer.from([0])
const NO_SHORT = Buffer.from([0xff, 0xff])
const NO_LONG = Buffer.from([0, 0, 0, 0])
const NO_PLP = Buffer.alloc(8, 0xff)

/** A value of at most 255 bytes after its length in one byte. */
const short = (value: Buffer): Buffer => Buffer.concat([Buffer.from([value.length]), value])

function sized16(value: Buffer): Buffer {
  const length = Buffer.alloc(2)
  length.writeUInt16LE(value.length)
  return Buffer.concat([length, value])
}

/** Partially length-prefixed bytes, in chunks of an odd size so that clients must join them. */
function plp(value: Buffer): Buffer {
  const total = Buffer.alloc(8)
  total.writeBigUInt64LE(BigInt(value.length))
  const parts: Buffer[] = [total]
  const chunk = 65_521
  for (let at = 0; at < value.length; at += chunk) {
    const part = value.subarray(at, at + chunk)
    const length = Buffer.alloc(4)
    length.writeUInt32LE(part.length)
    parts.push(length, part)
  }
  parts.push(Buffer.alloc(4))
  return Buffer.concat(parts)
}

function integer(size: 1 | 2 | 4 | 8, text: string): Buffer {
  const buffer = Buffer.alloc(8)
  buffer.writeBigInt64LE(BigInt(text))
  return buffer.subarray(0, size)
}

export function intN(size: 1 | 2 | 4 | 8): TdsType {
  return { info: Buffer.from([0x26, size]), encode: (text) => short(integer(size, text)), absent: NO_BYTES }
}

const bit: TdsType = {
  info: Buffer.from([0x68, 1]),
  encode: (text) => Buffer.from([1, text === 't' || text === '1' ? 1 : 0]),
  absent: NO_BYTES,
}

function float(size: 4 | 8, text: string): Buffer {
  const buffer = Buffer.alloc(size)
  if (size === 4) buffer.writeFloatLE(Number(text))
  else buffer.writeDoubleLE(Number(text))
  return buffer
}

function floatN(size: 4 | 8): TdsType {
  return { info: Buffer.from([0x6d, size]), encode: (text) => short(float(size, text)), absent: NO_BYTES }
}

/** `-12.5` at scale 2 is -1250. */
function scaled(text: string, scale: number): bigint {
  const match = /^(-?)(\d*)(?:\.(\d*))?$/.exec(text.trim())
  if (match === null) throw new Error(`not a decimal: ${text}`)
  const [, sign, whole, fraction = ''] = match
  const digits = BigInt(`${whole}${fraction.padEnd(scale, '0').slice(0, scale)}` || '0')
  return sign === '-' ? -digits : digits
}

function decimalLength(precision: number): number {
  return precision <= 9 ? 4 : precision <= 19 ? 8 : precision <= 28 ? 12 : 16
}

function decimalBytes(text: string, precision: number, scale: number): Buffer {
  const value = scaled(text, scale)
  const buffer = Buffer.alloc(17)
  buffer[0] = value < 0n ? 0 : 1
  const size = value < 0n ? -value : value
  buffer.writeBigUInt64LE(size & 0xffff_ffff_ffff_ffffn, 1)
  buffer.writeBigUInt64LE(size >> 64n, 9)
  return buffer.subarray(0, 1 + decimalLength(precision))
}

export function decimal(precision: number, scale: number): TdsType {
  return {
    info: Buffer.from([0x6a, 1 + decimalLength(precision), precision, scale]),
    encode: (text) => short(decimalBytes(text, precision, scale)),
    absent: NO_BYTES,
  }
}

function moneyBytes(text: string): Buffer {
  const value = scaled(text, 4)
  const buffer = Buffer.alloc(8)
  buffer.writeInt32LE(Number(value >> 32n), 0)
  buffer.writeUInt32LE(Number(value & 0xffff_ffffn), 4)
  return buffer
}

const money: TdsType = {
  info: Buffer.from([0x6e, 8]),
  encode: (text) => short(moneyBytes(text)),
  absent: NO_BYTES,
}

const smallMoney: TdsType = {
  info: Buffer.from([0x6e, 4]),
  encode: (text) => short(integer(4, scaled(text, 4).toString())),
  absent: NO_BYTES,
}

const date: TdsType = { info: Buffer.from([0x28]), encode: (text) => short(encodeDate(text)), absent: NO_BYTES }

const time = (scale: number): TdsType => ({
  info: Buffer.from([0x29, scale]),
  encode: (text) => short(encodeTime(text, scale)),
  absent: NO_BYTES,
})

const dateTime2 = (scale: number): TdsType => ({
  info: Buffer.from([0x2a, scale]),
  encode: (text) => short(encodeDateTime2(text, scale)),
  absent: NO_BYTES,
})

const dateTimeOffset = (scale: number): TdsType => ({
  info: Buffer.from([0x2b, scale]),
  encode: (text) => short(encodeDateTimeOffset(text, scale)),
  absent: NO_BYTES,
})

const dateTime: TdsType = {
  info: Buffer.from([0x6f, 8]),
  encode: (text) => short(encodeDateTime(text)),
  absent: NO_BYTES,
}

const smallDateTime: TdsType = {
  info: Buffer.from([0x6f, 4]),
  encode: (text) => short(encodeSmallDateTime(text)),
  absent: NO_BYTES,
}

/** varchar of a collation, encoded in its code page. */
function collated(name: string): TdsType | undefined {
  const found = COLLATED.find((one) => one.type === name)
  if (found === undefined) return undefined
  const info = Buffer.concat([Buffer.from([0xa7, 0x40, 0x1f]), found.collation])
  return { info, encode: (text) => sized16(found.encode(text)), absent: NO_SHORT }
}

function guidBytes(text: string): Buffer {
  const bytes = Buffer.from(text.replaceAll('-', ''), 'hex')
  // The first three groups are little-endian numbers.
  return Buffer.concat([
    bytes.subarray(0, 4).reverse(),
    bytes.subarray(4, 6).reverse(),
    bytes.subarray(6, 8).reverse(),
    bytes.subarray(8),
  ])
}

const guid: TdsType = { info: Buffer.from([0x24, 16]), encode: (text) => short(guidBytes(text)), absent: NO_BYTES }

function textInfo(id: number, bytes: number): Buffer {
  const length = Buffer.alloc(2)
  length.writeUInt16LE(bytes)
  return Buffer.concat([Buffer.from([id]), length, COLLATION])
}

/** @param characters undefined is `nvarchar(max)` */
export function nvarchar(characters: number | undefined, fixed = false): TdsType {
  if (characters === undefined || characters > 4000) {
    return { info: textInfo(0xe7, MAX), encode: (text) => plp(Buffer.from(text, 'utf16le')), absent: NO_PLP }
  }
  return {
    info: textInfo(fixed ? 0xef : 0xe7, characters * 2),
    encode: (text) => sized16(Buffer.from(text, 'utf16le')),
    absent: NO_SHORT,
  }
}

/** PostgreSQL writes bytea as `\x…`. */
const bytea = (text: string): Buffer => Buffer.from(text.slice(2), 'hex')

const varbinaryMax: TdsType = {
  info: Buffer.from([0xa5, 0xff, 0xff]),
  encode: (text) => plp(bytea(text)),
  absent: NO_PLP,
}

const xml: TdsType = {
  info: Buffer.from([0xf1, 0]),
  encode: (text) => plp(Buffer.from(text, 'utf16le')),
  absent: NO_PLP,
}

/** The text form is `type:value`, as in `decimal(20,4):1.5`; MS-TDS 2.2.5.5.4 gives each its property bytes. */
function variantBytes(text: string): Buffer {
  const colon = text.indexOf(':')
  const value = text.slice(colon + 1)
  const [, name = '', first, second] = /^(\w+)(?:\((\d+)(?:,(\d+))?\))?$/.exec(text.slice(0, colon)) ?? []
  const scale = Number(first ?? 7)
  const parts = (id: number, properties: readonly number[], data: Buffer): Buffer =>
    Buffer.concat([Buffer.from([id, properties.length, ...properties]), data])
  switch (name) {
    case 'bit':
      return parts(0x32, [], Buffer.from([Number(value)]))
    case 'tinyint':
      return parts(0x30, [], integer(1, value))
    case 'smallint':
      return parts(0x34, [], integer(2, value))
    case 'int':
      return parts(0x38, [], integer(4, value))
    case 'bigint':
      return parts(0x7f, [], integer(8, value))
    case 'float':
      return parts(0x3e, [], float(8, value))
    case 'money':
      return parts(0x3c, [], moneyBytes(value))
    case 'decimal': {
      const [precision, digits] = [Number(first), Number(second)]
      return parts(0x6a, [precision, digits], decimalBytes(value, precision, digits))
    }
    case 'date':
      return parts(0x28, [], encodeDate(value))
    case 'time':
      return parts(0x29, [scale], encodeTime(value, scale))
    case 'datetime':
      return parts(0x3d, [], encodeDateTime(value))
    case 'datetime2':
      return parts(0x2a, [scale], encodeDateTime2(value, scale))
    case 'datetimeoffset':
      return parts(0x2b, [scale], encodeDateTimeOffset(value, scale))
    case 'uniqueidentifier':
      return parts(0x24, [], guidBytes(value))
    case 'varbinary':
      return parts(0xa5, [0x40, 0x1f], Buffer.from(value, 'hex'))
    case 'nvarchar':
      return parts(0xe7, [...COLLATION, 0x40, 0x1f], Buffer.from(value, 'utf16le'))
    default:
      throw new Error(`sql_variant of ${name}`)
  }
}

const variant: TdsType = {
  info: Buffer.from([0x62, 0x49, 0x1f, 0, 0]),
  encode: (text) => {
    const value = variantBytes(text)
    const length = Buffer.alloc(4)
    length.writeUInt32LE(value.length)
    return Buffer.concat([length, value])
  },
  absent: NO_LONG,
}

const bVarchar = (text: string): Buffer => Buffer.concat([Buffer.from([text.length]), Buffer.from(text, 'utf16le')])

/** A CLR type (UDTTYPE, MS-TDS 2.2.5.5.2): its bytes are stored as hexadecimal text. */
const udt = (name: string): TdsType => ({
  info: Buffer.concat([Buffer.from([0xf0, 0xff, 0xff]), ...['', 'sys', name].map(bVarchar), Buffer.from([0, 0])]),
  encode: (text) => plp(Buffer.from(text, 'hex')),
  absent: NO_PLP,
})

/** The types that PostgreSQL lacks, by their names in {@link file://./prelude.ts}. */
function ownType(name: string, modifier: number): TdsType | undefined {
  const scale = modifier < 0 ? 7 : modifier - 5
  switch (name) {
    case 'tinyint':
      return intN(1)
    case 'money':
      return money
    case 'smallmoney':
      return smallMoney
    case 'datetime':
      return dateTime
    case 'smalldatetime':
      return smallDateTime
    case 'datetime2':
      return dateTime2(scale)
    case 'datetimeoffset':
      return dateTimeOffset(scale)
    case 'time7':
      return time(scale)
    case 'sql_variant':
      return variant
    case 'mssql_xml':
      return xml
    case 'hierarchyid':
    case 'geography':
      return udt(name)
    default:
      return collated(name)
  }
}

/** @param typeId PostgreSQL's type; `ownNames` are the double's types, by their ids */
export function typeOf(typeId: number, modifier: number, ownNames: ReadonlyMap<number, string>): TdsType {
  switch (typeId) {
    case 16:
      return bit
    case 17:
      return varbinaryMax
    case 20:
      return intN(8)
    case 21:
      return intN(2)
    case 23:
    case 26:
      return intN(4)
    case 700:
      return floatN(4)
    case 701:
      return floatN(8)
    case 1042:
      return nvarchar(modifier < 0 ? 1 : modifier - 4, true)
    case 1043:
      return nvarchar(modifier < 0 ? undefined : modifier - 4)
    case 1082:
      return date
    case 1083:
      return time(6)
    case 1114:
      return dateTime2(6)
    case 1184:
      return dateTimeOffset(6)
    case 1700:
      return modifier < 0 ? decimal(38, 6) : decimal((modifier - 4) >> 16, (modifier - 4) & 0x7ff)
    case 2950:
      return guid
    default:
      return ownType(ownNames.get(typeId) ?? '', modifier) ?? nvarchar(undefined)
  }
}
