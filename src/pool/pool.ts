import { hasAborted } from '../abort.ts'
import type { CredentialSource } from '../credentials/credential.ts'
import type { Driver } from '../drivers/driver.ts'
import { traceOrigin } from '../drivers/whereabouts.ts'
import type { PoolsmithError } from '../errors.ts'
import { traced } from '../tracing.ts'
import { callSite } from './call-site.ts'
import { EventHub } from './events.ts'
import { abortedError, acquireTimeoutError, closedError, type Occupancy } from './failures.ts'
import { Leasing } from './leasing.ts'
import type { ListeningConfig } from './listening.ts'
import { type Policy, poolPolicy } from './options.ts'
import { placeStats } from './place-stats.ts'
import type { Prepare } from './prepare.ts'
import { connectionInfo, type Session } from './session.ts'
import { Sessions } from './sessions.ts'
import { Supply } from './supply.ts'
import type { AcquireOptions, ConnectionInfo, ConnectionPoolConfig, PoolStats } from './types.ts'
import { Waiters } from './waiters.ts'

export type * from './types.ts'

/**
 * A pool of authenticated connections. knex takes it as its `connectionPool`.
 *
 * {@link ConnectionPoolConfig} has the life of a connection, with all hooks in their order.
 *
 * **The time limit.** An acquire is answered within `pool_timeout`. {@link Supply} decides which callers are told of a
 * failed attempt, and when: a database that is down is told at once, one that is full or starting is waited for. After
 * a failure one attempt at a time probes, however many callers wait, until one succeeds.
 *
 * @example
 * await using pool = new ConnectionPool({ driver, source, options: { pool_size: 5 } })
 * const rows = await pool.use(async (client) => (await client.query('select 1')).rows)
 */
export class ConnectionPool<Raw extends object> extends Leasing<Raw> {
  readonly #driver: Driver<Raw>
  readonly #source: CredentialSource
  readonly #policy: Policy
  readonly #now: () => number

  readonly #shared: Omit<ListeningConfig<Raw>, 'open'>
  readonly #sessions: Sessions<Raw>
  readonly #waiters = new Waiters<Raw>()
  readonly #supply: Supply<Raw>
  /** End what the pool is told by others. */
  readonly #unsubscribe: (() => void)[]

  #suspended = false
  #closed = false
  #destroyed: Promise<void> | undefined
  readonly #counts = { acquired: 0, timedOut: 0 }

  /** @throws ConfigError with everything that is wrong with the options */
  constructor(config: ConnectionPoolConfig<Raw>) {
    const { driver, source, events = new EventHub(), onSession } = config
    const policy = poolPolicy(config.options)
    super({ driver, events, name: policy.name })
    this.#driver = driver
    this.#source = source
    this.#policy = policy
    this.#now = config.now ?? (() => performance.now())
    const place = { driver, where: this.where, now: this.#now }
    const { sessionInit } = policy
    // Most pools prepare nothing, and do not load the code for it.
    const prepare: Prepare<Raw> =
      sessionInit === undefined && onSession === undefined
        ? undefined
        : async (session) =>
            (await import('./prepare.ts')).prepareSession(session, { ...place, sessionInit, onSession })
    const shared = { ...place, policy, emit: events.emit, prepare, random: config.random ?? Math.random }
    this.#shared = shared
    this.#sessions = new Sessions({
      ...shared,
      open: () => this.#supply.open(),
      deliver: (session, now) => this.#deliver(session, now),
      changed: () => this.#pump(),
    })
    this.#supply = new Supply({
      ...shared,
      source: this.#source,
      sessions: this.#sessions,
      waiters: this.#waiters,
      isSuspended: () => this.#suspended,
      pump: () => this.#pump(),
    })
    this.#unsubscribe = (driver.places ?? []).map((place) => place.listen(this.events.emit))
    // A source that has listeners renews in the background, so an idle pool listens only if it has to.
    if (this.#policy.retireOn === 'rotation') {
      this.#unsubscribe.push(this.#source.onChange((credential) => this.#sessions.rotate(credential)))
    }
    if (this.#policy.minIdle > 0) this.#pump()
    if (policy.rebalanceMillis < Number.POSITIVE_INFINITY) void this.#rebalance()
  }

  /**
   * Hands out a connection within `pool_timeout`. Return it with {@link release}.
   *
   * The promise rejects with a PoolsmithError: `POOL_EXHAUSTED`, `POOL_SUSPENDED`, `POOL_CLOSED`, `ABORTED`,
   * `CONNECT_TIMEOUT` or `CREDENTIAL_TIMEOUT` with the phase that hangs, or the error of a failed attempt.
   */
  acquire(options?: AcquireOptions): { readonly promise: Promise<Raw> } {
    if (!hasAborted(options?.signal)) {
      const ready = this.#takeReady(options)
      if (ready !== undefined) return { promise: Promise.resolve(ready.raw) }
    }
    return { promise: this.#wait(options) }
  }

  /** Returns a connection to the pool; never throws, never waits. False when it is not in use. */
  release(raw: Raw): boolean {
    const session = this.#sessions.of(raw)
    if (session === undefined || !session.busy) return false
    const now = this.#now()
    this.#sessions.takeBack(session, now)
    this.events.released(session.id, now - session.acquiredAt)
    const { resetMode } = this.#policy
    if (resetMode !== 'none') this.#driver.tidy?.(raw)
    const reason = this.#sessions.unfit(session, now)
    if (reason !== undefined) {
      this.#sessions.close(session, reason)
      this.#pump()
    } else if (resetMode !== 'none' && this.#driver.needsReset(raw, resetMode)) {
      void this.#sessions.check(session, 'reset-failed')
    } else {
      this.#sessions.shelve(session, now)
      if (this.#waiters.size > 0) this.#pump()
    }
    return true
  }

  protected find(which: Raw | number): Raw | undefined {
    if (typeof which !== 'number') return this.#sessions.of(which)?.raw
    return this.#sessions.all.find(({ raw }) => this.#driver.info(raw).processId === which)?.raw
  }

  /**
   * Closes a connection: at once when it is idle, on its return when it is in use. Without an argument: all open
   * connections, and those that are being opened.
   */
  invalidate(raw?: Raw): void {
    this.#sessions.invalidate(raw)
    if (raw === undefined) void this.renewListening()
  }

  /** Hands out no connection until {@link resume}; callers wait, up to their time limit. Connections in use stay. */
  suspend(): void {
    if (this.#suspended || this.#closed) return
    this.#suspended = true
    this.events.emit('pool:suspended', {})
  }

  /** Ends {@link suspend}: waiting callers are served. */
  resume(): void {
    if (!this.#suspended) return
    this.#suspended = false
    this.events.emit('pool:resumed', {})
    this.#pump()
  }

  /** Whether `leak_detection_threshold` is set. */
  get detectsLeaks(): boolean {
    return this.#policy.leakMillis !== Number.POSITIVE_INFINITY
  }

  /** `drain_timeout`, in milliseconds. */
  get drainMillis(): number {
    return this.#policy.drainMillis
  }

  /** The number of connections by state, callers waiting, and counts since the pool was built. */
  stats(): PoolStats {
    const { size, counts } = this.#sessions
    return {
      ...this.#occupancy(),
      total: size,
      suspended: this.#suspended,
      closed: this.#closed,
      places: placeStats(this.#driver, this.#sessions.all, this.#sessions.shelf.idle),
      counts: { ...this.#counts, ...counts, failed: this.#supply.failed },
    }
  }

  /** Facts about a connection of this pool, idle or in use. */
  infoOf(raw: Raw): ConnectionInfo | undefined {
    const session = this.#sessions.of(raw)
    return session === undefined ? undefined : connectionInfo(session, this.#driver.info(raw), this.#now())
  }

  /** Whether a connection of this pool is in use, and not idle, being checked or closed. */
  isLent(raw: Raw): boolean {
    return this.#sessions.of(raw)?.busy === true
  }

  /** With {@link numUsed} and {@link numPendingAcquires}, the marks by which knex knows a tarn-compatible pool. */
  numFree(): number {
    return this.#sessions.shelf.numFree()
  }

  numUsed(): number {
    return this.#sessions.shelf.numUsed()
  }

  numPendingAcquires(): number {
    return this.#waiters.size
  }

  /** Whether {@link destroy} was called, under tarn's name. */
  get destroyed(): boolean {
    return this.#closed
  }

  /**
   * Ends the pool. Waiting callers get `POOL_CLOSED`, attempts are aborted, idle connections are closed. Connections
   * in use may be returned within `drain_timeout`; then they are cut and their statements cancelled. Resolves when
   * every socket is closed, also with a frozen database; never rejects. Every call gives the same promise.
   */
  destroy(): Promise<void> {
    this.#destroyed ??= this.#destroy()
    return this.#destroyed
  }

  async #rebalance(): Promise<void> {
    const { Rebalancing } = await import('./rebalancing.ts')
    if (this.#closed) return
    const one = new Rebalancing({ ...this.apart(), sessions: this.#sessions, pump: () => this.#pump() })
    this.#unsubscribe.push(() => one.end())
  }

  protected apart(): ListeningConfig<Raw> {
    return { ...this.#shared, open: (at) => this.#supply.openApart(at) }
  }

  // ---- handing out

  /** The hot path: a good connection at once, or nothing. */
  #takeReady(options: AcquireOptions | undefined): Session<Raw> | undefined {
    if (this.#waiters.size > 0 || this.#suspended || this.#closed) return undefined
    // Asking renews the credential before it expires, although nothing is opened here.
    this.#source.current()
    const now = this.#now()
    const session = this.#sessions.takeReady(now)
    if (session !== undefined) this.#handOut(session, now, now, this.#site(options))
    return session
  }

  #wait(options: AcquireOptions | undefined): Promise<Raw> {
    const signal = options?.signal
    if (this.#closed) return Promise.reject(closedError(this.where))
    if (signal?.aborted) return Promise.reject(abortedError(signal, this.where))
    const waiter = {
      since: this.#now(),
      millis: this.#policy.timeoutMillis,
      site: this.#site(options),
      signal,
      onTimeout: (_: unknown, lateMillis: number) => this.#timeoutError(lateMillis),
      onAbort: () => abortedError(signal as AbortSignal, this.where),
    }
    const promise = traced(
      'acquire',
      () => traceOrigin(this.where),
      () => this.#waiters.add(waiter),
    )
    this.#pump()
    return promise
  }

  #handOut(session: Session<Raw>, now: number, since: number, site: Error | undefined): void {
    this.#sessions.lend(session, now, site)
    this.#counts.acquired++
    this.events.acquired(session.id, now - since)
  }

  /** Hands a session out to the caller that has waited for longest, or puts it back to the idle ones. */
  #deliver(session: Session<Raw>, now: number): void {
    const waiter = this.#suspended ? undefined : this.#waiters.first
    if (waiter === undefined) {
      this.#sessions.shelve(session, now)
    } else {
      // Answered first: a listener may abort the wait, and then the connection would never be returned.
      waiter.resolve(session.raw)
      this.#handOut(session, now, waiter.since, waiter.site)
    }
  }

  /** Serves waiting callers from the idle sessions, then by opening; also keeps `pool_min_idle` filled. */
  #pump(): void {
    if (this.#closed) return
    if (!this.#suspended) {
      const now = this.#now()
      while (this.#waiters.size > 0) {
        const session = this.#sessions.takeReady(now)
        if (session !== undefined) this.#deliver(session, now)
        else if (this.#waiters.size <= this.#sessions.checking || !this.#sessions.checkNext()) break
      }
    }
    this.#supply.fill()
  }

  // ---- telling

  #occupancy(): Occupancy {
    const { busy, shelf } = this.#sessions
    return {
      max: this.#policy.max,
      inUse: busy,
      idle: shelf.numFree(),
      opening: this.#supply.inFlight,
      checking: shelf.numUsed() - busy,
      waiting: this.#waiters.size,
    }
  }

  #timeoutError(lateMillis: number): PoolsmithError {
    const now = this.#now()
    const error = acquireTimeoutError({
      timeoutMillis: this.#policy.timeoutMillis,
      suspended: this.#suspended,
      occupancy: this.#occupancy(),
      longestHeld: this.#sessions.longestHeld(now),
      spareMillis: this.#sessions.spareMillis(now),
      lateMillis,
      attempt: this.#supply.oldest,
      failure: this.#supply.failure,
      where: this.where,
    })
    this.#counts.timedOut++
    this.events.emit('pool:timeout', { error })
    return error
  }

  /** Where the connection was asked for, for leak detection; undefined where it is not to be told. */
  #site(options: AcquireOptions | undefined): Error | undefined {
    if (!this.detectsLeaks || options?.longLived === true) return undefined
    return options?.site ?? callSite(this.acquire)
  }

  // ---- ending

  async #destroy(): Promise<void> {
    this.#closed = true
    for (const end of this.#unsubscribe) end()
    this.#waiters.rejectAll(closedError(this.where))
    this.#supply.end(closedError(this.where))
    this.#source.close()
    await Promise.all([this.#sessions.end(), this.endListening()])
    await this.#source.release?.()
    this.events.emit('pool:destroyed', {})
  }
}
