/** Opens a table or a query of PostgreSQL: its session, its snapshot, and its columns by the catalogue. */

import type { Client } from 'pg'
import { refuseOtherDatabase } from '../other-database.ts'
import { compileQuery } from '../sql/selection.ts'
import type { ExtractEngine, ExtractSource, OpenOptions, OpenTable, QuerySource } from '../table.ts'
import { describeQuery, findTable, readCatalogue } from './catalogue.ts'
import { databaseOf } from './fingerprint.ts'
import type { Ground } from './ground.ts'
import { Lease } from './lease.ts'
import { beginSnapshot } from './session.ts'
import { fragment, inline, quotedTable, quoteIdentifier } from './sql.ts'
import { PostgresTable } from './table.ts'

const DEFAULT_SCHEMA = 'public'
const DEFAULT_QUERY_SCHEMA = 'query'

/** Opens a table or a query for reading. Dispose what it returns. */
export async function openTable(
  engine: ExtractEngine,
  source: ExtractSource,
  options: OpenOptions = {},
): Promise<OpenTable> {
  const query = 'query' in source ? querySql(source) : undefined
  const given =
    'query' in source
      ? { schema: source.schema ?? DEFAULT_QUERY_SCHEMA, name: source.name }
      : { schema: source.schema ?? DEFAULT_SCHEMA, name: source.table }
  const { signal, snapshot, fingerprint } = options
  const client = (await engine.pool.acquire({ signal }).promise) as Client
  const lease = new Lease(engine, client, quotedTable(given), signal)
  try {
    if (fingerprint !== undefined) {
      refuseOtherDatabase(fingerprint, await lease.run(() => databaseOf(client)))
    }
    const ground = await lease.run(() =>
      query === undefined ? tableGround(client, given, snapshot) : queryGround(client, given, query, snapshot),
    )
    return new PostgresTable(engine, lease, { schema: given.schema, query, ground }, options)
  } catch (error) {
    await lease[Symbol.asyncDispose]()
    throw error
  }
}

function querySql(source: QuerySource): string {
  const compiled = compileQuery(source)
  return fragment(typeof compiled === 'string' ? compiled : inline(compiled))
}

interface Given {
  readonly schema: string
  readonly name: string
}

async function tableGround(client: Client, given: Given, snapshot: string | undefined): Promise<Ground> {
  await beginSnapshot(client, await findTable(client, given.schema, given.name), snapshot)
  // Once more, on the snapshot: until it was locked, the table may have been dropped and created again.
  const table = await findTable(client, given.schema, given.name)
  const catalogue = await readCatalogue(client, table)
  return { client, catalogue, shown: quotedTable(given), name: given.name, from: quotedTable(table), table }
}

async function queryGround(client: Client, given: Given, query: string, snapshot: string | undefined): Promise<Ground> {
  await beginSnapshot(client, undefined, snapshot)
  const catalogue = await describeQuery(client, query)
  const from = `(\n${query}\n) as ${quoteIdentifier(given.name)}`
  return { client, catalogue, shown: quotedTable(given), name: given.name, from, table: undefined }
}
