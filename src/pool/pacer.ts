import type { PoolsmithError } from '../errors.ts'

const FIRST_PAUSE_MILLIS = 100
const LONGEST_PAUSE_MILLIS = 5000
/** While attempts fail and somebody waits, a further attempt may start beside one that hangs, once in this time. */
const PROBE_MILLIS = 1000

/**
 * Keeps a database that is down from being stormed. While attempts succeed it never says no. After a failure one
 * attempt at a time probes, until one succeeds: at once for who has nothing else to wait for, with growing pauses
 * (100 ms doubling to 5 s, with jitter) for everything else.
 */
export class Pacer {
  readonly #now: () => number
  readonly #random: () => number
  readonly #wake: () => void
  #failures = 0
  #failure: PoolsmithError | undefined
  #startedAt = Number.NEGATIVE_INFINITY
  #retryAt = Number.NEGATIVE_INFINITY
  #timer: NodeJS.Timeout | undefined

  /** @param wake called when it is worth to ask `mayStart` again */
  constructor(now: () => number, random: () => number, wake: () => void) {
    this.#now = now
    this.#random = random
    this.#wake = wake
  }

  /** The failure of the last attempt, when none has succeeded since. */
  get failure(): PoolsmithError | undefined {
    return this.#failure
  }

  /** @param urgent somebody waits, and nothing but an attempt can serve him */
  mayStart(inFlight: number, urgent: boolean): boolean {
    if (this.#failures === 0) return true
    const now = this.#now()
    if (urgent && inFlight === 0) return true
    const at = urgent ? this.#startedAt + PROBE_MILLIS : this.#retryAt
    if (now >= at && (urgent || inFlight === 0)) return true
    if (now < at) this.#arm(at - now)
    return false
  }

  started(): void {
    this.#startedAt = this.#now()
  }

  succeeded(): void {
    this.#failures = 0
    this.#failure = undefined
    this.close()
  }

  failed(error: PoolsmithError): void {
    this.#failure = error
    const now = this.#now()
    // Attempts that ran together fail together: that is one failure.
    if (this.#failures > 0 && now < this.#retryAt) return
    const pause = Math.min(LONGEST_PAUSE_MILLIS, FIRST_PAUSE_MILLIS * 2 ** this.#failures)
    this.#failures++
    this.#retryAt = now + pause * (0.75 + 0.25 * this.#random())
  }

  /** Stops the timer. */
  close(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  #arm(millis: number): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      this.#wake()
    }, millis).unref()
  }
}
