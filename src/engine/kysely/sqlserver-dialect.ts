import { createRequire } from 'node:module'
import { MssqlDialect, type MssqlDialectConfig, type TediousConnection } from 'kysely'
import type { Connection as TediousSession } from 'tedious'
import type { ConnectionInput } from '../../connections/parse.ts'
import { firstError } from '../../drivers/sqlserver/statement-error.ts'
import type { SqlServerConnection } from '../../drivers/sqlserver/tedious-connection.ts'
import { PoolsmithError } from '../../errors.ts'
import { callSite } from '../../pool/call-site.ts'
import type { ConnectionPool } from '../../pool/pool.ts'
import { type BuildPoolOptions, type BuiltPool, buildPool } from '../build-pool.ts'
import { checkCallOptions } from '../check-options.ts'
import type { PooledDialect } from './postgres-dialect.ts'

type Tedious = typeof import('tedious')
type Requests = Pick<typeof import('../../drivers/sqlserver/requests.ts'), 'isBusy' | 'untilIdle'>

/** The part of tarn's pool that Kysely uses. `Wrapped` is Kysely's own object around a session. */
interface TarnOptions<Wrapped> {
  create(): Promise<Wrapped>
}

/**
 * Kysely's dialect of SQL Server over a pool of ours. The first statement reads the connection record and opens the
 * pool, so that errors of the record come from there; `db.destroy()` ends it.
 *
 * @param input a connection object, a text in one of the forms of docs/connections.md, a place in a store
 *   (`vault:secret/sales`), or the id of a connection in the stores
 * @throws PoolsmithError PACKAGE_MISSING without the package tedious
 *
 * @example
 * const db = new Kysely<Database>({ dialect: sqlServerDialect('mssql://sql.example.com/sales') })
 */
export function sqlServerDialect(
  input: ConnectionInput,
  options: BuildPoolOptions = {},
): MssqlDialect & PooledDialect<TediousSession> {
  checkCallOptions(options)
  const { Request, TYPES, ISOLATION_LEVEL } = loadTedious()
  let building: Promise<BuiltPool> | undefined
  const built = (): Promise<BuiltPool> => {
    building ??= buildPool(input, options, ({ type }) =>
      type === 'mssql' ? undefined : { path: 'type', message: `is ${type}; sqlServerDialect is for SQL Server` },
    )
    // The next statement tries again: a store may have been down.
    building.catch(() => {
      building = undefined
    })
    return building
  }
  /** True also while it is not known. */
  let detectsLeaks = true
  /** The session that Kysely is about to wrap. */
  let next: OpenSession | undefined

  /** In place of tarn's pool: leases from ours, and has Kysely wrap each session once. */
  class LeasingPool<Wrapped extends object> {
    readonly #create: () => Promise<Wrapped>
    readonly #wrapped = new WeakMap<TediousSession, Wrapped>()
    readonly #sessions = new WeakMap<Wrapped, TediousSession>()

    constructor({ create }: TarnOptions<Wrapped>) {
      this.#create = create
    }

    acquire(): { readonly promise: Promise<Wrapped> } {
      // Here, because nothing of the program is left on the stack after a wait.
      const site = detectsLeaks ? callSite(this.acquire) : undefined
      return { promise: this.#lease(site) }
    }

    async #lease(site: Error | undefined): Promise<Wrapped> {
      const { pool, parts } = await built()
      detectsLeaks = pool.detectsLeaks
      const session = (await pool.acquire({ site }).promise) as SqlServerConnection
      // Kysely rejects with a list where there are several errors.
      session.explain ??= (error) => parts.statementError(session, firstError(error))
      const known = this.#wrapped.get(session)
      if (known !== undefined) return known
      try {
        next = new OpenSession(session, await import('../../drivers/sqlserver/requests.ts'))
        const wrapped = await this.#create()
        this.#wrapped.set(session, wrapped)
        this.#sessions.set(wrapped, session)
        return wrapped
      } catch (error) {
        pool.release(session)
        throw error
      }
    }

    async release(wrapped: Wrapped): Promise<void> {
      const session = this.#sessions.get(wrapped)
      if (session !== undefined) (await built()).pool.release(session)
    }

    async destroy(): Promise<void> {
      if (building !== undefined) await (await building.catch(() => undefined))?.pool.destroy()
    }
  }

  const config = {
    tarn: { Pool: LeasingPool, options: { min: 0, max: 1 } },
    tedious: {
      Request,
      TYPES,
      ISOLATION_LEVEL,
      // Kysely calls it synchronously out of `create`.
      connectionFactory: () => next as OpenSession,
    },
    // A session is checked and reset by our pool.
    validateConnections: false,
    resetConnectionsOnRelease: false,
  }
  return Object.assign(new MssqlDialect(config as unknown as MssqlDialectConfig), {
    pool: async () => (await built()).pool as unknown as ConnectionPool<TediousSession>,
  })
}

function loadTedious(): Tedious {
  try {
    return createRequire(import.meta.url)('tedious') as Tedious
  } catch (cause) {
    throw new PoolsmithError('Kysely over SQL Server needs the package tedious, which is not installed.', {
      code: 'PACKAGE_MISSING',
      phase: 'config',
      hint: 'npm install tedious',
      details: { package: 'tedious' },
      cause,
    })
  }
}

/** A session as Kysely expects a new connection: open already, and not its own to close. */
class OpenSession implements TediousConnection {
  readonly #session: SqlServerConnection
  readonly #requests: Requests
  /** Requests that wait for the one that runs. */
  #waiting = 0
  #last = Promise.resolve()

  constructor(session: SqlServerConnection, requests: Requests) {
    this.#session = session
    this.#requests = requests
  }

  /**
   * Makes a request once those before it have ended, as `pg` does. tedious refuses it while another one runs, and after an
   * abort Kysely rolls a transaction back before its statement has ended.
   */
  #inTurn(request: () => void): void {
    const { isBusy, untilIdle } = this.#requests
    if (this.#waiting === 0 && !isBusy(this.#session)) {
      request()
      return
    }
    this.#waiting++
    this.#last = this.#last.then(async () => {
      await untilIdle(this.#session)
      this.#waiting--
      request()
    })
  }

  connect(done: (error?: Error) => void): void {
    done()
  }

  close(): void {
    this.#session.close()
  }

  cancel(): boolean {
    return this.#session.cancel()
  }

  execSql(request: unknown): void {
    this.#inTurn(() => this.#session.execSql(request as Parameters<TediousSession['execSql']>[0]))
  }

  reset(done: (error?: Error | null) => void): void {
    this.#session.reset(done)
  }

  beginTransaction(...given: Parameters<TediousConnection['beginTransaction']>): void {
    this.#inTurn(() => this.#session.beginTransaction(...(given as Parameters<TediousSession['beginTransaction']>)))
  }

  commitTransaction(...given: Parameters<TediousConnection['commitTransaction']>): void {
    this.#inTurn(() => this.#session.commitTransaction(...(given as Parameters<TediousSession['commitTransaction']>)))
  }

  /** Kysely reports an error of the rollback in place of the error that the transaction is rolled back for. */
  rollbackTransaction(...[done, savepoint = '']: Parameters<TediousConnection['rollbackTransaction']>): void {
    const told: typeof done = (error) => {
      // A transaction ends with its session.
      const isOver = savepoint === '' && error instanceof PoolsmithError && error.code === 'CONNECTION_LOST'
      done(isOver ? undefined : error)
    }
    this.#inTurn(() => this.#session.rollbackTransaction(told, savepoint))
  }

  saveTransaction(...given: Parameters<TediousConnection['saveTransaction']>): void {
    this.#inTurn(() => this.#session.saveTransaction(...(given as Parameters<TediousSession['saveTransaction']>)))
  }

  /** Kysely prints what it hears as `error`; the end of a session is our pool's to notice. */
  on(event: string, listener: (...values: never[]) => void): this {
    if (event !== 'error') this.#session.on(event as 'end', listener as () => void)
    return this
  }

  once(event: string, listener: (...values: never[]) => void): this {
    if (event !== 'error') this.#session.once(event as 'end', listener as () => void)
    return this
  }

  off(event: string, listener: (...values: never[]) => void): this {
    this.#session.off(event as 'end', listener as () => void)
    return this
  }
}
