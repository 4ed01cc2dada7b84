/** The part of Thrift's compact protocol that Parquet's metadata needs, for writing (thrift-compact-protocol.md). */

const TRUE = 1
const FALSE = 2
const BYTE = 3
const I32 = 5
const I64 = 6
const BINARY = 8
const LIST = 9
const STRUCT = 12

export class ThriftWriter {
  #bytes = new Uint8Array(256)
  #used = 0
  #lastField = 0
  readonly #outer: number[] = []

  bool(field: number, value: boolean): void {
    this.#header(field, value ? TRUE : FALSE)
  }

  i8(field: number, value: number): void {
    this.#header(field, BYTE)
    this.#byte(value & 0xff)
  }

  i32(field: number, value: number): void {
    this.#header(field, I32)
    this.#zigzag(value)
  }

  /** Up to 2^53. */
  i64(field: number, value: number): void {
    this.#header(field, I64)
    this.#zigzag(value)
  }

  binary(field: number, value: Uint8Array): void {
    this.#header(field, BINARY)
    this.#blob(value)
  }

  text(field: number, value: string): void {
    this.binary(field, Buffer.from(value))
  }

  struct(field: number, body: () => void): void {
    this.#header(field, STRUCT)
    this.#body(body)
  }

  i32List(field: number, values: readonly number[]): void {
    this.#listHeader(field, values.length, I32)
    for (const value of values) this.#zigzag(value)
  }

  textList(field: number, values: readonly string[]): void {
    this.#listHeader(field, values.length, BINARY)
    for (const value of values) this.#blob(Buffer.from(value))
  }

  structList<Item>(field: number, items: readonly Item[], body: (item: Item) => void): void {
    this.#listHeader(field, items.length, STRUCT)
    for (const item of items) this.#body(() => body(item))
  }

  /** All bytes, as one struct. */
  finish(): Uint8Array {
    this.#byte(0)
    return this.#bytes.subarray(0, this.#used)
  }

  #body(body: () => void): void {
    this.#outer.push(this.#lastField)
    this.#lastField = 0
    body()
    this.#byte(0)
    this.#lastField = this.#outer.pop() ?? 0
  }

  #header(field: number, type: number): void {
    const delta = field - this.#lastField
    if (delta > 0 && delta < 16) {
      this.#byte((delta << 4) | type)
    } else {
      this.#byte(type)
      this.#zigzag(field)
    }
    this.#lastField = field
  }

  #listHeader(field: number, size: number, type: number): void {
    this.#header(field, LIST)
    if (size < 15) {
      this.#byte((size << 4) | type)
    } else {
      this.#byte(0xf0 | type)
      this.#varint(size)
    }
  }

  #blob(value: Uint8Array): void {
    this.#varint(value.length)
    this.#room(value.length)
    this.#bytes.set(value, this.#used)
    this.#used += value.length
  }

  #zigzag(value: number): void {
    this.#varint(value < 0 ? -value * 2 - 1 : value * 2)
  }

  #varint(value: number): void {
    let rest = value
    while (rest >= 0x80) {
      this.#byte((rest % 0x80) | 0x80)
      rest = Math.floor(rest / 0x80)
    }
    this.#byte(rest)
  }

  #byte(value: number): void {
    this.#room(1)
    this.#bytes[this.#used] = value
    this.#used += 1
  }

  #room(count: number): void {
    if (this.#used + count <= this.#bytes.length) return
    const grown = new Uint8Array(Math.max(this.#used + count, this.#bytes.length * 2))
    grown.set(this.#bytes)
    this.#bytes = grown
  }
}
