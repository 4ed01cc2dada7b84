import { inBackground } from '../tracing.ts'

/** The longest delay that setTimeout takes; an alarm that is due later rings early and is set again. */
const LONGEST_DELAY_MILLIS = 2 ** 31 - 1

/** One timer for the earliest of many times. It does not keep the process alive. */
export class Alarm {
  readonly #now: () => number
  readonly #ring: () => void
  #at = Number.POSITIVE_INFINITY
  #timer: NodeJS.Timeout | undefined

  /** @param ring may come early, and calls {@link by} for what is still to come */
  constructor(now: () => number, ring: () => void) {
    this.#now = now
    this.#ring = ring
  }

  /** Rings at this time at the latest; `Infinity` asks for nothing. */
  by(at: number): void {
    if (at >= this.#at) return
    this.clear()
    this.#at = at
    const delay = Math.min(Math.max(1, Math.ceil(at - this.#now())), LONGEST_DELAY_MILLIS)
    // The caller that sets it may be a request, whose context would live as long.
    this.#timer = inBackground(() =>
      setTimeout(() => {
        this.clear()
        this.#ring()
      }, delay).unref(),
    )
  }

  clear(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#at = Number.POSITIVE_INFINITY
  }
}
