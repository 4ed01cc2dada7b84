import type { Connection } from './connection.ts'
import { type ConnectionInput, parseConnection } from './parse.ts'
import { findConnection, type StoreOptions } from './stores/find.ts'

/**
 * What `createEngine` and the command line accept as a connection: an object, a URI or JSON text, which are parsed
 * in place, or an id (a text without `://` that does not begin with `{`), which is looked up in the stores.
 *
 * @throws ConfigError (`CONFIG_INVALID`), PoolsmithError (`CONNECTION_NOT_FOUND`)
 */
export async function resolveConnection(input: ConnectionInput, options: StoreOptions = {}): Promise<Connection> {
  if (typeof input !== 'string') return parseConnection(input)
  const given = input.trim()
  return given.startsWith('{') || given.includes('://') ? parseConnection(given) : findConnection(given, options)
}
