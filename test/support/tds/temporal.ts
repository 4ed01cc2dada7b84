/** Part of the TDS server test double: conversion of dates and times between text and bytes (MS-TDS 2.2.5.5.1). */

const DAY_MILLIS = 86_400_000
const YEAR_ONE = utc(1, 1, 1)
const YEAR_1900 = utc(1900, 1, 1)

function utc(year: number, month: number, day: number): number {
  const date = new Date(0)
  date.setUTCFullYear(year, month - 1, day)
  return date.getTime()
}

interface Moment {
  /** Days since 0001-01-01. */
  readonly days: number
  /** Units of 100 ns since midnight. */
  readonly ticks: bigint
  readonly offsetMinutes: number
}

/** `2024-02-29`, `12:30:00.1234567`, or both, and an offset. */
export function parseMoment(text: string): Moment {
  const match =
    /^(?:(\d{4})-(\d\d)-(\d\d))?[ T]?(?:(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,7}))?)?)? ?(Z|[+-]\d\d(?::?\d\d)?)?$/.exec(
      text.trim(),
    )
  if (match === null) throw new Error(`not a date or time: ${text}`)
  const [, year, month, day, hour, minute, second, fraction, zone] = match
  const days = year === undefined ? 0 : (utc(Number(year), Number(month), Number(day)) - YEAR_ONE) / DAY_MILLIS
  const seconds = Number(hour ?? 0) * 3600 + Number(minute ?? 0) * 60 + Number(second ?? 0)
  const offset = /^([+-])(\d\d):?(\d\d)?$/.exec(zone ?? '')
  return {
    days,
    ticks: BigInt(seconds) * 10_000_000n + BigInt((fraction ?? '').padEnd(7, '0')),
    offsetMinutes:
      offset === null ? 0 : (offset[1] === '-' ? -1 : 1) * (Number(offset[2]) * 60 + Number(offset[3] ?? 0)),
  }
}

export function timeLength(scale: number): number {
  return scale <= 2 ? 3 : scale <= 4 ? 4 : 5
}

function timeBytes(ticks: bigint, scale: number): Buffer {
  return unsigned(ticks / 10n ** BigInt(7 - scale), timeLength(scale))
}

function unsigned(value: bigint, length: number): Buffer {
  const buffer = Buffer.alloc(8)
  buffer.writeBigUInt64LE(value)
  return buffer.subarray(0, length)
}

export function encodeDate(text: string): Buffer {
  return unsigned(BigInt(parseMoment(text).days), 3)
}

export function encodeTime(text: string, scale: number): Buffer {
  return timeBytes(parseMoment(text).ticks, scale)
}

export function encodeDateTime2(text: string, scale: number): Buffer {
  const { days, ticks } = parseMoment(text)
  return Buffer.concat([timeBytes(ticks, scale), unsigned(BigInt(days), 3)])
}

/** The bytes hold the moment in UTC, and the offset. */
export function encodeDateTimeOffset(text: string, scale: number): Buffer {
  const { days, ticks, offsetMinutes } = parseMoment(text)
  const perDay = 864_000_000_000n
  const all = BigInt(days) * perDay + ticks - BigInt(offsetMinutes) * 600_000_000n
  const offset = Buffer.alloc(2)
  offset.writeInt16LE(offsetMinutes)
  return Buffer.concat([timeBytes(all % perDay, scale), unsigned(all / perDay, 3), offset])
}

/** `datetime`: days since 1900 and three-hundredths of a second. */
export function encodeDateTime(text: string): Buffer {
  const { days, ticks } = parseMoment(text)
  const buffer = Buffer.alloc(8)
  buffer.writeInt32LE(days - (YEAR_1900 - YEAR_ONE) / DAY_MILLIS, 0)
  buffer.writeUInt32LE(Math.round((Number(ticks) / 10_000_000) * 300), 4)
  return buffer
}

/** `smalldatetime`: days since 1900, then minutes. */
export function encodeSmallDateTime(text: string): Buffer {
  const { days, ticks } = parseMoment(text)
  const buffer = Buffer.alloc(4)
  buffer.writeUInt16LE(days - (YEAR_1900 - YEAR_ONE) / DAY_MILLIS, 0)
  buffer.writeUInt16LE(Number(ticks / 600_000_000n), 2)
  return buffer
}

const two = (value: number): string => String(value).padStart(2, '0')

function dateText(days: number): string {
  const date = new Date(YEAR_ONE + days * DAY_MILLIS)
  return `${String(date.getUTCFullYear()).padStart(4, '0')}-${two(date.getUTCMonth() + 1)}-${two(date.getUTCDate())}`
}

function timeText(ticks: bigint, scale: number): string {
  const seconds = Number(ticks / 10_000_000n)
  const fraction = (ticks % 10_000_000n).toString().padStart(7, '0').slice(0, scale)
  const clock = `${two(Math.floor(seconds / 3600))}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`
  return fraction === '' ? clock : `${clock}.${fraction}`
}

function readUnsigned(data: Buffer): bigint {
  const buffer = Buffer.alloc(8)
  data.copy(buffer)
  return buffer.readBigUInt64LE()
}

const ticksOf = (data: Buffer, scale: number): bigint => readUnsigned(data) * 10n ** BigInt(7 - scale)

export function decodeDate(data: Buffer): string {
  return dateText(Number(readUnsigned(data)))
}

export function decodeTime(data: Buffer, scale: number): string {
  return timeText(ticksOf(data, scale), scale)
}

export function decodeDateTime2(data: Buffer, scale: number): string {
  const time = timeLength(scale)
  return `${dateText(Number(readUnsigned(data.subarray(time))))} ${decodeTime(data.subarray(0, time), scale)}`
}

export function decodeDateTimeOffset(data: Buffer, scale: number): string {
  const time = timeLength(scale)
  const offset = data.readInt16LE(time + 3)
  const perDay = 864_000_000_000n
  const local =
    readUnsigned(data.subarray(time, time + 3)) * perDay +
    ticksOf(data.subarray(0, time), scale) +
    BigInt(offset) * 600_000_000n
  const size = Math.abs(offset)
  const zone = `${offset < 0 ? '-' : '+'}${two(Math.floor(size / 60))}:${two(size % 60)}`
  return `${dateText(Number(local / perDay))} ${timeText(local % perDay, scale)} ${zone}`
}

export function decodeDateTime(data: Buffer): string {
  const days = data.readInt32LE(0) + (YEAR_1900 - YEAR_ONE) / DAY_MILLIS
  const millis = Math.round(data.readUInt32LE(4) / 0.3)
  return `${dateText(days)} ${timeText(BigInt(millis) * 10_000n, 3)}`
}

export function decodeSmallDateTime(data: Buffer): string {
  const days = data.readUInt16LE(0) + (YEAR_1900 - YEAR_ONE) / DAY_MILLIS
  return `${dateText(days)} ${timeText(BigInt(data.readUInt16LE(2)) * 600_000_000n, 0)}`
}
