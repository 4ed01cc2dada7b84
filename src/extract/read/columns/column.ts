/** Shared by all column builders: their interface, the bitmap of NULLs, and arrays that grow. */

import { PoolsmithError } from '../../../errors.ts'
import type { Data, RecordBatch } from '../../arrow-types.ts'

/** The module itself, which is passed in because it is loaded on first use only. */
export type { Arrow } from '../../arrow-types.ts'

/**
 * Gathers one column of a batch. A run of fields is given as positions in the network's buffer: field i begins at
 * `fields[first + i * stride]` and is `fields[first + i * stride + 1]` bytes long, -1 for NULL.
 */
export interface ColumnBuilder {
  append(chunk: Buffer, view: DataView, fields: Int32Array, first: number, stride: number, count: number): void
  /** The column so far; the builder is empty afterwards. It writes to these arrays again only after `reuse`. */
  finish(): Data
  /** The column that `finish` gave is not read any more: its arrays may be filled again. */
  reuse?(data: Data): void
  /** A note for the manifest about the values so far, such as infinities. */
  finding?(): string | undefined
}

/** Gives the columns of a batch back to the builders that made them, in their order. */
export function reuse(builders: readonly ColumnBuilder[], batch: RecordBatch): void {
  builders.forEach((builder, index) => {
    const data = batch.data.children[index]
    if (data !== undefined) builder.reuse?.(data)
  })
}

/** The rows for which a builder first makes room: few, because a table may have 1,600 columns. */
export const FIRST_ROWS = 64

/** Which rows are NULL, as Arrow's validity bitmap; allocated at the first NULL. */
export class Nulls {
  #bits = new Uint8Array(0)
  #count = 0

  get count(): number {
    return this.#count
  }

  add(row: number): void {
    const byte = row >> 3
    if (byte >= this.#bits.length) {
      const grown = new Uint8Array(Math.max(64, byte + 1, this.#bits.length * 2))
      grown.set(this.#bits)
      this.#bits = grown
    }
    this.#bits[byte] = (this.#bits[byte] ?? 0) | (1 << (row & 7))
    this.#count += 1
  }

  /** The bitmap of this many rows (a set bit is a value), or undefined when none is NULL. */
  finish(rows: number): { readonly nullCount: number; readonly nullBitmap: Uint8Array | undefined } {
    const nullCount = this.#count
    if (nullCount === 0) return { nullCount, nullBitmap: undefined }
    const bitmap = new Uint8Array((rows + 7) >> 3).fill(0xff)
    const bits = this.#bits.subarray(0, bitmap.length)
    for (let byte = 0; byte < bits.length; byte += 1) bitmap[byte] = ~(bits[byte] ?? 0)
    this.#bits = new Uint8Array(0)
    this.#count = 0
    return { nullCount, nullBitmap: bitmap }
  }
}

/** Arrays of numbers for one column: an array that was given back is used before a new one is made. */
export class Arrays<V extends { readonly length: number; fill(value: 0, from: number, to: number): unknown }> {
  readonly #kind: new (
    room: number | ArrayBuffer,
  ) => V
  #spare: V | undefined
  #isReused = false

  constructor(kind: new (room: number | ArrayBuffer) => V) {
    this.#kind = kind
  }

  /** An array of at least this length. It may hold what was in it before: see {@link clear}. */
  take(length: number): V {
    const spare = this.#spare
    if (spare === undefined || spare.length < length) return new this.#kind(length)
    this.#spare = undefined
    return spare
  }

  /** Fills a part with zeros that is about to be written, and so is in the processor's cache then. */
  clear(array: V, from: number, to: number): void {
    if (this.#isReused) array.fill(0, from, to)
  }

  giveBack({ buffer }: ArrayBufferView): void {
    this.#spare = new this.#kind(buffer as ArrayBuffer)
    this.#isReused = true
  }
}

/** How much room to make when `needed` does not fit. */
export function roomFor(needed: number, present: number): number {
  return Math.max(needed, present * 2)
}

/** For a value that the column's type cannot hold: an error is better than a wrong digit. */
export function outOfRange(column: string, what: string): PoolsmithError {
  return new PoolsmithError(`A value of column ${JSON.stringify(column)} cannot be written exactly: ${what}.`, {
    code: 'VALUE_OUT_OF_RANGE',
    phase: 'query',
    hint: `Read this column as text: asText: [${JSON.stringify(column)}], or --as-text.`,
    details: { column },
  })
}
