import type { Connection } from '../connections/connection.ts'
import { holdsSecret } from '../connections/extra.ts'
import { idProblem } from '../connections/record.ts'
import {
  airflowNames,
  type Environment,
  findInEnvironment,
  listEnvironment,
  ownName,
  TEAM_VARIABLE,
  teamKey,
  teamsWith,
} from '../connections/stores/environment.ts'
import {
  type ConnectionsFile,
  defaultFiles,
  FILE_VARIABLE,
  locateConnectionsFile,
  readConnectionsFile,
} from '../connections/stores/file.ts'
import { withService } from '../connections/stores/service.ts'
import { readStored, type Stored } from '../connections/stores/stored.ts'
import { didYouMeanSentence, nearNames } from '../did-you-mean.ts'
import { ConfigError, PoolsmithError } from '../errors.ts'
import type { ListedConnection, LookedUp, StoreOptions } from './options.ts'

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
 * Looks a connection up by its id, in the order of {@link StoreOptions}.
 *
 * @throws PoolsmithError, ConfigError where no connection is found
 */
export async function lookUp(id: string, options: StoreOptions = {}): Promise<LookedUp> {
  const search = new Search(id, options)
  const read = (await search.environment()) ?? (await search.file()) ?? (await search.stores())
  if (read !== undefined) return read
  throw ALMOST_URI.test(id) ? withoutColon() : search.notFound()
}

/** Whether the variables of an Airflow worker name a secrets backend. */
export function namesBackend(environment: Environment): boolean {
  return Boolean(environment['AIRFLOW__WORKERS__SECRETS_BACKEND'] || environment['AIRFLOW__SECRETS__BACKEND'])
}

/** The search for one id. */
class Search {
  readonly #id: string
  readonly #options: StoreOptions
  readonly #places: Places
  readonly #lookedAt: string[] = []
  #file: ConnectionsFile | undefined

  constructor(id: string, options: StoreOptions) {
    const problem = idProblem(id)
    if (problem !== undefined) {
      if (ALMOST_URI.test(id)) throw withoutColon()
      throw new ConfigError([{ path: 'id', message: problem }], {
        hint: 'Give an id, a URI (postgres://...) or JSON ({...}).',
      })
    }
    this.#id = id
    this.#options = options
    this.#places = placesOf(options)
  }

  async environment(): Promise<LookedUp | undefined> {
    const { environment, team } = this.#places
    return (
      (await this.#variables([ownName(this.#id)])) ??
      (namesBackend(environment) ? await this.#ask('backend') : undefined) ??
      (await this.#variables(airflowNames(this.#id, team)))
    )
  }

  async #variables(names: readonly string[]): Promise<LookedUp | undefined> {
    const stored = findInEnvironment(this.#id, this.#places.environment, names)
    if (stored !== undefined) return withService(readStored(stored))
    this.#lookedAt.push(...names.map((name) => `environment variable ${name}`))
    return undefined
  }

  async file(): Promise<LookedUp | undefined> {
    const { team, cwd } = this.#places
    const path = await locateConnectionsFile(this.#places)
    const file = path === undefined ? undefined : await readConnectionsFile(path)
    this.#file = file
    const inFile =
      (team === undefined ? undefined : file?.connections.get(teamKey(this.#id, team))) ??
      file?.connections.get(this.#id)
    if (file === undefined || inFile === undefined) {
      this.#lookedAt.push(...(file === undefined ? defaultFiles(cwd) : [file.path]).map((name) => `file ${name}`))
      return undefined
    }
    const read = await withService(readStored({ ...inFile, id: this.#id }))
    if (read.connection !== undefined) warnIfExposed(file, [read.connection], this.#options.onWarning)
    return read
  }

  async stores(): Promise<LookedUp | undefined> {
    const isAny = this.#options.stores !== undefined || this.#file?.stores !== undefined
    return isAny ? this.#ask('listed') : undefined
  }

  /** Asks the stores that are loaded on demand. */
  async #ask(which: 'backend' | 'listed'): Promise<LookedUp | undefined> {
    const { findInStores } = await import('./find-in-stores.ts')
    const found = await findInStores(this.#id, which, { ...this.#options, ...this.#places }, this.#file, this.#lookedAt)
    if (found === undefined) return undefined
    const read = await withService(readStored(found.stored))
    return { ...read, notes: [...found.notes, ...read.notes], origin: found.origin }
  }

  notFound(): Error {
    return notFound(this.#id, this.#places, this.#file, this.#lookedAt)
  }
}

/** As `listConnections` of the main door. */
export async function listAll(options: StoreOptions): Promise<ListedConnection[]> {
  const places = placesOf(options)
  const path = await locateConnectionsFile(places)
  const file = path === undefined ? undefined : await readConnectionsFile(path)
  const seen = new Set<string>()
  const listed: ListedConnection[] = []
  const inStores = await storedElsewhere({ ...options, ...places }, file)
  const local = [...listEnvironment(places.environment, places.team), ...inFileFor(file, places.team)]
  for (const stored of [...local, ...inStores]) {
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

async function storedElsewhere(options: StoreOptions & Places, file: ConnectionsFile | undefined): Promise<Stored[]> {
  const hasBackend = namesBackend(options.environment)
  if (!hasBackend && options.stores === undefined && file?.stores === undefined) return []
  const { listInStores } = await import('./find-in-stores.ts')
  return listInStores(options, file, hasBackend)
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

function warnIfExposed(
  file: ConnectionsFile,
  connections: readonly Connection[],
  onWarning: StoreOptions['onWarning'],
): void {
  if (!file.readableByOthers) return
  if (!connections.some(({ password, extra }) => password !== undefined || holdsSecret(extra))) return
  onWarning?.({ path: file.path, message: 'holds secrets and other users may read it; run chmod 600 on it' })
}

function notFound(
  id: string,
  { environment, team }: Places,
  file: ConnectionsFile | undefined,
  lookedAt: readonly string[],
): Error {
  const known = [...listEnvironment(environment, team).map((stored) => stored.id), ...(file?.connections.keys() ?? [])]
  const [ofTeam] = teamsWith(id, environment)
  const near = nearNames(id, new Set(known))
  return new PoolsmithError(
    `No connection is called ${id}.${didYouMeanSentence(near)} Looked at: ${lookedAt.join(', ')}.`,
    {
      code: 'CONNECTION_NOT_FOUND',
      phase: 'config',
      hint:
        ofTeam === undefined
          ? `Set ${ownName(id)} to a URI, or name a connections file that has it in ${FILE_VARIABLE}.`
          : `${ofTeam} is the connection of a team; set ${TEAM_VARIABLE} to the name of that team.`,
      details: { id, lookedAt, near },
    },
  )
}
