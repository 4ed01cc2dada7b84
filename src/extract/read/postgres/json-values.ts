/** Values of the binary COPY format as JSON, as PostgreSQL writes it (src/backend/utils/adt/json.c). */

import { copyBytes, putBytes, type Viewed, viewed } from '../columns/copy-bytes.ts'
import { UUID_TEXT_BYTES, writeUuid } from '../columns/uuid-text.ts'
import { clock, date, digits, scaled, widthOf } from '../text/digits.ts'

/** Writes the value in `from[start, end)` to `to` at `at`; returns where it ends there. */
type Write = (from: Viewed, start: number, end: number, to: Viewed, at: number) => number

export interface JsonWriter {
  /** The most bytes that a value takes. */
  readonly room: (from: Viewed, start: number, end: number) => number
  readonly write: Write
}

const TRUE = viewed(Buffer.from('true'))
const FALSE = viewed(Buffer.from('false'))
const QUOTE = 0x22
const MINUS = 0x2d
const POINT = 0x2e
const ZERO = 0x30
const TWO_32 = 2 ** 32

function ascii(text: string, to: Viewed, at: number): number {
  return at + to.buffer.write(text, at, 'latin1')
}

/** A value that takes a few dozen bytes at most. */
const short = (write: Write): JsonWriter => ({ room: () => 64, write })

/** A 64-bit number; undefined where a double does not hold it. */
function exact(from: Viewed, start: number): number | undefined {
  const value = from.view.getInt32(start) * TWO_32 + from.view.getUint32(start + 4)
  return Number.isSafeInteger(value) ? value : undefined
}

const whole = (value: number, to: Viewed, at: number): number => scaled(Math.abs(value), value < 0, 0, to.buffer, at)

const INT8 = short((from, start, _end, to, at) => {
  const value = exact(from, start)
  return value === undefined ? ascii(String(from.view.getBigInt64(start)), to, at) : whole(value, to, at)
})

/** The escape of each byte that may not stand for itself in a JSON string; PostgreSQL's escape_json. */
const ESCAPES: (Viewed | undefined)[] = Array.from({ length: 256 }, (_, byte) => {
  const escaped = JSON.stringify(String.fromCharCode(byte)).slice(1, -1)
  return byte < 0x80 && escaped.length > 1 ? viewed(Buffer.from(escaped)) : undefined
})
const IS_ESCAPED = Uint8Array.from(ESCAPES, (escaped) => (escaped === undefined ? 0 : 1))
const LONGEST_ESCAPE = 6
const LONG_TEXT = 4096

/** The escapes of a long text are counted before room is made for it: six times its length may be much memory. */
function textRoom(from: Viewed, start: number, end: number): number {
  if (end - start <= LONG_TEXT) return 2 + (end - start) * LONGEST_ESCAPE
  let escaped = 0
  for (let byte = start; byte < end; byte += 1) escaped += IS_ESCAPED[from.buffer[byte] as number] as number
  return 2 + end - start + escaped * (LONGEST_ESCAPE - 1)
}

export const TEXT: JsonWriter = {
  room: textRoom,
  write: (from, start, end, to, place) => {
    to.buffer[place] = QUOTE
    let at = place + 1
    let plain = start
    for (let byte = start; byte < end; byte += 1) {
      const code = from.buffer[byte] as number
      if (IS_ESCAPED[code] === 0) continue
      copyBytes(from, plain, byte, to, at)
      at = putBytes(ESCAPES[code] as Viewed, to, at + byte - plain)
      plain = byte + 1
    }
    copyBytes(from, plain, end, to, at)
    at += end - plain
    to.buffer[at] = QUOTE
    return at + 1
  },
}

/** JSON as it is. A line break occurs between its tokens only, because a column of type json keeps its layout. */
const json = (skip: number): JsonWriter => ({
  room: (_from, start, end) => end - start,
  write: (from, start, end, to, at) => {
    copyBytes(from, start + skip, end, to, at)
    const stop = at + end - start - skip
    for (let byte = at; byte < stop; byte += 1) {
      if (to.buffer[byte] === 0x0a || to.buffer[byte] === 0x0d) to.buffer[byte] = 0x20
    }
    return stop
  },
})
export const JSON_TEXT = json(0)

const DIGITS_OF_A_GROUP = 4
const NEGATIVE = 0x4000
/** The signs of values that are not numbers, which are text in JSON (numeric.c). */
const NO_NUMBERS: Readonly<Record<number, string>> = { 49152: '"NaN"', 53248: '"Infinity"', 61440: '"-Infinity"' }

/** Groups of four decimal digits: their number, the weight of the first, the sign, the digits after the point. */
const NUMERIC: JsonWriter = {
  room: ({ view }, start) =>
    16 + (Math.max(0, view.getInt16(start + 2)) + 2) * DIGITS_OF_A_GROUP + view.getUint16(start + 6),
  write: ({ view }, start, _end, to, from) => {
    const out = to.buffer
    const groups = view.getUint16(start)
    const weight = view.getInt16(start + 2)
    const sign = view.getUint16(start + 4)
    const scale = view.getUint16(start + 6)
    const special = NO_NUMBERS[sign]
    if (special !== undefined) return ascii(special, to, from)
    const group = (index: number): number => (index >= 0 && index < groups ? view.getUint16(start + 8 + index * 2) : 0)
    let at = from
    if (sign === NEGATIVE) {
      out[at] = MINUS
      at += 1
    }
    const first = weight < 0 ? 0 : group(0)
    at = digits(first, widthOf(first), out, at)
    for (let index = 1; index <= weight; index += 1) at = digits(group(index), DIGITS_OF_A_GROUP, out, at)
    if (scale === 0) return at
    out[at] = POINT
    at += 1
    const end = at + scale
    for (let index = weight + 1; at < end; index += 1) at = digits(group(index), DIGITS_OF_A_GROUP, out, at)
    return end
  },
}

const INT32_MAX = 0x7fffffff
const INT32_MIN = -0x80000000
/** From 0001-01-01 to 2000-01-01, where PostgreSQL's days begin. */
const DAYS_TO_2000 = 730_119
const MICROS_OF_A_DAY = 86_400_000_000

function endOfDate(days: number, to: Viewed, at: number): number {
  if (days < 0) return ascii(' BC"', to, at)
  to.buffer[at] = QUOTE
  return at + 1
}

const DATE = short((from, start, _end, to, at) => {
  const sent = from.view.getInt32(start)
  if (sent === INT32_MAX) return ascii('"infinity"', to, at)
  if (sent === INT32_MIN) return ascii('"-infinity"', to, at)
  const days = sent + DAYS_TO_2000
  to.buffer[at] = QUOTE
  return endOfDate(days, to, date(days, to.buffer, at + 1))
})

const INT64_MAX = 2n ** 63n - 1n
const INT64_MIN = -(2n ** 63n)

/** Microseconds since 2000, in ISO 8601; zeros at the end of a fraction are left out. */
function timestamp(zone: string): JsonWriter {
  const suffix = viewed(Buffer.from(zone))
  return short((from, start, _end, to, at) => {
    let micros = exact(from, start)
    let days: number
    if (micros === undefined) {
      const sent = from.view.getBigInt64(start)
      if (sent === INT64_MAX) return ascii('"infinity"', to, at)
      if (sent === INT64_MIN) return ascii('"-infinity"', to, at)
      const day = BigInt(MICROS_OF_A_DAY)
      micros = Number(((sent % day) + day) % day)
      days = Number((sent - BigInt(micros)) / day)
    } else {
      days = Math.floor(micros / MICROS_OF_A_DAY)
      micros -= days * MICROS_OF_A_DAY
    }
    days += DAYS_TO_2000
    const out = to.buffer
    out[at] = QUOTE
    let place = date(days, out, at + 1)
    out[place] = 0x54
    const isWhole = micros % 1_000_000 === 0
    place = isWhole ? clock(micros / 1_000_000, 0, out, place + 1) : clock(micros, 6, out, place + 1)
    if (!isWhole) while (out[place - 1] === ZERO) place -= 1
    return endOfDate(days, to, putBytes(suffix, to, place))
  })
}

const UUID = short((from, start, _end, to, at) => {
  to.buffer[at] = QUOTE
  writeUuid(from.view, start, to, at + 1)
  to.buffer[at + 1 + UUID_TEXT_BYTES] = QUOTE
  return at + 2 + UUID_TEXT_BYTES
})

/** By oid (pg_type.dat). */
export const WRITERS: ReadonlyMap<number, JsonWriter> = new Map<number, JsonWriter>([
  [16, short((from, start, _end, to, at) => putBytes(from.buffer[start] === 1 ? TRUE : FALSE, to, at))], // bool
  [19, TEXT], // name
  [20, INT8],
  [21, short((from, start, _end, to, at) => whole(from.view.getInt16(start), to, at))],
  [23, short((from, start, _end, to, at) => whole(from.view.getInt32(start), to, at))],
  [25, TEXT],
  [114, JSON_TEXT],
  [1042, TEXT], // character(n), with its padding
  [1043, TEXT], // varchar
  [1082, DATE],
  [1114, timestamp('')],
  [1184, timestamp('+00:00')],
  [1700, NUMERIC],
  [2950, UUID],
  [3802, json(1)], // jsonb, behind its version
])
