/**
 * Rows as places in the bytes that have come: where each field of many rows begins and how long it is, so that a
 * reader of columns can take the values without an object, a token or an event for each row.
 */

import { type StreamParserClass, TOKEN } from './stream-parser.ts'
import type { ColumnMetadata, Reader, StreamParser, TediousParts, Token } from './tedious-internals.ts'

/** The payload of the `row` event in this mode. The bytes are valid until the listener returns. */
export interface FieldRun {
  readonly chunk: Buffer
  /** Start and length of every field, row by row; length -1 is NULL. */
  readonly fields: Int32Array
  readonly rows: number
}

const RUN_ROWS = 1024
const RUN_FIELDS = 1 << 15
const NO_BYTES = 0xffff
const UNKNOWN_LOW = 0xfffffffe
const NULL_LOW = 0xffffffff
const TWO_32 = 2 ** 32
/** A text pointer is followed by eight bytes that mean nothing any more. */
const POINTER_STAMP_BYTES = 8
/** The most that the positions here, and Arrow's offsets, can hold. */
const MOST_BYTES = 2 ** 31 - 1

const KIND = { fixed: 0, short: 1, counted: 2, long: 3, pointer: 4, variant: 5 } as const

const FIXED_BYTES: Readonly<Record<string, number>> = {
  Null: 0,
  TinyInt: 1,
  Bit: 1,
  SmallInt: 2,
  Int: 4,
  Real: 4,
  SmallMoney: 4,
  SmallDateTime: 4,
  BigInt: 8,
  Float: 8,
  Money: 8,
  DateTime: 8,
}
const COUNTED = new Set(['VarChar', 'Char', 'NVarChar', 'NChar', 'VarBinary', 'Binary'])
const POINTER = new Set(['Text', 'NText', 'Image'])

/** Finds the fields of rows whose columns are known. */
class FieldScanner {
  readonly fields: Int32Array
  readonly runRows: number
  /** How many bytes the buffer must hold before the row that was not whole is worth another look. */
  needed = 0
  readonly #kinds: Uint8Array
  readonly #sizes: Uint8Array
  /** Slots of the row whose values came in several chunks. */
  readonly #scattered: number[] = []

  constructor(columns: readonly ColumnMetadata[], isPlp: (metadata: ColumnMetadata) => boolean) {
    this.#kinds = Uint8Array.from(columns, (column) => {
      const { name } = column.type
      if (isPlp(column)) return KIND.long
      if (FIXED_BYTES[name] !== undefined) return KIND.fixed
      if (COUNTED.has(name)) return KIND.counted
      if (POINTER.has(name)) return KIND.pointer
      return name === 'Variant' ? KIND.variant : KIND.short
    })
    this.#sizes = Uint8Array.from(columns, (column) => FIXED_BYTES[column.type.name] ?? 0)
    this.runRows = Math.max(1, Math.min(RUN_ROWS, Math.floor(RUN_FIELDS / Math.max(1, columns.length))))
    this.fields = new Int32Array(this.runRows * columns.length * 2)
  }

  /** Notes the fields of the row at `start` as the run's row `row`; returns its end, or -1 when it is not all there. */
  row(buffer: Buffer, start: number, compressed: boolean, row: number): number {
    const kinds = this.#kinds
    const fields = this.fields
    const columns = kinds.length
    const present = buffer.length
    const bitmap = start
    let at = compressed ? start + ((columns + 7) >> 3) : start
    if (at > present) return this.#lacks(at)
    let slot = row * columns * 2
    this.#scattered.length = 0
    for (let column = 0; column < columns; column += 1, slot += 2) {
      if (compressed && ((buffer[bitmap + (column >> 3)] as number) & (1 << (column & 7))) !== 0) {
        fields[slot + 1] = -1
        continue
      }
      let length: number
      switch (kinds[column]) {
        case KIND.fixed:
          length = this.#sizes[column] as number
          break
        case KIND.short:
          if (at >= present) return this.#lacks(at + 1)
          length = buffer[at] as number
          at += 1
          // No bytes are NULL; values of these types have some.
          if (length === 0) length = -1
          break
        case KIND.counted:
          if (at + 2 > present) return this.#lacks(at + 2)
          length = (buffer[at] as number) | ((buffer[at + 1] as number) << 8)
          at += 2
          if (length === NO_BYTES) length = -1
          break
        case KIND.variant:
          if (at + 4 > present) return this.#lacks(at + 4)
          length = buffer.readUInt32LE(at)
          at += 4
          if (length === 0) length = -1
          break
        case KIND.pointer: {
          if (at >= present) return this.#lacks(at + 1)
          const pointer = buffer[at] as number
          at += 1
          length = -1
          if (pointer === 0) break
          at += pointer + POINTER_STAMP_BYTES
          if (at + 4 > present) return this.#lacks(at + 4)
          length = buffer.readUInt32LE(at)
          at += 4
          break
        }
        default: {
          const end = this.#long(buffer, at, slot)
          if (end < 0) return -1
          at = end
          continue
        }
      }
      fields[slot] = at
      fields[slot + 1] = length
      if (length > 0) at += length
      if (at > present) return this.#lacks(at)
    }
    for (const scattered of this.#scattered) this.#gather(buffer, scattered)
    return at
  }

  /** A value in chunks (PARTLENTYPE, MS-TDS 2.2.5.2.3), nearly always one. */
  #long(buffer: Buffer, start: number, slot: number): number {
    const fields = this.fields
    let at = start + 8
    if (at > buffer.length) return this.#lacks(at)
    const low = buffer.readUInt32LE(start)
    const high = buffer.readUInt32LE(start + 4)
    if (low === NULL_LOW && high === NULL_LOW) {
      fields[slot + 1] = -1
      return at
    }
    const isUnknown = low === UNKNOWN_LOW && high === NULL_LOW
    const total = high * TWO_32 + low
    // With the length of one chunk, and with the one that says that no more follow.
    const least = isUnknown || total === 0 ? at + 4 : at + total + 8
    if (least > buffer.length) return this.#lacks(least)
    let length = 0
    let chunks = 0
    for (;;) {
      if (at + 4 > buffer.length) return this.#lacksMore(buffer, start, at + 4, isUnknown)
      const size = buffer.readUInt32LE(at)
      at += 4
      if (size === 0) break
      if (chunks === 0) fields[slot] = at
      chunks += 1
      length += size
      at += size
    }
    if (chunks === 0) fields[slot] = at
    if (chunks > 1) this.#scattered.push(slot)
    fields[slot + 1] = length
    return at
  }

  /** A value of unknown length is looked at again only when the buffer has grown by half, so that the work stays linear. */
  #lacksMore(buffer: Buffer, start: number, end: number, isUnknown: boolean): number {
    const growth = isUnknown ? Math.ceil(buffer.length + (buffer.length - start) / 2) : 0
    return this.#lacks(Math.max(end, growth))
  }

  #lacks(needed: number): number {
    if (needed > MOST_BYTES) throw new RangeError('a row is longer than 2 GiB')
    this.needed = needed
    return -1
  }

  /** Moves the chunks of a value together, in the place where the first one lies; its row is not looked at again. */
  #gather(buffer: Buffer, slot: number): void {
    const total = this.fields[slot + 1] as number
    let to = this.fields[slot] as number
    let at = to - 4
    const end = to + total
    while (to < end) {
      const size = buffer.readUInt32LE(at)
      buffer.copyWithin(to, at + 4, at + 4 + size)
      to += size
      at += 4 + size
    }
  }
}

/** As many whole rows as have come. */
class RunReader implements Reader<Token> {
  readonly #parts: TediousParts
  readonly #scanner: FieldScanner
  readonly #compressed: boolean

  constructor(parts: TediousParts, scanner: FieldScanner, compressed: boolean) {
    this.#parts = parts
    this.#scanner = scanner
    this.#compressed = compressed
  }

  /** `position` stands behind the type of the first row. */
  read(parser: StreamParser): Token {
    const { buffer } = parser
    const { NotEnoughDataError, RowToken } = this.#parts
    const scanner = this.#scanner
    let rows = 0
    let at = parser.position
    let compressed = this.#compressed
    for (;;) {
      const end = scanner.row(buffer, at, compressed, rows)
      if (end < 0) {
        if (rows === 0) throw new NotEnoughDataError(scanner.needed)
        parser.position = at - 1
        break
      }
      rows += 1
      parser.position = end
      const type = buffer[end]
      if (rows === scanner.runRows || (type !== TOKEN.row && type !== TOKEN.compressedRow)) break
      compressed = type === TOKEN.compressedRow
      at = end + 1
    }
    const run: FieldRun = { chunk: buffer, fields: scanner.fields, rows }
    return new RowToken(run)
  }
}

/** A parser whose rows are runs of fields. */
export function fieldParserClass(parts: TediousParts, Base: StreamParserClass): StreamParserClass {
  return class extends Base {
    #columns: readonly ColumnMetadata[] | undefined
    #scanner: FieldScanner | undefined

    override readToken(): Token | undefined {
      const type = this.buffer[this.position]
      if (type !== TOKEN.row && type !== TOKEN.compressedRow) return super.readToken()
      if (this.#scanner === undefined || this.#columns !== this.colMetadata) {
        this.#columns = this.rowColumns()
        this.#scanner = new FieldScanner(this.#columns, parts.isPLPStream)
      }
      return this.startTokenReader(new RunReader(parts, this.#scanner, type === TOKEN.compressedRow))
    }
  }
}
