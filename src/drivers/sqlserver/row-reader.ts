/**
 * Rows as tedious does not give them: with every digit of decimals, money and times, and without an object for each
 * value.
 */

import {
  dateText,
  dateTime2Text,
  dateTimeOffsetText,
  dateTimeText,
  decimalText,
  moneyText,
  smallDateTimeText,
  timeText,
} from './exact-values.ts'
import { fieldParserFactory } from './row-fields.ts'
import type { ColumnMetadata, StreamParser, TediousParts, Token, TokenParser } from './tedious-internals.ts'

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

/** The mode of the request that a token handler serves, or `otherwise` for one that nobody has set; none without a request. */
export function rowModeFor(handler: unknown, otherwise?: RowMode): RowMode | undefined {
  const request = typeof handler === 'object' && handler !== null && 'request' in handler ? handler.request : undefined
  return typeof request === 'object' && request !== null ? (modes.get(request) ?? otherwise) : undefined
}

type MakeParser = (message: unknown, debug: unknown, handler: unknown, options: object, mode: RowMode) => TokenParser

const ROW = 0xd1
const COMPRESSED_ROW = 0xd2
const NO_BYTES = 0xffff
const TICKS_PER_MILLI = 10_000
const DAY_MILLIS = 86_400_000
/** 0001-01-01 in milliseconds since 1970. */
const YEAR_ONE = -62_135_596_800_000

type Decode = (parser: StreamParser) => unknown

type TokenParserClass = new (message: unknown, debug: unknown, handler: unknown, options: object) => TokenParser

/**
 * tedious' parser of one answer with another one of its tokens inside. The constructor of tedious' class starts `run`
 * before a field of ours could be set: what it needs comes by closure.
 */
export function tokenParserClass(
  parts: TediousParts,
  streamParser: (options: object) => StreamParser,
): TokenParserClass {
  class OwnTokenParser extends (parts.TokenParser as TokenParserClass) {
    override async run(message: AsyncIterable<Buffer>, handler: Handler): Promise<void> {
      const parser = streamParser(this.options)
      for await (const chunk of message) {
        parser.write(chunk)
        await this.#tokens(parser, handler)
      }
      // Fields of unknown length may have asked for more than was to come.
      parser.bytesNeeded = parser.buffer.length - parser.position + 1
      await this.#tokens(parser, handler)
      parser.end()
    }

    async #tokens(parser: StreamParser, handler: Handler): Promise<void> {
      for (;;) {
        while (this.paused) {
          await new Promise<void>((resolve) => {
            this.onResume = resolve
          })
        }
        const token = parser.read()
        if (token === undefined) return
        this.debug.token(token)
        handler[token.handlerName]?.(token)
      }
    }
  }
  return OwnTokenParser
}

type Handler = Record<string, (token: Token) => void>

/** Builds the way to make a parser for one request's answer. */
export function rowParserFactory(parts: TediousParts): MakeParser {
  const StockStreamParser = parts.StreamParser as new (options: object) => StreamParser
  const RowToken = parts.RowToken as new (columns: unknown) => Token
  const PlpReader = parts.PLPReader as new (metadata: ColumnMetadata) => { read(parser: StreamParser): unknown }
  const NotEnough = parts.NotEnoughDataError as new (bytes: number) => Error
  const isPlp = parts.isPLPStream as (metadata: ColumnMetadata) => boolean
  const readValue = parts.readValue as (
    buffer: Buffer,
    offset: number,
    metadata: ColumnMetadata,
    options: object,
  ) => { readonly value: unknown; readonly offset: number }

  /** Nothing of a value may be taken before all of it is there: the parser comes again with more. */
  const need = (parser: StreamParser, end: number): void => {
    if (parser.buffer.length < end) throw new NotEnough(end)
  }

  /** A value of at most 255 bytes behind its length in one byte; no bytes is null. */
  const short =
    (decode: (data: Buffer) => unknown): Decode =>
    (parser) => {
      const at = parser.position
      need(parser, at + 1)
      const end = at + 1 + (parser.buffer[at] ?? 0)
      need(parser, end)
      parser.position = end
      return end === at + 1 ? null : decode(parser.buffer.subarray(at + 1, end))
    }

  const fixed =
    (length: number, decode: (data: Buffer) => unknown): Decode =>
    (parser) => {
      const at = parser.position
      need(parser, at + length)
      parser.position = at + length
      return decode(parser.buffer.subarray(at, at + length))
    }

  const nText: Decode = (parser) => {
    const at = parser.position
    need(parser, at + 2)
    const length = parser.buffer.readUInt16LE(at)
    const end = length === NO_BYTES ? at + 2 : at + 2 + length
    need(parser, end)
    parser.position = end
    return length === NO_BYTES ? null : parser.buffer.toString('utf16le', at + 2, end)
  }

  /** A number behind its length; eight bytes are a bigint, which tedious gives as text. */
  const integer: Decode = (parser) => {
    const { buffer, position: at } = parser
    need(parser, at + 1)
    const length = buffer[at] ?? 0
    need(parser, at + 1 + length)
    parser.position = at + 1 + length
    if (length === 4) return buffer.readInt32LE(at + 1)
    if (length === 8) return buffer.readBigInt64LE(at + 1).toString()
    if (length === 2) return buffer.readInt16LE(at + 1)
    return length === 0 ? null : buffer[at + 1]
  }

  const float: Decode = (parser) => {
    const { buffer, position: at } = parser
    need(parser, at + 1)
    const length = buffer[at] ?? 0
    need(parser, at + 1 + length)
    parser.position = at + 1 + length
    return length === 8 ? buffer.readDoubleLE(at + 1) : length === 4 ? buffer.readFloatLE(at + 1) : null
  }

  /** As tedious gives it, with what is finer than a millisecond beside it; where there is none, nothing is beside it. */
  const dateTime2 =
    (scale: number): Decode =>
    (parser) => {
      const { buffer, position: at } = parser
      need(parser, at + 1)
      const length = buffer[at] ?? 0
      const end = at + 1 + length
      need(parser, end)
      parser.position = end
      if (length === 0) return null
      const ticks = buffer.readUIntLE(at + 1, length - 3) * 10 ** (7 - scale)
      const millis = Math.trunc(ticks / TICKS_PER_MILLI)
      const date = new Date(YEAR_ONE + buffer.readUIntLE(end - 3, 3) * DAY_MILLIS + millis)
      const rest = ticks - millis * TICKS_PER_MILLI
      return rest === 0 ? date : Object.defineProperty(date, 'nanosecondsDelta', { value: rest / 1e7 })
    }

  const stock =
    (metadata: ColumnMetadata): Decode =>
    (parser) => {
      const result = readValue(parser.buffer, parser.position, metadata, parser.options)
      parser.position = result.offset
      return result.value
    }

  const variant =
    (metadata: ColumnMetadata): Decode =>
    (parser) => {
      const at = parser.position
      need(parser, at + 4)
      const end = at + 4 + parser.buffer.readUInt32LE(at)
      need(parser, end)
      const exact = variantText(parser.buffer.subarray(at + 4, end))
      if (exact === undefined) return stock(metadata)(parser)
      parser.position = end
      return exact
    }

  const decoder = (metadata: ColumnMetadata, exact: boolean): Decode => {
    const { scale = 7 } = metadata
    switch (metadata.type.name) {
      case 'NVarChar':
      case 'NChar':
        return nText
      case 'IntN':
        return integer
      case 'FloatN':
        return float
      default:
    }
    if (!exact) return metadata.type.name === 'DateTime2' ? dateTime2(scale) : stock(metadata)
    switch (metadata.type.name) {
      case 'DecimalN':
      case 'NumericN':
        return short((data) => decimalText(data, metadata.scale ?? 0))
      case 'MoneyN':
        return short(moneyText)
      case 'Money':
        return fixed(8, moneyText)
      case 'SmallMoney':
        return fixed(4, moneyText)
      case 'Date':
        return short(dateText)
      case 'Time':
        return short((data) => timeText(data, scale))
      case 'DateTime2':
        return short((data) => dateTime2Text(data, scale))
      case 'DateTimeOffset':
        return short((data) => dateTimeOffsetText(data, scale))
      case 'DateTimeN':
        return short((data) => (data.length === 4 ? smallDateTimeText(data) : dateTimeText(data)))
      case 'DateTime':
        return fixed(8, dateTimeText)
      case 'SmallDateTime':
        return fixed(4, smallDateTimeText)
      case 'Variant':
        return variant(metadata)
      default:
        return stock(metadata)
    }
  }

  /** One row, which may arrive in pieces. */
  class RowReader {
    readonly #decoders: readonly (Decode | undefined)[]
    readonly #bare: boolean
    readonly #values: unknown[] = []
    #needsBitmap: boolean
    #bitmap: Buffer | undefined
    #plp: { read(parser: StreamParser): unknown } | undefined

    constructor(decoders: readonly (Decode | undefined)[], bare: boolean, compressed: boolean) {
      this.#decoders = decoders
      this.#bare = bare
      this.#needsBitmap = compressed
    }

    read(parser: StreamParser): Token {
      const decoders = this.#decoders
      const values = this.#values
      if (this.#needsBitmap) {
        const end = parser.position + Math.ceil(decoders.length / 8)
        need(parser, end)
        this.#bitmap = parser.buffer.subarray(parser.position, end)
        parser.position = end
        this.#needsBitmap = false
      }
      const bitmap = this.#bitmap
      while (values.length < decoders.length) {
        const index = values.length
        if (bitmap !== undefined && ((bitmap[index >> 3] ?? 0) & (1 << (index & 7))) !== 0) {
          values.push(null)
          continue
        }
        const decode = decoders[index]
        if (decode !== undefined) values.push(decode(parser))
        else {
          this.#plp ??= new PlpReader(parser.colMetadata[index] as ColumnMetadata)
          const value = this.#plp.read(parser)
          this.#plp = undefined
          values.push(value)
        }
      }
      if (this.#bare) return new RowToken(values)
      return new RowToken(values.map((value, index) => ({ value, metadata: parser.colMetadata[index] })))
    }
  }

  class RowStreamParser extends StockStreamParser {
    readonly #mode: RowMode
    #columns: readonly ColumnMetadata[] | undefined
    #decoders: readonly (Decode | undefined)[] = []

    constructor(options: object, mode: RowMode) {
      super(options)
      this.#mode = mode
    }

    override readToken(): Token | undefined {
      const type = this.buffer[this.position]
      if (type !== ROW && type !== COMPRESSED_ROW) return super.readToken()
      if (this.#columns !== this.colMetadata) {
        this.#columns = this.colMetadata
        this.#decoders = this.colMetadata.map((metadata) =>
          isPlp(metadata) ? undefined : decoder(metadata, this.#mode.exact),
        )
      }
      return this.startTokenReader(new RowReader(this.#decoders, this.#mode.bare, type === COMPRESSED_ROW))
    }
  }

  const fields = fieldParserFactory(parts)
  const classFor = (mode: RowMode): TokenParserClass =>
    tokenParserClass(parts, mode.fields === true ? fields : (options) => new RowStreamParser(options, mode))
  const classes = new Map<string, TokenParserClass>()
  return (message, debug, handler, options, mode) => {
    const key = `${mode.exact} ${mode.bare} ${mode.fields ?? false}`
    const known = classes.get(key) ?? classFor(mode)
    classes.set(key, known)
    return new known(message, debug, handler, options)
  }
}

const VARIANT = {
  money: 0x3c,
  smallMoney: 0x7a,
  dateTime: 0x3d,
  smallDateTime: 0x3a,
  date: 0x28,
  time: 0x29,
  dateTime2: 0x2a,
  dateTimeOffset: 0x2b,
  decimal: 0x6a,
  numeric: 0x6c,
} as const

/** The types in a sql_variant (MS-TDS 2.2.5.5.4) whose digits would be lost; undefined for the others. */
export function variantText(value: Buffer): string | undefined {
  const data = value.subarray(2 + (value[1] ?? 0))
  switch (value[0]) {
    case VARIANT.money:
    case VARIANT.smallMoney:
      return moneyText(data)
    case VARIANT.dateTime:
      return dateTimeText(data)
    case VARIANT.smallDateTime:
      return smallDateTimeText(data)
    case VARIANT.date:
      return dateText(data)
    case VARIANT.time:
      return timeText(data, value[2] ?? 7)
    case VARIANT.dateTime2:
      return dateTime2Text(data, value[2] ?? 7)
    case VARIANT.dateTimeOffset:
      return dateTimeOffsetText(data, value[2] ?? 7)
    case VARIANT.decimal:
    case VARIANT.numeric:
      return decimalText(data, value[3] ?? 0)
    default:
      return undefined
  }
}
