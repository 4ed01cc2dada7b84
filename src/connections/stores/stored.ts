import { printable } from '../../printable.ts'
import { type ConnectionInput, type ReadConnection, readConnection } from '../parse.ts'

/** A connection as a store holds it, before it is parsed. */
export interface Stored {
  readonly id: string
  /** Where it is: `environment variable AIRFLOW_CONN_SALES`, `file /etc/app/connections.yaml`. */
  readonly store: string
  readonly value: ConnectionInput
}

/** Parses it. Its problems name the connection and its store. */
export function readStored({ id, store, value }: Stored): ReadConnection {
  return readConnection(value, { id, subject: printable(`The connection ${JSON.stringify(id)} in ${store}`) })
}
