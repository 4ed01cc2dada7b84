/**
 * From a connection record to checked settings: which strategy, and every option of the driver, the pool, the proxy
 * and the strategy, with all problems reported at once.
 */

import type { Connection } from '../connections/connection.ts'
import { type Fields, parseFields, type ValuesOf } from '../connections/fields.ts'
import { type ProxyOptions, proxyFields } from '../drivers/network/proxy/options.ts'
import { ConfigError, type ConfigProblem } from '../errors.ts'
import { poolFields } from '../pool/options.ts'
import type { StrategyRegistry } from '../strategies/registry.ts'
import type { Strategy } from '../strategies/strategy.ts'
import { engineFields } from './options.ts'

export interface Settings<DriverFields extends Fields> {
  readonly strategy: Strategy
  readonly pool: ValuesOf<typeof poolFields>
  readonly proxy: ProxyOptions
  readonly driver: ValuesOf<DriverFields>
  /** The strategy's own options. */
  readonly strategyOptions: Readonly<Record<string, unknown>>
  /** Everything together, for a strategy that looks beyond its own options. */
  readonly all: Readonly<Record<string, unknown>>
  readonly warnings: readonly ConfigProblem[]
}

/**
 * Reads the extras of a connection, with `overrides` (the caller's options under the same names) on top.
 *
 * @throws ConfigError with every problem; `STRATEGY_UNKNOWN` when no strategy has the given `auth_method`
 */
export function resolveSettings<DriverFields extends Fields>(
  connection: Connection,
  driverFields: DriverFields,
  registry: StrategyRegistry,
  overrides: Readonly<Record<string, unknown>> = {},
): Settings<DriverFields> {
  const given: Record<string, unknown> = { ...connection.extra }
  for (const [key, value] of Object.entries(overrides)) if (value !== undefined) given[key] = value

  const { values: head } = parseFields(engineFields, given)
  const strategy = registry.select(connection.type, head.auth_method)
  const fields = { ...engineFields, ...poolFields, ...proxyFields, ...driverFields, ...strategy.fields }
  const parsed = parseFields(fields, given, {
    strict: head.strict_extras,
    ...(strategy.defaults === undefined ? {} : { defaults: strategy.defaults }),
    elsewhere: (key) => ownerOf(key, connection, strategy, registry),
  })
  const problems: ConfigProblem[] = [...parsed.problems]
  if (problems.length > 0) throw new ConfigError(problems)

  const all = parsed.values as Readonly<Record<string, unknown>>
  return {
    strategy,
    pool: pick(all, poolFields) as ValuesOf<typeof poolFields>,
    proxy: pick(all, proxyFields) as ProxyOptions,
    driver: pick(all, driverFields) as ValuesOf<DriverFields>,
    strategyOptions: pick(all, strategy.fields),
    all,
    warnings: parsed.warnings,
  }
}

/** A key that means something under another `auth_method` is no slip of the pen; say whose it is. */
function ownerOf(
  key: string,
  connection: Connection,
  chosen: Strategy,
  registry: StrategyRegistry,
): string | undefined {
  const owner = registry
    .list(connection.type)
    .find((strategy) =>
      Object.entries(strategy.fields).some(([name, field]) => name === key || field.aliases.includes(key)),
    )
  if (owner === undefined) return undefined
  return `belongs to auth_method=${owner.name} and has no effect under ${chosen.name}`
}

function pick(values: Readonly<Record<string, unknown>>, fields: Fields): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.keys(fields).map((name) => [name, values[name]]))
}
