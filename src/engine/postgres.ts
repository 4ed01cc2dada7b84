import type { Client } from 'pg'
import { createPostgresDriver } from '../drivers/postgres/driver.ts'
import { checkPostgresOptions, postgresFields } from '../drivers/postgres/options.ts'
import type { ConnectionPool } from '../pool/pool.ts'
import type { EngineDialect } from './dialect.ts'
import { postgresClientClass } from './postgres-client.ts'

/** PostgreSQL for the engine: the driver's options, the driver, and knex's dialect over its pool. */
export const postgresDialect: EngineDialect<typeof postgresFields> = {
  fields: postgresFields,
  check: checkPostgresOptions,
  async build(connection, options, emit) {
    const driver = await createPostgresDriver(connection, options, { emit })
    return {
      driver,
      openTimeoutMillis: options.connect_timeout > 0 ? options.connect_timeout * 1000 : undefined,
      knexClient: (pool) =>
        postgresClientClass<Client>({
          pool: pool as unknown as ConnectionPool<Client>,
          cancel: (raw) => driver.cancel(raw),
        }),
    }
  },
}
