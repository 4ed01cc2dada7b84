import type { Connection } from '../connection.ts'
import { type ConnectionInput, parseConnection } from '../parse.ts'

/** A connection as a store holds it, not yet read. */
export interface Stored {
  readonly id: string
  /** Where it is: `environment variable AIRFLOW_CONN_SALES`, `file /etc/app/connections.yaml`. */
  readonly store: string
  readonly value: ConnectionInput
}

/** @throws ConfigError that names the connection and its store */
export function parseStored({ id, store, value }: Stored): Connection {
  return parseConnection(value, { id, subject: `The connection ${JSON.stringify(id)} in ${store}` })
}
