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
    const together = await begin(engine, lease, given, query, support, options)
    try {
      const found = await lease.run(() => find(lease, given, query, support))
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
  given: Given,
  query: BoundSql | undefined,
  support: SnapshotSupport,
  { sessions = 1, signal }: OpenOptions,
): Promise<Together | undefined> {
  if (sessions === 1) {
    if (support.transactions) await first.run(() => first.beginSnapshot())
    return undefined
  }
  const table = query === undefined ? await first.run(() => findTable(first.ask, given.schema, given.name)) : undefined
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

async function find(lease: Lease, given: Given, query: BoundSql | undefined, support: SnapshotSupport): Promise<Found> {
  const { ask } = lease
  const shown = quotedTable(given)
  if (query !== undefined) {
    const columns = await describeQuery(ask, compiled(query))
    const ground = { ask, shown, columns, support, table: undefined, estimatedRows: undefined }
    return { ...given, query, ground: { ...ground, ...derived(query, QUERY_ALIAS) } }
  }
  const table = await findTable(ask, given.schema, given.name)
  const columns = await readColumns(ask, table)
  const estimatedRows = await estimateRows(ask, table)
  const place = { before: sql``, from: sql`${quotedTable(table)}` }
  const ground = { ask, shown: quotedTable(table), columns, support, table, estimatedRows, ...place }
  return { schema: table.schema, name: table.name, query, ground }
}

function foreignSnapshot(): PoolsmithError {
  return new PoolsmithError('The plan names a snapshot, which SQL Server has none of.', {
    code: 'PLAN_INVALID',
    phase: 'config',
    hint: 'Run the plan against the database that it was made for.',
  })
}
