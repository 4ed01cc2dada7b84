/** Part of the TDS server test double: the bytes of values (MS-TDS 2.2.5.5), without their lengths. */

import { encodeDate, encodeDateTime, encodeDateTime2, encodeDateTimeOffset, encodeTime } from './temporal.ts'

/** Latin1_General_CI_AS. */
export const COLLATION = Buffer.from([0x09, 0x04, 0xd0, 0x00, 0x34])

export function integer(size: 1 | 2 | 4 | 8, text: string): Buffer {
  const buffer = Buffer.alloc(8)
  buffer.writeBigInt64LE(BigInt(text))
  return buffer.subarray(0, size)
}

export function float(size: 4 | 8, text: string): Buffer {
  const buffer = Buffer.alloc(size)
  if (size === 4) buffer.writeFloatLE(Number(text))
  else buffer.writeDoubleLE(Number(text))
  return buffer
}

/** `-12.5` at scale 2 is -1250. */
export function scaled(text: string, scale: number): bigint {
  const match = /^(-?)(\d*)(?:\.(\d*))?$/.exec(text.trim())
  if (match === null) throw new Error(`not a decimal: ${text}`)
  const [, sign, whole, fraction = ''] = match
  const digits = BigInt(`${whole}${fraction.padEnd(scale, '0').slice(0, scale)}` || '0')
  return sign === '-' ? -digits : digits
}

export function decimalLength(precision: number): number {
  return precision <= 9 ? 4 : precision <= 19 ? 8 : precision <= 28 ? 12 : 16
}

export function decimalBytes(text: string, precision: number, scale: number): Buffer {
  const value = scaled(text, scale)
  const buffer = Buffer.alloc(17)
  buffer[0] = value < 0n ? 0 : 1
  const size = value < 0n ? -value : value
  buffer.writeBigUInt64LE(size & 0xffff_ffff_ffff_ffffn, 1)
  buffer.writeBigUInt64LE(size >> 64n, 9)
  return buffer.subarray(0, 1 + decimalLength(precision))
}

export function moneyBytes(text: string): Buffer {
  const value = scaled(text, 4)
  const buffer = Buffer.alloc(8)
  buffer.writeInt32LE(Number(value >> 32n), 0)
  buffer.writeUInt32LE(Number(value & 0xffff_ffffn), 4)
  return buffer
}

export function guidBytes(text: string): Buffer {
  const bytes = Buffer.from(text.replaceAll('-', ''), 'hex')
  // The first three groups are little-endian numbers.
  return Buffer.concat([
    bytes.subarray(0, 4).reverse(),
    bytes.subarray(4, 6).reverse(),
    bytes.subarray(6, 8).reverse(),
    bytes.subarray(8),
  ])
}

/** The text form is `type:value`, as in `decimal(20,4):1.5`; MS-TDS 2.2.5.5.4 gives each its property bytes. */
export function variantBytes(text: string): Buffer {
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
      // Always as long as the largest, whatever the precision: SqlClient reads no other length.
      return parts(0x6a, [precision, digits], decimalBytes(value, 38, digits))
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
