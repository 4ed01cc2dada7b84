/**
 * Rows as tedious does not give them: with every digit of decimals, money and times, and without an object for each
 * value.
 */

import { type OwnStreamParser, type StreamParserClass, TOKEN } from './stream-parser.ts'
import type { ColumnMetadata, Reader, TediousParts, Token } from './tedious-internals.ts'
import { type Decode, decoderFor } from './value-decoders.ts'

export interface RowMode {
  /** Decimals, money, dates and times as text; otherwise as tedious gives them. */
  readonly exact: boolean
  /** The `row` event carries an array of values; otherwise tedious' `{ value, metadata }` for each column. */
  readonly bare: boolean
  /** The `row` event carries a {@link FieldRun} instead: many rows, and where in the bytes their fields are. */
  readonly fields?: boolean
}

const modes = new WeakMap<object, RowMode>()

/** Says how a request's rows are wanted; before it is sent. */
export function setRowMode(request: object, mode: RowMode): void {
  modes.set(request, mode)
}

/** The mode of the request that a token handler serves, or `otherwise` where none was set; none without a request. */
export function rowModeFor(handler: unknown, otherwise?: RowMode): RowMode | undefined {
  const request = typeof handler === 'object' && handler !== null && 'request' in handler ? handler.request : undefined
  return typeof request === 'object' && request !== null ? (modes.get(request) ?? otherwise) : undefined
}

/** A decoder for each column; none for a value in chunks (PARTLENTYPE), which has a reader of its own. */
type Decoders = readonly (Decode | undefined)[]

/** The length of a value in chunks, and of a chunk. */
const LENGTH_BYTES = 8
const CHUNK_LENGTH_BYTES = 4

/** One row, which may arrive in pieces. */
class RowReader implements Reader<Token> {
  readonly #parts: TediousParts
  readonly #decoders: Decoders
  readonly #bare: boolean
  readonly #values: unknown[] = []
  #needsBitmap: boolean
  #bitmap: Buffer | undefined
  #plp: Reader<unknown> | undefined

  constructor(parts: TediousParts, decoders: Decoders, bare: boolean, compressed: boolean) {
    this.#parts = parts
    this.#decoders = decoders
    this.#bare = bare
    this.#needsBitmap = compressed
  }

  read(parser: OwnStreamParser): Token {
    const decoders = this.#decoders
    const values = this.#values
    const { RowToken } = this.#parts
    if (this.#needsBitmap) this.#readBitmap(parser)
    const bitmap = this.#bitmap
    while (values.length < decoders.length) {
      const index = values.length
      if (bitmap !== undefined && ((bitmap[index >> 3] ?? 0) & (1 << (index & 7))) !== 0) {
        values.push(null)
        continue
      }
      const decode = decoders[index]
      values.push(decode === undefined ? this.#inChunks(parser, index) : decode(parser))
    }
    if (this.#bare) return new RowToken(values)
    return new RowToken(values.map((value, index) => ({ value, metadata: parser.colMetadata[index] })))
  }

  /** Which columns are null (NBCROW, MS-TDS 2.2.7.13). */
  #readBitmap(parser: OwnStreamParser): void {
    const end = parser.position + Math.ceil(this.#decoders.length / 8)
    parser.need(end)
    this.#bitmap = parser.buffer.subarray(parser.position, end)
    parser.position = end
    this.#needsBitmap = false
  }

  #inChunks(parser: OwnStreamParser, index: number): unknown {
    if (this.#plp === undefined) {
      const text = inOneChunk(parser, parser.colMetadata[index] as ColumnMetadata)
      if (text !== undefined) return text
    }
    this.#plp ??= new this.#parts.PLPReader(parser.colMetadata[index] as ColumnMetadata)
    const value = this.#plp.read(parser)
    this.#plp = undefined
    return value
  }
}

/**
 * A text whose only chunk has arrived completely, as most have (MS-TDS 2.2.5.2.3): without the copy and the objects that
 * tedious' reader makes. Undefined, with nothing taken, for any other value.
 */
function inOneChunk(parser: OwnStreamParser, { type: { name } }: ColumnMetadata): string | undefined {
  const { buffer, position } = parser
  const chunk = position + LENGTH_BYTES
  const start = chunk + CHUNK_LENGTH_BYTES
  if (name !== 'NVarChar' || start > buffer.length) return undefined
  const length = buffer.readUInt32LE(chunk)
  const end = start + length
  if (length === 0 || end + CHUNK_LENGTH_BYTES > buffer.length || buffer.readUInt32LE(end) !== 0) return undefined
  if (buffer.readUInt32LE(position) !== length || buffer.readUInt32LE(position + 4) !== 0) return undefined
  parser.position = end + CHUNK_LENGTH_BYTES
  return buffer.toString('utf16le', start, end)
}

/** A parser whose rows are read in a mode. */
export function rowParserClass(
  parts: TediousParts,
  Base: StreamParserClass,
  { exact, bare }: RowMode,
): StreamParserClass {
  return class extends Base {
    #columns: readonly ColumnMetadata[] | undefined
    #decoders: Decoders = []

    override readToken(): Token | undefined {
      const type = this.buffer[this.position]
      if (type !== TOKEN.row && type !== TOKEN.compressedRow) return super.readToken()
      if (this.#columns !== this.colMetadata) {
        this.#columns = this.rowColumns()
        this.#decoders = this.#columns.map((metadata) =>
          parts.isPLPStream(metadata) ? undefined : decoderFor(metadata, exact),
        )
      }
      return this.startTokenReader(new RowReader(parts, this.#decoders, bare, type === TOKEN.compressedRow))
    }
  }
}
