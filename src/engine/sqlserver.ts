import { SQLSERVER_BINDINGS } from '../drivers/binding-limit.ts'
import { sqlServerWhereabouts } from '../drivers/sqlserver/addresses.ts'
import { normaliseMssqlExtras } from '../drivers/sqlserver/ado-names.ts'
import { createSqlServerDriver } from '../drivers/sqlserver/driver.ts'
import { foreignSqlServerOption } from '../drivers/sqlserver/foreign-options.ts'
import { checkSqlServerOptions } from '../drivers/sqlserver/option-checks.ts'
import { sqlServerFields } from '../drivers/sqlserver/options.ts'
import { loadConnectionClass, type SqlServerConnection } from '../drivers/sqlserver/tedious-connection.ts'
import type { EngineDialect } from './dialect.ts'

/** SQL Server for every data layer: the driver's options, Microsoft's names for them, and the driver. */
export const sqlServerDialect: EngineDialect<typeof sqlServerFields> = {
  fields: sqlServerFields,
  foreign: foreignSqlServerOption,
  normalise(connection, overrides) {
    const own = normaliseMssqlExtras(connection)
    // The caller's options take precedence over all of the record.
    const given = normaliseMssqlExtras({ ...own.record, extra: overrides }, { extrasFirst: true })
    return {
      connection: Object.freeze({ ...connection, ...given.record, extra: Object.freeze(own.record.extra) }),
      overrides: given.record.extra,
      notes: [...own.notes, ...given.notes],
      problems: [...own.problems, ...given.problems],
    }
  },
  check: checkSqlServerOptions,
  where: sqlServerWhereabouts,
  async build(connection, options, context) {
    // Here and not at the first connection, so that a missing package is reported with the configuration.
    await loadConnectionClass()
    const driver = createSqlServerDriver(connection, options, context)
    return {
      driver,
      cancel: (raw) => driver.cancel(raw as SqlServerConnection),
      statementError: (raw, error) => driver.statementError(raw as SqlServerConnection, error),
      database: () => connection.database ?? driver.database,
      bindingLimit: SQLSERVER_BINDINGS,
      exactValues: options.exact_values,
      unicodeStrings: options.unicode_strings,
    }
  },
}
