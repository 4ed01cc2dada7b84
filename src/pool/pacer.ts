import type { PoolsmithError } from '../errors.ts'
import { inBackground } from '../tracing.ts'
import { asksToWait } from './failures.ts'

const FIRST_PAUSE_MILLIS = 100
const LONGEST_PAUSE_MILLIS = 5000
/** While attempts fail or hang and callers wait, a further attempt may start beside them, once in this time. */
const LONGEST_PROBE_MILLIS = 1000
/** The same while no server has the role that is asked for: a failover ends at a moment, and an attempt is cheap. */
const ROLE_PROBE_MILLIS = 400
/**
 * Logins at a time of an account that can be locked, until one of them has succeeded. Fewer would hold up the opening of
 * many sessions at once (`npm run bench -- pool`).
 */
const UNPROVEN_LOGINS = 5

export interface PacerConfig {
  readonly now: () => number
  readonly random: () => number
  /** Called when it is worth asking {@link Pacer.mayStart} again. */
  readonly wake: () => void
  /** The longest time between two attempts while callers wait; never more than a second. */
  readonly probeMillis: number
}

/**
 * Keeps a database that is down from a storm of attempts, and an account from being locked.
 *
 * While attempts succeed they start at once, but for an account that can be locked: of the attempts that run together,
 * five at a time until one has succeeded. After a failure one attempt at a time probes, until one succeeds: at once
 * for callers that nothing else can serve, unless the server asked to wait; with growing pauses (100 ms doubling to
 * 5 s, with jitter) for all other attempts.
 */
export class Pacer {
  readonly #config: PacerConfig
  readonly #probeMillis: number
  #failures = 0
  #failure: PoolsmithError | undefined
  #proven = false
  #startedAt = Number.NEGATIVE_INFINITY
  #retryAt = Number.NEGATIVE_INFINITY
  #timer: NodeJS.Timeout | undefined
  #wakeAt = Number.POSITIVE_INFINITY

  constructor(config: PacerConfig) {
    this.#config = config
    this.#probeMillis = Math.min(config.probeMillis, LONGEST_PROBE_MILLIS)
  }

  /** The failure of the last attempt, when none has succeeded since. */
  get failure(): PoolsmithError | undefined {
    return this.#failure
  }

  /**
   * @param inFlight attempts under way
   * @param lockable too many refused logins would lock the account
   * @param isUrgent callers wait, and only an attempt can serve them
   */
  mayStart(inFlight: number, lockable: boolean, isUrgent: () => boolean): boolean {
    const at = this.#nextStart(inFlight, lockable, isUrgent)
    const wait = at - this.#config.now()
    if (wait <= 0) return true
    // Without end: the attempt under way says how it goes on.
    if (wait < Number.POSITIVE_INFINITY) this.#arm(at, wait)
    return false
  }

  #nextStart(inFlight: number, lockable: boolean, isUrgent: () => boolean): number {
    const atOnce = Number.NEGATIVE_INFINITY
    const isFailover = this.#failure?.code === 'SERVER_ROLE_MISMATCH'
    const probeAt = this.#startedAt + (isFailover ? Math.min(this.#probeMillis, ROLE_PROBE_MILLIS) : this.#probeMillis)
    if (this.#failure === undefined) {
      return !lockable || this.#proven || inFlight < UNPROVEN_LOGINS ? atOnce : probeAt
    }
    if (!isUrgent()) return inFlight === 0 ? this.#retryAt : Number.POSITIVE_INFINITY
    if (inFlight > 0) return probeAt
    return asksToWait(this.#failure) ? Math.min(this.#retryAt, probeAt) : atOnce
  }

  started(): void {
    this.#startedAt = this.#config.now()
  }

  /** Nothing is missing and nothing under way: what the last logins have proven says nothing about the next ones. */
  rested(): void {
    this.#proven = false
  }

  succeeded(): void {
    this.#failures = 0
    this.#failure = undefined
    this.#proven = true
    this.close()
  }

  failed(error: PoolsmithError): void {
    this.#failure = error
    const { now, random } = this.#config
    // Attempts that ran together fail together: that is one failure.
    if (this.#failures > 0 && now() < this.#retryAt) return
    const pause = Math.min(LONGEST_PAUSE_MILLIS, FIRST_PAUSE_MILLIS * 2 ** this.#failures)
    this.#failures++
    this.#retryAt = now() + pause * (0.75 + 0.25 * random())
  }

  /** Stops the timer. */
  close(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#wakeAt = Number.POSITIVE_INFINITY
  }

  #arm(at: number, millis: number): void {
    // A server that asks to wait may be asked again sooner than was known when the timer was set.
    const isSooner = this.#failure !== undefined && asksToWait(this.#failure) && at < this.#wakeAt
    if (this.#timer !== undefined && !isSooner) return
    this.close()
    this.#wakeAt = at
    this.#timer = inBackground(() =>
      setTimeout(() => {
        this.close()
        this.#config.wake()
      }, millis).unref(),
    )
  }
}
