import { PoolsmithError } from '../../errors.ts'
import type { ExtractEngine, ExtractSource, OpenOptions, OpenTable } from './reader.ts'

/** Opens a table or query with the reader of the engine's database, which is loaded now. */
export async function openTable(
  engine: ExtractEngine,
  source: ExtractSource,
  options: OpenOptions = {},
): Promise<OpenTable> {
  const name: unknown = 'query' in source ? source.name : source.table
  if (typeof name !== 'string' || name === '') {
    throw new PoolsmithError('The source has no name.', {
      code: 'CONFIG_INVALID',
      phase: 'config',
      hint: 'Give { schema, table }, or { query, name }.',
    })
  }
  const { type } = engine.connection
  if (type === 'postgres') return (await import('./postgres.ts')).openPostgresTable(engine, source, options)
  return (await import('./sqlserver.ts')).openSqlServerTable(engine, source, options)
}
