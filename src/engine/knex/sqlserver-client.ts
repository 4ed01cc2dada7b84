/**
 * knex's SQL Server dialect over a pool of ours.
 *
 * It differs from the stock dialect in these points. Brackets in an identifier are escaped, not deleted. A statement runs
 * on its own connection; stock knex keeps one queue for all connections of the process. The end of a transaction ends
 * the statements that still run in it. A stream is sent no faster than it is read, and one that is left early cancels
 * its statement before the connection is returned. Values can be read and bound with every digit.
 */

import type { Transform } from 'node:stream'
import { types } from 'node:util'
import type { Knex } from 'knex'
import MssqlDialect from 'knex/lib/dialects/mssql/index.js'
import type { Request } from 'tedious'
import { pause } from '../../abort.ts'
import { isAscii } from '../../drivers/sqlserver/bound-value.ts'
import { type ColumnMetadata, type SqlServerConnection, setRowMode } from '../../drivers/sqlserver/statement.ts'
import { firstError } from '../../drivers/sqlserver/statement-error.ts'
import { collected } from '../../drivers/sqlserver/watch-request.ts'
import { loadPackage } from '../../optional-package.ts'
import type { ClientBackend } from './backend.ts'
import { closed, overPool } from './pooled-client.ts'
import { StatementQueue } from './statement-queue.ts'
import {
  committedByStatement,
  type KnexTransaction,
  keep,
  rolledBack,
  TransactionCauses,
  tellFirst,
} from './transaction.ts'
import { TypedValue } from './typed-value.ts'

interface Query {
  sql: string
  bindings?: unknown[]
  options?: { readonly exactValues?: boolean }
  response?: unknown
}

/**
 * Rows that may wait for the reader. The stream's own mark (16 objects) would pause and resume the parser every few rows;
 * the number stays small because rows can be large.
 */
const ROWS_AHEAD = 64

/** As for other databases in knex: how long a rollback to a savepoint waits for statements that run. */
const ROLLBACK_WAIT_MILLIS = 5000

/** Builds the dialect class for one engine; knex makes transaction clients from its prototype, so state lives here. */
export async function sqlServerClientClass(backend: ClientBackend): Promise<typeof Knex.Client> {
  const { Request: TediousRequest, TYPES } = await loadPackage('tedious', () => import('tedious'), 'SQL Server')
  /**
   * Under `exact_values` decimals, money, dates and times arrive as text with every digit, and a `Date` is bound as
   * `datetime2`. A single query decides otherwise by `.options({ exactValues: true })`.
   */
  const { exactValues, unicodeStrings } = backend.parts
  const exactFor = (query: Query): boolean => query.options?.exactValues ?? exactValues

  const causes = new TransactionCauses()
  const failed = (connection: SqlServerConnection, error: Error): Error => {
    const failure = backend.parts.statementError(connection, firstError(error))
    // The server reports the end of a transaction together with the error.
    if (!connection.inTransaction) causes.note(connection, failure)
    return failure
  }
  /** After the server has ended a transaction, it would run and keep each further statement on its own. */
  const assertOpen = (connection: SqlServerConnection): void => {
    if (connection.inTransaction) return
    if (backend.parts.driver.isBroken(connection)) throw failed(connection, new Error('The connection is closed.'))
    if (!connection.rolledBack) throw committedByStatement()
    throw rolledBack(
      'The server has rolled the transaction back: a statement had failed before.',
      causes.of(connection),
    )
  }
  const told = <T>(connection: SqlServerConnection, work: Promise<T>): Promise<T> =>
    work.catch((error: Error) => Promise.reject(failed(connection, error)))
  const endRunning = (connection: SqlServerConnection) => (): Promise<void> => backend.parts.cancel(connection)

  class PoolsmithMssqlClient extends MssqlDialect {
    /**
     * Stock knex sends the end of a transaction while a statement still runs, which fails and hides the cause. Sent
     * twice, it ends the transaction of the next user of the connection.
     */
    override transaction(...given: Parameters<Knex.Client['transaction']>): Knex.Transaction {
      const own = super.transaction(...given)
      const transaction = own as unknown as MssqlTransaction
      const { begin, savepoint, rollback } = transaction
      Object.assign(own, {
        begin(raw: SqlServerConnection): Promise<void> {
          causes.forget(raw)
          return told(raw, begin.call(transaction, raw))
        },
        savepoint: (raw: SqlServerConnection) =>
          StatementQueue.of(raw).run(own, () => told(raw, savepoint.call(transaction, raw))),
        commit: (raw: SqlServerConnection, value: unknown): Promise<void> =>
          keep(transaction, {
            raw,
            value,
            driver: backend.parts.driver,
            commit: () =>
              StatementQueue.of(raw).run(own, async () => {
                assertOpen(raw)
                await told(raw, commitTransaction(raw))
              }),
          }),
        // SQL Server has no request that keeps a savepoint.
        release: (raw: SqlServerConnection, value: unknown): Promise<void> =>
          keep(transaction, { raw, value, driver: backend.parts.driver, commit: async () => assertOpen(raw) }),
        async rollback(raw: SqlServerConnection, error: unknown): Promise<void> {
          if (transaction._completed) return
          transaction._completed = true
          const { outerTx } = transaction
          if (outerTx?.isCompleted()) return transaction._rejecter(error)
          const queue = StatementQueue.of(raw)
          // A statement that runs beside a savepoint may be the outer transaction's, which goes on.
          if (outerTx === null) await queue.clear(endRunning(raw))
          else await Promise.race([queue.untilIdle(), pause(ROLLBACK_WAIT_MILLIS, { background: true })])
          tellFirst(transaction, raw, backend.parts.driver, error)
          const back = (): Promise<void> => rollback.call(transaction, raw, error)
          await (queue.idle ? queue.run(own, back) : back())
        },
      })
      return own
    }

    override wrapIdentifierImpl(value: string): string {
      return value === '*' ? '*' : `[${value.replaceAll(']', ']]')}]`
    }

    /** A bound NULL has a type, and a varbinary column refuses that of text. In raw SQL the caller can write a cast. */
    override parameter(value: unknown, builder: { readonly isRawInstance?: boolean }, holder: object): string {
      return value === null && builder.isRawInstance !== true ? 'NULL' : super.parameter(value, builder, holder)
    }

    override _typeForBinding(binding: unknown): [value: unknown, type: unknown] {
      const mapped = backend.mapBinding?.(binding)
      if (mapped) return [mapped.value, mapped.type]
      if (binding instanceof TypedValue) return [binding.value, TYPES[binding.tediousType]]
      if (!unicodeStrings && typeof binding === 'string' && isAscii(binding)) return [binding, TYPES.VarChar]
      if (typeof binding === 'bigint') return [binding, TYPES.BigInt]
      // Larger than any bigint, so it is a float, which stock knex refuses.
      if (typeof binding === 'number' && Math.abs(binding) >= 2 ** 63) return [binding, TYPES.Float]
      if (types.isUint8Array(binding))
        return [Buffer.from(binding.buffer, binding.byteOffset, binding.length), TYPES.VarBinary]
      if (types.isDate(binding) && exactValues) return [binding, TYPES.DateTime2]
      return super._typeForBinding(binding)
    }

    override _setReqInput(request: Request, index: number, binding: unknown): void {
      const [value, type] = this._typeForBinding(binding)
      const length = Buffer.isBuffer(value) ? { length: 'max' as never } : undefined
      const options = binding instanceof TypedValue ? { ...length, ...binding.size } : length
      request.addParameter(`p${index}`, type as never, value, options)
    }

    override _query(connection: SqlServerConnection, query: Query): Promise<Query> {
      if (query.sql === undefined || query.sql === '') throw new Error('The query is empty')
      return StatementQueue.of(connection).run(
        query,
        () =>
          new Promise((resolve, reject) => {
            if (this.transacting) assertOpen(connection)
            const rows: unknown[] = []
            const request = new TediousRequest(query.sql, (error) => {
              if (error) {
                reject(failed(connection, error))
                return
              }
              query.response = rows
              resolve(query)
            })
            if (exactFor(query) !== exactValues) setRowMode(request, { exact: exactFor(query), bare: false })
            collected(request).on('row', (row: unknown) => rows.push(row))
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
        if (this.transacting) assertOpen(connection)
        const { promise, resolve, reject } = Promise.withResolvers<void>()
        const request = new TediousRequest(query.sql, (error) => {
          stream.off('close', leave)
          if (stream.destroyed) resolve()
          else if (error) reject(failed(connection, error))
          else {
            stream.end()
            resolve()
          }
        })
        // Cancelling also resumes a request that is paused for its reader. It ends through the callback.
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
  // knex looks at the prototype to see whether a query can be cancelled.
  PoolsmithMssqlClient.prototype.canCancelQuery = true
  return PoolsmithMssqlClient
}

interface MssqlTransaction extends KnexTransaction {
  begin(raw: object): Promise<void>
  savepoint(raw: object): Promise<void>
  rollback(raw: object, error: unknown): Promise<void>
}

/** Ends the open transaction by a request of the protocol (MS-TDS 2.2.6.9). */
function commitTransaction(connection: SqlServerConnection): Promise<void> {
  return new Promise<void>((resolve, reject) => {
    connection.commitTransaction((error) => (error ? reject(error) : resolve()))
  })
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
