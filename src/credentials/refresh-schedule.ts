/**
 * When to renew a credential: arithmetic on milliseconds, with no timers and no clock of its own,
 * so that every case is tested without waiting.
 */

/** The part of a credential's life that is left when its renewal begins. */
const AHEAD_FRACTION = 0.25
/** A login takes time, and the server's clock is not ours: the last 5 % of the life, at most 30 s, are not used. */
const MARGIN_FRACTION = 0.05
const MARGIN_MAX_MILLIS = 30_000

const BACKOFF_FIRST_MILLIS = 250
const BACKOFF_MIN_MILLIS = 25
const BACKOFF_MAX_MILLIS = 30_000

/** Both in milliseconds since the epoch; `Infinity` is never. */
export interface Schedule {
  /** From here on a renewal is due, in the background. */
  readonly refreshAt: number
  /** From here on the credential is not handed out any more. */
  readonly goodUntil: number
}

export interface Lifetime {
  readonly issuedAt: number
  readonly expiresAt?: number
}

/**
 * The schedule of a credential. Both distances are parts of its life, so that they fit a token of one second
 * (renewed at 0.75 s, used until 0.95 s) as well as one of a week (renewed after 5.25 days).
 *
 * @param recheckMillis how often to look again at a credential that does not say when it ends; default never
 */
export function schedule(life: Lifetime, recheckMillis = Number.POSITIVE_INFINITY): Schedule {
  const { issuedAt, expiresAt } = life
  if (expiresAt === undefined) return { refreshAt: issuedAt + recheckMillis, goodUntil: Number.POSITIVE_INFINITY }
  const span = Math.max(0, expiresAt - issuedAt)
  return {
    refreshAt: Math.min(expiresAt - span * AHEAD_FRACTION, issuedAt + recheckMillis),
    goodUntil: expiresAt - Math.min(span * MARGIN_FRACTION, MARGIN_MAX_MILLIS),
  }
}

/** `fresh`: use it. `due`: use it and renew it meanwhile. `over`: wait for another. */
export type Freshness = 'fresh' | 'due' | 'over'

export function freshness(plan: Schedule, now: number): Freshness {
  if (now >= plan.goodUntil) return 'over'
  return now >= plan.refreshAt ? 'due' : 'fresh'
}

/**
 * When to ask again after the issuer gave the very same credential once more (it answers from a cache of its own):
 * after three quarters of what is left, so that the steps shrink towards the end and stay few.
 */
export function refreshAgainAt(goodUntil: number, now: number, recheckMillis = Number.POSITIVE_INFINITY): number {
  if (goodUntil === Number.POSITIVE_INFINITY) return now + recheckMillis
  return now + Math.min(Math.max((goodUntil - now) * (1 - AHEAD_FRACTION), BACKOFF_FIRST_MILLIS), recheckMillis)
}

/**
 * The wait before the next try, in milliseconds: 250 ms doubling to 30 s, of which a random half is taken away so
 * that many processes do not return at the same moment. While an old credential is still good the wait is at most a
 * quarter of what is left of it, so that a short life gets its tries too.
 *
 * @param failures how many tries failed in a row, from 1
 * @param random from 0 to 1
 * @param leftMillis how long the old credential is still good; absent when there is none
 */
export function backoffMillis(failures: number, random: number, leftMillis = Number.POSITIVE_INFINITY): number {
  const doubled = BACKOFF_FIRST_MILLIS * 2 ** Math.min(failures - 1, 20)
  const ceiling = Math.min(BACKOFF_MAX_MILLIS, leftMillis > 0 ? leftMillis / 4 : Number.POSITIVE_INFINITY)
  const full = Math.max(Math.min(doubled, ceiling), BACKOFF_MIN_MILLIS)
  return full * (1 - random / 2)
}
