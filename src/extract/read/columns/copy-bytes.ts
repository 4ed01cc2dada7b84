/** Bytes that are copied value by value: as a buffer, and as a view of the same bytes. */
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

/** Below this many bytes a loop beats the call that copies any number: eight bytes at a time three times over. */
const LONG = 128

/** `from[start, end)` to `to[at, ...)`, which is another place. */
export function copyBytes(from: Viewed, start: number, end: number, to: Viewed, at: number): void {
  if (end - start >= LONG) {
    from.buffer.copy(to.buffer, at, start, end)
    return
  }
  let source = start
  let target = at
  // As integers eight bytes keep every bit; as floating-point numbers they need not.
  for (const last = end - 8; source <= last; source += 8, target += 8) {
    to.view.setBigInt64(target, from.view.getBigInt64(source))
  }
  for (; source < end; source += 1, target += 1) to.buffer[target] = from.buffer[source] as number
}

/** All of `bytes` to `to` at `at`; returns where they end there. */
export function putBytes(bytes: Viewed, to: Viewed, at: number): number {
  copyBytes(bytes, 0, bytes.buffer.length, to, at)
  return at + bytes.buffer.length
}
