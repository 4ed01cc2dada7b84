/** Values in Parquet's PLAIN encoding: those that are not NULL, one after the other (Encodings.md). */

import type { Data } from 'apache-arrow'
import { copyBytes, viewed } from '../../read/columns/copy-bytes.ts'
import type { LeafType } from './schema.ts'

/** Arrow's bitmap of the values that are not NULL; undefined when none is. */
export function validityOf(data: Data): Uint8Array | undefined {
  return data.nullCount === 0 ? undefined : data.nullBitmap
}

export function isValid(validity: Uint8Array | undefined, row: number): boolean {
  return validity === undefined || ((validity[row >> 3] as number) & (1 << (row & 7))) !== 0
}

function bytesOf(array: ArrayBufferView): Uint8Array {
  return new Uint8Array(array.buffer as ArrayBuffer, array.byteOffset, array.byteLength)
}

/** Any fixed-width values as words of 32 bits. */
export function wordsOf(data: Data): Uint32Array {
  const values = data.values as ArrayBufferView
  return new Uint32Array(values.buffer as ArrayBuffer, values.byteOffset, values.byteLength >> 2)
}

/** Gives this many bytes to write to. */
export type Room = (bytes: number) => Uint8Array

/** @param front bytes to leave free before the values, for the levels */
export function plainValues(type: LeafType, data: Data, room: Room, front = 0): Uint8Array {
  if (type.layout === 'bytes') return lengthAndBytes(data, room, front)
  const values = fixedValues(type, data)
  if (front === 0) return values
  const found = room(front + values.length)
  found.set(values, front)
  return found
}

function fixedValues(type: LeafType, data: Data): Uint8Array {
  switch (type.layout) {
    case 'words':
      return words(data, type.words?.stride ?? 1, type.words?.take ?? 1)
    case 'float':
      return words(data, 1, 1)
    case 'double':
      return words(data, 2, 2)
    case 'int16':
      return widened(data)
    case 'bool':
      return bits(data)
    case 'decimal':
      return bigEndian(data, type.words?.stride ?? 4, type.length ?? 16)
    case 'bytes':
    case 'dictionary':
      throw new TypeError(`Values of the layout ${type.layout} have no fixed width.`)
  }
}

/** Little-endian words: Arrow's own buffer, where there are no NULLs and no word is left out. */
function words(data: Data, stride: number, take: number): Uint8Array {
  const source = wordsOf(data)
  if (data.nullCount === 0 && stride === take) return bytesOf(source)
  const found = new Uint32Array((data.length - data.nullCount) * take)
  let at = 0
  const validity = validityOf(data)
  for (let row = 0; row < data.length; row += 1) {
    if (!isValid(validity, row)) continue
    for (let word = 0; word < take; word += 1) found[at + word] = source[row * stride + word] as number
    at += take
  }
  return bytesOf(found)
}

function widened(data: Data): Uint8Array {
  const source = data.values as Int16Array
  const found = new Int32Array(data.length - data.nullCount)
  let at = 0
  const validity = validityOf(data)
  for (let row = 0; row < data.length; row += 1) {
    if (!isValid(validity, row)) continue
    found[at] = source[row] as number
    at += 1
  }
  return bytesOf(found)
}

function bits(data: Data): Uint8Array {
  const source = data.values as Uint8Array
  const count = data.length - data.nullCount
  if (data.nullCount === 0) return source.subarray(0, (count + 7) >> 3)
  const found = new Uint8Array((count + 7) >> 3)
  let at = 0
  const validity = validityOf(data)
  for (let row = 0; row < data.length; row += 1) {
    if (!isValid(validity, row)) continue
    if (((source[row >> 3] as number) & (1 << (row & 7))) !== 0) {
      found[at >> 3] = (found[at >> 3] as number) | (1 << (at & 7))
    }
    at += 1
  }
  return found
}

function bigEndian(data: Data, stride: number, length: number): Uint8Array {
  const source = bytesOf(data.values as ArrayBufferView)
  const found = new Uint8Array((data.length - data.nullCount) * length)
  let at = 0
  const validity = validityOf(data)
  for (let row = 0; row < data.length; row += 1) {
    if (!isValid(validity, row)) continue
    const start = row * stride * 4
    for (let byte = 0; byte < length; byte += 1) found[at + byte] = source[start + length - 1 - byte] as number
    at += length
  }
  return found
}

function lengthAndBytes(data: Data, room: Room, front: number): Uint8Array {
  const { valueOffsets } = data
  const source = viewed(data.values as Uint8Array)
  const begin = valueOffsets[0] as number
  const end = valueOffsets[data.length] as number
  const found = viewed(room(front + end - begin + (data.length - data.nullCount) * 4))
  let at = front
  const validity = validityOf(data)
  for (let row = 0; row < data.length; row += 1) {
    if (!isValid(validity, row)) continue
    const start = valueOffsets[row] as number
    const stop = valueOffsets[row + 1] as number
    found.view.setInt32(at, stop - start, true)
    at += 4
    copyBytes(source, start, stop, found, at)
    at += stop - start
  }
  return found.buffer
}
