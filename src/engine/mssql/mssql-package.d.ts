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
  const mssql: { readonly ConnectionPool: typeof ConnectionPool }
  export default mssql
}
