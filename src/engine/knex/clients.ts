/** The dialect classes that knex uses over a pool of ours, one for each database family. */

import type { Knex } from 'knex'
import type { Dialect } from '../../connections/connection.ts'
import type { ClientBackend } from './backend.ts'

const CLIENTS: Readonly<Record<Dialect, (backend: ClientBackend) => Promise<typeof Knex.Client>>> = {
  postgres: async (backend) => (await import('./postgres-client.ts')).postgresClientClass(backend),
  mssql: async (backend) => (await import('./sqlserver-client.ts')).sqlServerClientClass(backend),
}

/** The class for knex's option `client`. */
export function knexClient(dialect: Dialect, backend: ClientBackend): Promise<typeof Knex.Client> {
  return CLIENTS[dialect](backend)
}
