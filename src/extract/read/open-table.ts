import { PoolsmithError } from '../../errors.ts'
import type { ExtractEngine, ExtractSource, OpenOptions, OpenTable, TableName } from './reader.ts'

/** Opens a table or query with the reader of the engine's database, which is loaded now. */
export async function openTable(
  engine: ExtractEngine,
  source: ExtractSource,
  options: OpenOptions = {},
): Promise<OpenTable> {
  const { type } = engine.connection
  if (type === 'postgres') return (await import('./postgres.ts')).openPostgresTable(engine, source, options)
  return (await import('./sqlserver.ts')).openSqlServerTable(engine, wholeTable(source, options), options)
}

/** The table that a source names, for a reader that knows neither queries nor hashes nor snapshots of other sessions. */
function wholeTable(source: ExtractSource, options: OpenOptions): TableName {
  const asked = [
    ...('query' in source ? ['a query'] : []),
    ...(options.rowHash ? ['rowHash'] : []),
    ...(options.snapshot === undefined ? [] : ['a shared snapshot']),
  ]
  if (asked.length === 0 && !('query' in source)) return source
  throw new PoolsmithError(`The reader of this database cannot do ${asked.join(', ')}.`, {
    code: 'CONFIG_INVALID',
    phase: 'config',
    hint: 'Select in a view of the database, and extract the view.',
  })
}
