/** Reading and writing DER (X.690), as far as certificates and the questions to a KDC need it. */

export type Der = Buffer

function length(size: number): Buffer {
  if (size < 0x80) return Buffer.of(size)
  const bytes: number[] = []
  for (let rest = size; rest > 0; rest >>>= 8) bytes.unshift(rest & 0xff)
  return Buffer.of(0x80 | bytes.length, ...bytes)
}

export function tagged(tag: number, ...parts: readonly Buffer[]): Der {
  const content = Buffer.concat(parts)
  return Buffer.concat([Buffer.of(tag), length(content.length), content])
}

export const sequence = (...parts: readonly Buffer[]): Der => tagged(0x30, ...parts)
export const application = (number: number, content: Buffer): Der => tagged(0x60 | number, content)
/** An explicit context tag: `[number]` in the RFCs. */
export const field = (number: number, content: Buffer): Der => tagged(0xa0 | number, content)
export const generalString = (text: string): Der => tagged(0x1b, Buffer.from(text))
export const generalizedTime = (at: Date): Der =>
  tagged(0x18, Buffer.from(at.toISOString().replaceAll(/[-:T]|\.\d+/g, '')))

/** Up to 31 bits, not negative. */
export function integer(value: number): Der {
  const bytes = Buffer.alloc(5)
  bytes.writeUInt32BE(value, 1)
  let from = 0
  while (from < 4 && bytes[from] === 0 && (bytes[from + 1] ?? 0) < 0x80) from++
  return tagged(0x02, bytes.subarray(from))
}

export interface Element {
  readonly tag: number
  readonly content: Buffer
}

/** The elements of a constructed value, in order. @throws RangeError when they are cut short */
export function elements(bytes: Buffer): Element[] {
  const found: Element[] = []
  for (let offset = 0; offset < bytes.length; ) {
    const tag = bytes.readUInt8(offset)
    let size = bytes.readUInt8(offset + 1)
    offset += 2
    if (size >= 0x80) {
      const width = size & 0x7f
      size = bytes.readUIntBE(offset, width)
      offset += width
    }
    if (offset + size > bytes.length) throw new RangeError('DER is cut short')
    found.push({ tag, content: bytes.subarray(offset, offset + size) })
    offset += size
  }
  return found
}

/** The value under an explicit context tag of a sequence. */
export function fieldOf(fields: readonly Element[], number: number): Element | undefined {
  const found = fields.find(({ tag }) => tag === (0xa0 | number))
  return found === undefined ? undefined : elements(found.content)[0]
}
