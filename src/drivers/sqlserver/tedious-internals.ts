/**
 * The private parts of tedious that the driver uses: their types, their files, and a sentence for each one that a new
 * version has moved. They are used in tedious-connection.ts (logins) and row-reader.ts (rows), and nowhere else.
 */

import type { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import type { Duplex, Transform } from 'node:stream'
import type { Connection, ConnectionConfiguration } from 'tedious'
import { asError } from '../../any-error.ts'
import { PoolsmithError } from '../../errors.ts'
import { loadPackage } from '../../optional-package.ts'
import { SQLSERVER_BINDINGS, tooManyBindings } from '../binding-limit.ts'
import type { Operation } from '../statement-watch.ts'

/** The streams between a connection and its socket. */
interface MessageIo {
  readonly socket: Socket
  readonly incomingMessageStream: Transform
  readonly outgoingMessageStream: Duplex
  sendMessage(type: number, data?: Buffer, reset?: boolean): object
  readMessage(): Promise<AsyncIterable<Buffer>>
  packetSize(...size: number[]): number
}

/** The parts of tedious that are not public. */
export interface TediousInternals {
  readonly messageIo: MessageIo
  routingData: { readonly server: string; readonly port: number } | undefined
  request:
    | { readonly canceled: boolean; readonly paused?: boolean; error: Error | undefined; cancel(): void }
    | undefined
  cleanupConnection(): void
  /** Set by cleanupConnection. */
  readonly closed: boolean
  closeController: AbortController
  debug: object
  config: { server: string; authentication: object; options: { port?: number; useUTC?: boolean } }
  /** The server is asked to cancel the running request. */
  readonly attentionSent: boolean
  /** LOGIN7 says that the server's wish for a token was heard. */
  fedAuthRequired?: boolean
  createTokenStreamParser(message: unknown, handler: unknown): NodeJS.EventEmitter
  sendPreLogin(): void
  readPreloginResponse(signal: AbortSignal): Promise<unknown>
  performTlsNegotiation(prelogin: unknown, signal: AbortSignal): Promise<void>
  sendLogin7Packet(): void
  performSentLogin7WithStandardLogin(signal: AbortSignal): Promise<unknown>
  sendInitialSql(): void
  getInitialSql(): string
  makeRequest(request: object, type: number, payload: object): void
  inTransaction: boolean
  /** Public; here as a method, so that it can be overridden. */
  beginTransaction(...given: Parameters<Connection['beginTransaction']>): void
}

/** tedious' Connection as it is inside. */
export type InternalConnection = Omit<Connection, keyof TediousInternals> & TediousInternals

export interface LoginHandler {
  onLoginAck(token: LoginAck): void
  readonly loginAckReceived: boolean
  readonly loginError: Error | undefined
  readonly routingData: unknown
}

export interface LoginAck {
  readonly progVersion: { major: number; minor: number; buildNumHi: number; buildNumLow: number }
}

/** The parts of a column's metadata that are used. */
export interface ColumnMetadata {
  readonly colName: string
  readonly type: { readonly name: string }
  readonly precision?: number
  readonly scale?: number
  readonly dataLength?: number
  readonly collation?: { readonly codepage?: string | undefined }
}

export interface StreamParser {
  readonly options: object
  colMetadata: readonly ColumnMetadata[]
  readonly buffer: Buffer
  position: number
  /** How many bytes behind `position` must be there before it goes on. */
  bytesNeeded: number
  write(chunk: Buffer): void
  read(): Token | undefined
  end(): void
  readToken(): Token | undefined
  startTokenReader(reader: Reader<Token>): Token
}

export interface Token {
  readonly handlerName: string
}

export interface TokenParser extends NodeJS.EventEmitter {
  options: object
  debug: { token(token: unknown): void }
  paused: boolean
  onResume: (() => void) | undefined
  run(message: unknown, handler: unknown): Promise<void>
}

/** Reads one thing that may arrive in pieces: throws NotEnoughDataError and is called again with more. */
export interface Reader<T> {
  read(parser: StreamParser): T
}

/** The classes and functions, as they are imported. */
export interface TediousParts {
  readonly Connection: new (config: ConnectionConfiguration) => InternalConnection
  readonly RequestError: new (message: string, code: string) => Error
  readonly MessageIO: new (...given: never) => MessageIo
  readonly Login7TokenHandler: new (connection: unknown) => LoginHandler
  readonly TokenParser: new (message: unknown, debug: unknown, handler: unknown, options: object) => TokenParser
  readonly StreamParser: new (options: object) => StreamParser
  readonly RowToken: new (columns: unknown) => Token
  readonly PLPReader: new (metadata: ColumnMetadata) => Reader<unknown>
  readonly NotEnoughDataError: new (bytes: number) => Error
  readonly readValue: (
    buffer: Buffer,
    offset: number,
    metadata: ColumnMetadata,
    options: object,
  ) => { readonly value: unknown; readonly offset: number }
  readonly isPLPStream: (metadata: ColumnMetadata) => boolean
}

/** Methods that are overridden or called, by the class that has them. */
const METHODS: Readonly<Partial<Record<keyof TediousParts, readonly string[]>>> = {
  Connection: [
    'sendPreLogin',
    'readPreloginResponse',
    'performTlsNegotiation',
    'sendLogin7Packet',
    'performSentLogin7WithStandardLogin',
    'sendInitialSql',
    'getInitialSql',
    'makeRequest',
    'cleanupConnection',
    'createTokenStreamParser',
  ],
  MessageIO: ['sendMessage', 'readMessage', 'packetSize'],
  Login7TokenHandler: ['onLoginAck'],
  TokenParser: ['run'],
  StreamParser: ['write', 'read', 'end', 'readToken', 'startTokenReader'],
  PLPReader: ['read'],
}

/** A sentence for each part that is not where it was. */
export function movedParts(parts: { readonly [Name in keyof TediousParts]: unknown }): string[] {
  return Object.entries(parts).flatMap(([name, part]) => {
    if (typeof part !== 'function') return [`tedious has no ${name} any more`]
    return (METHODS[name as keyof TediousParts] ?? [])
      .filter((method) => typeof (part.prototype as Record<string, unknown>)[method] !== 'function')
      .map((method) => `tedious' ${name} has no method ${method} any more`)
  })
}

/** The name of a connection's state, and its running request. tedious says in no other way whether it is busy. */
export function stateOf(connection: object): {
  readonly state: string
  readonly request: Pick<EventEmitter, 'once' | 'off'> | undefined
} {
  const { state, request } = connection as {
    readonly state: { readonly name: string }
    readonly request: EventEmitter | undefined
  }
  return { state: state.name, request }
}

/** @throws PoolsmithError PACKAGE_MISSING, DRIVER_INCOMPATIBLE */
export async function loadTediousParts(): Promise<TediousParts> {
  const tedious = await loadPackage('tedious', () => import('tedious'), 'A SQL Server connection')
  const parts = await importParts(tedious)
  const moved = movedParts(parts)
  if (moved.length > 0) throw incompatible(moved.join('; '))
  return parts
}

async function importParts(tedious: typeof import('tedious')): Promise<TediousParts> {
  try {
    const [messages, handlers, parsers, streams, tokens, values, helpers] = await Promise.all([
      import('tedious/lib/message-io.js'),
      import('tedious/lib/token/handler.js'),
      import('tedious/lib/token/token-stream-parser.js'),
      import('tedious/lib/token/stream-parser.js'),
      import('tedious/lib/token/token.js'),
      import('tedious/lib/value-parser.js'),
      import('tedious/lib/token/helpers.js'),
    ])
    return {
      Connection: tedious.Connection,
      RequestError: tedious.RequestError,
      MessageIO: messages.default,
      Login7TokenHandler: handlers.Login7TokenHandler,
      TokenParser: parsers.Parser,
      StreamParser: streams.default,
      RowToken: tokens.RowToken,
      PLPReader: values.PLPReader,
      NotEnoughDataError: helpers.NotEnoughDataError,
      readValue: values.readValue,
      isPLPStream: values.isPLPStream,
    } as unknown as TediousParts
  } catch (cause) {
    throw incompatible('its files lie elsewhere', cause)
  }
}

function incompatible(what: string, cause?: unknown): PoolsmithError {
  return new PoolsmithError(`The installed tedious is laid out differently: ${what}.`, {
    code: 'DRIVER_INCOMPATIBLE',
    phase: 'config',
    hint: 'npm install tedious@20.3.9',
    cause,
  })
}

/** The messages of one connection, through tedious' streams. */
export class MessageLine {
  readonly #io: MessageIo
  #writesTo: Duplex

  constructor({ messageIo }: InternalConnection) {
    this.#io = messageIo
    this.#writesTo = messageIo.socket
  }

  /** Shows each piece that arrives to `accept` before tedious reads it; what it throws ends the session. */
  watch(accept: (chunk: Buffer) => void): void {
    const { socket, incomingMessageStream } = this.#io
    const transform = incomingMessageStream._transform
    incomingMessageStream._transform = (chunk, encoding, callback) => {
      try {
        accept(chunk)
      } catch (error) {
        socket.destroy(asError(error))
        return
      }
      transform.call(incomingMessageStream, chunk, encoding, callback)
    }
  }

  /** Shows each size of packets that the server sets to `accept`; what it throws ends the session. */
  watchPacketSize(accept: (size: number) => void): void {
    const io = this.#io
    const original = io.packetSize
    io.packetSize = (...size) => {
      for (const one of size) accept(one)
      return original.apply(io, size)
    }
  }

  /** From the next message on we write to this stream; by default to the socket, which is read all the time. */
  writeTo(stream: Duplex = this.#io.socket): void {
    const { outgoingMessageStream } = this.#io
    outgoingMessageStream.unpipe(this.#writesTo)
    outgoingMessageStream.pipe(stream)
    this.#writesTo = stream
  }

  send(type: number, data: Buffer): void {
    this.#io.sendMessage(type, data)
  }

  /** Passes the message that `send` makes tedious send through `edit`. */
  editing(edit: (data: Buffer) => Buffer, send: () => void): void {
    const io = this.#io
    const original = io.sendMessage
    io.sendMessage = (type, data = Buffer.alloc(0), reset) => original.call(io, type, edit(data), reset)
    try {
      send()
    } finally {
      io.sendMessage = original
    }
  }

  /** The next message, whole. */
  async read(): Promise<Buffer> {
    return whole(await this.#io.readMessage())
  }
}

/** All of a message, gathered once. */
export async function whole(message: AsyncIterable<Buffer> | Iterable<Buffer>): Promise<Buffer> {
  const parts: Buffer[] = []
  for await (const part of message) parts.push(part)
  return Buffer.concat(parts)
}

/** Kinds of messages (MS-TDS 2.2.3.1.1). */
const RPC = 0x03
const BULK_LOAD = 0x07
const TRANSACTION_MANAGER = 0x0e
/** The number of sp_executesql (MS-TDS 2.2.6.6). */
const EXECUTE_SQL = 10
/** The numbers of special procedures that read and change nothing. */
const PREPARING: Readonly<Record<number, string>> = { 11: 'prepare', 15: 'unprepare' }

/** The stored procedure that a request calls by its name. */
export function procedureOf(payload: object): string | undefined {
  const { procedure } = payload as { readonly procedure?: unknown }
  return typeof procedure === 'string' ? procedure : undefined
}

/** The operation of a request that has no SQL text of its own; undefined for one that has. */
export function operationOf(request: object, type: number, payload: object): Operation | undefined {
  if (type === TRANSACTION_MANAGER) {
    // `Commit Transaction: name=`
    return { name: /^\w+/.exec(String(payload))?.[0].toLowerCase() ?? 'transaction' }
  }
  if (type === BULK_LOAD) {
    const { table } = request as { readonly table?: unknown }
    return { name: 'bulk_load', table: typeof table === 'string' ? table : undefined }
  }
  if (type !== RPC) return undefined
  const procedure = procedureOf(payload)
  if (procedure !== undefined) return { name: 'execute', table: procedure }
  const name = PREPARING[Number((payload as { readonly procedure?: unknown }).procedure)]
  return name === undefined ? undefined : { name }
}

/**
 * Refuses a statement with more parameters than the server takes, which goes as a call of sp_executesql.
 *
 * @returns true when it must not be made; then its callback is called with the error
 */
export function refusesBindings(given: object, type: number, payload: object): boolean {
  if (type !== RPC || Number((payload as { readonly procedure?: unknown }).procedure) !== EXECUTE_SQL) return false
  const request = given as { readonly parameters: readonly unknown[]; callback(error: Error): void }
  const refusal = tooManyBindings(request.parameters.length, SQLSERVER_BINDINGS)
  if (refusal !== undefined) process.nextTick(() => request.callback(refusal))
  return refusal !== undefined
}
