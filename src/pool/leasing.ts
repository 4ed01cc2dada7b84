/** What a pool offers on top of handing out connections and taking them back. */

import type { Driver } from '../drivers/driver.ts'
import { placeName, type Whereabouts } from '../drivers/whereabouts.ts'
import type { PoolsmithError } from '../errors.ts'
import type { EventName } from '../events.ts'
import type { EventHub, Listener } from './events.ts'
import type { AcquireOptions } from './types.ts'
import { statementAborted, underSignal } from './under-signal.ts'

export interface LeasingConfig<Raw extends object> {
  readonly driver: Driver<Raw>
  readonly events: EventHub
  /** The option `pool_name`. */
  readonly name: string | undefined
}

export abstract class Leasing<Raw extends object> implements AsyncDisposable {
  readonly events: EventHub
  /** The option `pool_name`, or `host:port/database`. */
  readonly name: string
  protected readonly where: Whereabouts | undefined
  readonly #driver: Driver<Raw>

  constructor({ driver, events, name }: LeasingConfig<Raw>) {
    const { where } = driver
    this.events = events
    this.name = name ?? where?.poolName ?? (where === undefined ? 'pool' : placeName(where))
    this.where = where === undefined ? undefined : { ...where, poolName: this.name }
    this.#driver = driver
    events.origin = { poolName: this.name, system: where?.system, host: where?.host, port: where?.port }
  }

  /** The error of a statement that a signal has ended. */
  abortedStatement(signal: AbortSignal): PoolsmithError {
    return statementAborted(signal, this.where)
  }

  abstract acquire(options?: AcquireOptions): { readonly promise: Promise<Raw> }
  abstract release(raw: Raw): boolean
  abstract destroy(): Promise<void>

  /**
   * Acquires, calls `fn` with the connection and releases it afterwards, also when `fn` throws.
   *
   * @typeParam Client what the connection is, where the pool's own type does not say so: it is taken from `fn`
   * @param options.signal aborts the wait for a connection, and then `fn`: the server is asked to end the running
   *   statement, and no other one. If `fn` goes on after that, its connection is cut.
   * @throws PoolsmithError ABORTED after an abort, with the signal's reason as cause
   *
   * @example
   * await db.pool.use(async (client: pg.Client) => client.query('listen jobs'))
   */
  async use<T, Client extends Raw = Raw>(fn: (raw: Client) => Promise<T> | T, options?: AcquireOptions): Promise<T> {
    const raw = await this.acquire(options).promise
    const signal = options?.signal
    try {
      if (signal === undefined) return await fn(raw as Client)
      return await this.underSignal(raw, signal, () => fn(raw as Client))
    } finally {
      this.release(raw)
    }
  }

  /**
   * Does work on a connection in use, as `use` does with a signal, for a caller that acquired it itself.
   *
   * @throws PoolsmithError ABORTED after an abort, with the signal's reason as cause
   */
  underSignal<T>(raw: Raw, signal: AbortSignal, work: () => Promise<T> | T): Promise<T> {
    return underSignal(work, { raw, driver: this.#driver, where: this.where, signal })
  }

  on<Name extends EventName>(name: Name, listener: Listener<Name>): this {
    this.events.on(name, listener)
    return this
  }

  off<Name extends EventName>(name: Name, listener: Listener<Name>): this {
    this.events.off(name, listener)
    return this
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.destroy()
  }
}
