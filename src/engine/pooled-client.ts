/** What knex's dialect classes do with a pool of ours, whatever the database. */

import type { Transform } from 'node:stream'
import type { Knex } from 'knex'

/** What a client needs of the pool and the driver behind it. */
export interface ClientBackend<Raw extends object> {
  readonly pool: {
    acquire(): { readonly promise: Promise<Raw> }
    release(raw: Raw): boolean
    invalidate(raw: Raw): void
    destroy(): Promise<void>
  }
  readonly cancel: (raw: Raw) => Promise<void>
}

/** A mark that knex leaves on a connection whose statement it gave up on: it must not be used again. */
interface KnexMarks {
  __knex__disposed?: unknown
}

const RELEASED = Promise.resolve()

/**
 * Gives a dialect class the pool's own ways to acquire, release, cancel and end. Put on the prototype, since knex makes
 * the clients of transactions from it.
 */
export function overPool<Raw extends object>(client: typeof Knex.Client, { pool, cancel }: ClientBackend<Raw>): void {
  Object.assign(client.prototype, {
    acquireConnection: (): Promise<Raw> => pool.acquire().promise,

    releaseConnection(connection: Raw & KnexMarks): Promise<void> {
      if (connection.__knex__disposed !== undefined) pool.invalidate(connection)
      pool.release(connection)
      return RELEASED
    },

    cancelQuery: (connection?: Raw): Promise<void> => (connection === undefined ? RELEASED : cancel(connection)),

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

/**
 * Takes away the release that knex has bound to the end of a stream: it releases once more when the stream's promise
 * settles, so that a pool could hand the connection to two users.
 */
export function releaseOnce(stream: Transform): void {
  const [knexRelease] = stream.listeners('close')
  if (knexRelease !== undefined) stream.off('close', knexRelease as () => void)
}
