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
import {
  COLLATION,
  decimalBytes,
  decimalLength,
  float,
  guidBytes,
  integer,
  moneyBytes,
  scaled,
  variantBytes,
} from './value-bytes.ts'

export { COLLATION } from './value-bytes.ts'

export interface TdsType {
  /** TYPE_INFO. */
  readonly info: Buffer
  /** The value after its length. */
  encode(text: string): Buffer
  /** The bytes of a null in a plain ROW. */
  readonly absent: Buffer
  /** The type for a client that does not ask for UTF-8. */
  readonly wide?: TdsType
}

export interface Column {
  readonly name: string
  readonly type: TdsType
}

const MAX = 0xffff
const UTF8 = 65_001
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

export function intN(size: 1 | 2 | 4 | 8): TdsType {
  return { info: Buffer.from([0x26, size]), encode: (text) => short(integer(size, text)), absent: NO_BYTES }
}

const bit: TdsType = {
  info: Buffer.from([0x68, 1]),
  encode: (text) => Buffer.from([1, text === 't' || text === '1' ? 1 : 0]),
  absent: NO_BYTES,
}

function floatN(size: 4 | 8): TdsType {
  return { info: Buffer.from([0x6d, size]), encode: (text) => short(float(size, text)), absent: NO_BYTES }
}

export function decimal(precision: number, scale: number): TdsType {
  return {
    info: Buffer.from([0x6a, 1 + decimalLength(precision), precision, scale]),
    encode: (text) => short(decimalBytes(text, precision, scale)),
    absent: NO_BYTES,
  }
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
  const type = { info, encode: (text: string) => sized16(found.encode(text)), absent: NO_SHORT }
  if (found.codePage !== UTF8) return type
  // As SQL Server 2022 was seen to do: NVARCHAR, and the collation still says UTF-8.
  const wideInfo = Buffer.concat([Buffer.from([0xe7, 0x40, 0x1f]), found.collation])
  return { ...type, wide: { ...type, info: wideInfo, encode: (text) => sized16(Buffer.from(text, 'utf16le')) } }
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

function usVarchar(text: string): Buffer {
  const length = Buffer.alloc(2)
  length.writeUInt16LE(text.length)
  return Buffer.concat([length, Buffer.from(text, 'utf16le')])
}

const assemblyName = (name: string): string =>
  `Microsoft.SqlServer.Types.Sql${name}, Microsoft.SqlServer.Types, Version=11.0.0.0, Culture=neutral, PublicKeyToken=89845dcd8080cc91`

/** A CLR type (UDTTYPE, MS-TDS 2.2.5.5.2): its bytes are stored as hexadecimal text. */
const udt = (name: string): TdsType => ({
  info: Buffer.concat([
    Buffer.from([0xf0, 0xff, 0xff]),
    ...['', 'sys', name].map(bVarchar),
    usVarchar(assemblyName(name)),
  ]),
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
