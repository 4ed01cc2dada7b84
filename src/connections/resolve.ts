import type { Connection } from './connection.ts'
import { isConnectionText } from './forms/forms.ts'
import { type ConnectionInput, connectionOf, type ReadConnection, readConnection } from './parse.ts'
import { lookUp, type StoreOptions, withService } from './stores/find.ts'

/**
 * Reads what `createEngine` and the command line accept as a connection: an object, a text in one of the forms of
 * docs/connections.md, or an id (a text in none of them), which is looked up in the stores.
 *
 * @throws ConfigError (`CONFIG_INVALID`), PoolsmithError (`CONNECTION_NOT_FOUND`)
 */
export async function resolveConnection(input: ConnectionInput, options: StoreOptions = {}): Promise<Connection> {
  return connectionOf(await readInput(input, options))
}

/**
 * As {@link resolveConnection}, with the problems of the connection in place of an error.
 *
 * @throws PoolsmithError, ConfigError where no connection is found
 */
export async function readInput(input: ConnectionInput, options: StoreOptions = {}): Promise<ReadConnection> {
  const isRecord = typeof input !== 'string' || isConnectionText(input)
  const read = isRecord ? await withService(readConnection(input)) : await lookUp(input.trim(), options)
  for (const note of read.notes) options.onWarning?.(note)
  return read
}
