/** The decisions about a connection record before a driver is loaded or a session is opened. */

import type { Connection } from '../connections/connection.ts'
import type { Fields } from '../connections/fields.ts'
import type { ReadConnection } from '../connections/parse.ts'
import type { Reference } from '../connections/reference.ts'
import { checkProxyOptions } from '../drivers/network/proxy/options.ts'
import { ConfigError, type ConfigProblem, PoolsmithError } from '../errors.ts'
import type { StoreFieldValues } from '../stores/fields.ts'
import type { StrategyRegistry } from '../strategies/registry.ts'
import type { EngineDialect, Normalised } from './dialect.ts'
import { loadDialect } from './load-dialect.ts'
import { withParts } from './references.ts'
import { resolveSettings, type Settings } from './settings.ts'

export interface Configuration {
  /** The record with every option under our name for it. */
  readonly connection: Connection
  readonly dialect: EngineDialect
  readonly settings: Settings<EngineDialect['fields']>
  /** Warnings for the author of the record. */
  readonly warnings: readonly ConfigProblem[]
}

export interface ConfigureOptions {
  readonly registry: StrategyRegistry
  /** Extras that take precedence over the connection's own. */
  readonly overrides?: Readonly<Record<string, unknown>>
  /** Where overrides are written that are no extras, by the path that each has in the connection. */
  readonly writtenAt?: ReadonlyMap<string, string>
  readonly environment?: Readonly<Record<string, string | undefined>>
  /** Whether an option that is unknown is an error: the connection is written in a form that has no place for others. */
  readonly closed?: boolean
  /** The store that gave the connection, whose options are known too. */
  readonly scheme?: Reference['scheme'] | undefined
}

/**
 * Chooses the strategy, and reads and checks every option.
 *
 * @throws ConfigError with all problems at once; PoolsmithError STRATEGY_UNKNOWN when that is the only one
 */
export async function configure(given: Connection, options: ConfigureOptions): Promise<Configuration> {
  const dialect = await loadDialect(given.type)
  const { connection, settings, notes, problems } = await settle(given, dialect, options)
  if (problems.length > 0) throw new ConfigError(problems, { subject: subjectOf(problems, given, options) })
  return { connection, dialect, settings, warnings: [...notes, ...settings.warnings] }
}

/** The place of the problems: the record, or the options of the call. */
function subjectOf(
  problems: readonly ConfigProblem[],
  { id }: Connection,
  { writtenAt }: ConfigureOptions,
): string | undefined {
  const places = new Set(writtenAt?.values())
  if (problems.every(({ path }) => places.has(path))) return 'The second argument'
  return id === undefined ? undefined : `The connection ${id}`
}

/**
 * Refuses a connection that could be read in part only, with its problems and those of the options in it.
 *
 * @throws ConfigError
 */
export async function refuse({ part, problems, subject }: ReadConnection, options: ConfigureOptions): Promise<never> {
  const more = part === undefined ? [] : await problemsOfExtras(part, await loadDialect(part.type), options)
  throw new ConfigError([...problems, ...more], { subject })
}

async function problemsOfExtras(
  part: Connection,
  dialect: EngineDialect,
  options: ConfigureOptions,
): Promise<readonly ConfigProblem[]> {
  try {
    return (await settle(part, dialect, options)).problems
  } catch (error) {
    return problemsIn(error)
  }
}

async function settle(
  given: Connection,
  dialect: EngineDialect,
  { registry, overrides = {}, environment = process.env, closed = false, scheme, writtenAt }: ConfigureOptions,
): Promise<Omit<Normalised, 'overrides'> & Pick<Configuration, 'settings'>> {
  const inOurWords = dialect.normalise?.(given, overrides) ?? { connection: given, overrides, notes: [], problems: [] }
  const { connection, notes, problems } = inOurWords
  try {
    const settings = resolveSettings(connection, dialect, registry, inOurWords.overrides, closed, scheme)
    const whole = withParts(connection, settings.references)
    const together = [
      ...dialect.check(whole, settings.driver),
      ...checkProxyOptions(settings.proxy, environment, connection.host),
      ...((await settings.strategy.check?.(whole, settings.strategyOptions, environment)) ?? []),
      ...(await problemsOfStores(settings, environment, connection)),
    ]
    const warnings = placed(settings.warnings, writtenAt)
    const all = firstOfEach([...problems, ...settings.problems, ...together])
    return { connection, settings: { ...settings, warnings }, notes, problems: placed(all, writtenAt) }
  } catch (error) {
    throw problems.length === 0 ? error : new ConfigError([...problems, ...problemsIn(error)])
  }
}

/** Most connections have no reference to a store, so the checks of stores are loaded on demand. */
async function problemsOfStores(
  { references, all }: Settings<Fields>,
  environment: Readonly<Record<string, string | undefined>>,
  connection: Connection,
): Promise<readonly ConfigProblem[]> {
  if (references.size === 0) return []
  const { storeProblems } = await import('../stores/problems.ts')
  return storeProblems(references, all as StoreFieldValues, environment, connection)
}

/** The problems with the paths that their author wrote. */
function placed(
  problems: readonly ConfigProblem[],
  writtenAt: ConfigureOptions['writtenAt'],
): readonly ConfigProblem[] {
  if (writtenAt === undefined) return problems
  return problems.map((problem) => ({ ...problem, path: writtenAt.get(problem.path) ?? problem.path }))
}

/** One problem for each path: later checks see an option that could not be read at its default. */
function firstOfEach(problems: readonly ConfigProblem[]): readonly ConfigProblem[] {
  const byPath = new Map<string, ConfigProblem>()
  for (const problem of problems) if (!byPath.has(problem.path)) byPath.set(problem.path, problem)
  return [...byPath.values()]
}

/** The problems that an error about the configuration names. @throws any other error */
function problemsIn(error: unknown): readonly ConfigProblem[] {
  if (error instanceof ConfigError) return error.problems
  if (!(error instanceof PoolsmithError)) throw error
  if (error.code !== 'STRATEGY_UNKNOWN') return []
  return [{ path: 'extra.auth_method', message: `${error.message} ${error.hint ?? ''}` }]
}
