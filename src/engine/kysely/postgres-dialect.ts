import { type Driver, PostgresDialect, type PostgresDialectConfig } from 'kysely'
import type { ConnectionInput } from '../../connections/parse.ts'
import { createPgPool, type PgPoolOptions } from '../pg/create-pg-pool.ts'
import type { PgPool } from '../pg/pool-class.ts'
import { controlClient } from './control-client.ts'

/** The options of Kysely itself besides the pool: `cursor` for streams, `onCreateConnection`, `onReserveConnection`. */
type KyselyOptions = Omit<PostgresDialectConfig, 'pool' | 'controlClient'>

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
): PostgresDialect {
  let pool: Promise<PgPool> | undefined
  return new LeasingDialect({
    ...kysely,
    pool: () => {
      pool = createPgPool(input, options)
      return pool
    },
    controlClient: controlClient(
      async () => (await pool)?.poolsmith,
    ) as unknown as PostgresDialectConfig['controlClient'],
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
