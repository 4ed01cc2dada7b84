// The package mssql has no types; these are of the parts that we replace.
declare module 'mssql' {
  export type AcquireCallback = (error?: unknown, raw?: object, config?: object) => void
  /** A pool, a transaction or a request; `collation` is the one of the connection in tedious' form. */
  export interface Collated {
    collation?: unknown
  }
  /** Its pool with the parts that ours replaces: a pool of tarn's, and its state. */
  class ConnectionPool {
    constructor(config: object)
    readonly connected: boolean
    connect(): Promise<this>
    close(): Promise<this>
    _close(callback: (error?: unknown) => void): void
    /** A promise of the connection, or the pool where there is a callback. */
    acquire(requester: Collated, callback?: AcquireCallback): unknown
    collation?: unknown
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
  /** Asks a pool for a connection. */
  class Asking {
    readonly parent?: object
  }
  const mssql: {
    readonly Request: typeof Asking
    readonly Transaction: typeof Asking
    readonly PreparedStatement: typeof Asking
    readonly ConnectionPool: typeof ConnectionPool
    readonly RequestError: typeof MSSQLError
    readonly TransactionError: typeof MSSQLError
    readonly PreparedStatementError: typeof MSSQLError
  }
  export default mssql
}
