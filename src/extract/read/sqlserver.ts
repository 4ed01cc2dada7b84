/** Opens a table or a query of SQL Server: its session, or several at one moment, and what the server says of it. */

import { PoolsmithError } from '../../errors.ts'
import type { BoundSql, ExtractEngine, ExtractSource, OpenOptions, OpenTable, QuerySource } from './reader.ts'
import { compileQuery } from './selection.ts'
import { compiled, derived, sql, whole } from './sqlserver-bound.ts'
import {
  describeQuery,
  estimateRows,
  findTable,
  quotedTable,
  readColumns,
  type SnapshotSupport,
  type SqlServerTableId,
  snapshotSupport,
} from './sqlserver-catalogue.ts'
import { Lease } from './sqlserver-lease.ts'
import { type Found, type Given, SqlServerTable } from './sqlserver-table.ts'
import { beginTogether, type Together } from './sqlserver-together.ts'

const DEFAULT_SCHEMA = 'dbo'
const DEFAULT_QUERY_SCHEMA = 'query'
/** The query in the FROM of ours; no name of its own should be this one. */
const QUERY_ALIAS = '[poolsmith rows]'

/** Opens a table or a query for reading. Dispose what it returns. */
export async function openSqlServerTable(
  engine: ExtractEngine,
  source: ExtractSource,
  options: OpenOptions = {},
): Promise<OpenTable> {
  const { signal, snapshot } = options
  if (snapshot !== undefined) throw foreignSnapshot()
  const query = 'query' in source ? queryOf(source) : undefined
  const given =
    'query' in source
      ? { schema: source.schema ?? DEFAULT_QUERY_SCHEMA, name: source.name }
      : { schema: source.schema ?? DEFAULT_SCHEMA, name: source.table }
  const lease = await Lease.take(engine, quotedTable(given), signal)
  try {
    const support = await lease.run(() => snapshotSupport(lease.ask))
    const read = query ?? (await lease.run(() => findTable(lease.ask, given.schema, given.name)))
    const together = await begin(engine, lease, 'id' in read ? read : undefined, support, options)
    try {
      const found = await lease.run(() => find(lease, given, read, support))
      return new SqlServerTable(engine, found, options, lease, together)
    } catch (error) {
      await Promise.all((together?.companions ?? []).map((companion) => companion[Symbol.asyncDispose]()))
      throw error
    }
  } catch (error) {
    await lease[Symbol.asyncDispose]()
    throw error
  }
}

function queryOf(source: QuerySource): BoundSql {
  const { query } = source
  return whole(typeof query === 'object' && 'values' in query ? query : compileQuery(source))
}

/** Begins the transaction; and those of further sessions, when several are to see one moment. */
async function begin(
  engine: ExtractEngine,
  first: Lease,
  table: SqlServerTableId | undefined,
  support: SnapshotSupport,
  { sessions = 1, signal }: OpenOptions,
): Promise<Together | undefined> {
  if (sessions === 1) {
    const inMemory = table?.inMemory ?? false
    if (support.transactions || inMemory) await first.run(() => first.beginSnapshot(inMemory))
    return undefined
  }
  const beginning = beginTogether({ engine, first, table, support, sessions, signal })
  try {
    return await first.run(() => beginning)
  } catch (error) {
    // Nobody waits for it any more: what it still gets is given back.
    beginning.then(
      ({ companions }) => Promise.all(companions.map((companion) => companion[Symbol.asyncDispose]())),
      () => undefined,
    )
    throw error
  }
}

async function find(
  lease: Lease,
  given: Given,
  read: BoundSql | SqlServerTableId,
  support: SnapshotSupport,
): Promise<Found> {
  const { ask } = lease
  const shown = quotedTable(given)
  if (!('id' in read)) {
    const columns = await describeQuery(ask, compiled(read))
    const ground = { ask, shown, columns, support, table: undefined, estimatedRows: undefined }
    return { ...given, query: read, ground: { ...ground, ...derived(read, QUERY_ALIAS) } }
  }
  const columns = await readColumns(ask, read)
  const estimatedRows = await estimateRows(ask, read)
  const name = quotedTable(read)
  const place = { before: sql``, from: sql`${name}${read.inMemory ? ' with (snapshot)' : ''}` }
  const ground = { ask, shown: name, columns, support, table: read, estimatedRows, ...place }
  return { schema: read.schema, name: read.name, query: undefined, ground }
}

function foreignSnapshot(): PoolsmithError {
  return new PoolsmithError('The plan names a snapshot, which SQL Server has none of.', {
    code: 'PLAN_INVALID',
    phase: 'config',
    hint: 'Run the plan against the database that it was made for.',
  })
}
