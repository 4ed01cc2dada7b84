/**
 * Rows taken out of what a server sends before pg's parser sees it. That one spends most of its time on calls for each
 * value; a select of many short values is here in two thirds of the time. (PostgreSQL: "Message Formats", DataRow.)
 */

/** What pg-protocol makes of a row. */
export interface RowMessage {
  readonly name: 'dataRow'
  readonly length: number
  readonly fieldCount: number
  readonly fields: (string | null)[]
}

const DATA_ROW = 0x44
/** Type and length. */
const HEADER_BYTES = 5
/** The length counts itself. */
const LENGTH_BYTES = 4
const NULL = 0xffff_ffff

/**
 * Takes chunks of a stream of messages, cut anywhere, from the beginning of a message on. What is no row, or a row that
 * lies in more than one chunk, goes to the parser as it came; the order stays.
 *
 * @throws Error when a length makes no sense
 */
export function takeRows(onRow: (row: RowMessage) => void, parse: (chunk: Buffer) => void): (chunk: Buffer) => void {
  /** Of the message that was cut: what there is of its header, or how much of it is still to come. */
  const header = Buffer.alloc(HEADER_BYTES)
  let headerBytes = 0
  let missing = 0
  return (chunk) => {
    let offset = 0
    if (headerBytes > 0) {
      offset = chunk.copy(header, headerBytes)
      headerBytes += offset
      if (headerBytes < HEADER_BYTES) return parse(chunk)
      headerBytes = 0
      missing = lengthAt(header, 1) - LENGTH_BYTES
    }
    if (offset + missing > 0) {
      const end = Math.min(offset + missing, chunk.length)
      missing -= end - offset
      offset = end
      parse(chunk.subarray(0, end))
    }
    let parsed = offset
    let left = chunk.length - offset
    while (left >= HEADER_BYTES) {
      const end = offset + 1 + lengthAt(chunk, offset + 1)
      if (end > chunk.length) {
        missing = end - chunk.length
        break
      }
      if (chunk[offset] === DATA_ROW) {
        if (parsed < offset) parse(chunk.subarray(parsed, offset))
        parsed = end
        onRow(rowIn(chunk, offset + HEADER_BYTES, end))
      }
      offset = end
      left = chunk.length - offset
    }
    if (left < HEADER_BYTES) headerBytes = chunk.copy(header, 0, offset)
    if (parsed < chunk.length) parse(chunk.subarray(parsed))
  }
}

function lengthAt(bytes: Buffer, offset: number): number {
  const length = bytes.readUInt32BE(offset)
  if (length < LENGTH_BYTES) throw new Error(`The server sent a message that would be ${length} bytes long.`)
  return length
}

function rowIn(chunk: Buffer, start: number, end: number): RowMessage {
  const fieldCount = uint16At(chunk, start)
  const fields = new Array<string | null>(fieldCount)
  let offset = start + 2
  for (let index = 0; index < fieldCount; index++) {
    const length = uint16At(chunk, offset) * 0x1_0000 + uint16At(chunk, offset + 2)
    offset += 4
    if (length === NULL) {
      fields[index] = null
    } else {
      fields[index] = textIn(chunk, offset, offset + length)
      offset += length
    }
  }
  if (offset !== end) throw new Error('The server sent a row whose values do not agree with its length.')
  return { name: 'dataRow', length: end - start + LENGTH_BYTES, fieldCount, fields }
}

function uint16At(bytes: Buffer, offset: number): number {
  return (byteAt(bytes, offset) << 8) | byteAt(bytes, offset + 1)
}

/** Beyond the end it is 0; that a row is too short is seen when all its values are there. */
function byteAt(bytes: Buffer, offset: number): number {
  return bytes[offset] ?? 0
}

/** Short ASCII, which most numbers are, is made without a call out of JavaScript, in a third of the time. */
function textIn(bytes: Buffer, from: number, to: number): string {
  return to - from <= SHORT && isAscii(bytes, from, to)
    ? shortText(bytes, from, to - from)
    : bytes.toString('utf8', from, to)
}

const SHORT = 8

function isAscii(bytes: Buffer, from: number, to: number): boolean {
  let bits = 0
  for (let offset = from; offset < to; offset++) bits |= byteAt(bytes, offset)
  return bits < 0x80
}

function shortText(bytes: Buffer, from: number, length: number): string {
  const at = (index: number): number => byteAt(bytes, from + index)
  const text = String.fromCharCode
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
