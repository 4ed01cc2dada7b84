import type { Knex } from 'knex'
import type { Connection } from '../connections/connection.ts'
import type { ConnectionInput } from '../connections/parse.ts'
import { resolveConnection } from '../connections/resolve.ts'
import type { StoreOptions } from '../connections/stores/find.ts'
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

/** Options of {@link createEngine}: the pool's, under their names in the extras, and what only a program can give. */
export interface EngineOptions extends PoolOptions {
  /** Extras that take the place of the connection's own, such as `{ sslmode: 'verify-ca' }`. */
  readonly extra?: Readonly<Record<string, unknown>>
  /** Listeners that are there before the first connection is opened. More can be added with `db.pool.on`. */
  readonly on?: { readonly [Name in EventName]?: Listener<Name> }
  /** Options for knex itself, such as `postProcessResponse` or `wrapIdentifier`. */
  readonly knex?: Omit<Knex.Config, 'client' | 'connection' | 'connectionPool' | 'pool' | 'searchPath' | 'version'>
  /** The strategies to choose from. Default: the built-in ones and those added with `register`. */
  readonly registry?: StrategyRegistry
  /** Where connection ids are looked up, and the environment that strategies read. */
  readonly stores?: StoreOptions
}

/**
 * A Knex instance over a pool of ours. `destroy()` and `await using` drain the pool and stop every timer, so that
 * the process ends by itself.
 */
export interface Engine extends Knex, AsyncDisposable {
  /** The pool: `stats()`, `on()`, `use()`, `invalidate()`, `suspend()`, `resume()`. */
  readonly pool: ConnectionPool<object>
  /** The connection record that the engine was made from. */
  readonly connection: Connection
  /** The name of the strategy in use. */
  readonly strategy: string
}

/**
 * Builds a pooled Knex engine from a connection record. Nothing is opened yet: the first statement does that, or
 * `pool_min_idle` in the background.
 *
 * @param input a connection object, an Airflow URI or JSON text, or the id of a connection in the stores
 * @throws ConfigError with all problems of the record at once; PoolsmithError CONNECTION_NOT_FOUND,
 *   STRATEGY_UNKNOWN, PACKAGE_MISSING
 *
 * @example
 * await using db = await createEngine('postgres://svc@db.example.com/app?auth_method=iam&region=eu-west-1')
 * await db('flights').where({ carrier: 'AA' }).limit(10)
 */
export async function createEngine(input: ConnectionInput, options: EngineOptions = {}): Promise<Engine> {
  const { extra, on, knex: knexOptions, registry = strategies, stores = {}, ...poolOptions } = options
  const events = new EventHub()
  for (const [name, listener] of Object.entries(on ?? {})) events.on(name as EventName, listener as Listener<EventName>)
  const warn = (warning: ConfigProblem): void => {
    events.emit('config:warning', warning)
    process.emitWarning(`${warning.path}: ${warning.message}`, { type: 'PoolsmithWarning', code: 'CONFIG_WARNING' })
  }

  const { environment = process.env } = stores
  const choices = { registry, overrides: { ...extra, ...poolOptions }, environment }
  const given = await resolveConnection(input, { onWarning: warn, ...stores }).catch(async (error: unknown) => {
    throw error instanceof ConfigError ? await withProblemsOfExtras(error, choices) : error
  })
  const { connection, dialect, settings, warnings } = await configure(given, choices)
  warnings.forEach(warn)

  const proxies = await loadProxies(settings.proxy, { environment, emit: events.emit })
  const parts = await dialect.build(connection, settings.driver, events.emit, proxies?.route)
  const source = await settings.strategy.credentials(connection, settings.strategyOptions, {
    emit: events.emit,
    environment,
    settings: settings.all,
    ...(proxies === undefined ? {} : { agents: proxies.agents }),
  })
  const { driver } = parts
  const pool = new ConnectionPool({ driver, source, options: settings.pool, events })
  try {
    const { default: knex } = await import('knex')
    const db = knex({ ...knexOptions, client: await parts.knexClient(pool), connectionPool: pool })
    // knex asks its settings for the database's name when it looks into the catalogue.
    db.client.connectionSettings = { database: connection.database ?? connection.login }
    return Object.assign(db, {
      pool,
      connection,
      strategy: settings.strategy.name,
      [Symbol.asyncDispose]: () => pool.destroy(),
    })
  } catch (error) {
    await pool.destroy()
    throw error
  }
}

/** Most connections go through no proxy, and pay nothing for those that do. */
async function loadProxies(options: ProxyOptions, context: ProxyContext): Promise<Proxies | undefined> {
  if (options.proxy === undefined) return undefined
  const { createProxies } = await import('../drivers/network/proxy/proxies.ts')
  return createProxies(options, context)
}
