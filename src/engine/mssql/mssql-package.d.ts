// The package mssql comes without types; of those by others we want nothing but what is put in place of.
declare module 'mssql' {
  /** Its pool with the insides that ours puts something else in place of: a pool of tarn's, and its state. */
  class ConnectionPool {
    constructor(config: object)
    readonly connected: boolean
    connect(): Promise<this>
    close(): Promise<this>
    _close(callback: (error?: unknown) => void): void
    pool: unknown
    _connected: boolean
    _healthy: boolean
  }
  /** Errors of statements, transactions and prepared statements. */
  class MSSQLError extends Error {
    readonly code?: string
    readonly number?: number
    readonly originalError?: Error
  }
  const mssql: {
    readonly ConnectionPool: typeof ConnectionPool
    readonly RequestError: typeof MSSQLError
    readonly TransactionError: typeof MSSQLError
    readonly PreparedStatementError: typeof MSSQLError
  }
  export default mssql
}
