/** How knex's dialect classes use a pool of ours, for both databases. */

import type { Transform } from 'node:stream'
import type { Knex } from 'knex'
import { ConfigError } from '../../errors.ts'
import type { AcquireOptions } from '../../pool/pool.ts'
import { rejectAsKnex } from './acquire-timeout.ts'
import type { ClientBackend } from './backend.ts'
import { CallSites } from './call-sites.ts'
import { OpeningPool } from './opening-pool.ts'
import { PooledRunner } from './runner.ts'
import { StatementQueue } from './statement-queue.ts'
import type { KnexMarks } from './time-limit.ts'
import { forgetSignal, HEEDS_SIGNALS } from './with-signal.ts'

const RELEASED = Promise.resolve()

/** The parts of knex's Client that its types leave out. */
interface PoolOwner {
  pool: object | undefined
  initializePool(config?: Knex.Config): void
}

interface Statements {
  query(connection: object, ...given: unknown[]): unknown
  stream(connection: object, ...given: unknown[]): unknown
}

/**
 * Lets a dialect class acquire, release, cancel and end by the pool. On the prototype, because knex makes the clients of
 * transactions from it.
 */
export function overPool(client: typeof Knex.Client, backend: ClientBackend): void {
  const sites = backend.pool.detectsLeaks ? new CallSites(client) : undefined
  const { initializePool } = client.prototype as unknown as PoolOwner

  const acquire = (options?: AcquireOptions): Promise<object> => {
    const { pool } = backend
    const before = pool.numPendingAcquires()
    const { promise } = pool.acquire(options)
    // Only a caller that waits can run into a time limit; the others need no further promise.
    return pool.numPendingAcquires() > before ? promise.catch(rejectAsKnex) : promise
  }
  const { query, stream } = client.prototype as unknown as Statements

  Object.assign(client.prototype, {
    [HEEDS_SIGNALS]: true,

    query(this: Statements, connection: KnexMarks, ...given: unknown[]): unknown {
      backend.name(connection)
      return query.call(this, connection, ...given)
    },

    stream(this: Statements, connection: KnexMarks, ...given: unknown[]): unknown {
      backend.name(connection)
      return stream.call(this, connection, ...given)
    },

    acquireConnection(options?: { readonly signal?: AbortSignal }): Promise<object> {
      const asked = sites === undefined ? options : { ...options, site: sites.current }
      const { reopening } = backend
      return reopening === undefined ? acquire(asked) : reopening.then(() => acquire(asked))
    },

    runner(this: Knex.Client, builder: object): PooledRunner {
      return new PooledRunner(this, builder, backend, sites)
    },

    releaseConnection(connection: KnexMarks): Promise<void> {
      const { pool } = backend
      if (connection.__knex__disposed !== undefined) pool.invalidate(connection)
      StatementQueue.leave(connection)
      forgetSignal(connection)
      pool.release(connection)
      return RELEASED
    },

    cancelQuery: (connection?: object): Promise<void> =>
      connection === undefined ? RELEASED : backend.parts.cancel(connection),

    // For queries to the catalogue. Stock knex reads its connection settings, which are empty here.
    database: (): string | undefined => backend.parts.database(),

    /** After `destroy()`, as in knex: `initialize()` makes another pool. */
    initializePool(this: PoolOwner, config?: Knex.Config): void {
      if (!backend.pool.stats().closed) {
        initializePool.call(this, config)
        return
      }
      if (config !== undefined) {
        const message = 'initialize() takes no configuration; build another engine'
        throw new ConfigError([{ path: '', message }], { subject: 'The argument' })
      }
      this.pool = new OpeningPool()
      backend.reopen(() => {
        this.pool = backend.pool
      })
    },

    async destroy(this: PoolOwner, callback?: (error?: unknown) => void): Promise<void> {
      if (this.pool instanceof OpeningPool) this.pool.destroyed = true
      try {
        if (this.pool !== undefined || backend.reopening !== undefined) await backend.destroy()
        this.pool = undefined
      } catch (error) {
        if (callback === undefined) throw error
        callback(error)
        return
      }
      callback?.()
    },
  })
}

/** Resolves when a stream is closed, whatever ended it. */
export function closed(stream: Transform): Promise<void> {
  return new Promise((resolve) => stream.once('close', () => resolve()))
}
