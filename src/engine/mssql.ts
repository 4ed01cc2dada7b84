import { normaliseMssqlExtras } from '../drivers/sqlserver/ado-names.ts'
import { createSqlServerDriver } from '../drivers/sqlserver/driver.ts'
import { checkSqlServerOptions, sqlServerFields } from '../drivers/sqlserver/options.ts'
import { loadConnectionClass, type SqlServerConnection } from '../drivers/sqlserver/tedious-connection.ts'
import type { ConnectionPool } from '../pool/pool.ts'
import type { EngineDialect } from './dialect.ts'
import { mssqlClientClass } from './mssql-client.ts'

/** SQL Server for the engine: the driver's options, the driver, and knex's dialect over its pool. */
export const mssqlDialect: EngineDialect<typeof sqlServerFields> = {
  fields: sqlServerFields,
  normalise(connection, overrides) {
    const own = normaliseMssqlExtras(connection)
    // What the caller says comes before all that the record says.
    const given = normaliseMssqlExtras({ ...own.record, extra: overrides }, { extrasFirst: true })
    return {
      connection: Object.freeze({ ...connection, ...given.record, extra: Object.freeze(own.record.extra) }),
      overrides: given.record.extra,
      notes: [...own.notes, ...given.notes],
      problems: [...own.problems, ...given.problems],
    }
  },
  check: checkSqlServerOptions,
  async build(connection, options, emit, route) {
    // Here rather than at the first connection, so that a missing package is told with the configuration.
    await loadConnectionClass()
    const driver = createSqlServerDriver(connection, options, { emit, ...(route === undefined ? {} : { route }) })
    return {
      driver,
      knexClient: (pool) =>
        mssqlClientClass({
          pool: pool as unknown as ConnectionPool<SqlServerConnection>,
          cancel: (raw) => driver.cancel(raw),
          database: () => connection.database ?? driver.database,
          exactValues: options.exact_values,
        }),
    }
  },
}
