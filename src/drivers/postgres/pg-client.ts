/**
 * The one place that touches private parts of `pg` and `pg-protocol`: it hands an authenticated stream to a
 * `pg.Client`, and reads how busy a client is. {@link assertKnownShape} names every part that it relies on.
 */

import type { EventEmitter } from 'node:events'
import { Duplex } from 'node:stream'
import type pg from 'pg'
import { PoolsmithError } from '../../errors.ts'
import { loadPackage } from '../../optional-package.ts'
import { unobserved } from '../../tracing.ts'
import { inPlace } from '../network/read-in-place.ts'
import type { AnswerMessage, FieldConstructor } from './answers.ts'
import { commandEnded, readyOrEnded } from './client-statements.ts'
import type { ActiveQuery } from './collected-rows.ts'
import type { MessageStream } from './message-stream.ts'
import { NotPostgres } from './messages.ts'
import { damagedAnswer, sessionError } from './server-error.ts'

type Pg = typeof pg

/** `pg.Connection`, as lib/connection.js has it. */
interface PgConnection extends EventEmitter {
  stream: Duplex
  _connecting: boolean
  _ending: boolean
  _emitMessage: boolean
  parsedStatements: Record<string, string>
  attachListeners(stream: Listened): void
  query(text: string): void
  describe(message: object): void
  bind(config: { readonly binary?: unknown }): void
  execute(config: { readonly rows?: unknown }): void
}

/** `pg.Client`, as lib/client.js has it. */
interface PgClientParts {
  readonly connection: PgConnection
  readonly connectionParameters: object
  readonly readyForQuery?: boolean
  readonly _queryQueue: readonly unknown[]
  _getActiveQuery(): ActiveQuery | null | undefined
}

/** The part of a stream that pg-protocol uses. */
interface Listened {
  on(event: string, listener: (chunk: Buffer) => void): unknown
}

type ConnectionConstructor = new (config: { stream: Duplex; ssl: false }) => PgConnection

/** Our subclass of it, which knows the name of the server for error messages. */
type EstablishedConstructor = new (
  stream: Duplex,
  peer: string,
  watcher: Watcher,
) => PgConnection & {
  /** The client that it belongs to. */
  client: pg.Client | undefined
}

const parts = (client: pg.Client): PgClientParts => client as unknown as PgClientParts

let loaded: Promise<Pg> | undefined
let own: typeof import('./reading.ts').reading // Set before pg is handed out.

/**
 * Loads `pg`, once.
 * @throws PoolsmithError PACKAGE_MISSING, DRIVER_INCOMPATIBLE
 */
export function loadPg(): Promise<Pg> {
  loaded ??= loadPackage('pg', () => import('pg'), 'A PostgreSQL connection').then(async (module) => {
    assertKnownShape(module.default)
    own = (await import('./reading.ts')).reading
    return module.default
  })
  // A package that is installed later is found by the next attempt.
  loaded.catch(() => {
    loaded = undefined
  })
  return loaded
}

/** @throws PoolsmithError DRIVER_INCOMPATIBLE that names the part of `pg` that has moved */
export function assertKnownShape(module: Pg): void {
  const methods: Readonly<Record<string, readonly string[]>> = {
    Client: ['connect', 'end', 'query', 'getTransactionStatus', '_getActiveQuery'],
    Connection: ['connect', 'attachListeners', 'query', 'describe', 'bind', 'execute', 'end'],
  }
  for (const [name, wanted] of Object.entries(methods)) {
    const found: unknown = Reflect.get(module, name)
    if (typeof found !== 'function') throw moved(`pg.${name}`)
    for (const method of wanted) {
      if (typeof Reflect.get(found.prototype, method) !== 'function') throw moved(`pg.${name}.prototype.${method}`)
    }
  }
  const client = parts(new module.Client({ user: 'x', ssl: false, sslnegotiation: 'postgres' }))
  if (!Array.isArray(client._queryQueue)) throw moved('pg.Client#_queryQueue')
  if (typeof client.connectionParameters !== 'object') throw moved('pg.Client#connectionParameters')
  const { connection } = client
  for (const name of ['stream', 'parsedStatements', '_ending', '_emitMessage'] as const) {
    if (connection?.[name] === undefined) throw moved(`pg.Connection#${name}`)
  }
}

function moved(part: string): PoolsmithError {
  return new PoolsmithError(`The installed pg has no ${part}, which poolsmith needs to hand it a session.`, {
    code: 'DRIVER_INCOMPATIBLE',
    phase: 'config',
    hint: 'npm install pg@8.23.1',
  })
}

/** The parts from which a client is made. */
export interface Adoption {
  readonly stream: Duplex
  readonly user: string
  readonly database: string
  readonly host: string
  readonly port: number
  /** Bytes that pg's parser has not read yet. */
  readonly pending: Buffer
  /** Notified from the first message on, since the server may end the session in the packet of its login. */
  readonly watcher: Watcher
}

/**
 * Makes a `pg.Client` from a stream on which the login is complete.
 * @throws PoolsmithError CONNECTION_CLOSED when the stream has ended in the meantime
 */
export async function adoptSession(module: Pg, adoption: Adoption): Promise<pg.Client> {
  const { stream, user, database, host, port, pending, watcher } = adoption
  // A stream that has ended emits no event again, so that pg would wait for ever.
  if (stream.readableEnded || stream.destroyed) throw closedAfterLogin(host)
  const connection = readyOrEnded(new (establishedConnection(module))(stream, `${host}:${port}`, watcher))
  const config = {
    user,
    database,
    host,
    port,
    // Set here, so that no PG* variable of the environment decides them.
    ssl: false,
    sslnegotiation: 'postgres' as const,
    connection,
    types: own.guardedTypes(module.types, () =>
      damagedAnswer(new NotPostgres('a malformed value of bytea'), `${host}:${port}`),
    ),
  }
  const client = new module.Client(config)
  connection.client = client
  forgetPassword(client)
  watch(client, watcher)
  stream.unshift(pending)
  try {
    // The login is done: a span of it, which instrumentations of pg make, would be untrue.
    await unobserved(() => client.connect())
    return client
  } catch (cause) {
    stream.destroy()
    throw closedAfterLogin(host, cause)
  }
}

/** pg reads PGPASSWORD where it is given no password; the session of another login has no business with it. */
function forgetPassword(client: pg.Client): void {
  const { connectionParameters } = parts(client)
  for (const holder of [client, connectionParameters]) Reflect.set(holder, 'password', null)
}

function closedAfterLogin(host: string, cause?: unknown): PoolsmithError {
  return new PoolsmithError(`The server ${host} closed the connection right after the login.`, {
    code: 'CONNECTION_CLOSED',
    phase: 'login',
    transient: true,
    hint: "See the server's log. A server that is being stopped does this.",
    cause,
  })
}

const classes = new WeakMap<Pg, EstablishedConstructor>()

/** A `pg.Connection` over a stream on which the login is complete: it neither connects nor sends a start-up message. */
function establishedConnection(module: Pg): EstablishedConstructor {
  const known = classes.get(module)
  if (known !== undefined) return known
  const Base = module.Connection as unknown as ConnectionConstructor
  const { MessageRules, MessageStream, methodsOf, readRows } = own
  const Field = fieldClass(Base)
  const methods = methodsOf(module)
  class EstablishedConnection extends Base {
    readonly #rules = new MessageRules()
    readonly #peer: string
    readonly #watcher: Watcher
    client: pg.Client | undefined

    constructor(stream: Duplex, peer: string, watcher: Watcher) {
      super({ stream, ssl: false })
      this.#peer = peer
      this.#watcher = watcher
    }

    override query(text: string): void {
      this.#rules.textSent()
      super.query(text)
    }

    override describe(message: object): void {
      this.#rules.describeAsked()
      super.describe(message)
    }

    override bind(config: { readonly binary?: unknown }): void {
      this.#rules.bound(Boolean(config.binary))
      super.bind(config)
    }

    override execute(config: { readonly rows?: unknown }): void {
      if (config.rows) this.#rules.executedInPart()
      super.execute(config)
    }

    connect(): void {
      this._connecting = true
      this.stream.on('error', (error: NodeJS.ErrnoException) => {
        // While the session is being closed the server may close the connection first.
        if (!this._ending || (error.code !== 'ECONNRESET' && error.code !== 'EPIPE')) this.emit('error', error)
      })
      this.stream.on('close', () => this.emit('end'))
      this.attachListeners(this.stream)
    }

    override attachListeners(stream: Duplex & Listened): void {
      // An error that leaves the event handler of a socket would end the process.
      const guard =
        (listener: (chunk: Buffer) => void) =>
        (chunk: Buffer): void => {
          try {
            listener(chunk)
          } catch (error) {
            stream.destroy(sessionError(error, this.#peer))
          }
        }
      super.attachListeners({
        on: (event, listener) => {
          if (event !== 'data') return stream.on(event, listener)
          const messages: MessageStream = new MessageStream({
            rules: this.#rules,
            Field,
            onAnswer: (message) => this.#answer(message, messages),
            parse: listener,
          })
          return stream.on(event, inPlace(guard((chunk) => messages.take(chunk))))
        },
      })
    }

    /** Without a listener of ours to the event: Node copies the list of listeners where there are several. */
    #answer(message: AnswerMessage, messages: MessageStream): void {
      const { name } = message
      if (this._emitMessage) this.emit('message', message)
      if (name === 'readyForQuery') this.#watcher.onReady()
      else if (name === 'commandComplete' && this.client !== undefined) commandEnded(this.client, message.text)
      this.emit(name, message)
      // The listener of pg has given the query its parsers.
      if (name === 'rowDescription') {
        readRows(messages, { active: this.client && parts(this.client)._getActiveQuery(), session: this, methods })
      }
    }
  }
  classes.set(module, EstablishedConnection)
  return EstablishedConnection
}

/** pg's class of a described column: it is not exported, and its parser makes one. */
function fieldClass(Base: ConnectionConstructor): FieldConstructor {
  const connection = new Base({ stream: new Duplex(), ssl: false })
  const found: { readonly fields: readonly object[] }[] = []
  connection.on('rowDescription', (message) => found.push(message))
  const oneColumn = Buffer.from(`T\0\0\0\x19\0\x01${'\0'.repeat(19)}`, 'latin1')
  connection.attachListeners({ on: (event, listener) => event === 'data' && listener(oneColumn) })
  return found[0]?.fields[0]?.constructor as FieldConstructor
}

export interface Watcher {
  /** The server sent an error, whether a statement is running or not. */
  readonly onServerError: (error: Error & { code?: string; severity?: string }) => void
  /** A setting that the server reports has changed. */
  readonly onParameter: (name: string, value: string) => void
  /** A statement has ended. */
  readonly onReady: () => void
  /** The session has ended, with the reason where it is known. Listening also keeps the error of an idle session from ending the process. */
  readonly onEnd: (error?: Error) => void
}

function watch(client: pg.Client, watcher: Watcher): void {
  const { connection } = parts(client)
  connection.on('errorMessage', watcher.onServerError)
  connection.on('parameterStatus', ({ parameterName, parameterValue }) => {
    watcher.onParameter(parameterName, parameterValue)
  })
  client.on('error', watcher.onEnd)
  client.on('end', () => watcher.onEnd())
}

/** Whether a statement is running or queued on this client. */
export function isBusy(client: pg.Client): boolean {
  const { readyForQuery, _queryQueue } = parts(client)
  return readyForQuery !== true || _queryQueue.length > 0 || parts(client)._getActiveQuery() != null
}

/** Resolves when no statement is running or queued on this client, or when its session has ended. */
export function untilIdle(client: pg.Client): Promise<void> {
  if (!isBusy(client) || streamOf(client).destroyed) return Promise.resolve()
  return new Promise((resolve) => {
    const done = (): void => {
      client.off('drain', look)
      client.off('end', done)
      resolve()
    }
    const look = (): void => {
      if (!isBusy(client)) done()
    }
    client.on('drain', look)
    client.on('end', done)
  })
}

export function streamOf(client: pg.Client): Duplex {
  return parts(client).connection.stream
}

/** Whether a client has said goodbye, or its socket is closed. */
export function isEnding(client: pg.Client): boolean {
  const { connection } = parts(client)
  return connection._ending || connection.stream.destroyed
}

/** Clears pg's list of the named statements that the server knows; DISCARD ALL has removed them on the server. */
export function forgetStatements(client: pg.Client): void {
  parts(client).connection.parsedStatements = {}
}
