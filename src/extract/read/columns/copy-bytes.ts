/** Bytes that are copied value by value, as a buffer and as a view of the same bytes. */
export interface Viewed {
  readonly buffer: Buffer
  readonly view: DataView
}

export function viewed({ buffer, byteOffset, byteLength }: Uint8Array): Viewed {
  return {
    buffer: Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength),
    view: new DataView(buffer, byteOffset, byteLength),
  }
}

/** From this many bytes on the call that copies any number is as fast as a loop; below, it takes up to four times as long. */
const LONG = 192
const WORD = 8

/** Copies `from[start, end)` to `to[at, ...)`, which must not overlap. */
export function copyBytes(from: Viewed, start: number, end: number, to: Viewed, at: number): void {
  const length = end - start
  if (length >= LONG) {
    from.buffer.copy(to.buffer, at, start, end)
  } else if (length < WORD) {
    for (let offset = 0; offset < length; offset += 1) to.buffer[at + offset] = from.buffer[start + offset] as number
  } else {
    // As integers eight bytes keep every bit, which they need not do as floating-point numbers. The last word may have
    // bytes of the one before it.
    const last = length - WORD
    for (let offset = 0; offset < last; offset += WORD) {
      to.view.setBigInt64(at + offset, from.view.getBigInt64(start + offset, true), true)
    }
    to.view.setBigInt64(at + last, from.view.getBigInt64(start + last, true), true)
  }
}

/** Copies all of `bytes` to `to` at `at`; returns where they end there. */
export function putBytes(bytes: Viewed, to: Viewed, at: number): number {
  copyBytes(bytes, 0, bytes.buffer.length, to, at)
  return at + bytes.buffer.length
}
