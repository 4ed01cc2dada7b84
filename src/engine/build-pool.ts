import type { Connection } from '../connections/connection.ts'
import type { ConnectionInput } from '../connections/parse.ts'
import { resolveConnection } from '../connections/resolve.ts'
import type { StoreOptions } from '../connections/stores/find.ts'
import { endingSource } from '../credentials/ending-source.ts'
import type { ProxyOptions } from '../drivers/network/proxy/options.ts'
import type { Proxies, ProxyContext } from '../drivers/network/proxy/proxies.ts'
import { ConfigError, type ConfigProblem } from '../errors.ts'
import type { EventName } from '../events.ts'
import { EventHub, type Listener } from '../pool/events.ts'
import type { PoolOptions } from '../pool/options.ts'
import { ConnectionPool } from '../pool/pool.ts'
import { strategies } from '../strategies/index.ts'
import type { StrategyRegistry } from '../strategies/registry.ts'
import { configure, withProblemsOfExtras } from './configure.ts'
import type { DialectParts } from './dialect.ts'

/** The pool's options, under their names in the extras, and what only a program can give. */
export interface BuildPoolOptions extends PoolOptions {
  /** Extras that take the place of the connection's own, such as `{ sslmode: 'verify-ca' }`. */
  readonly extra?: Readonly<Record<string, unknown>>
  /** Listeners that are there before the first connection is opened. More can be added with `pool.on`. */
  readonly on?: { readonly [Name in EventName]?: Listener<Name> }
  /** The strategies to choose from. Default: the built-in ones and those added with `register`. */
  readonly registry?: StrategyRegistry
  /** Where connection ids are looked up, and the environment that strategies read. */
  readonly stores?: StoreOptions
}

export interface BuiltPool {
  readonly pool: ConnectionPool<object>
  readonly parts: DialectParts
  /** In our words, whoever's the given ones were. */
  readonly connection: Connection
  /** The name of the strategy in use. */
  readonly strategy: string
}

/**
 * From a connection in any form to a pool: the strategy, its source of credentials, the driver. Opens nothing.
 *
 * @param accept says what is wrong with a connection that was found, for a caller that does not take every one
 */
export async function buildPool(
  input: ConnectionInput,
  options: BuildPoolOptions,
  accept: (connection: Connection) => ConfigProblem | undefined = () => undefined,
): Promise<BuiltPool> {
  const { extra, on, registry = strategies, stores = {}, ...poolOptions } = options
  const events = new EventHub()
  for (const [name, listener] of Object.entries(on ?? {})) {
    if (listener !== undefined) events.on(name as EventName, listener as Listener<EventName>)
  }
  const warn = (warning: ConfigProblem): void => {
    events.emit('config:warning', warning)
    process.emitWarning(`${warning.path}: ${warning.message}`, { type: 'PoolsmithWarning', code: 'CONFIG_WARNING' })
  }

  const { environment = process.env } = stores
  const choices = { registry, overrides: { ...extra, ...poolOptions }, environment }
  const given = await resolveConnection(input, { onWarning: warn, ...stores }).catch(async (error: unknown) => {
    throw error instanceof ConfigError ? await withProblemsOfExtras(error, choices) : error
  })
  const unacceptable = accept(given)
  if (unacceptable !== undefined) throw new ConfigError([unacceptable])
  const { connection, dialect, settings, warnings } = await configure(given, choices)
  warnings.forEach(warn)

  const proxies = await loadProxies(settings.proxy, { environment, emit: events.emit })
  const parts = await dialect.build(connection, settings.driver, events.emit, proxies?.route)
  const source = await settings.strategy.credentials(connection, settings.strategyOptions, {
    emit: events.emit,
    listens: (name) => events.interest(name)(),
    environment,
    settings: settings.all,
    ...(proxies === undefined ? {} : { agents: proxies.agents }),
  })
  const pool = new ConnectionPool({
    driver: parts.driver,
    source: proxies === undefined ? source : endingSource(source, () => closeAgents(proxies)),
    options: settings.pool,
    events,
  })
  return { pool, parts, connection, strategy: settings.strategy.name }
}

function closeAgents({ agents }: Proxies): void {
  agents.http.destroy()
  agents.https.destroy()
}

/** Most connections go through no proxy, and pay nothing for those that do. */
async function loadProxies(options: ProxyOptions, context: ProxyContext): Promise<Proxies | undefined> {
  if (options.proxy === undefined) return undefined
  const { createProxies } = await import('../drivers/network/proxy/proxies.ts')
  return createProxies(options, context)
}
