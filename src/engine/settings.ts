/**
 * The checked settings of a connection record: the strategy, and every option of the driver, the pool, the proxy and
 * the strategy, with all problems reported at once.
 */

import type { Connection, Dialect } from '../connections/connection.ts'
import { type Fields, parseFields, type ValuesOf } from '../connections/fields.ts'
import { fromName, type Reference, schemesIn } from '../connections/reference.ts'
import { type ProxyOptions, proxyFields } from '../drivers/network/proxy/options.ts'
import { ConfigError, type ConfigProblem, PoolsmithError } from '../errors.ts'
import { otherPoolsOption, poolFields } from '../pool/options.ts'
import { loginFields, storeFields } from '../stores/fields.ts'
import type { StrategyRegistry } from '../strategies/registry.ts'
import type { Strategy } from '../strategies/strategy.ts'
import type { EngineDialect } from './dialect.ts'
import { type AuditSettings, auditFields, engineFields } from './options.ts'
import { type ReferencedOptions, referenceFields, referencesIn, secretsOf } from './references.ts'

export interface Settings<DriverFields extends Fields> {
  readonly strategy: Strategy
  readonly pool: ValuesOf<typeof poolFields>
  readonly proxy: ProxyOptions
  readonly audit: AuditSettings
  readonly driver: ValuesOf<DriverFields>
  /** The strategy's own options. */
  readonly strategyOptions: Readonly<Record<string, unknown>>
  /** All options together, for a strategy that depends on options of others. */
  readonly all: Readonly<Record<string, unknown>>
  /** The table of all options. */
  readonly fields: Fields
  /** The options that are in stores of secrets. */
  readonly references: ReferencedOptions
  /** Problems of single options; each of these options has its default in the values. */
  readonly problems: readonly ConfigProblem[]
  readonly warnings: readonly ConfigProblem[]
}

/**
 * Reads the extras of a connection, with `overrides` (the caller's options under the same names) on top.
 *
 * @param closed whether an option that is unknown is an error
 * @param scheme the store that gave the connection, whose options are known too
 * @throws PoolsmithError STRATEGY_UNKNOWN when no strategy has the given `auth_method`, or ConfigError when that is
 *   not the only problem
 */
export function resolveSettings<DriverFields extends Fields>(
  connection: Pick<Connection, 'type' | 'extra' | 'login' | 'password'>,
  { fields: driverFields, foreign }: Pick<EngineDialect<DriverFields>, 'fields' | 'foreign'>,
  registry: StrategyRegistry,
  overrides: Readonly<Record<string, unknown>> = {},
  closed = false,
  scheme?: Reference['scheme'],
): Settings<DriverFields> {
  const given: Record<string, unknown> = { ...connection.extra }
  for (const [key, value] of Object.entries(overrides)) if (value !== undefined) given[key] = value

  const { values: head } = parseFields(engineFields, given)
  const strategy = selected(registry, connection.type, head.auth_method ?? defaultStrategy(connection, given))
  const known = strategy instanceof PoolsmithError ? undefined : strategy
  const schemes = [scheme, known?.logsInto].filter((one) => one !== undefined)
  const logins = loginFields([...schemesIn(given), ...schemes], given)
  const fields = { ...engineFields, ...poolFields, ...auditFields, ...proxyFields, ...driverFields, ...known?.fields }
  const parsed = parseFields(
    {
      ...logins,
      ...fields,
      ...referenceFields(fields),
      ...storeFields,
    },
    given,
    {
      strict: head.strict_extras,
      closed,
      defaults: known === undefined ? undefined : defaultsOf(known, given),
      elsewhere: (key) => ownerOf(key, connection.type, known, registry) ?? otherPoolsOption(key),
      foreign,
    },
  )
  const { references, problems: saidTwice } = referencesIn(parsed.values, connection)
  const problems = [...parsed.problems, ...saidTwice]
  if (strategy instanceof PoolsmithError) {
    if (problems.length === 0) throw strategy
    throw new ConfigError([{ path: 'extra.auth_method', message: `${strategy.message} ${strategy.hint}` }, ...problems])
  }
  const all: Readonly<Record<string, unknown>> = { ...parsed.values, ...secretsOf(fields, references) }
  return {
    strategy,
    pool: pick(all, poolFields) as ValuesOf<typeof poolFields>,
    proxy: pick(all, proxyFields) as ProxyOptions,
    audit: pick(all, auditFields) as AuditSettings,
    driver: pick(all, driverFields) as ValuesOf<DriverFields>,
    strategyOptions: pick(all, strategy.logsInto === undefined ? strategy.fields : { ...logins, ...strategy.fields }),
    all,
    fields,
    references,
    problems,
    warnings: parsed.warnings,
  }
}

function defaultsOf(strategy: Strategy, given: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const own = strategy.defaultsFor?.(parseFields(strategy.fields, given).values)
  return { ...strategy.defaults, ...own }
}

/** SQL Server admits a client without a login only by Windows authentication, as Microsoft's drivers name it. */
function defaultStrategy(
  { type, login }: Pick<Connection, 'type' | 'login'>,
  given: Readonly<Record<string, unknown>>,
): string {
  const hasLogin = login !== undefined || given[fromName('login')] !== undefined
  return type === 'mssql' && !hasLogin ? 'kerberos' : 'password'
}

/** The strategy, or the error that there is none of this name: the record may have further problems. */
function selected(registry: StrategyRegistry, type: Dialect, name: string): Strategy | PoolsmithError {
  try {
    return registry.select(type, name)
  } catch (error) {
    if (error instanceof PoolsmithError) return error
    throw error
  }
}

/** A key of another strategy is not a misspelling: the message names the strategy that it belongs to. */
function ownerOf(
  key: string,
  type: Dialect,
  chosen: Strategy | undefined,
  registry: StrategyRegistry,
): string | undefined {
  const owner = registry
    .list(type)
    .find((strategy) =>
      Object.entries(strategy.fields).some(([name, field]) => name === key || field.aliases.includes(key)),
    )
  if (owner === undefined) return undefined
  return `belongs to auth_method=${owner.name} and has no effect under ${chosen?.name ?? 'the one that was given'}`
}

function pick(values: Readonly<Record<string, unknown>>, fields: Fields): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.keys(fields).map((name) => [name, values[name]]))
}
