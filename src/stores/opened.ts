import { createHash } from 'node:crypto'
import type { Environment } from '../connections/stores/environment.ts'
import type { Emit } from '../events.ts'
import { Secret } from '../secret.ts'
import type { RequestAgents } from '../strategies/strategy.ts'
import { workerBackend } from './airflow/worker.ts'
import { openStore, type StoreSettings } from './kinds.ts'
import type { Store } from './store.ts'

export interface OpenedStoresOptions {
  readonly environment: Environment
  /** The folder to which paths in settings are relative. */
  readonly cwd: string
  readonly agents?: RequestAgents | undefined
  /** How long entries of a remote store are used before they are read again, in milliseconds; 0 keeps none. */
  readonly ttlMillis: number
  /** How much longer they are used while the store is down, in milliseconds. */
  readonly graceMillis: number
  readonly emit: Emit
}

/** Stores that were opened for look-ups, each when it is first needed. Close it: logins are renewed until then. */
export class OpenedStores {
  readonly #options: OpenedStoresOptions
  readonly #listed = new Map<string, Promise<Store>>()
  #backend: Promise<Store> | undefined

  constructor(options: OpenedStoresOptions) {
    this.#options = options
  }

  /**
   * The secrets backend that the variables of an Airflow worker name.
   *
   * @throws ConfigError for a class that is unknown and for arguments that are wrong
   */
  backend(): Promise<Store> {
    this.#backend ??= workerBackend(this.#options.environment)
      .then(({ settings, from }) => openStore(settings, { ...this.#options, subject: from }))
      .catch((error: unknown) => {
        this.#backend = undefined
        throw error
      })
    return this.#backend
  }

  /**
   * The store of a settings object, or the store itself.
   *
   * @param from names the place of the settings in errors: `connections.yaml`
   * @throws ConfigError
   */
  async listed(
    settings: readonly (Store | StoreSettings)[] | readonly unknown[],
    from: string,
  ): Promise<readonly Store[]> {
    return Promise.all(
      settings.map((one, index) => (isStore(one) ? one : this.#open(one, `The store ${index + 1} in ${from}`))),
    )
  }

  #open(settings: unknown, subject: string): Promise<Store> {
    // A file is read anew at each look-up. Its settings may hold secrets, of which none is kept here.
    const key = createHash('sha256')
      .update(`${JSON.stringify(settings, revealed)}`)
      .digest('base64')
    const known = this.#listed.get(key)
    if (known !== undefined) return known
    const opening = openStore(settings, { ...this.#options, subject }).catch((error: unknown) => {
      this.#listed.delete(key)
      throw error
    })
    this.#listed.set(key, opening)
    return opening
  }

  close(): void {
    for (const opening of [...this.#listed.values(), this.#backend]) {
      // A store that could not be opened has nothing to close.
      opening?.then((store) => store.close?.()).catch(() => undefined)
    }
    this.#listed.clear()
    this.#backend = undefined
  }
}

/** A secret shows as nothing else, so two of them would be the same. */
function revealed(this: object, key: string, value: unknown): unknown {
  const given: unknown = Reflect.get(this, key)
  return given instanceof Secret ? given.reveal() : value
}

function isStore(value: unknown): value is Store {
  if (typeof value !== 'object' || value === null || !('name' in value) || typeof value.name !== 'string') return false
  return ['getConnection', 'getVariable', 'getConfig'].some((name) => typeof Reflect.get(value, name) === 'function')
}
