/** Opens a table or a query of SQL Server: its session, or several at one moment, and its columns by the catalogue. */

import { PoolsmithError } from '../../../errors.ts'
import { refuseOtherDatabase } from '../other-database.ts'
import { compileQuery } from '../sql/selection.ts'
import type { BoundSql, ExtractEngine, ExtractSource, OpenOptions, OpenTable, QuerySource } from '../table.ts'
import {
  type AskServer,
  type CatalogueTable,
  describeQuery,
  estimateRows,
  findTable,
  leastRowVersion,
  readColumns,
  type SnapshotSupport,
  snapshotSupport,
} from './catalogue.ts'
import { databaseOf } from './fingerprint.ts'
import type { Ground } from './ground.ts'
import { Lease } from './lease.ts'
import { compiled, derived, quotedTable, sql, whole } from './sql.ts'
import { type Found, SqlServerTable } from './table.ts'
import { beginTogether, type Together } from './together.ts'

const DEFAULT_SCHEMA = 'dbo'
const DEFAULT_QUERY_SCHEMA = 'query'
/** The query's name in the FROM of the statement; none of its own names should be this one. */
const QUERY_ALIAS = '[poolsmith rows]'

/** Opens a table or a query for reading. Dispose what it returns. */
export async function openTable(
  engine: ExtractEngine,
  source: ExtractSource,
  options: OpenOptions = {},
): Promise<OpenTable> {
  const { signal, snapshot, fingerprint } = options
  if (snapshot !== undefined) throw foreignSnapshot()
  const query = 'query' in source ? queryOf(source) : undefined
  const given =
    'query' in source
      ? { schema: source.schema ?? DEFAULT_QUERY_SCHEMA, name: source.name }
      : { schema: source.schema ?? DEFAULT_SCHEMA, name: source.table }
  const lease = await Lease.take(engine, quotedTable(given), signal)
  try {
    if (fingerprint !== undefined) {
      refuseOtherDatabase(fingerprint, await lease.run(() => databaseOf(lease.ask)))
    }
    const support = await lease.run(() => snapshotSupport(lease.ask))
    const read = query ?? (await lease.run(() => findTable(lease.ask, given.schema, given.name)))
    const least = await lease.run(() => leastFor(lease.ask, read, options.markColumn))
    const together = await begin(engine, lease, 'id' in read ? read : undefined, support, options)
    try {
      const found = await lease.run(() => find(lease, given, read, { support, leastRowVersion: least }))
      return new SqlServerTable(engine, lease, found, options, together)
    } catch (error) {
      await disposeAll(together)
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

async function disposeAll(together: Together | undefined): Promise<void> {
  await Promise.all((together?.companions ?? []).map((companion) => companion[Symbol.asyncDispose]()))
}

/** Begins the transaction; and those of further sessions, where several are to see one moment. */
async function begin(
  engine: ExtractEngine,
  first: Lease,
  table: CatalogueTable | undefined,
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
    // It may still obtain sessions after an abort: these are returned.
    beginning.then(disposeAll, () => undefined)
    throw error
  }
}

/** Read before the snapshot is taken: a transaction that commits between the two must not count as ended. */
async function leastFor(
  ask: AskServer,
  read: BoundSql | CatalogueTable,
  markColumn: string | undefined,
): Promise<string | undefined> {
  if (markColumn === undefined) return undefined
  const columns = 'id' in read ? await readColumns(ask, read) : await describeQuery(ask, compiled(read))
  const isRowVersion = columns.some(({ name, type }) => name === markColumn && type === 'timestamp')
  return isRowVersion ? await leastRowVersion(ask) : undefined
}

async function find(
  lease: Lease,
  given: { readonly schema: string; readonly name: string },
  read: BoundSql | CatalogueTable,
  before: Pick<Ground, 'support' | 'leastRowVersion'>,
): Promise<Found> {
  const { ask } = lease
  const shown = quotedTable(given)
  if (!('id' in read)) {
    const columns = await describeQuery(ask, compiled(read))
    const ground = { ask, shown, columns, ...before, table: undefined, estimatedRows: undefined }
    return { ...given, query: read, ground: { ...ground, ...derived(read, QUERY_ALIAS) } }
  }
  const columns = await readColumns(ask, read)
  const estimatedRows = await estimateRows(ask, read)
  const name = quotedTable(read)
  const place = { before: sql``, from: sql`${name}${read.inMemory ? ' with (snapshot)' : ''}` }
  const ground = { ask, shown: name, columns, ...before, table: read, estimatedRows, ...place }
  return { schema: read.schema, name: read.name, query: undefined, ground }
}

function foreignSnapshot(): PoolsmithError {
  return new PoolsmithError('The plan names a snapshot, which SQL Server does not have.', {
    code: 'PLAN_INVALID',
    phase: 'config',
    hint: 'Run the plan against the database that it was made for.',
  })
}
