/** The messages of the protocol that are used before pg takes over (PostgreSQL documentation, "Message Formats"). */

import type { Wire } from '../network/wire.ts'

const SSL_REQUEST = 80877103
const GSS_ENCRYPTION_REQUEST = 80877104
const CANCEL_REQUEST = 80877102

/** libpq's limit: a longer message does not come from a PostgreSQL server. */
const MAX_LENGTH = 30_000
/** An error has at least one field. */
const MIN_ERROR_LENGTH = 8
/** The buffer in PostgreSQL's report_fork_failure_to_client. */
const MAX_BARE_ERROR = 1000
/** A type and a length, which counts itself. */
const HEADER_BYTES = 5
const LENGTH_BYTES = 4
const ERROR = 0x45
/** Counts have a sign. */
const MAX_COUNT = 0x7fff

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

function framed(body: Buffer, type = ''): Buffer {
  return Buffer.concat([Buffer.from(type, 'latin1'), int32(body.length + 4), body])
}

const cstring = (text: string): Buffer => Buffer.from(`${text}\0`, 'utf8')

export function sslRequest(): Buffer {
  return framed(int32(SSL_REQUEST))
}

export function gssEncryptionRequest(): Buffer {
  return framed(int32(GSS_ENCRYPTION_REQUEST))
}

export function cancelRequest(processId: number, secretKey: Buffer): Buffer {
  return framed(Buffer.concat([int32(CANCEL_REQUEST), int32(processId), secretKey]))
}

export function startupMessage(version: number, parameters: Readonly<Record<string, string>>): Buffer {
  const pairs = Object.entries(parameters).map(([name, value]) => cstring(`${name}\0${value}`))
  return framed(Buffer.concat([int32(version), ...pairs, Buffer.alloc(1)]))
}

/** A simple Query. */
export function queryMessage(sql: string): Buffer {
  return framed(cstring(sql), 'Q')
}

/** PasswordMessage: cleartext or md5. */
/** The end of a session. */
export function terminateMessage(): Buffer {
  return framed(Buffer.alloc(0), 'X')
}

export function passwordMessage(text: string): Buffer {
  return framed(cstring(text), 'p')
}

export function saslInitialResponse(mechanism: string, response: Buffer): Buffer {
  return framed(Buffer.concat([cstring(mechanism), int32(response.length), response]), 'p')
}

/** A SASLResponse or a GSSResponse: both consist of the bytes alone. */
export function authenticationResponse(bytes: Buffer): Buffer {
  return framed(bytes, 'p')
}

/** One message from the server. */
export interface ServerMessage {
  /** One letter, such as `R`. */
  readonly type: string
  readonly body: Buffer
  /** The message with its header, for pg's parser. */
  readonly raw: Buffer
}

/** The bytes cannot come from a PostgreSQL server. */
export class NotPostgres extends Error {
  override readonly name = 'NotPostgres'
}

/**
 * Reads the next message.
 *
 * @param expected the types that are allowed now
 * @param longestText the limit for errors and notices. Default {@link MAX_LENGTH}: before the server accepts the login, a
 *   longer error is the text of a server that could not start a process
 *
 * @throws NotPostgres; StreamClosed; the signal's reason
 */
export async function readMessage(wire: Wire, expected: string, longestText = MAX_LENGTH): Promise<ServerMessage> {
  const head = await wire.read(HEADER_BYTES)
  const type = head.toString('latin1', 0, 1)
  const length = head.readInt32BE(1)
  if (!expected.includes(type)) throw new NotPostgres(`message ${JSON.stringify(type)} at this point`)
  if (type === 'E' && (length < MIN_ERROR_LENGTH || length > longestText)) return bareError(wire, head)
  const longest = type === 'E' || type === 'N' ? longestText : MAX_LENGTH
  if (length < LENGTH_BYTES || length > longest) throw new NotPostgres(`message ${type} of ${length} bytes`)
  const body = await wire.read(length - LENGTH_BYTES)
  return { type, body, raw: Buffer.concat([head, body]) }
}

/**
 * The error of a server that could not start a process for the connection: `E`, a text and a zero byte in place of an
 * ErrorResponse. Returned in the form of one.
 */
async function bareError(wire: Wire, head: Buffer): Promise<ServerMessage> {
  // It is sent in one piece. Another protocol may never send a zero byte, so nothing is waited for.
  const text = Buffer.concat([head.subarray(1), await wire.read(Math.min(wire.waiting, MAX_BARE_ERROR))])
  const end = text.indexOf(0)
  if (end === -1) throw new NotPostgres('an error without its end')
  // pgpool-II sends an empty one before its ErrorResponse.
  if (end === 0 && text[1] === ERROR) {
    wire.stream.unshift(text.subarray(1))
    return readMessage(wire, 'E')
  }
  return { type: 'E', body: Buffer.concat([Buffer.from('M'), text.subarray(0, end), Buffer.alloc(2)]), raw: head }
}

/** Reads the parts of a message's body. @throws NotPostgres when the body is too short */
export class BodyReader {
  readonly #bytes: Buffer
  readonly #end: number
  #offset: number

  /** @param start where the body begins in `bytes`, @param end where it ends */
  constructor(bytes: Buffer, start = 0, end = bytes.length) {
    this.#bytes = bytes
    this.#offset = start
    this.#end = end
  }

  int32(): number {
    const at = this.#offset
    this.skip(4)
    return this.#bytes.readInt32BE(at)
  }

  byte(): number {
    const at = this.#offset
    this.skip(1)
    return this.#bytes[at] as number
  }

  /** A count or a format in two bytes. */
  count(): number {
    const value = this.byte() * 256 + this.byte()
    if (value > MAX_COUNT) throw new NotPostgres(`a count of ${value - 2 * (MAX_COUNT + 1)}`)
    return value
  }

  skip(bytes: number): this {
    this.#offset += bytes
    if (this.#offset > this.#end) throw new NotPostgres('a message that is too short')
    return this
  }

  skipText(): this {
    // Most texts are short, and a call out of JavaScript takes longer than this.
    let at = this.#offset
    while (at < this.#end && this.#bytes[at] !== 0) at++
    if (at === this.#end) throw new NotPostgres('a text without its end')
    this.#offset = at + 1
    return this
  }

  expectEnd(): void {
    if (this.#offset !== this.#end) throw new NotPostgres('a message that is too long')
  }

  /** The text up to the next zero byte. */
  string(): string {
    const start = this.#offset
    this.skipText()
    return this.#bytes.toString('utf8', start, this.#offset - 1)
  }

  /** The first value of a DataRow; undefined for NULL or no value. */
  firstValue(): string | undefined {
    if (this.count() === 0) return undefined
    const length = this.int32()
    if (length === -1) return undefined
    const start = this.#offset
    this.skip(length)
    return this.#bytes.toString('utf8', start, this.#offset)
  }

  rest(): Buffer {
    return this.#bytes.subarray(this.#offset, this.#end)
  }
}

/** The fields of an ErrorResponse or NoticeResponse, by their letters ("Error and Notice Message Fields"). */
export function readFields(body: Buffer): Readonly<Record<string, string>> {
  const fields: Record<string, string> = {}
  let offset = 0
  while (offset < body.length && body[offset] !== 0) {
    const letter = body.toString('latin1', offset, offset + 1)
    const end = body.indexOf(0, offset + 1)
    if (end === -1) throw new NotPostgres('a text without its end')
    fields[letter] = body.toString('utf8', offset + 1, end)
    offset = end + 1
  }
  return fields
}
