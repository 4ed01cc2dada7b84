/** Arrays of one dimension as lists. PostgreSQL: src/backend/utils/adt/arrayfuncs.c, array_send. */

import type { Data, DataType } from 'apache-arrow'
import { type Arrow, type ColumnBuilder, FIRST_ROWS, Nulls, outOfRange, roomFor } from './column.ts'

const FLAGS_BYTES = 12
const DIMENSION_BYTES = 8

export class ListColumn implements ColumnBuilder {
  readonly #arrow: Arrow
  readonly #type: DataType
  readonly #child: ColumnBuilder
  readonly #name: string
  readonly #nulls = new Nulls()
  #offsets = new Int32Array(FIRST_ROWS + 1)
  #rows = 0
  #elements = new Int32Array(FIRST_ROWS * 2)
  #shifted = 0

  constructor(arrow: Arrow, type: DataType, child: ColumnBuilder, name: string) {
    this.#arrow = arrow
    this.#type = type
    this.#child = child
    this.#name = name
  }

  append(chunk: Buffer, view: DataView, fields: Int32Array, first: number, stride: number, count: number): void {
    if (this.#rows + count + 1 > this.#offsets.length) {
      const grown = new Int32Array(roomFor(this.#rows + count + 1, this.#offsets.length))
      grown.set(this.#offsets)
      this.#offsets = grown
    }
    let found = 0
    for (let i = 0, at = first; i < count; i += 1, at += stride) {
      const row = this.#rows
      let size = 0
      if ((fields[at + 1] as number) < 0) this.#nulls.add(row)
      else size = this.#array(view, fields[at] as number, found)
      found += size
      this.#offsets[row + 1] = (this.#offsets[row] as number) + size
      this.#rows = row + 1
    }
    this.#child.append(chunk, view, this.#elements, 0, 2, found)
  }

  /** Finds the elements of one array; returns how many there are. */
  #array(view: DataView, start: number, found: number): number {
    const dimensions = view.getInt32(start)
    if (dimensions === 0) return 0
    if (dimensions !== 1) throw outOfRange(this.#name, `an array of ${dimensions} dimensions is no list`)
    const size = view.getInt32(start + FLAGS_BYTES)
    if (view.getInt32(start + FLAGS_BYTES + 4) !== 1) this.#shifted += 1
    if ((found + size) * 2 > this.#elements.length) {
      const grown = new Int32Array(roomFor((found + size) * 2, this.#elements.length))
      grown.set(this.#elements)
      this.#elements = grown
    }
    let at = start + FLAGS_BYTES + DIMENSION_BYTES
    for (let slot = found * 2; slot < (found + size) * 2; slot += 2) {
      const length = view.getInt32(at)
      at += 4
      this.#elements[slot] = at
      this.#elements[slot + 1] = length
      if (length > 0) at += length
    }
    return size
  }

  finish(): Data {
    const length = this.#rows
    const made = this.#arrow.makeData({
      type: this.#type,
      length,
      valueOffsets: this.#offsets.subarray(0, length + 1),
      child: this.#child.finish(),
      ...this.#nulls.finish(length),
    } as never) as Data
    this.#offsets = new Int32Array(Math.max(FIRST_ROWS, length) + 1)
    this.#rows = 0
    return made
  }

  finding(): string | undefined {
    const own =
      this.#shifted === 0 ? undefined : `arrays that do not begin at 1 are lists like others (${this.#shifted} of them)`
    return [own, this.#child.finding?.()].filter((text) => text !== undefined).join('; ') || undefined
  }
}
