/** From a connection record to all that is decided before anything is loaded or opened. */

import type { Connection } from '../connections/connection.ts'
import { readablePartOf } from '../connections/parse.ts'
import { checkProxyOptions } from '../drivers/network/proxy/options.ts'
import { ConfigError, type ConfigProblem, PoolsmithError } from '../errors.ts'
import type { StrategyRegistry } from '../strategies/registry.ts'
import type { EngineDialect, Normalised } from './dialect.ts'
import { loadDialect } from './load-dialect.ts'
import { resolveSettings, type Settings } from './settings.ts'

export interface Configuration {
  /** In our words, whoever's the given ones were. */
  readonly connection: Connection
  readonly dialect: EngineDialect
  readonly settings: Settings<EngineDialect['fields']>
  /** What is to be told to whoever wrote the record. */
  readonly warnings: readonly ConfigProblem[]
}

export interface ConfigureOptions {
  readonly registry: StrategyRegistry
  /** Extras that come before the connection's own. */
  readonly overrides?: Readonly<Record<string, unknown>>
  readonly environment?: Readonly<Record<string, string | undefined>>
}

/**
 * Chooses the strategy, and reads and checks every option.
 *
 * @throws ConfigError with all problems at once; PoolsmithError STRATEGY_UNKNOWN when that is the only one
 */
export async function configure(given: Connection, options: ConfigureOptions): Promise<Configuration> {
  const dialect = await loadDialect(given.type)
  const { connection, settings, notes, problems } = settle(given, dialect, options)
  if (problems.length > 0) {
    throw new ConfigError(problems, given.id === undefined ? {} : { subject: `The connection ${given.id}` })
  }
  return { connection, dialect, settings, warnings: [...notes, ...settings.warnings] }
}

/** The problems of a record together with those of its extras, which are known only once the record has been read. */
export async function withProblemsOfExtras(error: ConfigError, options: ConfigureOptions): Promise<ConfigError> {
  const part = readablePartOf(error)
  if (part === undefined) return error
  const { subject, ...record } = part
  const dialect = await loadDialect(record.type)
  try {
    const { problems } = settle(record, dialect, options)
    return problems.length === 0 ? error : new ConfigError([...error.problems, ...problems], { subject })
  } catch (more) {
    return new ConfigError([...error.problems, ...problemsIn(more)], { subject })
  }
}

function settle(
  given: Connection,
  dialect: EngineDialect,
  { registry, overrides = {}, environment = process.env }: ConfigureOptions,
): Omit<Normalised, 'overrides'> & Pick<Configuration, 'settings'> {
  const inOurWords = dialect.normalise?.(given, overrides) ?? { connection: given, overrides, notes: [], problems: [] }
  const { connection, notes, problems } = inOurWords
  try {
    const settings = resolveSettings(connection, dialect, registry, inOurWords.overrides)
    const together = [
      ...dialect.check(connection, settings.driver),
      ...checkProxyOptions(settings.proxy, environment, connection.host),
      ...(settings.strategy.check?.(connection, settings.strategyOptions, environment) ?? []),
    ]
    return { connection, settings, notes, problems: firstOfEach([...problems, ...settings.problems, ...together]) }
  } catch (error) {
    throw problems.length === 0 ? error : new ConfigError([...problems, ...problemsIn(error)])
  }
}

/** One problem for each path: an option that cannot be read stands at its default for the checks behind it. */
function firstOfEach(problems: readonly ConfigProblem[]): readonly ConfigProblem[] {
  const byPath = new Map<string, ConfigProblem>()
  for (const problem of problems) if (!byPath.has(problem.path)) byPath.set(problem.path, problem)
  return [...byPath.values()]
}

/** What an error about the configuration says as a list of problems; any other error is thrown on. */
function problemsIn(error: unknown): readonly ConfigProblem[] {
  if (error instanceof ConfigError) return error.problems
  if (!(error instanceof PoolsmithError)) throw error
  if (error.code !== 'STRATEGY_UNKNOWN') return []
  return [{ path: 'extra.auth_method', message: `${error.message} ${error.hint ?? ''}` }]
}
