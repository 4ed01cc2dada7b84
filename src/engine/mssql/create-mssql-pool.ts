/**
 * A `ConnectionPool` of the package `mssql` over a pool of ours, for code that is written against that package. Requests,
 * transactions and prepared statements are mssql's; the connections come from our pool.
 */

import type { Connection } from '../../connections/connection.ts'
import type { ConnectionInput } from '../../connections/parse.ts'
import type { ConnectionPool } from '../../pool/pool.ts'
import type { BuildPoolOptions } from '../build-pool.ts'
import { checkCallOptions } from '../check-options.ts'

/** Options of {@link createMssqlPool}: the pool's, under their names in the extras, and mssql's own about requests. */
export interface MssqlPoolOptions extends BuildPoolOptions {
  /** Options of mssql itself that are about requests: `stream`, `arrayRowMode`, `parseJSON`. */
  readonly mssql?: Readonly<Record<string, unknown>>
}

/** The part of mssql's `ConnectionPool` that can be used without its types. */
export interface MssqlConnectionPool {
  readonly connected: boolean
  connect(): Promise<this>
  close(): Promise<this>
  query(command: string): Promise<{ recordset: Record<string, unknown>[]; rowsAffected: number[] }>
  query(
    command: TemplateStringsArray,
    ...values: unknown[]
  ): Promise<{ recordset: Record<string, unknown>[]; rowsAffected: number[] }>
}

/** The additions of {@link createMssqlPool} to mssql's own pool. */
export interface MssqlPoolExtras extends AsyncDisposable {
  /** The pool beneath: `stats()`, `on()`, `infoOf()`, `invalidate()`. A new one after `close()` and `connect()`. */
  readonly connections: ConnectionPool<object>
  /** The connection record that it was made from. */
  readonly connection: Connection
  /** The name of the strategy in use. */
  readonly strategy: string
}

/**
 * Makes a `ConnectionPool` of the package `mssql` whose connections are opened by the strategy of the connection record.
 * Nothing is opened yet; it can be used at once, and `connect()` opens a connection to check that it works. `close()`
 * and `await using` drain our pool; a later `connect()` makes a new one.
 *
 * @typeParam Pool mssql's own type, where `@types/mssql` is installed
 * @param input a connection object, a text in one of the forms of docs/connections.md, a place in a store
 *   (`vault:secret/sales`), or the id of a connection in the stores
 * @throws ConfigError, also for a connection that is not of SQL Server; PoolsmithError CONNECTION_NOT_FOUND,
 *   STRATEGY_UNKNOWN, PACKAGE_MISSING, DRIVER_INCOMPATIBLE
 *
 * @example
 * import sql from 'mssql'
 *
 * await using pool = await createMssqlPool<sql.ConnectionPool>('mssql://sql.example.com/sales?auth_method=kerberos')
 * await new sql.Request(pool).input('id', sql.Int, 7).query('select * from orders where id = @id')
 */
export async function createMssqlPool<Pool extends object = MssqlConnectionPool>(
  input: ConnectionInput,
  options: MssqlPoolOptions = {},
): Promise<Pool & MssqlPoolExtras> {
  checkCallOptions(options)
  const { mssql: mssqlOptions, ...poolOptions } = options
  const { openMssqlPool } = await import('./mssql-pool.ts')
  return (await openMssqlPool(input, poolOptions, mssqlOptions)) as Pool & MssqlPoolExtras
}
