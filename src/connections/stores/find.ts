import { didYouMeanSentence, nearNames } from '../../did-you-mean.ts'
import { ConfigError, type ConfigProblem, PoolsmithError } from '../../errors.ts'
import type { Connection } from '../connection.ts'
import { holdsSecret } from '../extra.ts'
import { connectionOf, type ReadConnection } from '../parse.ts'
import { idProblem } from '../record.ts'
import {
  type Environment,
  environmentNames,
  findInEnvironment,
  listEnvironment,
  TEAM_VARIABLE,
  teamKey,
  teamsWith,
} from './environment.ts'
import {
  type ConnectionsFile,
  defaultFiles,
  FILE_VARIABLE,
  locateConnectionsFile,
  readConnectionsFile,
} from './file.ts'
import { readStored, type Stored } from './stored.ts'

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
  /**
   * The team of Airflow whose connections come before those of all teams: `AIRFLOW_CONN__<TEAM>___<ID>` in the
   * environment, `<team>___<id>` in the file. Default: `POOLSMITH_TEAM`, else no team.
   */
  readonly team?: string
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

interface Places {
  readonly environment: Environment
  readonly cwd: string
  readonly file?: string
  readonly team?: string
}

/** @throws ConfigError for the name of a team that cannot be one */
function placesOf(options: StoreOptions): Places {
  const { environment = process.env, cwd = process.cwd(), file } = options
  const team = options.team || environment[TEAM_VARIABLE] || undefined
  if (team === undefined || TEAM.test(team)) return { environment, cwd, file, team }
  throw new ConfigError([{ path: 'team', message: 'expected 3 to 50 letters, digits and hyphens' }], {
    subject: options.team ? 'The stores of connections' : `The environment variable ${TEAM_VARIABLE}`,
  })
}

/** How a URI begins that lacks a part of its `://`. */
const ALMOST_URI = /^[a-z][\w+.-]*(\/\/|:\/(?!\/))/i

/** The text is not repeated, because it may hold a password. */
function withoutColon(): ConfigError {
  return new ConfigError([{ path: '', message: '`://` is missing behind the scheme of the URI' }], {
    hint: 'Write it as in postgres://etl@db.example.com/sales.',
  })
}

/** The names that Airflow gives teams. */
const TEAM = /^[A-Za-z0-9-]{3,50}$/

/**
 * Looks a connection up by its id: `POOLSMITH_CONN_<ID>`, `AIRFLOW_CONN_<ID>` (the id in capital letters), then the
 * connections file. The connection of a team comes before that of all teams.
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
    if (ALMOST_URI.test(id)) throw withoutColon()
    throw new ConfigError([{ path: 'id', message: problem }], {
      hint: 'Give an id, a URI (postgres://...) or JSON ({...}).',
    })
  }
  const places = placesOf(options)
  const { team } = places
  const inEnvironment = findInEnvironment(id, places.environment, team)
  if (inEnvironment !== undefined) return withService(readStored(inEnvironment))

  const path = await locateConnectionsFile(places)
  const file = path === undefined ? undefined : await readConnectionsFile(path)
  const inFile =
    (team === undefined ? undefined : file?.connections.get(teamKey(id, team))) ?? file?.connections.get(id)
  if (file === undefined || inFile === undefined) {
    throw ALMOST_URI.test(id) ? withoutColon() : notFound(id, places, file)
  }
  const read = await withService(readStored({ ...inFile, id }))
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
  const places = placesOf(options)
  const path = await locateConnectionsFile(places)
  const file = path === undefined ? undefined : await readConnectionsFile(path)
  const seen = new Set<string>()
  const listed: ListedConnection[] = []
  for (const stored of [...listEnvironment(places.environment, places.team), ...inFileFor(file, places.team)]) {
    const { id, store } = stored
    const shadowed = seen.has(id.toUpperCase())
    seen.add(id.toUpperCase())
    const { connection, problems, subject, notes, closed } = await withService(readStored(stored))
    const head = { id, store, shadowed, notes, closed }
    listed.push(
      connection === undefined
        ? { ...head, connection, error: new ConfigError(problems, { subject }) }
        : { ...head, connection, error: undefined },
    )
  }
  if (file !== undefined) {
    const inFile = listed.filter(({ store }) => store.startsWith('file ')).flatMap(({ connection }) => connection ?? [])
    warnIfExposed(file, inFile, options.onWarning)
  }
  return listed
}

/** The connections of the file, those of the team first and under their own ids. */
function inFileFor(file: ConnectionsFile | undefined, team: string | undefined): readonly Stored[] {
  const all = [...(file?.connections.values() ?? [])]
  if (team === undefined) return all
  const prefix = teamKey('', team)
  const own = all.filter(({ id }) => id.startsWith(prefix))
  return [
    ...own.map((stored) => ({ ...stored, id: stored.id.slice(prefix.length) })),
    ...all.filter((stored) => !own.includes(stored)),
  ]
}

/** With `service` replaced by what it says, where the record names one. */
export async function withService(read: ReadConnection): Promise<ReadConnection> {
  if (read.connection?.extra['service'] === undefined) return read
  const { readService } = await import('./service-file.ts')
  return readService(read)
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

function notFound(id: string, places: Places, file: ConnectionsFile | undefined): Error {
  const { environment, team } = places
  const known = [...listEnvironment(environment, team).map((stored) => stored.id), ...(file?.connections.keys() ?? [])]
  const [ofTeam] = teamsWith(id, environment)
  const near = nearNames(id, new Set(known))
  const lookedAt = [
    ...environmentNames(id, team).map((name) => `environment variable ${name}`),
    ...(file === undefined ? defaultFiles(places.cwd) : [file.path]).map((path) => `file ${path}`),
  ]
  return new PoolsmithError(
    `No connection is called ${id}.${didYouMeanSentence(near)} Looked at: ${lookedAt.join(', ')}.`,
    {
      code: 'CONNECTION_NOT_FOUND',
      phase: 'config',
      hint:
        ofTeam === undefined
          ? `Set ${environmentNames(id)[0]} to a URI, or name a connections file that has it in ${FILE_VARIABLE}.`
          : `${ofTeam} is the connection of a team; set ${TEAM_VARIABLE} to the name of that team.`,
      details: { id, lookedAt, near },
    },
  )
}
