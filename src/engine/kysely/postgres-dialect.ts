import { type Driver, PostgresDialect, type PostgresDialectConfig } from 'kysely'
import type pg from 'pg'
import type { ConnectionInput } from '../../connections/parse.ts'
import type { ConnectionPool } from '../../pool/pool.ts'
import { createPgPool, type PgPoolOptions } from '../pg/create-pg-pool.ts'
import type { PgPool } from '../pg/pool-class.ts'
import { controlClient } from './control-client.ts'

/** The options of Kysely itself besides the pool: `cursor` for streams, `onCreateConnection`, `onReserveConnection`. */
type KyselyOptions = Omit<PostgresDialectConfig, 'pool' | 'controlClient'>

/** A dialect of Kysely that gives the pool behind it. */
export interface PooledDialect<Raw extends object> {
  /**
   * The pool that Kysely uses, or will use: `stats()`, `on()`, `listen()`, `invalidate()`, and the metrics of
   * `poolsmith/telemetry`. A dialect that several Kyselys were made with gives that of the last one.
   *
   * @throws ConfigError for a record that is not valid
   *
   * @example
   * const dialect = postgresDialect('sales')
   * const db = new Kysely<Database>({ dialect })
   * using telemetry = await observe({ pools: [await dialect.pool()] })
   */
  pool(): Promise<ConnectionPool<Raw>>
}

/**
 * Kysely's dialect of PostgreSQL over a pool of ours. The first statement reads the connection record and opens the
 * pool, so that errors of the record come from there; `db.destroy()` ends it.
 *
 * @param input a connection object, a text in one of the forms of docs/connections.md, a place in a store
 *   (`vault:secret/sales`), or the id of a connection in the stores
 *
 * @example
 * const db = new Kysely<Database>({ dialect: postgresDialect('postgres://svc@db.example.com/app?sslmode=verify-full') })
 * await db.selectFrom('flights').selectAll().where('carrier', '=', 'AA').execute()
 */
export function postgresDialect(
  input: ConnectionInput,
  options: PgPoolOptions = {},
  kysely: KyselyOptions = {},
): PostgresDialect & PooledDialect<pg.Client> {
  let pool: Promise<PgPool> | undefined
  /** Whether a Kysely has the pool, and not `dialect.pool()` alone. */
  let isTaken = false
  const make = (): Promise<PgPool> => {
    const made = createPgPool(input, options)
    pool = made
    isTaken = false
    // The next statement tries again: a store may have been down.
    made.catch(() => {
      if (pool === made) pool = undefined
    })
    return made
  }
  const dialect = new LeasingDialect({
    ...kysely,
    pool: () => {
      const given = pool === undefined || isTaken ? make() : pool
      isTaken = true
      return given
    },
    controlClient: controlClient(
      async () => (await pool)?.poolsmith,
    ) as unknown as PostgresDialectConfig['controlClient'],
  })
  return Object.assign(dialect, {
    pool: async () => (await (pool ?? make())).poolsmith,
  })
}

/** Kysely reports an error of the rollback in place of the error that the transaction is rolled back for. */
class LeasingDialect extends PostgresDialect {
  override createDriver(): Driver {
    const driver = super.createDriver()
    const { rollbackTransaction: rollBack } = driver
    return Object.assign(driver, {
      rollbackTransaction: (connection: Parameters<typeof rollBack>[0]): Promise<void> =>
        // Kysely discards the session then, and the transaction ends with it.
        rollBack.call(driver, connection).catch(() => undefined),
    })
  }
}
