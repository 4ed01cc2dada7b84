import { inspect } from 'node:util'
import type { Connection } from '../connections/connection.ts'
import { toAirflowJson } from '../connections/forms/json-text.ts'
import { type ConnectionInput, connectionOf, parseConnection } from '../connections/parse.ts'
import { locateConnectionsFile, readConnectionsFile } from '../connections/stores/file.ts'
import { ConfigError, PoolsmithError } from '../errors.ts'
import type { EventFacts } from '../events.ts'
import { Secret } from '../secret.ts'
import { ownVariable, variableNames } from './airflow/local.ts'
import { lookUp, namesBackend } from './find.ts'
import { listedStores } from './find-in-stores.ts'
import { OpenedStores } from './opened.ts'
import type { StoreOptions } from './options.ts'
import type { Found, Store } from './store.ts'

/** Options of {@link openStores}. */
export interface OpenStoresOptions extends Omit<StoreOptions, 'opened'> {
  /** How long an entry of a remote store is used before it is read again, in seconds. Default 300. */
  readonly ttl?: number
  /** How much longer it is used while its store is down, in seconds. Default 3600. */
  readonly grace?: number
  /** Told each time an entry is used because its store is down. */
  readonly onStale?: (facts: EventFacts['secret:stale']) => void
}

/** Options of a look-up in {@link Stores}. */
export interface LookUpOptions {
  /** Ends the look-up, which then rejects with the reason. */
  readonly signal?: AbortSignal
}

/**
 * Opens the stores in which connections are looked up, and keeps them open: one login, and a cache with a time to live.
 * The order is that of {@link StoreOptions}. The result can be given to `createEngine` as its option `stores`.
 *
 * Nothing is asked before the first look-up.
 *
 * @example
 * await using stores = openStores({ stores: [{ type: 'vault', url: 'https://vault.example.com:8200', mount_point: 'airflow' }] })
 * await using db = await createEngine('sales', { stores })
 * const bucket = await stores.getVariable('bucket') // undefined where no store has it
 */
export function openStores(options: OpenStoresOptions = {}): Stores {
  return new Stores(options)
}

const NEVER = new AbortController().signal

/** Stores that are open. Missing entries are undefined; a store that fails rejects, and the next one is not asked. */
export class Stores implements StoreOptions, AsyncDisposable {
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly cwd: string
  readonly file: string | undefined
  readonly team: string | undefined
  readonly stores: StoreOptions['stores']
  readonly agents: StoreOptions['agents']
  readonly onWarning: StoreOptions['onWarning']
  readonly opened: OpenedStores

  constructor(options: OpenStoresOptions) {
    const { environment = process.env, cwd = process.cwd(), ttl = 300, grace = 3600, onStale } = options
    this.environment = environment
    this.cwd = cwd
    this.file = options.file
    this.team = options.team || environment['POOLSMITH_TEAM'] || undefined
    this.stores = options.stores
    this.agents = options.agents
    this.onWarning = options.onWarning
    this.opened = new OpenedStores({
      environment,
      cwd,
      agents: options.agents,
      ttlMillis: ttl * 1000,
      graceMillis: grace * 1000,
      emit: (name, facts) => {
        if (name === 'secret:stale') onStale?.(facts as EventFacts['secret:stale'])
      },
    })
  }

  /**
   * The connection under an id; undefined where no store has it.
   *
   * @throws ConfigError for one that is wrong; PoolsmithError STORE_…, SECRET_… of a store that failed
   */
  async getConnection(id: string): Promise<Connection | undefined> {
    try {
      return connectionOf(await lookUp(id, this))
    } catch (error) {
      if (error instanceof PoolsmithError && error.code === 'CONNECTION_NOT_FOUND') return undefined
      throw error
    }
  }

  /**
   * The variable under a key: `POOLSMITH_VAR_<KEY>`, the backend of an Airflow worker, `AIRFLOW_VAR_<KEY>`, and the
   * stores that are listed.
   *
   * @throws PoolsmithError STORE_…, SECRET_…
   */
  getVariable(key: string, { signal = NEVER }: LookUpOptions = {}): Promise<Secret | undefined> {
    const ask = { signal, team: this.team }
    return this.#search((store) => store.getVariable?.(key, ask), [ownVariable(key)], variableNames(key, this.team))
  }

  /**
   * A value of Airflow's configuration, under the key that Airflow gives it.
   *
   * @throws PoolsmithError STORE_…, SECRET_…
   */
  getConfig(key: string, { signal = NEVER }: LookUpOptions = {}): Promise<Secret | undefined> {
    return this.#search((store) => store.getConfig?.(key, { signal, team: this.team }))
  }

  /**
   * Writes a connection, in place of the one that is there, to the first store that can be written: the backend of an
   * Airflow worker, then those that are listed. It is written as JSON that Airflow reads too.
   *
   * @throws ConfigError for a connection that is wrong, and where no store can be written; PoolsmithError STORE_…,
   *   SECRET_CONFLICT where it was changed meanwhile
   */
  async setConnection(id: string, connection: ConnectionInput, { signal = NEVER }: LookUpOptions = {}): Promise<void> {
    const text = new Secret(toAirflowJson(parseConnection(connection, { id })))
    await (await this.#writable('setConnection')).setConnection?.(id, text, { signal, team: this.team })
  }

  /** Writes a variable, as {@link Stores.setConnection} does. */
  async setVariable(key: string, value: string | Secret, { signal = NEVER }: LookUpOptions = {}): Promise<void> {
    await (await this.#writable('setVariable')).setVariable?.(key, Secret.from(value), { signal, team: this.team })
  }

  /** Without the environment and the settings, which hold secrets. */
  toJSON(): Record<string, unknown> {
    const { cwd, file, team } = this
    return { cwd, file, team }
  }

  [inspect.custom](): string {
    return `Stores ${inspect(this.toJSON())}`
  }

  /** Ends logins and their renewal. Entries that are kept are forgotten. */
  close(): void {
    this.opened.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close()
  }

  async #search(
    ask: (store: Store) => Promise<Found<string | Secret> | undefined> | undefined,
    before: readonly string[] = [],
    after: readonly string[] = [],
  ): Promise<Secret | undefined> {
    const variable = (names: readonly string[]): string | undefined => {
      return names.map((name) => this.environment[name]).find((value) => value)
    }
    const own = variable(before)
    if (own !== undefined) return new Secret(own)
    if (namesBackend(this.environment)) {
      const found = await ask(await this.opened.backend())
      if (found !== undefined) return Secret.from(found.value)
    }
    const ofAirflow = variable(after)
    if (ofAirflow !== undefined) return new Secret(ofAirflow)
    for (const store of await this.#listed()) {
      const found = await ask(store)
      if (found !== undefined) return Secret.from(found.value)
    }
    return undefined
  }

  async #writable(method: 'setConnection' | 'setVariable'): Promise<Store> {
    const backend = namesBackend(this.environment) ? [await this.opened.backend()] : []
    const store = [...backend, ...(await this.#listed())].find((one) => one[method] !== undefined)
    if (store !== undefined) return store
    const message =
      'none of them can be written; list a store of any type but environment, with a file where it is of the type file'
    throw new ConfigError([{ path: 'stores', message }])
  }

  async #listed(): Promise<readonly Store[]> {
    const path = this.stores === undefined ? await locateConnectionsFile(this) : undefined
    return listedStores(this.opened, this, path === undefined ? undefined : await readConnectionsFile(path))
  }
}
