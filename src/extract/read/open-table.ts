import { PoolsmithError } from '../../errors.ts'
import type { ExtractEngine, ExtractSource, OpenOptions, OpenTable } from './table.ts'

/** Opens a table or query with the reader of the engine's database, which is loaded on first use. */
export async function openTable(
  engine: ExtractEngine,
  source: ExtractSource,
  options: OpenOptions = {},
): Promise<OpenTable> {
  const name: unknown = 'query' in source ? source.name : source.table
  if (typeof name !== 'string' || name === '') {
    throw new PoolsmithError('The table or query has no name.', {
      code: 'CONFIG_INVALID',
      phase: 'config',
      hint: 'Give { schema, table }, or { query, name }.',
    })
  }
  const { type } = engine.connection
  if (type === 'postgres') return (await import('./postgres/open.ts')).openTable(engine, source, options)
  return (await import('./sqlserver/open.ts')).openTable(engine, source, options)
}
