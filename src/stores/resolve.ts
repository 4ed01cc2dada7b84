import type { Connection } from '../connections/connection.ts'
import { isConnectionText } from '../connections/forms/forms.ts'
import { type ConnectionInput, connectionOf, readConnection } from '../connections/parse.ts'
import { namesScheme } from '../connections/reference.ts'
import { withService } from '../connections/stores/service.ts'
import type { ListedConnection, LookedUp, StoreOptions } from './options.ts'

/**
 * Reads what `createEngine` and the command line accept as a connection: an object, a text in one of the forms of
 * docs/connections.md, a reference to a record in a store (`vault:secret/sales`), or an id (a text in none of them), which
 * is looked up in the stores.
 *
 * @throws ConfigError (`CONFIG_INVALID`), PoolsmithError (`CONNECTION_NOT_FOUND`, SECRET_…, STORE_…)
 *
 * @example
 * const { host, port } = await resolveConnection('sales') // AIRFLOW_CONN_SALES, connections.yaml, ...
 */
export async function resolveConnection(input: ConnectionInput, options: StoreOptions = {}): Promise<Connection> {
  const read = await readInput(input, options)
  read.origin?.close()
  return connectionOf(read)
}

/**
 * As {@link resolveConnection}, with the problems of the connection in place of an error.
 *
 * @param extra options of a store that a reference names
 * @throws PoolsmithError, ConfigError where no connection is found
 */
export async function readInput(
  input: ConnectionInput,
  options: StoreOptions = {},
  extra: Readonly<Record<string, unknown>> = {},
): Promise<LookedUp> {
  const read = await readAny(input, options, extra)
  for (const note of read.notes) options.onWarning?.(note)
  return read
}

/** Stands before an id where it is a reference. */
const STORE = 'store:'

async function readAny(
  input: ConnectionInput,
  options: StoreOptions,
  extra: Readonly<Record<string, unknown>>,
): Promise<LookedUp> {
  if (typeof input !== 'string' || isConnectionText(input)) return withService(readConnection(input))
  const text = input.trim()
  const isId = !namesScheme(text)
  if (isId || text.startsWith(STORE)) return lookUp(isId ? text : text.slice(STORE.length), options)
  const { readReferenced } = await import('./read-referenced.ts')
  const { read, origin } = await readReferenced(text, extra, options)
  return { ...(await withService(read)), origin }
}

/** Most programs have their connections as texts or objects, so the code for ids is loaded on demand. */
async function lookUp(id: string, options: StoreOptions): Promise<LookedUp> {
  return (await import('./find.ts')).lookUp(id, options)
}

/**
 * Looks a connection up by its id, in the order that {@link StoreOptions} has. The connection of a team comes before that
 * of all teams.
 *
 * @throws PoolsmithError `CONNECTION_NOT_FOUND` with the places looked at and ids like it; STORE_… and others of a store
 *   that could not be asked; ConfigError (`CONFIG_INVALID`) for an id that cannot be one, a connection that is wrong, a
 *   file that is unreadable
 *
 * @example
 * const connection = await findConnection('sales', { file: '/etc/etl/connections.yaml' })
 */
export async function findConnection(id: string, options: StoreOptions = {}): Promise<Connection> {
  const read = await lookUp(id, options)
  read.origin?.close()
  return connectionOf(read)
}

/**
 * Every connection in the stores, in the order in which the stores are searched. A wrong one is listed with its
 * error; the others are listed all the same.
 *
 * @throws ConfigError for a connections file that as a whole cannot be read
 *
 * @example
 * for (const { id, error } of await listConnections()) if (error) console.log(id, error.message)
 */
export async function listConnections(options: StoreOptions = {}): Promise<ListedConnection[]> {
  return (await import('./find.ts')).listAll(options)
}
