/** Part of the TDS server test double: an RPC request (MS-TDS 2.2.6.6) with its typed parameters, read. */

import {
  decodeDate,
  decodeDateTime,
  decodeDateTime2,
  decodeDateTimeOffset,
  decodeSmallDateTime,
  decodeTime,
} from './temporal.ts'

export interface Parameter {
  /** Without the `@`; empty for a parameter by position. */
  readonly name: string
  /** PostgreSQL's type for the cast; undefined lets PostgreSQL infer it (for text, as SQL Server does). */
  readonly cast: string | undefined
  readonly value: string | null
  /** The client wants its last value back. */
  readonly isOutput?: boolean
  /** Its position in the call. */
  readonly ordinal?: number
}

export interface RpcRequest {
  readonly procedure: string
  readonly parameters: readonly Parameter[]
  /** fNoMetaData: the client knows the columns. */
  readonly knowsColumns: boolean
}

const PROCEDURES: Readonly<Record<number, string>> = {
  1: 'sp_cursor',
  2: 'sp_cursoropen',
  3: 'sp_cursorprepare',
  4: 'sp_cursorexecute',
  5: 'sp_cursorprepexec',
  6: 'sp_cursorunprepare',
  7: 'sp_cursorfetch',
  8: 'sp_cursoroption',
  9: 'sp_cursorclose',
  10: 'sp_executesql',
  11: 'sp_prepare',
  12: 'sp_execute',
  13: 'sp_prepexec',
  14: 'sp_prepexecrpc',
  15: 'sp_unprepare',
}

/** BatchFlag: another call follows (MS-TDS 2.2.6.6). No name of a parameter is as long. */
const NEXT_CALL = 0xff

const NO_METADATA = 0x02

export class Reader {
  readonly #data: Buffer
  #at = 0
  /** These bytes are read first. */
  #ahead: Buffer = Buffer.alloc(0)

  constructor(data: Buffer) {
    this.#data = data
  }

  get at(): number {
    return this.#at
  }

  /** This reader, with some bytes before its unread ones. */
  behind(ahead: Buffer): this {
    this.#ahead = ahead
    return this
  }

  get atEnd(): boolean {
    return this.#at >= this.#data.length
  }

  /** Skips this byte if it is the next one. */
  skip(byte: number): boolean {
    if (this.#data[this.#at] !== byte) return false
    this.#at++
    return true
  }

  bytes(length: number): Buffer {
    if (this.#ahead.length > 0) {
      const value = this.#ahead.subarray(0, length)
      this.#ahead = this.#ahead.subarray(length)
      return value
    }
    const value = this.#data.subarray(this.#at, this.#at + length)
    if (value.length < length) throw new Error('the message is cut short')
    this.#at += length
    return value
  }

  u8(): number {
    return this.bytes(1).readUInt8()
  }

  u16(): number {
    return this.bytes(2).readUInt16LE()
  }

  u32(): number {
    return this.bytes(4).readUInt32LE()
  }

  text(characters: number): string {
    return this.bytes(characters * 2).toString('utf16le')
  }

  /** Partially length-prefixed bytes. */
  plp(): Buffer | null {
    const length = this.bytes(8).readBigUInt64LE()
    if (length === 0xffff_ffff_ffff_ffffn) return null
    const parts: Buffer[] = []
    for (let size = this.u32(); size !== 0; size = this.u32()) parts.push(this.bytes(size))
    return Buffer.concat(parts)
  }
}

/** ALL_HEADERS (MS-TDS 2.2.5.3): only the transaction descriptor is used here. */
export function readHeaders(data: Buffer): { readonly transaction: bigint; readonly rest: Buffer } {
  const total = data.readUInt32LE(0)
  let transaction = 0n
  for (let at = 4; at < total; at += data.readUInt32LE(at)) {
    if (data.readUInt16LE(at + 4) === 2) transaction = data.readBigUInt64LE(at + 6)
  }
  return { transaction, rest: data.subarray(total) }
}

/** The calls of one message, which are answered in their order. */
export function readCalls(data: Buffer): RpcRequest[] {
  const reader = new Reader(readHeaders(data).rest)
  const calls: RpcRequest[] = []
  do {
    const nameLength = reader.u16()
    const procedure = nameLength === 0xffff ? (PROCEDURES[reader.u16()] ?? 'unknown') : reader.text(nameLength)
    const options = reader.u16()
    const parameters: Parameter[] = []
    let isLast = reader.atEnd
    while (!isLast && !reader.skip(NEXT_CALL)) {
      const name = reader.text(reader.u8()).replace(/^@/, '')
      const isOutput = (reader.u8() & 1) !== 0
      parameters.push({ name, isOutput, ordinal: parameters.length, ...readValue(reader) })
      isLast = reader.atEnd
    }
    calls.push({ procedure, parameters, knowsColumns: (options & NO_METADATA) !== 0 })
  } while (!reader.atEnd)
  return calls
}

type Value = Pick<Parameter, 'cast' | 'value'>

export function readValue(reader: Reader): Value {
  const type = reader.u8()
  switch (type) {
    case 0x1f:
      return { cast: undefined, value: null }
    case 0x26:
      return readInteger(reader, reader.u8())
    case 0x68: {
      reader.u8()
      const data = reader.bytes(reader.u8())
      return { cast: 'boolean', value: data.length === 0 ? null : data[0] === 0 ? 'f' : 't' }
    }
    case 0x6d: {
      reader.u8()
      const data = reader.bytes(reader.u8())
      const value = data.length === 0 ? null : String(data.length === 4 ? data.readFloatLE() : data.readDoubleLE())
      return { cast: 'double precision', value }
    }
    case 0x6a:
    case 0x6c: {
      reader.u8()
      const [precision, scale] = [reader.u8(), reader.u8()]
      const data = reader.bytes(reader.u8())
      return {
        cast: `numeric(${precision},${scale})`,
        value: data.length === 0 ? null : fixedPoint(magnitude(data.subarray(1)), scale, data[0] === 0),
      }
    }
    case 0x6e: {
      reader.u8()
      const data = reader.bytes(reader.u8())
      if (data.length === 0) return { cast: 'numeric(19,4)', value: null }
      const units =
        data.length === 4
          ? BigInt(data.readInt32LE())
          : (BigInt(data.readInt32LE(0)) << 32n) | BigInt(data.readUInt32LE(4))
      return { cast: 'numeric(19,4)', value: fixedPoint(units < 0n ? -units : units, 4, units < 0n) }
    }
    case 0x6f: {
      reader.u8()
      const data = reader.bytes(reader.u8())
      const text = data.length === 8 ? decodeDateTime(data) : data.length === 4 ? decodeSmallDateTime(data) : null
      return { cast: undefined, value: text }
    }
    case 0x28:
      return temporal(reader.bytes(reader.u8()), decodeDate, 'date')
    case 0x29: {
      const scale = reader.u8()
      return temporal(reader.bytes(reader.u8()), (data) => decodeTime(data, scale))
    }
    case 0x2a: {
      const scale = reader.u8()
      return temporal(reader.bytes(reader.u8()), (data) => decodeDateTime2(data, scale))
    }
    case 0x2b: {
      const scale = reader.u8()
      return temporal(reader.bytes(reader.u8()), (data) => decodeDateTimeOffset(data, scale))
    }
    case 0x24: {
      reader.u8()
      const data = reader.bytes(reader.u8())
      return { cast: 'uuid', value: data.length === 0 ? null : guidText(data) }
    }
    case 0xe7:
    case 0xef:
      return readText(reader, 'utf16le')
    case 0xa7:
    case 0xaf:
      return readText(reader, 'latin1')
    case 0x63:
    case 0x23:
      return readLongText(reader, type === 0x63 ? 'utf16le' : 'latin1')
    case 0xa5:
    case 0xad:
      return binary(readSized(reader, reader.u16()))
    case 0x22: {
      reader.u32()
      const length = reader.u32()
      return binary(length === 0xffff_ffff ? null : reader.bytes(length))
    }
    default:
      throw new Error(`RPC: a parameter of type 0x${type.toString(16)}`)
  }
}

function readInteger(reader: Reader, declared: number): Value {
  const data = reader.bytes(reader.u8())
  const cast = declared === 8 ? 'bigint' : declared === 4 ? 'integer' : 'smallint'
  if (data.length === 0) return { cast, value: null }
  const value =
    data.length === 1
      ? data.readUInt8()
      : data.length === 2
        ? data.readInt16LE()
        : data.length === 4
          ? data.readInt32LE()
          : data.readBigInt64LE()
  return { cast, value: String(value) }
}

function readSized(reader: Reader, declared: number): Buffer | null {
  if (declared === 0xffff) return reader.plp()
  const length = reader.u16()
  return length === 0xffff ? null : reader.bytes(length)
}

function readText(reader: Reader, encoding: 'utf16le' | 'latin1'): Value {
  const declared = reader.u16()
  reader.bytes(5) // collation
  return { cast: undefined, value: readSized(reader, declared)?.toString(encoding) ?? null }
}

function readLongText(reader: Reader, encoding: 'utf16le' | 'latin1'): Value {
  reader.u32()
  reader.bytes(5)
  const length = reader.u32()
  return { cast: undefined, value: length === 0xffff_ffff ? null : reader.bytes(length).toString(encoding) }
}

const binary = (data: Buffer | null): Value => ({
  cast: 'bytea',
  value: data === null ? null : `\\x${data.toString('hex')}`,
})

const temporal = (data: Buffer, decode: (data: Buffer) => string, cast?: string): Value => ({
  cast,
  value: data.length === 0 ? null : decode(data),
})

function magnitude(data: Buffer): bigint {
  return [...data].reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n)
}

function fixedPoint(value: bigint, scale: number, negative: boolean): string {
  const digits = value.toString().padStart(scale + 1, '0')
  const whole = digits.slice(0, digits.length - scale)
  return `${negative ? '-' : ''}${whole}${scale === 0 ? '' : `.${digits.slice(digits.length - scale)}`}`
}

function guidText(data: Buffer): string {
  const hex = Buffer.concat([
    Buffer.from(data.subarray(0, 4)).reverse(),
    Buffer.from(data.subarray(4, 6)).reverse(),
    Buffer.from(data.subarray(6, 8)).reverse(),
    data.subarray(8),
  ]).toString('hex')
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}
