/**
 * knex's SQL Server dialect over a pool of ours, without its traps.
 *
 * What differs from the stock dialect: an identifier's brackets are escaped, not deleted. A statement runs on the
 * connection that it was given (stock knex keeps one queue for all connections of the process), and a transaction ends
 * whatever still runs in it. A stream heeds its reader's pace, and one that is left early cancels its statement before
 * the connection goes back. A connection is released exactly once. Values can be had with every digit, and bound with
 * every digit.
 */

import type { Transform } from 'node:stream'
import type { Knex } from 'knex'
import MssqlDialect from 'knex/lib/dialects/mssql/index.js'
import type { Request } from 'tedious'
import { pause } from '../../abort.ts'
import { setRowMode } from '../../drivers/sqlserver/row-reader.ts'
import type { SqlServerConnection } from '../../drivers/sqlserver/tedious-connection.ts'
import type { ColumnMetadata } from '../../drivers/sqlserver/tedious-internals.ts'
import { loadPackage } from '../../optional-package.ts'
import { type ClientBackend, closed, overPool } from './pooled-client.ts'
import { StatementQueue } from './statement-queue.ts'

interface Query {
  sql: string
  bindings?: unknown[]
  options?: { readonly exactValues?: boolean }
  response?: unknown
}

/**
 * Rows that may wait for the reader. The reader's own mark (16 objects) would stop and start the parser every few
 * rows; rows can be large, so that this stays small all the same.
 */
const ROWS_AHEAD = 64

/** As for other databases in knex: how long what a savepoint is taken back behind may run on. */
const ROLLBACK_WAIT_MILLIS = 5000

/** Builds the dialect class for one engine; knex makes transaction clients from its prototype, so state lives here. */
export async function sqlServerClientClass(backend: ClientBackend): Promise<typeof Knex.Client> {
  const { Request: TediousRequest, TYPES } = await loadPackage('tedious', () => import('tedious'), 'SQL Server')
  /**
   * Under `exact_values` decimals, money, dates and times arrive as text with every digit, and a `Date` is bound as
   * `datetime2`. A single query decides otherwise by `.options({ exactValues: true })`.
   */
  const { exactValues } = backend.parts
  const exactFor = (query: Query): boolean => query.options?.exactValues ?? exactValues

  const endRunning = (connection: SqlServerConnection) => (): Promise<void> => backend.parts.cancel(connection)

  class PoolsmithMssqlClient extends MssqlDialect {
    /**
     * Stock knex asks nobody. With a statement still running its commit and rollback fail, and hide why; and one that is
     * said twice ends the transaction of whoever has got the connection meanwhile.
     */
    override transaction(...given: Parameters<Knex.Client['transaction']>): Knex.Transaction {
      const own = super.transaction(...given)
      const transaction = own as unknown as MssqlTransaction
      const { savepoint, commit, rollback } = transaction
      Object.assign(own, {
        savepoint: (raw: SqlServerConnection) =>
          StatementQueue.of(raw).run(own, () => savepoint.call(transaction, raw)),
        async commit(raw: SqlServerConnection, value: unknown): Promise<void> {
          // By now the connection may be somebody else's, and a transaction that is open on it.
          if (transaction._completed) return
          await StatementQueue.of(raw).run(own, () => commit.call(transaction, raw, value))
        },
        async rollback(raw: SqlServerConnection, error: unknown): Promise<void> {
          if (transaction._completed) return
          transaction._completed = true
          const { outerTx } = transaction
          if (outerTx?.isCompleted()) return transaction._rejecter(error)
          const queue = StatementQueue.of(raw)
          // A statement that runs beside a savepoint may be the outer transaction's, which goes on.
          if (outerTx === null) await queue.clear(endRunning(raw))
          else await Promise.race([queue.untilIdle(), pause(ROLLBACK_WAIT_MILLIS, { background: true })])
          const back = (): Promise<void> => rollback.call(transaction, raw, error)
          await (queue.idle ? queue.run(own, back) : back())
        },
      })
      return own
    }

    override wrapIdentifierImpl(value: string): string {
      return value === '*' ? '*' : `[${value.replaceAll(']', ']]')}]`
    }

    /** A NULL that is bound has a type, and a varbinary column takes none of text. In raw SQL the caller can say a cast. */
    override parameter(value: unknown, builder: { readonly isRawInstance?: boolean }, holder: object): string {
      return value === null && builder.isRawInstance !== true ? 'NULL' : super.parameter(value, builder, holder)
    }

    override _typeForBinding(binding: unknown): [value: unknown, type: unknown] {
      if (typeof binding === 'bigint') return [binding, TYPES.BigInt]
      // No bigint is so large: only a float can be meant, which stock knex refuses.
      if (typeof binding === 'number' && Math.abs(binding) >= 2 ** 63) return [binding, TYPES.Float]
      if (binding instanceof Uint8Array)
        return [Buffer.from(binding.buffer, binding.byteOffset, binding.length), TYPES.VarBinary]
      if (binding instanceof Date && exactValues) return [binding, TYPES.DateTime2]
      return super._typeForBinding(binding)
    }

    override _setReqInput(request: Request, index: number, binding: unknown): void {
      const [value, type] = this._typeForBinding(binding)
      const options = Buffer.isBuffer(value) ? { length: 'max' as never } : undefined
      request.addParameter(`p${index}`, type as never, value, options)
    }

    override _query(connection: SqlServerConnection, query: Query): Promise<Query> {
      if (query.sql === undefined || query.sql === '') throw new Error('The query is empty')
      return StatementQueue.of(connection).run(
        query,
        () =>
          new Promise((resolve, reject) => {
            const rows: unknown[] = []
            const request = new TediousRequest(query.sql, (error) => {
              if (error) {
                reject(firstError(error))
                return
              }
              query.response = rows
              resolve(query)
            })
            if (exactFor(query) !== exactValues) setRowMode(request, { exact: exactFor(query), bare: false })
            request.on('row', (row: unknown) => rows.push(row))
            this._assignBindings(request, query.bindings)
            connection.execSql(request)
          }),
      )
    }

    override async _stream(connection: SqlServerConnection, query: Query, stream: Transform): Promise<void> {
      const queue = StatementQueue.of(connection)
      const left = closed(stream).then(() => queue.withdraw(query))
      const work = queue.run(query, async () => {
        if (stream.destroyed) return
        const { promise, resolve, reject } = Promise.withResolvers<void>()
        const request = new TediousRequest(query.sql, (error) => {
          stream.off('close', leave)
          if (stream.destroyed) resolve()
          else if (error) reject(firstError(error))
          else {
            stream.end()
            resolve()
          }
        })
        // Cancelling also wakes a request that waits for its reader. Its end comes through the callback.
        const leave = (): void => request.cancel()
        setRowMode(request, { exact: exactFor(query), bare: true })
        pour(request as RowSource, stream)
        this._assignBindings(request, query.bindings)
        stream.once('close', leave)
        connection.execSql(request)
        await promise
      })
      // A reader that leaves while another statement runs does not wait for that one to end.
      await Promise.race([work, left.then((withdrawn) => (withdrawn ? undefined : work))])
    }
  }
  overPool(PoolsmithMssqlClient, backend)
  // knex asks the prototype whether a query can be cancelled when its timeout strikes.
  PoolsmithMssqlClient.prototype.canCancelQuery = true
  return PoolsmithMssqlClient
}

/** The parts of a transaction of knex's that its types do not tell. */
interface MssqlTransaction {
  /** The transaction that this one is a savepoint of. */
  readonly outerTx: { isCompleted(): boolean } | null
  _completed: boolean
  _rejecter(error: unknown): void
  savepoint(raw: object): Promise<void>
  commit(raw: object, value: unknown): Promise<void>
  rollback(raw: object, error: unknown): Promise<void>
}

/** A request in row mode `bare`, which tedious' types do not know. */
interface RowSource {
  on(event: 'columnMetadata', listener: (columns: readonly ColumnMetadata[]) => void): unknown
  on(event: 'row', listener: (values: readonly unknown[]) => void): unknown
  pause(): void
  resume(): void
}

/** Writes a request's rows into a stream as objects, no faster than they are read. */
function pour(request: RowSource, stream: Transform): void {
  let names: readonly string[] = []
  request.on('columnMetadata', (columns: readonly ColumnMetadata[]) => {
    names = columns.map((column) => column.colName)
  })
  const resume = (): void => request.resume()
  request.on('row', (values: readonly unknown[]) => {
    if (stream.destroyed) return
    const row: Record<string, unknown> = {}
    for (let index = 0; index < names.length; index++) row[names[index] as string] = values[index]
    if (stream.write(row) || stream.writableLength < ROWS_AHEAD) return
    request.pause()
    stream.once('drain', resume)
  })
}

/** Several errors of one statement come as an AggregateError without words; the first says what began it. */
function firstError(error: Error): Error {
  if (!(error instanceof AggregateError)) return error
  const [first] = error.errors
  return first instanceof Error ? Object.assign(first, { errors: error.errors }) : error
}
