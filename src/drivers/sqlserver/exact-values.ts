/**
 * Values of SQL Server's types as text that holds every digit (MS-TDS 2.2.5.5), in the form that the server itself
 * writes and reads: what comes out of here can be bound again and is the same value. Pure functions over bytes.
 */

const TICKS_PER_SECOND = 10_000_000n
const TICKS_PER_MINUTE = 60n * TICKS_PER_SECOND
const TICKS_PER_DAY = 86_400n * TICKS_PER_SECOND
const DAY_MILLIS = 86_400_000
/** 0001-01-01 and 1900-01-01 in milliseconds of JavaScript's proleptic Gregorian calendar. */
const YEAR_ONE = -62_135_596_800_000
const DAYS_TO_1900 = 693_595

/** Sign byte (1 is positive), then the magnitude, little-endian; `scale` digits stand behind the point. */
export function decimalText(data: Buffer, scale: number): string {
  const digits = magnitude(data.subarray(1)).toString()
  return pointed(digits, scale, data[0] === 0)
}

/** Ten-thousandths in four bytes, or in eight of which the high half comes first. */
export function moneyText(data: Buffer): string {
  const units =
    data.length === 4
      ? BigInt(data.readInt32LE(0))
      : (BigInt(data.readInt32LE(0)) << 32n) | BigInt(data.readUInt32LE(4))
  return pointed((units < 0n ? -units : units).toString(), 4, units < 0n)
}

function pointed(digits: string, scale: number, negative: boolean): string {
  const full = digits.padStart(scale + 1, '0')
  const whole = full.slice(0, full.length - scale)
  const sign = negative && /[1-9]/.test(digits) ? '-' : ''
  return scale === 0 ? `${sign}${whole}` : `${sign}${whole}.${full.slice(full.length - scale)}`
}

function magnitude(data: Buffer): bigint | number {
  if (data.length === 4) return data.readUInt32LE(0)
  let value = 0n
  for (let at = data.length - 4; at >= 0; at -= 4) value = (value << 32n) | BigInt(data.readUInt32LE(at))
  return value
}

/** Days since 0001-01-01 in three bytes. */
export function dateText(data: Buffer): string {
  return showDate(data.readUIntLE(0, 3))
}

/** The time since midnight in units of 10^-scale seconds. */
export function timeText(data: Buffer, scale: number): string {
  return showTime(ticks(data, scale), scale)
}

export function dateTime2Text(data: Buffer, scale: number): string {
  const time = data.length - 3
  return `${showDate(data.readUIntLE(time, 3))} ${timeText(data.subarray(0, time), scale)}`
}

/** The bytes hold the moment in UTC; it is shown as it was said, with its offset. */
export function dateTimeOffsetText(data: Buffer, scale: number): string {
  const time = data.length - 5
  const offset = data.readInt16LE(time + 3)
  const local =
    BigInt(data.readUIntLE(time, 3)) * TICKS_PER_DAY +
    ticks(data.subarray(0, time), scale) +
    BigInt(offset) * TICKS_PER_MINUTE
  const size = Math.abs(offset)
  const zone = `${offset < 0 ? '-' : '+'}${two(Math.trunc(size / 60))}:${two(size % 60)}`
  return `${showDate(Number(local / TICKS_PER_DAY))} ${showTime(local % TICKS_PER_DAY, scale)} ${zone}`
}

/** `datetime`: days since 1900 and three-hundredths of a second, which the server shows as .000, .003 and .007. */
export function dateTimeText(data: Buffer): string {
  const millis = Math.round((data.readUInt32LE(4) * 10) / 3)
  return `${showDate(data.readInt32LE(0) + DAYS_TO_1900)} ${showTime(BigInt(millis) * 10_000n, 3)}`
}

/** `smalldatetime`: days since 1900 and minutes. */
export function smallDateTimeText(data: Buffer): string {
  const minutes = data.readUInt16LE(2)
  return `${showDate(data.readUInt16LE(0) + DAYS_TO_1900)} ${two(Math.trunc(minutes / 60))}:${two(minutes % 60)}:00`
}

function ticks(data: Buffer, scale: number): bigint {
  return BigInt(data.readUIntLE(0, data.length)) * 10n ** BigInt(7 - scale)
}

const two = (value: number): string => String(value).padStart(2, '0')

function showDate(days: number): string {
  const date = new Date(YEAR_ONE + days * DAY_MILLIS)
  return `${String(date.getUTCFullYear()).padStart(4, '0')}-${two(date.getUTCMonth() + 1)}-${two(date.getUTCDate())}`
}

function showTime(value: bigint, scale: number): string {
  const seconds = Number(value / TICKS_PER_SECOND)
  const clock = `${two(Math.trunc(seconds / 3600))}:${two(Math.trunc(seconds / 60) % 60)}:${two(seconds % 60)}`
  if (scale === 0) return clock
  return `${clock}.${(value % TICKS_PER_SECOND).toString().padStart(7, '0').slice(0, scale)}`
}

const VARIANT = {
  money: 0x3c,
  smallMoney: 0x7a,
  dateTime: 0x3d,
  smallDateTime: 0x3a,
  date: 0x28,
  time: 0x29,
  dateTime2: 0x2a,
  dateTimeOffset: 0x2b,
  decimal: 0x6a,
  numeric: 0x6c,
} as const

/** The types in a sql_variant (MS-TDS 2.2.5.5.4) whose digits would be lost; undefined for the others. */
export function variantText(value: Buffer): string | undefined {
  const data = value.subarray(2 + (value[1] ?? 0))
  switch (value[0]) {
    case VARIANT.money:
    case VARIANT.smallMoney:
      return moneyText(data)
    case VARIANT.dateTime:
      return dateTimeText(data)
    case VARIANT.smallDateTime:
      return smallDateTimeText(data)
    case VARIANT.date:
      return dateText(data)
    case VARIANT.time:
      return timeText(data, value[2] ?? 7)
    case VARIANT.dateTime2:
      return dateTime2Text(data, value[2] ?? 7)
    case VARIANT.dateTimeOffset:
      return dateTimeOffsetText(data, value[2] ?? 7)
    case VARIANT.decimal:
    case VARIANT.numeric:
      return decimalText(data, value[3] ?? 0)
    default:
      return undefined
  }
}
