import type { Client } from 'pg'
import { createPostgresDriver } from '../drivers/postgres/driver.ts'
import { checkPostgresOptions, postgresFields } from '../drivers/postgres/options.ts'
import { loadPg } from '../drivers/postgres/pg-client.ts'
import type { ConnectionPool } from '../pool/pool.ts'
import type { EngineDialect } from './dialect.ts'
import { postgresClientClass } from './postgres-client.ts'

const CANCEL_LIMIT_MILLIS = 5000

/** PostgreSQL for the engine: the driver's options, the driver, and knex's dialect over its pool. */
export const postgresDialect: EngineDialect<typeof postgresFields> = {
  fields: postgresFields,
  check: checkPostgresOptions,
  async build(connection, options, emit, route) {
    // Here rather than at the first connection, so that a missing package is told with the configuration.
    await loadPg()
    const driver = createPostgresDriver(connection, options, { emit, ...(route === undefined ? {} : { route }) })
    return {
      driver,
      knexClient: (pool) =>
        postgresClientClass<Client>({
          pool: pool as unknown as ConnectionPool<Client>,
          cancel: (raw) => driver.cancel(raw, AbortSignal.timeout(CANCEL_LIMIT_MILLIS)),
        }),
    }
  },
}
