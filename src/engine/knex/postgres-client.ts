/**
 * knex's PostgreSQL dialect over a pool of ours: the one place that leans on knex's insides.
 *
 * Three things differ from the stock dialect. A connection is released exactly once (knex releases a stream's
 * connection both on the stream's close and when its promise settles, so that a pool can hand it to two users).
 * A cancel request travels over a connection of our driver's, with the same TLS. And `destroy` ends the pool.
 */

import type { Transform } from 'node:stream'
import type { Knex } from 'knex'
import { loadPackage } from '../../optional-package.ts'
import { type ClientBackend, overPool, releaseOnce } from './pooled-client.ts'

interface QueryStream {
  pipe(destination: Transform): unknown
  destroy(error?: Error): unknown
  on(event: 'error', listener: (error: Error) => void): unknown
  on(event: 'end' | 'close', listener: () => void): unknown
}

interface StreamingConnection {
  query(stream: unknown): QueryStream
}

/** Builds the dialect class for one engine; knex makes transaction clients from its prototype, so state lives here. */
export async function postgresClientClass(backend: ClientBackend): Promise<typeof Knex.Client> {
  const { default: PostgresDialect } = await import('knex/lib/dialects/postgres/index.js')
  class PoolsmithPostgresClient extends PostgresDialect {
    override async _stream(
      connection: StreamingConnection,
      query: { sql: string; bindings?: unknown[] },
      stream: Transform,
      options: object,
    ): Promise<void> {
      const { default: PgQueryStream } = await loadPackage(
        'pg-query-stream',
        () => import('pg-query-stream'),
        'Streaming a query',
      )
      // Left before a connection was there: nothing to read, nothing to wait for.
      if (stream.destroyed) return
      releaseOnce(stream)
      const source = connection.query(new PgQueryStream(query.sql, query.bindings ?? [], options))
      await new Promise<void>((resolve, reject) => {
        source.on('error', (error) => {
          reject(error)
          stream.destroy(error)
        })
        source.on('close', resolve)
        stream.once('close', () => {
          source.destroy()
          resolve()
        })
        source.pipe(stream)
      })
    }
  }
  overPool(PoolsmithPostgresClient, backend)
  return PoolsmithPostgresClient
}
