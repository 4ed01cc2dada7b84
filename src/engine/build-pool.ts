import type { Connection } from '../connections/connection.ts'
import type { ConnectionInput } from '../connections/parse.ts'
import { readInput } from '../connections/resolve.ts'
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
import { configure, refuse } from './configure.ts'
import type { DialectParts } from './dialect.ts'

/** Options that every data layer takes: the pool's, under their names in the extras, and those that are no text. */
export interface BuildPoolOptions extends PoolOptions {
  /** Extras that take the place of the connection's own, such as `{ sslmode: 'verify-ca' }`. */
  readonly extra?: Readonly<Record<string, unknown>>
  /** Listeners that are added before the first connection is opened. `pool.on` adds more. */
  readonly on?: { readonly [Name in EventName]?: Listener<Name> }
  /** The strategies to choose from. Default: the built-in ones and those added with `register`. */
  readonly registry?: StrategyRegistry
  /** Where connection ids are looked up, and the environment that strategies read. */
  readonly stores?: StoreOptions
}

export interface BuiltPool {
  readonly pool: ConnectionPool<object>
  readonly parts: DialectParts
  /** The record with every option under our name for it. */
  readonly connection: Connection
  /** The name of the strategy in use. */
  readonly strategy: string
}

/**
 * Makes a pool of a connection in any form: the strategy, its source of credentials, the driver. Opens nothing.
 *
 * @param accept gives what is wrong with the connection, for a caller that takes connections of one database only
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
  const read = await readInput(input, { onWarning: warn, ...stores })
  const given = read.connection ?? (await refuse(read, choices))
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
    agents: proxies?.agents,
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

/** Most connections go through no proxy, so the code for proxies is loaded on demand. */
async function loadProxies(options: ProxyOptions, context: ProxyContext): Promise<Proxies | undefined> {
  if (options.proxy === undefined) return undefined
  const { createProxies } = await import('../drivers/network/proxy/proxies.ts')
  return createProxies(options, context)
}
