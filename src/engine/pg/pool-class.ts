/** A class that extends `pg.Pool` and leases every client from a pool of ours. */

import type { EventEmitter } from 'node:events'
import type pg from 'pg'
import { within } from '../../abort.ts'
import { isError } from '../../any-error.ts'
import type { Connection } from '../../connections/connection.ts'
import { keepPgListeners } from '../../drivers/postgres/client-statements.ts'
import { streamOf, untilIdle } from '../../drivers/postgres/pg-client.ts'
import { isAuditFailure } from '../../drivers/statement-error.ts'
import { PoolsmithError } from '../../errors.ts'
import { callSite } from '../../pool/call-site.ts'
import type { ConnectionPool } from '../../pool/pool.ts'
import { heedSignals, signalOf } from './signals.ts'

/** A `pg.Pool` over a pool of ours. `end()` and `await using` end both. */
export interface PgPool extends pg.Pool, AsyncDisposable {
  query: AbortableQuery & pg.Pool['query']
  connect: (() => Promise<PgPoolClient>) & pg.Pool['connect']
  /** The pool behind it: `stats()`, `on()`, `invalidate()`, `suspend()`, `resume()`. */
  readonly poolsmith: ConnectionPool<pg.Client>
  /** The connection record that the pool was made from. */
  readonly connection: Connection
  /** The name of the strategy in use. */
  readonly strategy: string
}

/** A client of the pool: pg's own. */
export interface PgPoolClient extends pg.PoolClient {
  query: AbortableQuery & pg.PoolClient['query']
}

/** A query whose signal asks the server to end its statement, and no other one. */
export type AbortableQuery = <R extends pg.QueryResultRow = Record<string, unknown>>(
  config: pg.QueryConfig & { readonly signal: AbortSignal },
  values?: readonly unknown[],
) => Promise<pg.QueryResult<R>>

export interface PgPoolParts {
  readonly pool: ConnectionPool<pg.Client>
  readonly connection: Connection
  readonly strategy: string
}

/** The part of pg's class that stays: the methods and counters are all our own. */
type BareConstructor = new (
  options: pg.PoolConfig,
) => EventEmitter & { ending: boolean; ended: boolean; Client: unknown }

type Release = (error?: unknown) => void
type ConnectCallback = (error: Error | undefined, client: pg.PoolClient | undefined, release: Release) => void
type QueryCallback = (error: Error | undefined, result?: pg.QueryResult) => void

/** pg-pool's own words, which programs compare with. */
const ENDED = 'Cannot use a pool after calling end on the pool'
const ENDED_TWICE = 'Called end on pool more than once'
const RELEASED_TWICE = 'Release called on client which has already been released to the pool.'
const LOST = 'Connection terminated unexpectedly'
const FUNCTION_FIRST = 'Passing a function as the first parameter to pool.query is not supported'

const NOTHING = (): void => undefined

const classes = new WeakMap<typeof pg.Pool, new (parts: PgPoolParts) => PgPool>()

/** One class for each copy of pg. Its name contains `Pool`, by which some data layers tell a pool from a client. */
export function poolClass(Base: typeof pg.Pool): new (parts: PgPoolParts) => PgPool {
  const known = classes.get(Base)
  if (known !== undefined) return known

  class PoolsmithPgPool extends (Base as unknown as BareConstructor) {
    readonly poolsmith: ConnectionPool<pg.Client>
    readonly connection: Connection
    readonly strategy: string
    /** Clients whose session has been announced by `connect`. */
    readonly #announced = new WeakSet<pg.Client>()
    /** Clients that are in use. */
    readonly #leased = new WeakSet<pg.Client>()
    /** Callers that wait for a client. */
    #waiting = 0
    #onServed: (() => void) | undefined

    constructor({ pool, connection, strategy }: PgPoolParts) {
      super({ ...publicOptions(connection), max: pool.stats().max })
      // Kysely would log in with it and these options, past every strategy, to cancel a statement.
      this.Client = undefined
      this.poolsmith = pool
      this.connection = connection
      this.strategy = strategy
    }

    get totalCount(): number {
      return this.poolsmith.numUsed() + this.poolsmith.numFree()
    }

    get idleCount(): number {
      return this.poolsmith.numFree()
    }

    get waitingCount(): number {
      return this.poolsmith.numPendingAcquires()
    }

    /** Sessions that are too old are closed, not counted. */
    get expiredCount(): number {
      return 0
    }

    connect(): Promise<pg.PoolClient>
    connect(callback: ConnectCallback): void
    connect(callback?: ConnectCallback): Promise<pg.PoolClient> | undefined {
      const lease = this.#lease(undefined, this.#site(connect))
      if (typeof callback !== 'function') return lease
      lease.then(
        // Out of the promise: what a callback throws is the process's business, as it is with pg.
        (client) => process.nextTick(callback, undefined, client, client.release),
        (error) => process.nextTick(callback, error, undefined, NOTHING),
      )
      return undefined
    }

    /** Without a function that is `async`: each would take a turn of its own. */
    #lease(signal: AbortSignal | undefined, site: Error | undefined): Promise<pg.PoolClient> {
      if (this.ending) return Promise.reject(new Error(ENDED))
      const { promise } = this.poolsmith.acquire(signal || site ? { signal, site } : undefined)
      this.#waiting++
      return promise.then(
        (client) => {
          this.#served()
          return this.#lend(client as pg.PoolClient)
        },
        (error: unknown) => {
          this.#served()
          throw inPgsWords(error)
        },
      )
    }

    /** Of the program: the stack begins below this method. */
    #site(method: (...given: never[]) => unknown): Error | undefined {
      return this.poolsmith.detectsLeaks ? callSite(method) : undefined
    }

    #served(): void {
      this.#waiting--
      if (this.#waiting === 0) this.#onServed?.()
    }

    #lend(client: pg.PoolClient): pg.PoolClient {
      this.#leased.add(client)
      let released = false
      client.release = (error) => {
        if (released) throw new Error(RELEASED_TWICE)
        released = true
        this.#release(client, error)
      }
      try {
        if (!this.#announced.has(client)) this.#announce(client)
        this.emit('acquire', client)
      } catch (error) {
        // The caller gets the error of the listener, and no client that it could release.
        client.release(error as Error)
        throw error
      }
      return client
    }

    /** Listeners to `connect` send their statements now, so these run before those of the client's user. */
    #announce(client: pg.PoolClient): void {
      this.#announced.add(client)
      let isTold = false
      client.on('error', (error: Error) => {
        if (isTold || this.#leased.has(client) || this.listenerCount('error') === 0) return
        // The end of the socket that follows the server's last words is no other error.
        isTold = true
        this.emit('error', Object.assign(error, { client }), client)
      })
      client.once('end', () => this.emit('remove', client))
      heedSignals(client, this.poolsmith)
      this.emit('connect', client)
      // Listeners that `connect` handlers have added to the client stay on it.
      keepPgListeners(client)
    }

    #release(client: pg.PoolClient, error: unknown): void {
      this.#leased.delete(client)
      try {
        this.emit('release', error as Error, client)
      } finally {
        if (error) this.poolsmith.invalidate(client)
        this.poolsmith.release(client)
      }
    }

    query(text: unknown, second?: unknown, third?: unknown): Promise<pg.QueryResult> | undefined {
      const isFirst = typeof text === 'function'
      const values = typeof second === 'function' ? undefined : second
      const result = isFirst
        ? Promise.reject(new Error(FUNCTION_FIRST))
        : this.#query(text as string, values, this.#site(query))
      const callback = [second, third, text].find((one) => typeof one === 'function') as QueryCallback | undefined
      if (callback === undefined) return result
      result.then(
        (value) => process.nextTick(callback, undefined, value),
        (error) => process.nextTick(callback, error),
      )
      return undefined
    }

    /** Without a function that is `async`, as {@link #lease}. */
    #query(text: string, values: unknown, site: Error | undefined): Promise<pg.QueryResult> {
      return new Promise((resolve, reject) => {
        this.#lease(signalOf(text), site).then((client) => {
          const { release } = client
          // Some Submittables answer twice.
          let isAnswered = false
          const answer = (error: unknown, result?: pg.QueryResult): void => {
            if (isAnswered) return
            isAnswered = true
            if (error) reject(error)
            else resolve(result as pg.QueryResult)
            release()
          }
          try {
            client.query(text, values as unknown[], (error, result) => {
              // The session is busy until the message after the error, which mostly has come with it.
              if (error) queueMicrotask(() => answer(error))
              else answer(undefined, result)
            })
            // Cursors and copy streams call nothing back.
            if (isSubmittable(text))
              untilIdle(client).then(() => answer(streamOf(client).destroyed ? new Error(LOST) : undefined))
          } catch (error) {
            answer(error)
          }
        }, reject)
      })
    }

    end(): Promise<void>
    end(callback: () => void): void
    end(callback?: (error?: Error) => void): Promise<void> | undefined {
      const ended = this.#end()
      if (typeof callback !== 'function') return ended
      ended.then(
        () => process.nextTick(callback),
        (error) => process.nextTick(callback, error),
      )
      return undefined
    }

    async #end(): Promise<void> {
      if (this.ending) throw new Error(ENDED_TWICE)
      this.ending = true
      // pg serves the callers that were there before.
      const served = new Promise<void>((resolve) => {
        this.#onServed = resolve
      })
      if (this.#waiting > 0) await within(served, this.poolsmith.drainMillis).catch(() => undefined)
      await this.poolsmith.destroy()
      this.ended = true
    }

    async [Symbol.asyncDispose](): Promise<void> {
      if (this.ending) await this.poolsmith.destroy()
      else await this.#end()
    }
  }

  const { connect, query } = PoolsmithPgPool.prototype
  const made = PoolsmithPgPool as unknown as new (parts: PgPoolParts) => PgPool
  classes.set(Base, made)
  return made
}

/**
 * The failure to open a session with the `code` that pg gives it, a SQLSTATE or a system error, by which data layers
 * decide what to do; the PoolsmithError with its hint is its cause. An error that pg does not have stays as it is.
 */
function inPgsWords(error: unknown): unknown {
  // The system's code below it is the log's.
  if (!(error instanceof PoolsmithError) || isAuditFailure(error)) return error
  const code = error.details.sqlstate ?? systemCode(error.cause)
  return code === undefined ? error : Object.assign(new Error(error.message, { cause: error }), { code })
}

function systemCode(error: unknown): string | undefined {
  for (let one = error; isError(one); one = one.cause) {
    if ('code' in one && typeof one.code === 'string' && /^E[A-Z]+$/.test(one.code)) return one.code
  }
  return undefined
}

function isSubmittable(text: unknown): boolean {
  return typeof (text as Partial<pg.Submittable> | undefined)?.submit === 'function'
}

/** The options of a pool that a data layer may read. No secret is among them. */
function publicOptions({ host, port, database, login }: Connection): pg.PoolConfig {
  return { host, port, database, user: login }
}
