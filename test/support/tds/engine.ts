/** knex over a pool of our SQL Server driver, as the engine builds it, against the TDS server test double. */

import knex, { type Knex } from 'knex'
import { parseFields } from '../../../src/connections/fields.ts'
import type { Credential } from '../../../src/credentials/credential.ts'
import { staticSource } from '../../../src/credentials/static-source.ts'
import { sqlServerFields } from '../../../src/drivers/sqlserver/options.ts'
import type { SqlServerConnection } from '../../../src/drivers/sqlserver/tedious-connection.ts'
import { ClientBackend } from '../../../src/engine/knex/backend.ts'
import { knexClient } from '../../../src/engine/knex/clients.ts'
import { sqlServerDialect } from '../../../src/engine/sqlserver.ts'
import { EventHub } from '../../../src/pool/events.ts'
import type { PoolOptions } from '../../../src/pool/options.ts'
import { ConnectionPool } from '../../../src/pool/pool.ts'

export interface TestEngine extends AsyncDisposable {
  readonly db: Knex
  readonly pool: ConnectionPool<SqlServerConnection>
}

/** @param target a port of this machine, or a full address */
export async function testEngine(
  target: number | { readonly host: string; readonly port: number; readonly database: string },
  credential: Credential,
  extra: Readonly<Record<string, unknown>> = {},
  options: PoolOptions = {},
): Promise<TestEngine> {
  const { values } = parseFields(sqlServerFields, { encrypt: 'false', ...extra })
  const events = new EventHub()
  const address = typeof target === 'number' ? { host: 'localhost', port: target, database: 'master' } : target
  const connection = { type: 'mssql', ...address, extra: {} } as const
  const build = async (): Promise<ConstructorParameters<typeof ClientBackend>[0]> => {
    const parts = await sqlServerDialect.build(connection, values, { emit: events.emit })
    const pool = new ConnectionPool({ driver: parts.driver, source: staticSource(credential), options, events })
    return { pool, parts }
  }
  const backend = new ClientBackend(await build(), build)
  const { pool } = backend
  const db = knex({ client: await knexClient('mssql', backend), connectionPool: pool })
  return {
    db,
    pool: pool as unknown as ConnectionPool<SqlServerConnection>,
    [Symbol.asyncDispose]: () => pool.destroy(),
  }
}
