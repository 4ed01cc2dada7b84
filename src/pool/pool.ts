import type { Credential, CredentialSource } from '../credentials/credential.ts'
import type { Driver } from '../drivers/driver.ts'
import type { PoolsmithError } from '../errors.ts'
import type { CloseReason, EventName } from '../events.ts'
import { EventHub, type Listener } from './events.ts'
import { abortedError, acquireTimeoutError, closedError, type Holder, type Occupancy } from './failures.ts'
import { Opener } from './opener.ts'
import { type Policy, poolPolicy } from './options.ts'
import { Pacer } from './pacer.ts'
import { FRESH_MILLIS, type Session, verdict } from './session.ts'
import { Shelf } from './shelf.ts'
import type { ConnectionInfo, ConnectionPoolConfig, PoolStats } from './types.ts'
import { keepaliveDue, reportLeaks, surplus, sweepPeriodMillis } from './upkeep.ts'
import { Waiters } from './waiters.ts'
import { LimitExceeded, within } from './within.ts'

export type { ConnectionInfo, ConnectionPoolConfig, PoolStats } from './types.ts'

/** How long a session may take to say goodbye before its socket is cut. */
const GOODBYE_MILLIS = 1000
/** Closed for one of these, a session is past listening: no goodbye. */
const DEAF: ReadonlySet<CloseReason> = new Set(['broken', 'ping-failed', 'reset-failed', 'drain-timeout'])

/**
 * A pool of authenticated connections. knex takes it as its `connectionPool`.
 *
 * The life of a connection, in the order in which things happen to it:
 *
 * 1. **Credential.** Every acquire asks the source for its current credential: a comparison of times while it is
 *    fresh, a renewal in the background when it nears its end. An opening waits for it when there is none.
 * 2. **Opening.** `driver.open`, with one signal for the whole attempt. A login that is refused is tried once more
 *    with a fresh credential, when the source can have one; a password that is just being rotated gets a third try.
 * 3. **Handed out**, to who has waited for longest. The connection used last is handed out first.
 * 4. **Returned.** If the driver says that something is to be put right (an open transaction; under `full`, any
 *    state), it is reset in the background, before anybody else can have it.
 * 5. **Idle.** A sweep closes what is too old, idle for too long, beyond `pool_size`, or retired, sends keepalives,
 *    and opens what `pool_min_idle` lacks.
 * 6. **Validated** before it is handed out again: broken, condemned, too old, retired (all of them questions that
 *    need no waiting), and then one ping unless it was used within the last half second.
 * 7. **Closed**, with a goodbye if the server may still listen, and with `connection:closed` that says why.
 *
 * **The time limit.** An acquire is answered within `pool_timeout`. When an attempt to connect fails, its error goes
 * to those who wait: to all of them when no connection is in use, so that nobody waits for a database that is down;
 * to the first one otherwise, since the others can be served by a return. A transient failure (too many clients,
 * server starting) while connections are in use is nobody's error yet: it is tried again with growing pauses.
 * After a failure one attempt at a time probes, however many wait, until one succeeds.
 *
 * @example
 * await using pool = new ConnectionPool({ driver, source, options: { pool_size: 5 } })
 * const rows = await pool.use(async (client) => (await client.query('select 1')).rows)
 */
export class ConnectionPool<Raw extends object> implements AsyncDisposable {
  readonly events: EventHub
  readonly #driver: Driver<Raw>
  readonly #source: CredentialSource
  readonly #policy: Policy
  readonly #now: () => number
  readonly #wantsAcquired: () => boolean
  readonly #wantsReleased: () => boolean

  readonly #shelf: Shelf<Session<Raw>>
  readonly #sessions = new Map<Raw, Session<Raw>>()
  readonly #waiters = new Waiters<Raw>()
  readonly #opener: Opener<Raw>
  readonly #pacer: Pacer
  readonly #circumstances: { policy: Policy; generation: number; credential: Credential | undefined }
  #stopListening: (() => void) | undefined

  #busy = 0
  /** Sessions that are being pinged or reset on their way back to the free ones: supply that is on its way. */
  #checking = 0
  #suspended = false
  #closed = false
  #destroyed: Promise<void> | undefined
  #onQuiet: (() => void) | undefined
  #sweeper: NodeJS.Timeout | undefined
  readonly #counts = { acquired: 0, timedOut: 0, opened: 0, failed: 0, closed: 0 }

  constructor(config: ConnectionPoolConfig<Raw>) {
    this.#driver = config.driver
    this.#source = config.source
    this.#policy = poolPolicy(config.options)
    this.#now = config.now ?? (() => performance.now())
    const random = config.random ?? Math.random
    this.events = config.events ?? new EventHub()
    this.#wantsAcquired = this.events.interest('pool:acquired')
    this.#wantsReleased = this.events.interest('pool:released')
    this.#circumstances = { policy: this.#policy, generation: 0, credential: undefined }
    this.#pacer = new Pacer(this.#now, random, () => this.#pump())
    this.#opener = new Opener({
      driver: this.#driver,
      source: this.#source,
      limitMillis: this.#policy.timeoutMillis,
      recycleMillis: this.#policy.recycleMillis,
      now: this.#now,
      random,
    })
    this.#shelf = new Shelf<Session<Raw>>({
      max: this.#policy.max,
      create: () => this.#openSession(),
      destroy: (session) => this.#goodbye(session),
    })
    // A source renews in the background for whoever listens, so an idle pool listens only if it has to.
    if (this.#policy.retireOn === 'rotation') {
      this.#stopListening = this.#source.onChange((credential) => this.#rotated(credential))
    }
    if (this.#policy.minIdle > 0) this.#pump()
  }

  /**
   * Hands out a connection within `pool_timeout`. Give it back with {@link release}.
   *
   * The promise rejects with a PoolsmithError: `POOL_EXHAUSTED`, `POOL_SUSPENDED`, `POOL_CLOSED`, `ABORTED`,
   * `CONNECT_TIMEOUT` or `CREDENTIAL_TIMEOUT` with the phase that hangs, or the error of a failed attempt.
   */
  acquire(options?: { readonly signal?: AbortSignal | undefined }): { readonly promise: Promise<Raw> } {
    const signal = options?.signal
    if (signal?.aborted !== true) {
      const ready = this.#takeReady()
      if (ready !== undefined) return { promise: Promise.resolve(ready.raw) }
    }
    return { promise: this.#wait(signal) }
  }

  /** Gives a connection back; never throws, never waits. False when it is not in use (any more). */
  release(raw: Raw): boolean {
    const session = this.#sessions.get(raw)
    if (session === undefined || !session.busy) return false
    const now = this.#now()
    session.busy = false
    session.usedAt = now
    session.provenAt = now
    session.acquireSite = undefined
    this.#busy--
    if (this.#wantsReleased()) {
      this.events.emit('pool:released', { id: session.id, heldMillis: now - session.acquiredAt })
    }
    const { resetMode } = this.#policy
    const reason = this.#unfit(session, now)
    if (reason !== undefined) {
      this.#close(session, reason)
      this.#pump()
    } else if (resetMode !== 'none' && this.#driver.needsReset(raw, resetMode)) {
      void this.#check(session, 'reset-failed')
    } else {
      this.#shelf.release(session)
      if (this.#waiters.size > 0) this.#pump()
    }
    return true
  }

  /**
   * Acquires, calls `fn` with the connection and releases it whatever happens.
   *
   * @typeParam Client what the connection is, where the pool's own type does not say so: it is taken from `fn`
   * @param options.signal aborts the wait for a connection, not `fn`
   *
   * @example
   * await db.pool.use(async (client: pg.Client) => client.query('listen jobs'))
   */
  async use<T, Client extends Raw = Raw>(
    fn: (raw: Client) => Promise<T> | T,
    options?: { readonly signal?: AbortSignal | undefined },
  ): Promise<T> {
    const raw = await this.acquire(options).promise
    try {
      return await fn(raw as Client)
    } finally {
      this.release(raw)
    }
  }

  /**
   * Says that a connection is not to be used again: it is closed at once when idle, on its return when in use.
   * Without an argument it means every connection there is, and those that are just being opened.
   */
  invalidate(raw?: Raw): void {
    if (raw === undefined) {
      this.#circumstances.generation++
    } else {
      const session = this.#sessions.get(raw)
      if (session !== undefined) session.condemned ??= 'invalidated'
    }
    this.#sweep()
  }

  /** Hands out no more until {@link resume}; acquires wait, up to their time limit. Connections in use go on. */
  suspend(): void {
    if (this.#suspended || this.#closed) return
    this.#suspended = true
    this.events.emit('pool:suspended', {})
  }

  resume(): void {
    if (!this.#suspended) return
    this.#suspended = false
    this.events.emit('pool:resumed', {})
    this.#pump()
  }

  stats(): PoolStats {
    return {
      ...this.#occupancy(),
      total: this.#sessions.size,
      suspended: this.#suspended,
      closed: this.#closed,
      counts: { ...this.#counts },
    }
  }

  /** What is known about a connection of this pool, idle or in use. */
  infoOf(raw: Raw): ConnectionInfo | undefined {
    const session = this.#sessions.get(raw)
    if (session === undefined) return undefined
    const { credential } = session
    const info = this.#driver.info(raw)
    return {
      ...info,
      timings: { credential: session.credentialMillis, ...info.timings },
      id: session.id,
      identity: credential.identity,
      credentialKind: credential.kind,
      credentialExpiresAt: credential.expiresAt,
      ageMillis: this.#now() - session.openedAt,
    }
  }

  on<Name extends EventName>(name: Name, listener: Listener<Name>): this {
    this.events.on(name, listener)
    return this
  }

  off<Name extends EventName>(name: Name, listener: Listener<Name>): this {
    this.events.off(name, listener)
    return this
  }

  /** With {@link numUsed} and {@link numPendingAcquires}, the marks by which knex knows a tarn-compatible pool. */
  numFree(): number {
    return this.#shelf.numFree()
  }

  numUsed(): number {
    return this.#shelf.numUsed()
  }

  numPendingAcquires(): number {
    return this.#waiters.size
  }

  /**
   * Ends the pool. Who waits gets `POOL_CLOSED`, attempts are aborted, idle connections closed; connections in use
   * are waited for up to `drain_timeout` and then cut. Resolves when every socket is closed, also when the database
   * answers no more; never rejects. Every call gives the same promise.
   */
  destroy(): Promise<void> {
    this.#destroyed ??= this.#destroy()
    return this.#destroyed
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.destroy()
  }

  // ---- handing out

  /** The hot path: a good connection at once, or nothing. */
  #takeReady(): Session<Raw> | undefined {
    if (this.#waiters.size > 0 || this.#suspended || this.#closed) return undefined
    // Also without use for it here: this is what renews the credential before it ends.
    this.#source.current()
    const now = this.#now()
    for (let session = this.#shelf.top; session !== undefined; session = this.#shelf.top) {
      const reason = this.#unfit(session, now)
      if (reason === undefined) {
        if (this.#policy.prePing && now - session.provenAt > FRESH_MILLIS) return undefined
        this.#shelf.take()
        this.#handOut(session, now, now, this.#site())
        return session
      }
      this.#close(session, reason)
    }
    return undefined
  }

  #wait(signal: AbortSignal | undefined): Promise<Raw> {
    if (this.#closed) return Promise.reject(closedError())
    if (signal?.aborted) return Promise.reject(abortedError(signal))
    const promise = this.#waiters.add({
      since: this.#now(),
      millis: this.#policy.timeoutMillis,
      site: this.#site(),
      signal,
      onTimeout: () => this.#timeoutError(),
      onAbort: abortedError,
    })
    this.#pump()
    return promise
  }

  #handOut(session: Session<Raw>, now: number, since: number, site: Error | undefined): void {
    session.busy = true
    session.acquiredAt = now
    session.acquireSite = site
    session.leakReported = false
    this.#busy++
    this.#counts.acquired++
    if (this.#wantsAcquired()) this.events.emit('pool:acquired', { id: session.id, waitedMillis: now - since })
  }

  /** Gives a session that is on no list but the used one to who waits for longest, or puts it back. */
  #deliver(session: Session<Raw>, now: number): void {
    const waiter = this.#suspended ? undefined : this.#waiters.first
    if (waiter === undefined) {
      this.#shelf.release(session)
    } else {
      this.#handOut(session, now, waiter.since, waiter.site)
      waiter.resolve(session.raw)
    }
  }

  /** Serves who waits: from the free ones as far as they go, then by opening; also keeps `pool_min_idle` filled. */
  #pump(): void {
    if (this.#closed) return
    if (!this.#suspended) {
      const now = this.#now()
      while (this.#waiters.size > 0) {
        const session = this.#shelf.top
        if (session === undefined) break
        const reason = this.#unfit(session, now)
        const stale = this.#policy.prePing && now - session.provenAt > FRESH_MILLIS
        if (reason !== undefined) {
          this.#close(session, reason)
        } else if (!stale) {
          this.#shelf.take()
          this.#deliver(session, now)
        } else if (this.#waiters.size > this.#checking) {
          this.#shelf.take()
          void this.#check(session, 'ping-failed')
        } else {
          break
        }
      }
    }
    this.#openMissing()
  }

  /** Why a session cannot be handed out or kept, as far as can be known without waiting. */
  #unfit(session: Session<Raw>, now: number): CloseReason | undefined {
    if (this.#closed) return 'drained'
    if (this.#driver.isBroken(session.raw)) return 'broken'
    return verdict(session, now, this.#circumstances)
  }

  #rotated(credential: Credential): void {
    this.#circumstances.credential = credential
    this.#sweep()
  }

  // ---- opening

  #openMissing(): void {
    const opening = this.#shelf.numPendingCreates()
    const wanted = this.#suspended ? 0 : Math.max(0, this.#waiters.size - this.#checking)
    const { minIdle, size } = this.#policy
    const spare = Math.max(0, Math.min(minIdle - this.#shelf.numFree(), size - this.#sessions.size - wanted))
    const missing = wanted + spare - opening
    for (let count = 0; count < missing && this.#shelf.hasRoom; count++) {
      // Nobody else can serve who waits when nothing is in use, so that the answer must be sought now.
      if (!this.#pacer.mayStart(this.#opener.inFlight, wanted > 0 && this.#busy + this.#checking === 0)) return
      this.#pacer.started()
      this.#shelf.open().then(
        () => {
          this.#pacer.succeeded()
          this.#startSweeping()
          // Besides serving who waits: what was invalidated or retired while it was being opened goes at once.
          this.#sweep()
        },
        (error) => this.#openFailed(error as PoolsmithError),
      )
    }
  }

  async #openSession(): Promise<Session<Raw>> {
    const session = await this.#opener.open(this.#circumstances.generation)
    const { id, credential, openingMillis } = session
    this.#sessions.set(session.raw, session)
    this.#counts.opened++
    this.events.emit('connection:opened', { id, identity: credential.identity, durationMillis: openingMillis })
    return session
  }

  #openFailed(error: PoolsmithError): void {
    this.#counts.failed++
    if (this.#closed) return
    this.#pacer.failed(error)
    this.events.emit('connection:failed', { error, phase: error.phase })
    if (!this.#suspended) {
      const hope = this.#busy + this.#checking + this.#opener.inFlight
      if (hope === 0) this.#waiters.rejectAll(error)
      else if (!error.transient) this.#waiters.first?.reject(error)
    }
    this.#pump()
  }

  // ---- tending

  /** Pings a session on its way to who waits, or resets one on its way back; others may be served meanwhile. */
  async #check(session: Session<Raw>, onFailure: 'ping-failed' | 'reset-failed'): Promise<void> {
    const { resetMode, checkMillis } = this.#policy
    const begunAt = this.#now()
    let failure: unknown
    this.#checking++
    try {
      const ping = onFailure === 'ping-failed' || resetMode === 'none'
      await within(ping ? this.#driver.ping(session.raw) : this.#driver.reset(session.raw, resetMode), checkMillis)
    } catch (error) {
      failure = error ?? new Error('unknown')
    }
    this.#checking--
    // destroy() may have cut it meanwhile.
    if (session.closed) return
    const now = this.#now()
    if (failure === undefined) session.provenAt = now
    const reason = failure === undefined ? this.#unfit(session, now) : onFailure
    if (reason === undefined) {
      this.#deliver(session, now)
    } else {
      this.#close(session, reason)
      const silent = failure instanceof LimitExceeded || now - begunAt > FRESH_MILLIS
      if (reason === 'ping-failed' && silent) {
        // It is the network or the server, not this one session. Who waits must not find that out for each of
        // those that were heard of even longer ago.
        for (const other of this.#shelf.idle) if (other.provenAt <= session.provenAt) this.#close(other, reason)
      }
    }
    this.#pump()
  }

  /** Takes a session out of the pool and closes it in the background. */
  #close(session: Session<Raw>, reason: CloseReason): void {
    if (session.busy) this.#busy--
    session.busy = false
    session.closed = true
    session.condemned = reason
    this.#sessions.delete(session.raw)
    this.#counts.closed++
    void this.#shelf.discard(session)
    this.events.emit('connection:closed', { id: session.id, reason, ageMillis: this.#now() - session.openedAt })
    if (this.#busy + this.#checking === 0) this.#onQuiet?.()
  }

  async #goodbye(session: Session<Raw>): Promise<void> {
    const { raw, condemned } = session
    if (condemned !== undefined && !DEAF.has(condemned)) {
      try {
        await within(this.#driver.close(raw), GOODBYE_MILLIS)
        return
      } catch {
        // It does not listen, or not in time: cut it.
      }
    }
    this.#driver.abort(raw)
  }

  #startSweeping(): void {
    if (this.#closed) return
    this.#sweeper ??= setInterval(() => this.#sweep(), sweepPeriodMillis(this.#policy)).unref()
  }

  #stopSweeping(): void {
    clearInterval(this.#sweeper)
    this.#sweeper = undefined
  }

  /** Looks over all sessions: closes, keeps alive, reports leaks, refills. */
  #sweep(): void {
    if (this.#closed) return
    const now = this.#now()
    const policy = this.#policy
    for (const session of this.#shelf.idle) {
      const reason =
        this.#unfit(session, now) ?? surplus(session, now, policy, this.#sessions.size, this.#shelf.numFree())
      if (reason !== undefined) {
        this.#close(session, reason)
      } else if (keepaliveDue(session, now, policy) && this.#shelf.withdraw(session)) {
        void this.#check(session, 'ping-failed')
      }
    }
    reportLeaks(this.#sessions.values(), now, policy, this.events.emit)
    this.#pump()
    if (this.#sessions.size === 0) this.#stopSweeping()
  }

  // ---- telling

  #occupancy(): Occupancy {
    return {
      max: this.#policy.max,
      inUse: this.#busy,
      idle: this.#shelf.numFree(),
      opening: this.#opener.inFlight,
      checking: this.#shelf.numUsed() - this.#busy,
      waiting: this.#waiters.size,
    }
  }

  #timeoutError(): PoolsmithError {
    const now = this.#now()
    const held = [...this.#sessions.values()]
      .filter((session) => session.busy)
      .sort((a, b) => a.acquiredAt - b.acquiredAt)
      .slice(0, 5)
    const longestHeld: Holder[] = held.map(({ id, acquiredAt }) => ({ id, heldMillis: Math.round(now - acquiredAt) }))
    const error = acquireTimeoutError({
      timeoutMillis: this.#policy.timeoutMillis,
      suspended: this.#suspended,
      occupancy: this.#occupancy(),
      longestHeld,
      attempt: this.#opener.oldest,
      failure: this.#pacer.failure,
    })
    this.#counts.timedOut++
    this.events.emit('pool:timeout', { error })
    return error
  }

  /** Where the acquire was called, for leak detection. */
  #site(): Error | undefined {
    if (this.#policy.leakMillis === Number.POSITIVE_INFINITY) return undefined
    const site = new Error('acquired here')
    Error.captureStackTrace(site, this.acquire)
    return site
  }

  // ---- ending

  async #destroy(): Promise<void> {
    this.#closed = true
    this.#pacer.close()
    this.#stopSweeping()
    this.#stopListening?.()
    this.#waiters.rejectAll(closedError())
    this.#opener.end(closedError())
    this.#source.close()
    for (const session of this.#shelf.idle) this.#close(session, 'drained')
    await this.#drained()
    for (const session of this.#sessions.values()) this.#close(session, 'drain-timeout')
    // Waits for the attempts to end and for every goodbye, each of which has its limit.
    await this.#shelf.destroy()
    this.events.emit('pool:destroyed', {})
  }

  #drained(): Promise<void> {
    if (this.#busy + this.#checking === 0) return Promise.resolve()
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, this.#policy.drainMillis)
      this.#onQuiet = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}
