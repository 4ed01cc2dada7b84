/** How knex's dialect classes use a pool of ours, for both databases. */

import type { Transform } from 'node:stream'
import type { Knex } from 'knex'
import type { ConnectionPool } from '../../pool/pool.ts'
import type { DialectParts } from '../dialect.ts'
import { CallSites } from './call-sites.ts'
import { PooledRunner } from './runner.ts'
import { StatementQueue } from './statement-queue.ts'
import type { KnexMarks } from './time-limit.ts'

/** The pool and the driver's parts that a client works with. */
export interface ClientBackend {
  readonly pool: ConnectionPool<object>
  readonly parts: DialectParts
}

const RELEASED = Promise.resolve()

/**
 * Lets a dialect class acquire, release, cancel and end by the pool. On the prototype, because knex makes the clients of
 * transactions from it.
 */
export function overPool(client: typeof Knex.Client, { pool, parts }: ClientBackend): void {
  const sites = pool.detectsLeaks ? new CallSites(client) : undefined
  Object.assign(client.prototype, {
    acquireConnection: (options?: { readonly signal?: AbortSignal }): Promise<object> =>
      pool.acquire(sites === undefined ? options : { ...options, site: sites.current }).promise,

    runner(this: Knex.Client, builder: object): PooledRunner {
      return new PooledRunner(this, builder, parts, sites)
    },

    releaseConnection(connection: KnexMarks): Promise<void> {
      if (connection.__knex__disposed !== undefined) pool.invalidate(connection)
      StatementQueue.leave(connection)
      pool.release(connection)
      return RELEASED
    },

    cancelQuery: (connection?: object): Promise<void> =>
      connection === undefined ? RELEASED : parts.cancel(connection),

    // For queries to the catalogue. Stock knex reads its connection settings, which are empty here.
    database: (): string | undefined => parts.database(),

    async destroy(callback?: (error?: unknown) => void): Promise<void> {
      try {
        await pool.destroy()
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
