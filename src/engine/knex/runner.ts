/**
 * knex's runner over a pool of ours. It differs from the stock runner in four points.
 *
 * A stream ends with the error that ended it, returns its connection once, and leaves the queue of the pool when it is
 * destroyed while it waits. Stock knex swallows an error of the dialect once it has a connection, so that the stream never
 * ends, and releases the connection twice.
 *
 * A time limit ends its own statement only: a statement that waits in its transaction is taken back. Stock knex asks the
 * server to cancel the running statement of the connection, which is another one then.
 *
 * A statement with more bindings than the database takes is refused before it is sent.
 *
 * A statement, a stream and a transaction heed a signal (`withSignal`).
 */

import knex, { type Knex } from 'knex'
import type Runner from 'knex/lib/execution/runner.js'
import type { Compiled, StreamParameters } from 'knex/lib/execution/runner.js'
import { onAbort } from '../../abort.ts'
import { tooManyBindings } from '../../drivers/binding-limit.ts'
import type { PoolsmithError } from '../../errors.ts'
import type { DialectParts } from '../dialect.ts'
import { withStatement } from './acquire-timeout.ts'
import type { ClientBackend } from './backend.ts'
import type { CallSites } from './call-sites.ts'
import { withinLimit } from './time-limit.ts'
import { untilAborted } from './until-aborted.ts'
import { signalOf } from './with-signal.ts'

/**
 * knex's own, from a client of knex: OpenTelemetry's instrumentation of knex patches the file of the class when it is
 * required, and throws when it is imported.
 */
const StockRunner = knex.Client.prototype.runner({}).constructor as typeof Runner

const IN_PIECES =
  'Insert with batchInsert(table, rows, chunkSize), where chunkSize is the limit divided by the columns of a row.'

/** A client over a pool of ours, as a stream uses it. */
interface PooledClient extends Knex.Client {
  acquireConnection(options?: { readonly signal?: AbortSignal }): Promise<object>
  releaseConnection(connection: object): Promise<void>
  stream(connection: object, compiled: Compiled, stream: object, options: object): Promise<unknown>
}

export class PooledRunner extends StockRunner {
  readonly #backend: ClientBackend
  readonly #sites: CallSites | undefined

  constructor(client: Knex.Client, builder: object, backend: ClientBackend, sites: CallSites | undefined) {
    super(client, builder)
    this.#backend = backend
    this.#sites = sites
  }

  override query(compiled: Compiled): Promise<unknown> {
    const { parts } = this.#backend
    const refusal = refusalOf(compiled, parts)
    if (refusal !== undefined) return Promise.reject(refusal)
    // knex takes the name for the events before it passes the statement on.
    if (this.connection !== undefined) this.#backend.name(this.connection)
    const connection = this.connection as object
    const signal = signalOf(this.builder) ?? signalOf(connection)
    if (signal === undefined) return this.#send(compiled, connection)
    const run = (): Promise<unknown> => this.#send(compiled, connection)
    return untilAborted({ statement: compiled, connection, signal, pool: this.#backend.pool, run })
  }

  #send(compiled: Compiled, connection: object): Promise<unknown> {
    const { timeout: millis } = compiled
    if (!millis) return super.query(compiled)
    // Otherwise knex would apply the limit too.
    compiled.timeout = undefined
    return withinLimit({ compiled, millis, connection, run: () => super.query(compiled) }, this.#backend.parts)
  }

  override ensureConnection(callback: object, parameters?: StreamParameters): Promise<unknown> {
    const run = (): Promise<unknown> => (parameters === undefined ? this.#run(callback) : this.#stream(parameters))
    return this.#sites === undefined ? run() : this.#sites.asking(this.builder, run)
  }

  async #run(callback: object): Promise<unknown> {
    const signal = signalOf(this.builder)
    try {
      return await (signal === undefined ? super.ensureConnection(callback) : this.#runUnder(signal, callback))
    } catch (error) {
      throw this.#told(error)
    }
  }

  /** knex's own acquire takes no signal. */
  async #runUnder(signal: AbortSignal, callback: object): Promise<unknown> {
    if (this.builder._connection !== undefined) return super.ensureConnection(callback)
    const client = this.client as PooledClient
    const connection = await client.acquireConnection({ signal })
    this.connection = connection
    try {
      return await super.ensureConnection(callback)
    } finally {
      await client.releaseConnection(connection)
    }
  }

  /** The error of a statement that never got a connection names it. */
  #told(error: unknown): unknown {
    return this.connection === undefined ? withStatement(error, () => this.builder.toSQL()) : error
  }

  async #stream({ stream, options }: StreamParameters): Promise<void> {
    const client = this.client as PooledClient
    const leaving = new AbortController()
    stream.once('close', () => leaving.abort())
    const { pool } = this.#backend
    const signal = signalOf(this.builder)
    using _ = onAbort(signal, () => stream.destroy(pool.abortedStatement(signal as AbortSignal)))
    try {
      const compiled = this.builder.toSQL()
      if (Array.isArray(compiled)) throw new Error('A stream takes a single statement.')
      const refusal = refusalOf(compiled, this.#backend.parts)
      if (refusal !== undefined) throw refusal
      const { _connection: own } = this.builder
      const connection = own ?? (await client.acquireConnection({ signal: leaving.signal }))
      try {
        if (!stream.destroyed) await client.stream(connection, compiled, stream, options)
      } finally {
        // Not `this.connection`, which knex's own listener to the end of the stream would release once more.
        if (own === undefined) await client.releaseConnection(connection)
      }
    } catch (error) {
      // No effect on a stream that its reader has left.
      stream.destroy(this.#told(error) as Error)
    }
  }
}

/** The error of a statement with too many bindings, before it has a connection. */
function refusalOf({ bindings = [] }: Compiled, { bindingLimit }: DialectParts): PoolsmithError | undefined {
  return tooManyBindings(bindings.length, { ...bindingLimit, hint: IN_PIECES })
}
