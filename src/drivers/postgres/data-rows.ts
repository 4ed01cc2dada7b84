/**
 * Reads rows without pg's parser, which spends most of its time on calls for each value: a select of many short values
 * takes two thirds of the time here (PostgreSQL documentation, "Message Formats", DataRow).
 */

import { NotPostgres } from './messages.ts'
import type { ValueReader } from './value-readers.ts'

/** A row in the form that pg-protocol gives it. */
export interface RowMessage {
  readonly name: 'dataRow'
  readonly length: number
  readonly fieldCount: number
  /** Texts and NULLs, and what readers have read. */
  readonly fields: unknown[]
}

/** The length of a message counts itself. */
const LENGTH_BYTES = 4
const NULL = 0xffff_ffff

/**
 * Reads the row whose body is `chunk[start, end)`.
 *
 * @param columns the number of values that it must have, where that is known
 * @param readers for the columns that are read from their bytes
 * @throws NotPostgres when a length or the count does not fit
 */
export function rowIn(
  chunk: Buffer,
  start: number,
  end: number,
  columns: number | undefined,
  readers?: readonly (ValueReader | undefined)[],
): RowMessage {
  const fieldCount = uint16At(chunk, start)
  if (columns !== undefined && columns !== fieldCount) {
    throw new NotPostgres(`a row of ${fieldCount} values where ${columns} are described`)
  }
  const fields = new Array<unknown>(fieldCount)
  let offset = start + 2
  for (let index = 0; index < fieldCount; index++) {
    const length = uint16At(chunk, offset) * 0x1_0000 + uint16At(chunk, offset + 2)
    offset += 4
    if (length === NULL) {
      fields[index] = null
    } else {
      const from = offset
      offset += length
      // A length that lies is refused below; nothing is read beyond the message meanwhile.
      const read = offset <= end ? readers?.[index]?.(chunk, from, offset) : undefined
      fields[index] = read === undefined ? textIn(chunk, from, offset) : read
    }
  }
  if (offset !== end) throw new NotPostgres('a row whose values do not agree with its length')
  return { name: 'dataRow', length: end - start + LENGTH_BYTES, fieldCount, fields }
}

function uint16At(bytes: Buffer, offset: number): number {
  return (byteAt(bytes, offset) << 8) | byteAt(bytes, offset + 1)
}

/** 0 beyond the end; a row that is too short is detected after its last value. */
function byteAt(bytes: Buffer, offset: number): number {
  return bytes[offset] ?? 0
}

/** Short ASCII text, such as most numbers, is built without a call out of JavaScript, in a third to half of the time. */
export function textIn(bytes: Buffer, from: number, to: number): string {
  return to - from <= SHORT && isAscii(bytes, from, to)
    ? shortText(bytes, from, to - from)
    : bytes.toString('utf8', from, to)
}

const SHORT = 16

function isAscii(bytes: Buffer, from: number, to: number): boolean {
  let bits = 0
  for (let offset = from; offset < to; offset++) bits |= byteAt(bytes, offset)
  return bits < 0x80
}

function shortText(bytes: Buffer, from: number, length: number): string {
  const at = (index: number): number => byteAt(bytes, from + index)
  const text = String.fromCharCode
  if (length > 8) return longerText(bytes, from, length)
  if (length === 0) return ''
  if (length === 1) return text(at(0))
  if (length === 2) return text(at(0), at(1))
  if (length === 3) return text(at(0), at(1), at(2))
  if (length === 4) return text(at(0), at(1), at(2), at(3))
  if (length === 5) return text(at(0), at(1), at(2), at(3), at(4))
  if (length === 6) return text(at(0), at(1), at(2), at(3), at(4), at(5))
  if (length === 7) return text(at(0), at(1), at(2), at(3), at(4), at(5), at(6))
  return text(at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7))
}

/** Of 9 to 16 characters. */
function longerText(bytes: Buffer, from: number, length: number): string {
  const at = (index: number): number => byteAt(bytes, from + index)
  const [a, b, c, d, e, f, g, h, i] = [at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7), at(8)]
  const text = String.fromCharCode
  if (length === 9) return text(a, b, c, d, e, f, g, h, i)
  if (length === 10) return text(a, b, c, d, e, f, g, h, i, at(9))
  if (length === 11) return text(a, b, c, d, e, f, g, h, i, at(9), at(10))
  if (length === 12) return text(a, b, c, d, e, f, g, h, i, at(9), at(10), at(11))
  if (length === 13) return text(a, b, c, d, e, f, g, h, i, at(9), at(10), at(11), at(12))
  if (length === 14) return text(a, b, c, d, e, f, g, h, i, at(9), at(10), at(11), at(12), at(13))
  if (length === 15) return text(a, b, c, d, e, f, g, h, i, at(9), at(10), at(11), at(12), at(13), at(14))
  return text(a, b, c, d, e, f, g, h, i, at(9), at(10), at(11), at(12), at(13), at(14), at(15))
}
