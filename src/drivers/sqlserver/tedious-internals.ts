/**
 * The private parts of tedious that we lean on: their shape, where they lie, and a plain sentence for each that a new
 * version has moved. They are used in tedious-connection.ts (logins) and row-reader.ts (rows), and nowhere else.
 */

import type { Socket } from 'node:net'
import type { Duplex, Transform } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import type { Connection } from 'tedious'
import { PoolsmithError } from '../../errors.ts'
import { loadPackage } from '../../optional-package.ts'

/** The parts of tedious that are not public. */
export interface TediousInternals {
  messageIo: {
    socket: Socket
    incomingMessageStream: Transform
    outgoingMessageStream: Duplex
    securePair?: { cleartext: TLSSocket; encrypted: Duplex } | undefined
    sendMessage(type: number, data?: Buffer, reset?: boolean): object
    readMessage(): Promise<AsyncIterable<Buffer>>
    startTls(details: object, host: string, trust: boolean): Promise<void>
  }
  routingData: { readonly server: string; readonly port: number } | undefined
  secureContextOptions: object
  request:
    | { readonly canceled: boolean; readonly paused?: boolean; error: Error | undefined; cancel(): void }
    | undefined
  cleanupConnection(): void
  closeController: AbortController
  debug: object
  config: { server: string; options: { port?: number; encrypt: boolean | 'strict' } }
  createTokenStreamParser(message: unknown, handler: unknown): NodeJS.EventEmitter
  sendPreLogin(): void
  performTlsNegotiation(prelogin: PreloginAnswer, signal: AbortSignal): Promise<void>
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

export interface PreloginAnswer {
  fedAuthRequired?: number
  readonly encryptionString: string
}

export interface LoginHandler {
  onLoginAck(token: LoginAck): void
  readonly loginAckReceived: boolean
  readonly loginError: Error | undefined
  readonly routingData: unknown
}

export interface LoginAck {
  readonly progVersion: { major: number; minor: number; buildNumHi: number; buildNumLow: number }
}

/** What we use of a column's metadata. */
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
  readonly colMetadata: readonly ColumnMetadata[]
  readonly buffer: Buffer
  position: number
  /** How many bytes behind `position` must be there before it goes on. */
  bytesNeeded: number
  write(chunk: Buffer): void
  read(): Token | undefined
  end(): void
  readToken(): Token | undefined
  startTokenReader(reader: { read(parser: StreamParser): Token }): Token
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

/** The classes and functions, as they are imported. */
export interface TediousParts {
  readonly Connection: unknown
  readonly RequestError: unknown
  readonly MessageIO: unknown
  readonly Login7TokenHandler: unknown
  readonly TokenParser: unknown
  readonly StreamParser: unknown
  readonly RowToken: unknown
  readonly PLPReader: unknown
  readonly NotEnoughDataError: unknown
  readonly readValue: unknown
  readonly isPLPStream: unknown
}

/** Methods that are overridden or called, by the class that has them. */
const METHODS: Readonly<Partial<Record<keyof TediousParts, readonly string[]>>> = {
  Connection: [
    'sendPreLogin',
    'performTlsNegotiation',
    'sendLogin7Packet',
    'performSentLogin7WithStandardLogin',
    'sendInitialSql',
    'getInitialSql',
    'makeRequest',
    'cleanupConnection',
    'createTokenStreamParser',
  ],
  MessageIO: ['sendMessage', 'readMessage', 'startTls'],
  Login7TokenHandler: ['onLoginAck'],
  TokenParser: ['run'],
  StreamParser: ['write', 'read', 'end', 'readToken', 'startTokenReader'],
  PLPReader: ['read'],
}

/** A sentence for each part that is not where it was. */
export function movedParts(parts: TediousParts): string[] {
  return Object.entries(parts).flatMap(([name, part]) => {
    if (typeof part !== 'function') return [`tedious has no ${name} any more`]
    return (METHODS[name as keyof TediousParts] ?? [])
      .filter((method) => typeof (part.prototype as Record<string, unknown>)[method] !== 'function')
      .map((method) => `tedious' ${name} has no method ${method} any more`)
  })
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
    }
  } catch (cause) {
    throw incompatible('its files lie elsewhere', cause)
  }
}

function incompatible(what: string, cause?: unknown): PoolsmithError {
  return new PoolsmithError(`The installed tedious is laid out differently: ${what}.`, {
    code: 'DRIVER_INCOMPATIBLE',
    phase: 'config',
    hint: 'npm install tedious@20.3.9',
    ...(cause === undefined ? {} : { cause }),
  })
}
