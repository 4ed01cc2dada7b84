/** Definition and repetition levels, and positions in a dictionary: the RLE / bit-packed hybrid (Encodings.md). */

/** Appends a number by seven bits in each byte, lowest first. */
function varint(value: number): number[] {
  const bytes: number[] = []
  let rest = value
  while (rest >= 0x80) {
    bytes.push((rest & 0x7f) | 0x80)
    rest >>>= 7
  }
  bytes.push(rest)
  return bytes
}

/** A run of one value. */
export function repeated(value: number, count: number, bitWidth: number): Uint8Array {
  const bytes = varint(count * 2)
  for (let bit = 0; bit < bitWidth; bit += 8) bytes.push((value >>> bit) & 0xff)
  return Uint8Array.from(bytes)
}

/** A bitmap in Arrow's order, which is Parquet's too. */
export function packedBits(bitmap: Uint8Array, count: number): Uint8Array {
  const groups = (count + 7) >> 3
  const header = varint(groups * 2 + 1)
  const packed = new Uint8Array(header.length + groups)
  packed.set(header)
  packed.set(bitmap.subarray(0, groups), header.length)
  return packed
}

/** Values of any width up to 31 bits. */
export function packed(values: ArrayLike<number>, count: number, bitWidth: number): Uint8Array {
  if (bitWidth === 0) return repeated(0, count, 0)
  const groups = (count + 7) >> 3
  const header = varint(groups * 2 + 1)
  const bytes = new Uint8Array(header.length + groups * bitWidth)
  bytes.set(header)
  let at = header.length
  // At most 7 bits wait and 31 are added: a double holds the sum exactly, 32 bits do not.
  let waiting = 0
  let bits = 0
  for (let index = 0; index < count; index += 1) {
    waiting += (values[index] as number) * 2 ** bits
    bits += bitWidth
    while (bits >= 8) {
      bytes[at] = waiting & 0xff
      at += 1
      waiting = Math.floor(waiting / 256)
      bits -= 8
    }
  }
  if (bits > 0) bytes[at] = waiting & 0xff
  return bytes
}

/** The bits that the numbers from 0 to `largest` need. */
export function bitWidthOf(largest: number): number {
  return largest === 0 ? 0 : 32 - Math.clz32(largest)
}

/** Levels with their length in four bytes before them, as in a data page of version 1. */
export function withLength(levels: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(levels.length + 4)
  new DataView(bytes.buffer).setUint32(0, levels.length, true)
  bytes.set(levels, 4)
  return bytes
}
