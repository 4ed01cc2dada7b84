import type pg from 'pg'
import { POSTGRES_BINDINGS } from '../drivers/binding-limit.ts'
import { createPostgresDriver, postgresWhereabouts } from '../drivers/postgres/driver.ts'
import { foreignPostgresOption } from '../drivers/postgres/foreign-options.ts'
import { checkPostgresOptions } from '../drivers/postgres/option-checks.ts'
import { postgresFields } from '../drivers/postgres/options.ts'
import { loadPg } from '../drivers/postgres/pg-client.ts'
import type { EngineDialect } from './dialect.ts'

const CANCEL_LIMIT_MILLIS = 5000

/** PostgreSQL for every data layer: the driver's options and the driver. */
export const postgresDialect: EngineDialect<typeof postgresFields> = {
  fields: postgresFields,
  foreign: foreignPostgresOption,
  check: checkPostgresOptions,
  where: postgresWhereabouts,
  async build(connection, options, context) {
    // Here and not at the first connection, so that a missing package is reported with the configuration.
    await loadPg()
    const driver = createPostgresDriver(connection, options, context)
    return {
      driver,
      cancel: (raw) => driver.cancel(raw as pg.Client, AbortSignal.timeout(CANCEL_LIMIT_MILLIS)),
      statementError: (raw, error) => driver.statementError(raw as pg.Client, error),
      database: () => connection.database ?? connection.login,
      bindingLimit: POSTGRES_BINDINGS,
      exactValues: false,
      unicodeStrings: true,
    }
  },
}
