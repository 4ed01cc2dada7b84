import type { Dialect } from '../connections/connection.ts'
import type { EngineDialect } from './dialect.ts'

/** Loads the code of one database family and no other. */
export async function loadDialect(dialect: Dialect): Promise<EngineDialect> {
  if (dialect === 'postgres') {
    const { postgresDialect } = await import('./postgres.ts')
    return postgresDialect as unknown as EngineDialect
  }
  const { sqlServerDialect } = await import('./sqlserver.ts')
  return sqlServerDialect as unknown as EngineDialect
}
