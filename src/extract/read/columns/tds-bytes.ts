/**
 * SQL Server's texts and identifiers, from the bytes on the wire (MS-TDS 2.2.5.5) into columns of values of any length.
 */

import type { TextDecoder } from 'node:util'
import { VariableColumn } from './bytes.ts'
import type { Arrow } from './column.ts'

/** Beyond this many bytes Node's own transcoding is faster than a loop. */
const LONG = 256
/** The most bytes of UTF-8 for one unit of UTF-16, or one character of a code page. */
const MOST_PER_UNIT = 3
const REPLACEMENT = 0xfffd

/** nchar, nvarchar, ntext and xml: UTF-16, least byte first. */
export class Utf16Column extends VariableColumn {
  /** Halves of surrogate pairs without the other half, which UTF-8 cannot hold. */
  #broken = 0

  constructor(arrow: Arrow) {
    super(arrow, new arrow.Utf8())
  }

  append(chunk: Buffer, _view: DataView, fields: Int32Array, first: number, stride: number, count: number): void {
    const offsets = this.reserveRows(count)
    let units = 0
    for (let i = 0, at = first + 1; i < count; i += 1, at += stride) {
      if ((fields[at] as number) > 0) units += (fields[at] as number) >> 1
    }
    const values = this.reserveBytes(this.used + units * MOST_PER_UNIT)
    let used = this.used
    let row = this.rows
    for (let i = 0, at = first; i < count; i += 1, at += stride, row += 1) {
      const length = fields[at + 1] as number
      if (length < 0) {
        this.nulls.add(row)
      } else {
        const start = fields[at] as number
        const end = start + length
        if (length > LONG) used = this.#long(chunk, start, end, values, used)
        else {
          let byte = start
          while (byte < end && chunk[byte + 1] === 0 && (chunk[byte] as number) < 0x80) {
            values[used] = chunk[byte] as number
            used += 1
            byte += 2
          }
          if (byte < end) used = this.#rest(chunk, byte, end, values, used)
        }
      }
      offsets[row + 1] = used
    }
    this.used = used
    this.rows = row
  }

  #long(chunk: Buffer, start: number, end: number, values: Uint8Array, used: number): number {
    const text = chunk.toString('utf16le', start, end)
    if (!text.isWellFormed()) this.#broken += 1
    return used + Buffer.from(values.buffer as ArrayBuffer, used).write(text, 'utf8')
  }

  #rest(chunk: Buffer, start: number, end: number, values: Uint8Array, from: number): number {
    let used = from
    let broken = 0
    for (let at = start; at < end; at += 2) {
      let code = (chunk[at] as number) | ((chunk[at + 1] as number) << 8)
      if (code >= 0xd800 && code < 0xe000) {
        const next = at + 3 < end ? (chunk[at + 2] as number) | ((chunk[at + 3] as number) << 8) : 0
        if (code < 0xdc00 && next >= 0xdc00 && next < 0xe000) {
          code = 0x10000 + ((code - 0xd800) << 10) + (next - 0xdc00)
          at += 2
        } else {
          code = REPLACEMENT
          broken = 1
        }
      }
      if (code < 0x80) {
        values[used] = code
        used += 1
      } else if (code < 0x800) {
        values[used] = 0xc0 | (code >> 6)
        values[used + 1] = 0x80 | (code & 0x3f)
        used += 2
      } else if (code < 0x10000) {
        values[used] = 0xe0 | (code >> 12)
        values[used + 1] = 0x80 | ((code >> 6) & 0x3f)
        values[used + 2] = 0x80 | (code & 0x3f)
        used += 3
      } else {
        values[used] = 0xf0 | (code >> 18)
        values[used + 1] = 0x80 | ((code >> 12) & 0x3f)
        values[used + 2] = 0x80 | ((code >> 6) & 0x3f)
        values[used + 3] = 0x80 | (code & 0x3f)
        used += 4
      }
    }
    this.#broken += broken
    return used
  }

  finding(): string | undefined {
    if (this.#broken === 0) return undefined
    return `halves of surrogate pairs stand as U+FFFD, since UTF-8 has none (in ${this.#broken} values)`
  }
}

/** char, varchar and text of a code page of single bytes, whose first half is ASCII. */
export class CodePageColumn extends VariableColumn {
  readonly #decoder: TextDecoder

  constructor(arrow: Arrow, decoder: TextDecoder) {
    super(arrow, new arrow.Utf8())
    this.#decoder = decoder
  }

  append(chunk: Buffer, _view: DataView, fields: Int32Array, first: number, stride: number, count: number): void {
    const offsets = this.reserveRows(count)
    let total = 0
    for (let i = 0, at = first + 1; i < count; i += 1, at += stride) {
      if ((fields[at] as number) > 0) total += fields[at] as number
    }
    const values = this.reserveBytes(this.used + total * MOST_PER_UNIT)
    let used = this.used
    let row = this.rows
    for (let i = 0, at = first; i < count; i += 1, at += stride, row += 1) {
      const length = fields[at + 1] as number
      if (length < 0) {
        this.nulls.add(row)
      } else {
        const start = fields[at] as number
        const end = start + length
        let byte = start
        while (byte < end && (chunk[byte] as number) < 0x80) {
          values[used] = chunk[byte] as number
          used += 1
          byte += 1
        }
        if (byte < end) {
          const rest = this.#decoder.decode(chunk.subarray(byte, end))
          used += Buffer.from(values.buffer as ArrayBuffer, used).write(rest, 'utf8')
        }
      }
      offsets[row + 1] = used
    }
    this.used = used
    this.rows = row
  }
}

/** Any type, as the text that a function makes of its bytes. */
export class AsTextColumn extends VariableColumn {
  readonly #text: (chunk: Buffer, start: number, end: number) => string

  constructor(arrow: Arrow, text: (chunk: Buffer, start: number, end: number) => string) {
    super(arrow, new arrow.Utf8())
    this.#text = text
  }

  append(chunk: Buffer, _view: DataView, fields: Int32Array, first: number, stride: number, count: number): void {
    const offsets = this.reserveRows(count)
    for (let i = 0, at = first; i < count; i += 1, at += stride) {
      const length = fields[at + 1] as number
      if (length < 0) {
        this.nulls.add(this.rows)
      } else {
        const start = fields[at] as number
        const text = this.#text(chunk, start, start + length)
        const values = this.reserveBytes(this.used + text.length * MOST_PER_UNIT)
        this.used += Buffer.from(values.buffer as ArrayBuffer, this.used).write(text, 'utf8')
      }
      offsets[this.rows + 1] = this.used
      this.rows += 1
    }
  }
}

/** The bytes of a uniqueidentifier in the order of its text: its first three groups are numbers. */
const GUID_ORDER = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15]
const GUID_TEXT_BYTES = 36
const HYPHEN = 0x2d
const HEX = Buffer.from('0123456789ABCDEF')

/** As the server writes it: 36 characters with capital letters. */
export class GuidColumn extends VariableColumn {
  constructor(arrow: Arrow) {
    super(arrow, new arrow.Utf8())
  }

  append(chunk: Buffer, _view: DataView, fields: Int32Array, first: number, stride: number, count: number): void {
    const offsets = this.reserveRows(count)
    const values = this.reserveBytes(this.used + count * GUID_TEXT_BYTES)
    let used = this.used
    let row = this.rows
    for (let i = 0, at = first; i < count; i += 1, at += stride, row += 1) {
      if ((fields[at + 1] as number) < 0) {
        this.nulls.add(row)
      } else {
        const start = fields[at] as number
        for (let byte = 0; byte < 16; byte += 1) {
          if (byte === 4 || byte === 6 || byte === 8 || byte === 10) {
            values[used] = HYPHEN
            used += 1
          }
          const value = chunk[start + (GUID_ORDER[byte] as number)] as number
          values[used] = HEX[value >> 4] as number
          values[used + 1] = HEX[value & 15] as number
          used += 2
        }
      }
      offsets[row + 1] = used
    }
    this.used = used
    this.rows = row
  }
}
