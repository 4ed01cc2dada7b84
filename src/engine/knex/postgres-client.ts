/**
 * knex's PostgreSQL dialect over a pool of ours.
 *
 * It differs from the stock dialect in these points, besides those of overPool. Statements of one connection wait in a
 * queue of ours. A stream also ends when its session does, which pg-query-stream does not notice. A commit that did not
 * happen rejects.
 */

import type { Readable, Transform } from 'node:stream'
import type { Knex } from 'knex'
import PostgresDialect from 'knex/lib/dialects/postgres/index.js'
import type pg from 'pg'
import { untilIdle } from '../../drivers/postgres/pg-client.ts'
import { loadPackage } from '../../optional-package.ts'
import type { ClientBackend } from './backend.ts'
import { closed, overPool } from './pooled-client.ts'
import { StatementQueue } from './statement-queue.ts'
import { isTransient, type KnexTransaction, keep, rolledBack, TransactionCauses, tellFirst } from './transaction.ts'

/** The status that knex gives a transaction which ends by ROLLBACK; 1 is COMMIT or RELEASE SAVEPOINT. */
const ROLLED_BACK = 2
/** SQLSTATE of every statement after the one that failed. */
const FAILED_TRANSACTION = '25P02'
/** In the message ReadyForQuery. */
const NO_TRANSACTION = 'I'

interface PostgresTransaction extends KnexTransaction {
  query(raw: object, sql: string, status?: number, value?: unknown): Promise<unknown>
}

interface Query {
  readonly sql: string
  readonly bindings?: unknown[]
  readonly options?: object
  response?: unknown
}

/** Builds the dialect class for one engine; knex makes transaction clients from its prototype, so state lives here. */
export function postgresClientClass(backend: ClientBackend): typeof Knex.Client {
  const causes = new TransactionCauses()

  const failed = (connection: pg.Client, error: Error): Error => {
    const failure = backend.parts.statementError(connection, error)
    if ((error as pg.DatabaseError).code === FAILED_TRANSACTION) {
      const cause = causes.of(connection)
      failure.cause ??= cause
      // The whole transaction may succeed later, as after the error that failed it.
      if (isTransient(cause)) Object.assign(failure, { transient: true })
    } else if (connection.getTransactionStatus() !== NO_TRANSACTION) causes.note(connection, failure)
    return failure
  }

  class PoolsmithPostgresClient extends PostgresDialect {
    /** Every statement of knex's transactions goes through their method `query`, which hides that it failed. */
    override transaction(...given: Parameters<Knex.Client['transaction']>): Knex.Transaction {
      const own = super.transaction(...given)
      const transaction = own as unknown as PostgresTransaction
      const { query: end } = transaction
      transaction.query = (raw, sql, status, value) => {
        if (status === undefined) {
          if (transaction.outerTx === null) causes.forget(raw)
          return transaction.trxClient.query(raw, sql)
        }
        if (status === ROLLED_BACK) {
          tellFirst(transaction, raw, backend.parts.driver, value)
          return end.call(transaction, raw, sql, status, value)
        }
        const commit = async (): Promise<void> => {
          const { response } = await transaction.trxClient.query(raw, sql)
          // The answer to COMMIT after an error in the transaction (PostgreSQL Documentation, "COMMIT").
          if (response?.command !== 'ROLLBACK') return
          throw rolledBack('The server answered COMMIT with ROLLBACK: a statement had failed before.', causes.of(raw))
        }
        return keep(transaction, { raw, value, driver: backend.parts.driver, commit })
      }
      return own
    }

    override _query(connection: pg.Client, query: Query): Promise<Query> {
      if (query.sql === '') throw new Error('The query is empty')
      const send = (): Promise<Query> =>
        new Promise((resolve, reject) => {
          const config = { text: query.sql, values: query.bindings ?? [], ...query.options }
          connection.query(config, (error: Error | null, response: pg.QueryResult) => {
            if (error) {
              reject(failed(connection, error))
              return
            }
            query.response = response
            resolve(query)
          })
        })
      return StatementQueue.of(connection).run(query, send)
    }

    override async _stream(connection: pg.Client, query: Query, stream: Transform, options: object): Promise<void> {
      if (query.sql === '') throw new Error('The query is empty')
      const { default: PgQueryStream } = await loadPackage(
        'pg-query-stream',
        () => import('pg-query-stream'),
        'Streaming a query',
      )
      if (stream.destroyed) return
      const queue = StatementQueue.of(connection)
      const left = closed(stream).then(() => queue.withdraw(query))
      const work = queue.run(query, async () => {
        // A failed statement is reported a moment before its session is ready again; until then pg would queue this one.
        await untilIdle(connection)
        if (stream.destroyed) return
        await pour(connection, new PgQueryStream(query.sql, query.bindings ?? [], options), stream)
      })
      try {
        // A reader that leaves does not wait for the statement to end: the pool or the next statement does.
        await Promise.race([work, left])
      } catch (error) {
        throw failed(connection, error as Error)
      }
    }
  }
  overPool(PoolsmithPostgresClient, backend)
  return PoolsmithPostgresClient
}

/**
 * Sends a query and writes its rows into a stream. Resolves when the connection can take the next statement.
 *
 * The client reports the end of its session. pg-query-stream would first wait for the server's answer to its Close
 * message, also where no answer can come.
 */
async function pour(connection: pg.Client, source: pg.Submittable & Readable, stream: Transform): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const lost = (): void => reject(new Error('Connection terminated unexpectedly'))
  const leave = (): void => {
    source.destroy()
    resolve()
  }
  connection.once('end', lost)
  source.on('error', reject)
  source.once('close', resolve)
  stream.once('close', leave)
  try {
    connection.query(source)
    source.pipe(stream)
    await promise
    await untilIdle(connection)
  } catch (error) {
    source.unpipe(stream)
    source.destroy()
    throw error
  } finally {
    connection.off('end', lost)
    stream.off('close', leave)
  }
}
