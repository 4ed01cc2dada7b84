/** A data page of version 1: levels and values of one column of one batch (parquet.thrift, DataPageHeader). */

import type { Data } from 'apache-arrow'
import { bitWidthOf, packed, packedBits, repeated, withLength } from './levels.ts'
import type { Leaf } from './schema.ts'
import { isValid, plainValues, type Room, validityOf } from './values.ts'

export interface PageContent {
  /** Levels and values, to be compressed together. */
  readonly bytes: Uint8Array
  /** Values, NULLs and empty lists, as the page's header counts them. */
  readonly count: number
  readonly nulls: number
  /** The values for the statistics: the column, or the elements of its lists. */
  readonly leaf: Data
}

export function pageOf(leaf: Leaf, data: Data, room: Room): PageContent {
  if (!leaf.isList) {
    const levels =
      data.nullCount === 0 ? repeated(1, data.length, 1) : packedBits(data.nullBitmap as Uint8Array, data.length)
    return {
      bytes: behind(withLength(levels), leaf, data, room),
      count: data.length,
      nulls: data.nullCount,
      leaf: data,
    }
  }
  const elements = data.children[0] as Data
  const { definition, repetition, count, nulls } = listLevels(data, elements)
  return {
    bytes: behind(
      Buffer.concat([withLength(packed(repetition, count, 1)), withLength(packed(definition, count, 2))]),
      leaf,
      elements,
      room,
    ),
    count,
    nulls,
    leaf: elements,
  }
}

/** Levels, and the values after them in the same buffer. */
function behind(levels: Uint8Array, leaf: Leaf, data: Data, room: Room): Uint8Array {
  if (leaf.type.layout === 'dictionary') return Buffer.concat([levels, positions(data)])
  const bytes = plainValues(leaf.type, data, room, levels.length)
  bytes.set(levels)
  return bytes
}

/** Positions in the dictionary, after one byte with their width. */
function positions(data: Data): Uint8Array {
  const indices = data.values as Int32Array
  const width = Math.max(1, bitWidthOf(Math.max(0, (data.dictionary?.length ?? 0) - 1)))
  let used = indices
  let count = data.length
  if (data.nullCount > 0) {
    used = new Int32Array(data.length - data.nullCount)
    count = 0
    const validity = validityOf(data)
    for (let row = 0; row < data.length; row += 1) {
      if (!isValid(validity, row)) continue
      used[count] = indices[row] as number
      count += 1
    }
  }
  const body = data.dictionary?.length === 1 ? repeated(0, count, width) : packed(used, count, width)
  return Buffer.concat([Uint8Array.of(width), body])
}

/** Definition 0: the list is NULL; 1: it is empty; 2: the element is NULL; 3: it is there. */
function listLevels(
  data: Data,
  elements: Data,
): { definition: Uint8Array; repetition: Uint8Array; count: number; nulls: number } {
  const most = data.length + elements.length
  const definition = new Uint8Array(most)
  const repetition = new Uint8Array(most)
  const validity = validityOf(data)
  const elementValidity = validityOf(elements)
  let count = 0
  let nulls = 0
  for (let row = 0; row < data.length; row += 1) {
    const start = data.valueOffsets[row] as number
    const end = data.valueOffsets[row + 1] as number
    if (start === end) {
      definition[count] = isValid(validity, row) ? 1 : 0
      count += 1
      nulls += 1
      continue
    }
    for (let index = start; index < end; index += 1) {
      const valid = isValid(elementValidity, index)
      definition[count] = valid ? 3 : 2
      repetition[count] = index === start ? 0 : 1
      if (!valid) nulls += 1
      count += 1
    }
  }
  return { definition, repetition, count, nulls }
}
