import type { Viewed } from './copy-bytes.ts'

export const UUID_TEXT_BYTES = 36
const HYPHEN = 0x2d

/** The four hexadecimal digits of every 16 bits, as text; made at the first uuid. */
let digits: Uint32Array | undefined

function hexadecimal(): Uint32Array {
  if (digits !== undefined) return digits
  digits = new Uint32Array(1 << 16)
  for (let value = 0; value < digits.length; value += 1) {
    digits[value] = Buffer.from(value.toString(16).padStart(4, '0')).readUInt32BE()
  }
  return digits
}

/** Writes the 16 bytes at `start` as {@link UUID_TEXT_BYTES} characters. */
export function writeUuid(from: DataView, start: number, { buffer, view }: Viewed, at: number): void {
  const hex = digits ?? hexadecimal()
  view.setUint32(at, hex[from.getUint16(start)] as number)
  view.setUint32(at + 4, hex[from.getUint16(start + 2)] as number)
  buffer[at + 8] = HYPHEN
  view.setUint32(at + 9, hex[from.getUint16(start + 4)] as number)
  buffer[at + 13] = HYPHEN
  view.setUint32(at + 14, hex[from.getUint16(start + 6)] as number)
  buffer[at + 18] = HYPHEN
  view.setUint32(at + 19, hex[from.getUint16(start + 8)] as number)
  buffer[at + 23] = HYPHEN
  view.setUint32(at + 24, hex[from.getUint16(start + 10)] as number)
  view.setUint32(at + 28, hex[from.getUint16(start + 12)] as number)
  view.setUint32(at + 32, hex[from.getUint16(start + 14)] as number)
}
