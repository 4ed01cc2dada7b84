import { orAbort } from '../abort.ts'
import { isError } from '../any-error.ts'
import type { PoolsmithError } from '../errors.ts'
import type { Emit } from '../events.ts'
import { unobserved } from '../tracing.ts'
import type { Credential, CredentialSource } from './credential.ts'
import { credentialFailure } from './failure.ts'
import { backoffMillis, freshness, refreshAgainAt, schedule } from './refresh-schedule.ts'
import { sameSecret } from './same-secret.ts'
import { abortError, askedWait, closedError, overError, timeoutError } from './source-errors.ts'
import { validCredential } from './valid-credential.ts'

/** How {@link refreshingSource} obtains a credential, and when it obtains the next one. */
export interface RefreshingSourceOptions {
  /**
   * Obtains a credential. The signal aborts when the time limit has passed or the source is closed. It is called for a
   * renewal too, when an answer from a cache would be of no use. A rejection with a `PoolsmithError` that is
   * `transient`, a fault of the network, HTTP 408, 429 or 5xx is tried again, not before `details.retryAfterMillis`
   * when there is one; anything else is taken as a refusal.
   */
  readonly fetch: (signal: AbortSignal) => Promise<Credential>
  readonly emit?: Emit
  /** Begins the message of an error that `fetch` did not dress itself. Default `The credential could not be fetched`. */
  readonly subject?: string
  /** The time limit of one fetch, in milliseconds. Default 30,000. */
  readonly fetchTimeoutMillis?: number | undefined
  /** Attempts in a row while callers wait, before they get the failure. Default 5, with about 3 s of pauses. */
  readonly maxAttempts?: number | undefined
  /** How often to look again for a credential that does not say when it ends, in milliseconds. Default never. */
  readonly recheckMillis?: number
  /** Whether a transient failure is tried again while callers wait. Default: it is. */
  readonly isRetried?: (error: PoolsmithError) => boolean
  /** From 0 to 1, for the jitter. */
  readonly random?: () => number
}

/** A failure is given to those who ask within this time after it, so that a busy pool does not storm the issuer. */
const REPLAY_MILLIS = 1000
/** The least distance between two fetches that refused logins cause. */
const REJECTION_PAUSE_MILLIS = 200
/** The longest delay that setTimeout knows. */
const TIMER_MAX_MILLIS = 2 ** 31 - 1

/**
 * A source that fetches its credential when it is first needed and renews it before it ends.
 *
 * - One fetch is in flight for all callers that wait. A caller that aborts leaves alone. The fetch goes on for the
 *   others, and also when all have left, up to its time limit: its result serves the next caller.
 * - The renewal runs in the background, and only while the source is in use: a caller has asked since the last fetch,
 *   or a listener waits for changes. An idle pool fetches nothing.
 * - While the old credential is good, a failed renewal is an event and no error. Faults of the network and
 *   throttling are tried again with back-off and jitter; a refusal is not tried again before the credential expires.
 *
 * @example
 * const source = refreshingSource({
 *   fetch: async (signal) => {
 *     const { password, seconds } = await vault.lease('db/creds/etl', { signal })
 *     const issuedAt = Date.now()
 *     return { kind: 'password', identity: 'etl', password: new Secret(password), issuedAt, expiresAt: issuedAt + seconds * 1000 }
 *   },
 * })
 */
export function refreshingSource(options: RefreshingSourceOptions): CredentialSource {
  return new RefreshingSource(options)
}

class RefreshingSource implements CredentialSource {
  readonly #options: RefreshingSourceOptions
  readonly #random: () => number
  readonly #listeners = new Set<(credential: Credential) => void>()

  #credential: Credential | undefined
  #refreshAt = 0
  #goodUntil = 0
  /** A caller has asked since the last fetch began. */
  #used = false

  #flight: Promise<Credential> | undefined
  #waiters = 0
  #failures = 0
  #failure: PoolsmithError | undefined
  /** When `#failure` became the answer for every caller; absent while attempts are left. */
  #finalAt: number | undefined
  #fetchedAt = 0
  /** The credential that a server refused, until another one is there. */
  #rejected: Credential | undefined

  #closed = false
  #attempt: AbortController | undefined
  /** The time limit of the attempt, or the back-off between two. It keeps the process alive only while callers wait. */
  #flightTimer: NodeJS.Timeout | undefined
  #wake: (() => void) | undefined
  #refreshTimer: NodeJS.Timeout | undefined

  constructor(options: RefreshingSourceOptions) {
    this.#options = options
    this.#random = options.random ?? Math.random
  }

  get failure(): PoolsmithError | undefined {
    return this.#failure
  }

  current(): Credential | undefined {
    this.#used = true
    const credential = this.#credential
    if (credential === undefined || Date.now() < this.#refreshAt) return credential
    return this.#aged(credential)
  }

  /** Out of `current`, to keep that small enough for the compiler to inline. */
  #aged(credential: Credential): Credential | undefined {
    const state = freshness({ refreshAt: this.#refreshAt, goodUntil: this.#goodUntil }, Date.now())
    if (state === 'over') return undefined
    if (state === 'due') this.#start()
    return credential
  }

  async get(signal?: AbortSignal): Promise<Credential> {
    if (this.#closed) throw closedError()
    if (signal?.aborted) throw abortError(signal.reason, this.#failure)
    const ready = this.current()
    if (ready !== undefined) return ready
    if (this.#failure !== undefined && this.#finalAt !== undefined) {
      const since = Date.now() - this.#finalAt
      if (since >= 0 && since < REPLAY_MILLIS) throw this.#failure
    }
    return this.#join(signal)
  }

  reject(credential: Credential): boolean {
    if (this.#closed) return false
    if (this.#credential !== undefined && sameSecret(credential, this.#credential)) {
      this.#rejected = this.#credential
      this.#credential = undefined
      clearTimeout(this.#refreshTimer)
    }
    return true
  }

  onChange(listener: (credential: Credential) => void): () => void {
    const own = (credential: Credential): void => listener(credential)
    this.#listeners.add(own)
    return () => {
      this.#listeners.delete(own)
    }
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    clearTimeout(this.#refreshTimer)
    this.#listeners.clear()
    this.#attempt?.abort(closedError())
    this.#wake?.()
  }

  #join(signal: AbortSignal | undefined): Promise<Credential> {
    this.#waiters++
    const flight = this.#start()
    this.#flightTimer?.ref()
    return orAbort(flight, signal)
      .catch((error: unknown) => {
        throw signal?.aborted && error === signal.reason ? abortError(error, this.#failure) : error
      })
      .finally(() => {
        if (--this.#waiters === 0) this.#flightTimer?.unref()
      })
  }

  /** The flight under way, or a new one. Its failure is always an event, so the promise needs no listener. */
  #start(): Promise<Credential> {
    if (this.#flight !== undefined) return this.#flight
    clearTimeout(this.#refreshTimer)
    this.#used = false
    const flight = unobserved(() => this.#fly()).finally(() => {
      this.#flight = undefined
    })
    flight.catch(() => undefined)
    this.#flight = flight
    return flight
  }

  async #fly(): Promise<Credential> {
    await this.#pauseAfterRejection()
    for (let attempt = 1; ; attempt++) {
      if (this.#closed) throw closedError()
      const refused = this.#rejected
      const begin = performance.now()
      this.#fetchedAt = Date.now()
      try {
        const credential = await this.#fetchOnce()
        // A fetch that began before the server refused the credential may only have found that one again.
        const stale = this.#rejected !== refused && this.#rejected !== undefined
        if (stale && sameSecret(credential, this.#rejected as Credential) && attempt < this.#maxAttempts) continue
        this.#adopt(credential, performance.now() - begin)
        return credential
      } catch (thrown) {
        if (this.#closed) throw closedError()
        const error = credentialFailure(this.#options.subject ?? 'The credential could not be fetched', thrown, {
          secrets: [this.#credential, this.#rejected].map(secretOf),
        })
        const wait = this.#fail(error, attempt)
        if (wait === undefined) throw error
        await this.#sleep(wait)
      }
    }
  }

  get #maxAttempts(): number {
    return this.#options.maxAttempts ?? 5
  }

  /** Notes a failed attempt. Gives the wait before the next one of this flight, or nothing when the flight ends. */
  #fail(error: PoolsmithError, attempt: number): number | undefined {
    const now = Date.now()
    const left = this.#credential === undefined ? 0 : Math.max(0, this.#goodUntil - now)
    const wait = Math.max(backoffMillis(++this.#failures, this.#random(), left), askedWait(error))
    const isRetried = this.#options.isRetried?.(error) ?? true
    const again = error.transient && isRetried && this.#waiters > 0 && attempt < this.#maxAttempts
    const later = error.transient && left > 0
    this.#failure = error
    this.#finalAt = again || later ? undefined : now
    if (!again && left > 0) {
      const recheck = now + (this.#options.recheckMillis ?? Number.POSITIVE_INFINITY)
      this.#arm(error.transient ? now + wait : recheck)
    }
    const retryInMillis = again || later ? Math.round(wait) : undefined
    this.#options.emit?.('credential:failed', { error, attempt: this.#failures, retryInMillis })
    return again ? wait : undefined
  }

  #adopt(credential: Credential, durationMillis: number): void {
    const now = Date.now()
    const { expiresAt } = credential
    if (expiresAt !== undefined && expiresAt <= now) throw overError(credential.identity, expiresAt, now)
    const old = this.#credential
    const known = old ?? this.#rejected
    const changed = known === undefined || !sameSecret(known, credential)
    const recheck = this.#options.recheckMillis
    this.#failures = 0
    this.#failure = undefined
    this.#finalAt = undefined
    this.#rejected = undefined
    if (old !== undefined && !changed && !lastsLonger(credential, old)) {
      // The issuer has no better one: it is used to its very end then.
      if (now >= this.#goodUntil) this.#goodUntil = expiresAt ?? this.#goodUntil
      this.#arm(refreshAgainAt(this.#goodUntil, now, recheck))
      return
    }
    const plan = schedule(credential, recheck)
    this.#credential = credential
    this.#goodUntil = plan.goodUntil
    this.#arm(plan.refreshAt)
    this.#options.emit?.('credential:refreshed', { identity: credential.identity, expiresAt, durationMillis })
    if (changed) this.#announce(credential)
  }

  #announce(credential: Credential): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener(credential)
      } catch (error) {
        // A listener's mistake must not turn a good credential into a failed fetch.
        process.emitWarning(isError(error) ? error : String(error))
      }
    }
  }

  #arm(at: number): void {
    // `current` looks at this one time only: it must never lie beyond the end.
    this.#refreshAt = Math.min(at, this.#goodUntil)
    clearTimeout(this.#refreshTimer)
    if (this.#closed || this.#refreshAt === Number.POSITIVE_INFINITY) return
    const delay = Math.min(Math.max(0, this.#refreshAt - Date.now()), TIMER_MAX_MILLIS)
    this.#refreshTimer = setTimeout(() => this.#tick(), delay)
    this.#refreshTimer.unref()
  }

  #tick(): void {
    const now = Date.now()
    if (now < this.#refreshAt) this.#arm(this.#refreshAt)
    else if (this.#used || this.#listeners.size > 0) this.#start()
  }

  async #fetchOnce(): Promise<Credential> {
    const limit = Math.min(this.#options.fetchTimeoutMillis ?? 30_000, TIMER_MAX_MILLIS)
    const controller = new AbortController()
    const { signal } = controller
    this.#attempt = controller
    this.#flightTimer = setTimeout(() => controller.abort(timeoutError(limit)), limit)
    if (this.#waiters === 0) this.#flightTimer.unref()
    try {
      // Through a promise, so that a fetch that throws before its first await is a rejection too.
      const fetching = Promise.resolve().then(() => this.#options.fetch(signal))
      // The signal decides, not the fetch: a library that ignores it must not hold up the callers who wait.
      return validCredential(await orAbort(fetching, signal))
    } finally {
      clearTimeout(this.#flightTimer)
      this.#attempt = undefined
    }
  }

  async #pauseAfterRejection(): Promise<void> {
    if (this.#rejected === undefined) return
    const since = Date.now() - this.#fetchedAt
    if (since >= 0 && since < REJECTION_PAUSE_MILLIS) await this.#sleep(REJECTION_PAUSE_MILLIS - since)
  }

  async #sleep(millis: number): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#wake = resolve
      this.#flightTimer = setTimeout(resolve, Math.min(millis, TIMER_MAX_MILLIS))
    })
    clearTimeout(this.#flightTimer)
  }
}

/** A lease that was prolonged keeps its secret and gets a later end. */
function lastsLonger(credential: Credential, old: Credential): boolean {
  if (old.expiresAt === undefined) return false
  return credential.expiresAt === undefined || credential.expiresAt > old.expiresAt
}

function secretOf(credential: Credential | undefined) {
  if (credential?.kind === 'password' || credential?.kind === 'ntlm') return credential.password
  if (credential?.kind === 'token') return credential.token
  return undefined
}
