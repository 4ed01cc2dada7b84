/** The class behind createMssqlPool, which is loaded by its first call. */

import type { EventEmitter } from 'node:events'
import { createRequire } from 'node:module'
import type { AcquireCallback, Collated } from 'mssql'
import type { ConnectionInput } from '../../connections/parse.ts'
import type { SqlServerConnection } from '../../drivers/sqlserver/tedious-connection.ts'
import { PoolsmithError } from '../../errors.ts'
import { loadPackage } from '../../optional-package.ts'
import type { ConnectionPool } from '../../pool/pool.ts'
import { type BuildPoolOptions, type BuiltPool, buildPool } from '../build-pool.ts'
import type { DialectParts } from '../dialect.ts'
import { addFacts } from './error-facts.ts'

/**
 * @param mssqlOptions options of mssql about requests
 * @throws as createMssqlPool
 */
export async function openMssqlPool(
  input: ConnectionInput,
  poolOptions: BuildPoolOptions,
  mssqlOptions: Readonly<Record<string, unknown>> | undefined,
): Promise<object> {
  const module = await loadMssql()
  const build = (): Promise<BuiltPool> =>
    buildPool(input, poolOptions, ({ type }) =>
      type === 'mssql' ? undefined : { path: 'type', message: 'createMssqlPool takes connections to SQL Server only' },
    )
  const first = await build()
  const { connection, strategy } = first
  addFacts([module.RequestError, module.TransactionError, module.PreparedStatementError])
  const sites = first.pool.detectsLeaks ? await import('./call-sites.ts') : undefined

  class PoolsmithMssqlPool extends module.ConnectionPool {
    readonly connection = connection
    readonly strategy = strategy
    #connections: ConnectionPool<object> = first.pool
    #reopening: Promise<void> | undefined
    /** Where the connection is asked for that is being acquired in this very call. */
    #site: Error | undefined

    constructor(config: object) {
      super(config)
      this.#adopt(first)
    }

    get connections(): ConnectionPool<object> {
      return this.#connections
    }

    #adopt({ pool, parts }: BuiltPool): void {
      this.#connections = pool
      this.pool = asTarn(pool, parts, () => this.#site)
      this._connected = true
      this._healthy = true
    }

    async #reopen(): Promise<void> {
      // mssql removes its pool when that has ended.
      await this.#connections.destroy()
      this.#adopt(await build())
    }

    /** Checks that a connection can be acquired; mssql itself opens one and closes it. */
    async #look(): Promise<void> {
      if (this.#connections.stats().closed) {
        this.#reopening ??= this.#reopen().finally(() => {
          this.#reopening = undefined
        })
        await this.#reopening
      }
      await this.#connections.use(async () => undefined)
    }

    _connect(callback: (error?: unknown, pool?: unknown) => void): void {
      this.#look().then(
        () => process.nextTick(callback, null, this),
        (error: unknown) => process.nextTick(callback, error),
      )
    }

    /**
     * `batch()` writes texts of one byte a character in the collation of its parent. mssql itself sets the pool's when it
     * opens a connection, and never a transaction's.
     */
    override acquire(requester: Collated, callback?: AcquireCallback): unknown {
      const note = (raw: object): void => {
        this.collation = (raw as SqlServerConnection).databaseCollation
        requester.collation = this.collation
      }
      this.#site = sites?.siteOf(requester)
      try {
        if (callback === undefined) {
          return (super.acquire(requester) as Promise<object>).then((raw) => {
            note(raw)
            return raw
          })
        }
        return super.acquire(requester, (error, raw, config) => {
          if (raw !== undefined) note(raw)
          callback(error, raw, config)
        })
      } finally {
        this.#site = undefined
      }
    }

    override _close(callback: (error?: unknown) => void): void {
      const close = (): void => super._close(callback)
      if (this.#reopening === undefined) close()
      else this.#reopening.then(close, close)
    }

    async [Symbol.asyncDispose](): Promise<void> {
      await this.close()
    }
  }
  const made = new PoolsmithMssqlPool({
    ...mssqlOptions,
    // Only for its messages and its diagnostics channel.
    server: connection.host ?? 'localhost',
    port: connection.port,
    database: connection.database,
  })
  sites?.noteSites(module, made)
  return made
}

/**
 * Our pool under the names of tarn's that mssql uses. A session that ends while it is in use is released here, because
 * mssql does not release one whose prepared statement can no longer be unprepared.
 */
function asTarn(pool: ConnectionPool<object>, parts: DialectParts, site: () => Error | undefined): object {
  const onEnd = new WeakMap<object, () => void>()
  const handOut = async (): Promise<object> => {
    const raw = (await pool.acquire({ site: site() }).promise) as SqlServerConnection
    raw.explain ??= (error) => parts.statementError(raw, error)
    const end = (): void => {
      pool.release(raw)
    }
    onEnd.set(raw, end)
    raw.once('end', end)
    return raw
  }
  return {
    acquire: () => ({ promise: handOut() }),
    release: (raw: object) => {
      const end = onEnd.get(raw)
      if (end !== undefined) (raw as EventEmitter).off('end', end)
      return pool.release(raw)
    },
    destroy: () => pool.destroy(),
    numFree: () => pool.numFree(),
    numUsed: () => pool.numUsed(),
    numPendingCreates: () => pool.stats().opening,
    numPendingAcquires: () => pool.numPendingAcquires(),
    get destroyed() {
      return pool.stats().closed
    },
  }
}

/** @throws PoolsmithError PACKAGE_MISSING, DRIVER_INCOMPATIBLE */
async function loadMssql() {
  const { default: module } = await loadPackage('mssql', () => import('mssql'), 'createMssqlPool')
  const { Connection: ours } = await loadPackage('tedious', () => import('tedious'), 'A SQL Server connection')
  const { Connection: theirs } = createRequire(import.meta.resolve('mssql'))('tedious') as { Connection: unknown }
  if (ours === theirs) return module
  throw new PoolsmithError(
    'The package mssql has its own copy of tedious, whose requests our connections cannot take.',
    {
      code: 'DRIVER_INCOMPATIBLE',
      phase: 'config',
      hint: 'Install versions of mssql and tedious that share one tedious; check with npm ls tedious.',
    },
  )
}
