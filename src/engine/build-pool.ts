import type { AuditLog } from '../audit/log.ts'
import type { AuditOptions } from '../audit/options.ts'
import type { AuditedPool } from '../audit/watch-pool.ts'
import type { Connection } from '../connections/connection.ts'
import { childPath } from '../connections/fields.ts'
import type { ConnectionInput } from '../connections/parse.ts'
import { endingSource } from '../credentials/ending-source.ts'
import type { SessionTarget } from '../drivers/session-target.ts'
import { placeName } from '../drivers/whereabouts.ts'
import { ConfigError, type ConfigProblem } from '../errors.ts'
import type { EventName } from '../events.ts'
import { EventHub, type Listener } from '../pool/events.ts'
import type { PoolOptions } from '../pool/options.ts'
import { type ConnectionInfo, ConnectionPool } from '../pool/pool.ts'
import type { StoreOptions } from '../stores/options.ts'
import { readInput } from '../stores/resolve.ts'
import type { Origin } from '../stores/store.ts'
import { strategies } from '../strategies/index.ts'
import type { StrategyRegistry } from '../strategies/registry.ts'
import type { StrategyContext } from '../strategies/strategy.ts'
import { type Configuration, configure, refuse } from './configure.ts'
import type { DialectParts } from './dialect.ts'
import type { AuditSettings } from './options.ts'

/** Options that every data layer takes: the pool's, under their names in the extras, and those that are no text. */
export interface BuildPoolOptions extends PoolOptions {
  /**
   * The role that a server of the list must have (docs/hosts.md). As an option it separates engines on one record: one
   * that writes, and one that reads.
   */
  readonly target_session_attrs?: SessionTarget
  /** `random`: each opening tries the servers of the list in another order. Default: the record's, else `disable`. */
  readonly load_balance_hosts?: 'disable' | 'random'
  /** Extras that take the place of the connection's own, such as `{ sslmode: 'verify-ca' }`. */
  readonly extra?: Readonly<Record<string, unknown>>
  /** Listeners that are added before the first connection is opened. `pool.on` adds more. */
  readonly on?: { readonly [Name in EventName]?: Listener<Name> }
  /**
   * Called with each new session (`pg.Client`, tedious' `Connection`) before it is first handed out, after
   * `session_init`, and again after a reset under `pool_reset_on_return=full`. It counts against `pool_timeout`. If it
   * throws, the session is closed and the caller gets SESSION_INIT_FAILED. {@link ConnectionPoolConfig} has the order of
   * all hooks.
   *
   * @example
   * onSession: async (client: pg.Client) => void (await client.query('set role reporting'))
   */
  onSession?(session: object, info: ConnectionInfo): Promise<void> | void
  /**
   * The audit log: a line for each login, refusal and statement (docs/audit.md). Default: `audit_file` of the record, else
   * none. A log that `openAuditLog` has opened stays open when the pool ends.
   *
   * @example
   * audit: { file: '/var/log/sales/audit.jsonl', mode: 'required' }
   */
  readonly audit?: AuditLog | AuditOptions
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
  const { extra, on, onSession, audit, registry = strategies, stores = {}, ...poolOptions } = options
  const events = new EventHub()
  for (const [name, listener] of Object.entries(on ?? {})) {
    if (listener !== undefined) events.on(name as EventName, listener as Listener<EventName>)
  }
  /** Told when it is known which pool they are about, or that there will be none. */
  const notes: ConfigProblem[] = []
  const tell = (): void => {
    for (const { path, message } of notes.splice(0)) events.emit('config:warning', { path, message })
  }
  using _ = { [Symbol.dispose]: tell }

  const { environment = process.env } = stores
  const overrides = { ...extra, ...poolOptions }
  // The record may be in a store that is behind the proxy too.
  const context = { environment, emit: events.emit }
  const early =
    extra?.['proxy'] === undefined ? undefined : (await import('./proxies.ts')).proxiesIn(overrides, context)
  const asked = { onWarning: (note: ConfigProblem) => notes.push(note), agents: early?.agents, ...stores }
  const read = await readInput(input, asked, overrides).catch((error: unknown) => {
    early?.close()
    throw error
  })
  const endOrigin = (): void => {
    read.origin?.close()
    early?.close()
  }
  // Node 22 has no DisposableStack.
  let isKept = false
  using _origin = { [Symbol.dispose]: () => (isKept ? undefined : endOrigin()) }
  const named = Object.keys(poolOptions).filter((key) => Reflect.get(poolOptions, key) !== undefined)
  const writtenAt = new Map(named.map((key) => [childPath('extra', key), childPath('options', key)]))
  const choices = { registry, overrides, writtenAt, environment, closed: read.closed, scheme: read.origin?.scheme }
  const given = read.connection ?? (await refuse(read, choices))
  const unacceptable = accept(given)
  if (unacceptable !== undefined) throw new ConfigError([unacceptable])
  const { connection, dialect, settings, warnings } = await configure(given, choices)
  const place = dialect.where(connection, settings.driver)
  const where = { ...place, poolName: settings.pool.pool_name ?? placeName(place) }
  events.origin = { poolName: where.poolName, system: where.system, host: where.host, port: where.port }
  notes.push(...warnings)
  tell()

  const isProxied = settings.proxy.proxy !== undefined
  const proxies = isProxied ? (await import('./proxies.ts')).loadProxies(settings.proxy, context) : undefined
  const parts = await dialect.build(connection, settings.driver, { emit: events.emit, where, route: proxies?.route })
  const forStrategy: StrategyContext = {
    emit: events.emit,
    listens: (name) => events.interest(name)(),
    environment,
    settings: settings.all,
    agents: proxies?.agents,
  }
  const pooled = { driver: parts.driver, events, where, connection: connection.id, method: settings.strategy.name }
  const endAudit = await startAudit(audit, settings.audit, pooled)
  // A password is read again from the store that gave the connection.
  const origin =
    connection.password === undefined || read.origin === undefined ? undefined : { ...read.origin, close: endOrigin }
  const source = await sourceFor(connection, settings, forStrategy, { origin, stores }).catch((error: unknown) => {
    endAudit?.()
    throw error
  })
  isKept = origin !== undefined
  const pool = new ConnectionPool({
    driver: parts.driver,
    source: proxies === undefined ? source : endingSource(source, () => proxies.close()),
    options: settings.pool,
    onSession,
    events,
  })
  return { pool, parts, connection, strategy: settings.strategy.name }
}

async function sourceFor(
  connection: Connection,
  settings: Configuration['settings'],
  context: StrategyContext,
  from: { readonly origin: Origin | undefined; readonly stores: StoreOptions },
) {
  if (settings.references.size === 0 && from.origin === undefined)
    return settings.strategy.credentials(connection, settings.strategyOptions, context)
  return (await import('./stored-source.ts')).sourceFromStores(connection, settings, context, from)
}

/** Loaded for a connection that has an audit log. @returns ends it */
async function startAudit(
  given: BuildPoolOptions['audit'],
  recorded: AuditSettings,
  pool: AuditedPool<object>,
): Promise<(() => void) | undefined> {
  const { audit_file: file, audit: mode = file === undefined ? 'off' : 'on' } = recorded
  if (given === undefined && mode === 'off') return undefined
  return (await import('../audit/attach.ts')).attachAudit(given, recorded, pool)
}
