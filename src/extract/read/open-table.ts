import { PoolsmithError } from '../../errors.ts'
import type { ExtractEngine, OpenTable, ReadOptions, TableName } from './reader.ts'

/** Opens a table with the reader of the engine's database, which is loaded now. */
export async function openTable(engine: ExtractEngine, name: TableName, options?: ReadOptions): Promise<OpenTable> {
  const { type } = engine.connection
  if (type === 'postgres') return (await import('./postgres.ts')).openPostgresTable(engine, name, options)
  throw new PoolsmithError(`Tables of ${type} cannot be read yet.`, {
    code: 'CONFIG_INVALID',
    phase: 'config',
    hint: 'Use a PostgreSQL connection.',
  })
}
