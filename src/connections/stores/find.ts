import { didYouMeanSentence, nearNames } from '../../did-you-mean.ts'
import { ConfigError, type ConfigProblem, PoolsmithError } from '../../errors.ts'
import type { Connection } from '../connection.ts'
import { holdsSecret } from '../extra.ts'
import { connectionOf, type ReadConnection } from '../parse.ts'
import { idProblem } from '../record.ts'
import { type Environment, environmentNames, findInEnvironment, listEnvironment } from './environment.ts'
import {
  type ConnectionsFile,
  defaultFiles,
  FILE_VARIABLE,
  locateConnectionsFile,
  readConnectionsFile,
} from './file.ts'
import { readStored } from './stored.ts'

/** Where connections are looked up: first the environment, then one connections file. */
export interface StoreOptions {
  /** Default `process.env`. */
  readonly environment?: Environment
  /**
   * The connections file, relative to `cwd`. Default: the one that `POOLSMITH_CONNECTIONS_FILE` names, else
   * `connections.yaml`, `connections.yml` or `connections.json` in `cwd`, where there is one.
   */
  readonly file?: string
  /** Default: the working folder of the process. */
  readonly cwd?: string
  /** Called for a file that holds secrets and that other users may read, and for keys of a form that are left out. */
  readonly onWarning?: (warning: ConfigProblem) => void
}

/** One connection of {@link listConnections}: `connection`, or `error` with its problems. */
export type ListedConnection = {
  readonly id: string
  /** `environment variable NAME` or `file PATH`. */
  readonly store: string
  /** True when a store that is searched before this one has the same id. */
  readonly shadowed: boolean
  /** Keys of its form that were left out, each with the reason. */
  readonly notes: readonly ConfigProblem[]
  /** Whether an option that is unknown is an error, because its form has no place for others. */
  readonly closed: boolean
} & (
  | { readonly connection: Connection; readonly error?: undefined }
  | { readonly connection?: undefined; readonly error: ConfigError }
)

function withDefaults(options: StoreOptions): { environment: Environment; cwd: string; file?: string } {
  const { environment = process.env, cwd = process.cwd(), file } = options
  return { environment, cwd, file }
}

/**
 * Looks a connection up by its id: `POOLSMITH_CONN_<ID>`, `AIRFLOW_CONN_<ID>` (the id in capital letters), then the
 * connections file.
 *
 * @throws PoolsmithError `CONNECTION_NOT_FOUND` with the places looked at and ids like it;
 *   ConfigError (`CONFIG_INVALID`) for an id that cannot be one, a connection that is wrong, a file that is unreadable
 */
export async function findConnection(id: string, options: StoreOptions = {}): Promise<Connection> {
  return connectionOf(await lookUp(id, options))
}

/**
 * As {@link findConnection}, with the problems of the connection in place of an error.
 *
 * @throws PoolsmithError, ConfigError where no connection is found
 */
export async function lookUp(id: string, options: StoreOptions = {}): Promise<ReadConnection> {
  const problem = idProblem(id)
  if (problem !== undefined) {
    throw new ConfigError([{ path: 'id', message: problem }], {
      hint: 'Give an id, a URI (postgres://...) or JSON ({...}).',
    })
  }
  const places = withDefaults(options)
  const inEnvironment = findInEnvironment(id, places.environment)
  if (inEnvironment !== undefined) return readStored(inEnvironment)

  const path = await locateConnectionsFile(places)
  const file = path === undefined ? undefined : await readConnectionsFile(path)
  const inFile = file?.connections.get(id)
  if (file === undefined || inFile === undefined) throw notFound(id, places, file)
  const read = readStored(inFile)
  if (read.connection !== undefined) warnIfExposed(file, [read.connection], options.onWarning)
  return read
}

/**
 * Every connection in the stores, in the order in which the stores are searched. A wrong one is listed with its
 * error; the others are listed all the same.
 *
 * @throws ConfigError for a connections file that as a whole cannot be read
 */
export async function listConnections(options: StoreOptions = {}): Promise<ListedConnection[]> {
  const places = withDefaults(options)
  const path = await locateConnectionsFile(places)
  const file = path === undefined ? undefined : await readConnectionsFile(path)
  const seen = new Set<string>()
  const listed = [...listEnvironment(places.environment), ...(file?.connections.values() ?? [])].map((stored) => {
    const { id, store } = stored
    const shadowed = seen.has(id.toUpperCase())
    seen.add(id.toUpperCase())
    const { connection, problems, subject, notes, closed } = readStored(stored)
    const head = { id, store, shadowed, notes, closed }
    if (connection !== undefined) return { ...head, connection, error: undefined }
    return { ...head, connection, error: new ConfigError(problems, { subject }) }
  })
  if (file !== undefined) {
    const inFile = listed.filter(({ store }) => store.startsWith('file ')).flatMap(({ connection }) => connection ?? [])
    warnIfExposed(file, inFile, options.onWarning)
  }
  return listed
}

function warnIfExposed(
  file: ConnectionsFile,
  connections: readonly Connection[],
  onWarning: StoreOptions['onWarning'],
): void {
  if (!file.readableByOthers) return
  if (!connections.some(({ password, extra }) => password !== undefined || holdsSecret(extra))) return
  onWarning?.({ path: file.path, message: 'holds secrets and other users may read it; run chmod 600 on it' })
}

function notFound(id: string, places: ReturnType<typeof withDefaults>, file: ConnectionsFile | undefined): Error {
  const known = [...listEnvironment(places.environment).map((stored) => stored.id), ...(file?.connections.keys() ?? [])]
  const near = nearNames(id, new Set(known))
  const lookedAt = [
    ...environmentNames(id).map((name) => `environment variable ${name}`),
    ...(file === undefined ? defaultFiles(places.cwd) : [file.path]).map((path) => `file ${path}`),
  ]
  return new PoolsmithError(
    `No connection is called ${id}.${didYouMeanSentence(near)} Looked at: ${lookedAt.join(', ')}.`,
    {
      code: 'CONNECTION_NOT_FOUND',
      phase: 'config',
      hint: `Set ${environmentNames(id)[0]} to a URI, or name a connections file that has it in ${FILE_VARIABLE}.`,
      details: { id, lookedAt, near },
    },
  )
}
