import type { Dialect } from '../connections/connection.ts'
import { PoolsmithError } from '../errors.ts'
import type { EngineDialect } from './dialect.ts'

/** Loads the code for one database family, and only that. */
export async function loadDialect(dialect: Dialect): Promise<EngineDialect> {
  if (dialect === 'postgres') {
    const { postgresDialect } = await import('./postgres.ts')
    return postgresDialect as unknown as EngineDialect
  }
  throw new PoolsmithError('SQL Server connections can be described, but not opened yet.', {
    code: 'CONFIG_INVALID',
    phase: 'config',
    hint: 'Use a connection of type postgres.',
  })
}
