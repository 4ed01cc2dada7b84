/** Texts and numbers in the bytes of a session, which is in UTF-8 ({@link ValueSettings}). */

/**
 * The text of `bytes[from, to)`. Short ASCII text, such as most numbers, is built without a call out of JavaScript, in a third to half of
 * the time.
 */
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

export function int32At(bytes: Buffer, offset: number): number {
  return (uint16At(bytes, offset) << 16) | uint16At(bytes, offset + 2)
}

export function int16At(bytes: Buffer, offset: number): number {
  return (uint16At(bytes, offset) << 16) >> 16
}

export function uint16At(bytes: Buffer, offset: number): number {
  return (byteAt(bytes, offset) << 8) | byteAt(bytes, offset + 1)
}

/** 0 beyond the end: a message that is too short is detected after its last value. */
export function byteAt(bytes: Buffer, offset: number): number {
  return bytes[offset] ?? 0
}
