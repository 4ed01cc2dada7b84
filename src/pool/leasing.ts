/** The methods of a pool beside handing out connections and taking them back. */

import type { Driver } from '../drivers/driver.ts'
import { placeName, type Whereabouts } from '../drivers/whereabouts.ts'
import type { PoolsmithError } from '../errors.ts'
import type { EventName } from '../events.ts'
import { callSite } from './call-site.ts'
import type { EventHub, Listener } from './events.ts'
import { closedError, statementAborted } from './failures.ts'
import { CANCEL_LIMIT_MILLIS, cut } from './goodbye.ts'
import type { Listening, ListeningConfig } from './listening.ts'
import type { AcquireOptions, ListenOptions, NotificationHandler, PlaceVisit } from './types.ts'

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
  #listening: Promise<Listening<Raw>> | undefined

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

  abstract get detectsLeaks(): boolean
  abstract acquire(options?: AcquireOptions): { readonly promise: Promise<Raw> }
  abstract release(raw: Raw): boolean
  abstract destroy(): Promise<void>
  abstract stats(): { readonly closed: boolean }
  abstract invalidate(raw?: Raw): void
  /** The connection, if it is one of the pool's. */
  protected abstract find(which: Raw | number): Raw | undefined
  /** The parts for sessions that do not belong to the pool's. */
  protected abstract apart(): ListeningConfig<Raw>

  /**
   * Acquires, calls `fn` with the connection and releases it afterwards, also when `fn` throws.
   *
   * @typeParam Client what the connection is, where the pool's own type does not say so: it is taken from `fn`
   * @param options.signal aborts the wait for a connection, and then `fn`: the server is asked to end the running
   *   statement, and no other one. If `fn` goes on after that, its connection is cut.
   * @throws PoolsmithError ABORTED after an abort, with the signal's reason as cause
   *
   * @example
   * await db.pool.use(async (client: pg.Client) => client.query('analyze'))
   */
  async use<T, Client extends Raw = Raw>(fn: (raw: Client) => Promise<T> | T, options?: AcquireOptions): Promise<T> {
    const site = this.detectsLeaks ? callSite(this.use) : undefined
    const raw = await this.acquire(site === undefined ? options : { site, ...options }).promise
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
  async underSignal<T>(raw: Raw, signal: AbortSignal, work: () => Promise<T> | T): Promise<T> {
    const { underSignal } = await import('./under-signal.ts')
    return underSignal(work, { raw, driver: this.#driver, where: this.where, signal })
  }

  /**
   * Has the server end the statement that runs on a connection, if one does. Its caller gets the server's error. Resolves
   * when the connection runs nothing any more.
   *
   * @param which the connection, or its process id as in {@link infoOf}
   * @throws when the statement does not end within `pool_ping_timeout`
   */
  async cancel(which: Raw | number): Promise<void> {
    const raw = this.find(which)
    if (raw !== undefined) await this.#driver.interrupt?.(raw, AbortSignal.timeout(this.apart().policy.checkMillis))
  }

  /** Cuts a connection in use, and has the server end the statement that it runs. */
  async kill(which: Raw | number): Promise<void> {
    const raw = this.find(which)
    if (raw === undefined) return
    this.invalidate(raw)
    await cut(this.#driver, raw, CANCEL_LIMIT_MILLIS)
  }

  /**
   * Listens to a channel of PostgreSQL on a session of its own, which counts neither against `pool_size` nor as a leak.
   * After a loss another session is opened, for as long as that takes; attempts that fail are told by
   * `connection:failed`. The signal or `destroy()` ends it. Until then it keeps the process alive.
   *
   * Behind a pooler it needs session pooling: PgBouncer in the mode `transaction` accepts LISTEN and loses it.
   *
   * @param channel as `pg_notify` takes it: upper and lower case differ
   * @param options.onListen is told when the session has begun to listen, so that the caller catches up
   * @returns when the session listens and `onListen` is done
   * @throws the error of the first attempt; ConfigError for another database, a name that no channel has, or no function
   *
   * @example
   * await db.pool.listen('jobs', ({ payload }) => work(payload), { onListen: () => workOnAllThatWait(), signal })
   */
  async listen(channel: string, handler: NotificationHandler, options?: ListenOptions): Promise<void> {
    this.#listening ??= import('./listening.ts').then((module) => new module.Listening(this.apart()))
    const listening = await this.#listening
    if (this.stats().closed) throw closedError(this.where)
    await listening.listen(channel, handler, options)
  }

  /**
   * Opens a session of its own at every server of the connection, whatever its role, and closes it again. All at once,
   * each within `pool_timeout`, and beyond `pool_size`.
   *
   * @returns one for each of `stats().places`, in the same order; never rejects because of a server
   *
   * @example
   * for (const { host, role, lagMillis, error } of await db.pool.visitPlaces()) log.info(host, role, lagMillis, error)
   */
  async visitPlaces(): Promise<readonly PlaceVisit[]> {
    const { visitPlaces } = await import('./visit-places.ts')
    if (this.stats().closed) throw closedError(this.where)
    return visitPlaces(this.#driver, this.apart())
  }

  /** Opens the sessions that listen anew. */
  protected async renewListening(): Promise<void> {
    ;(await this.#listening)?.renew()
  }

  protected async endListening(): Promise<void> {
    await (await this.#listening)?.end(closedError(this.where))
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
