/** When to renew and when to try again: arithmetic without timers. All times and spans in milliseconds. */

export interface RetryPolicy {
  /** The wait before the second attempt. Default 1,000. */
  readonly firstWaitMillis: number
  /** The longest wait. Default 30,000. */
  readonly longestWaitMillis: number
  /** The number of attempts. Default 10. */
  readonly attempts: number
}

export const DEFAULT_RETRY: RetryPolicy = { firstWaitMillis: 1000, longestWaitMillis: 30_000, attempts: 10 }

/** The wait after the given number of failed attempts; undefined when none is left. */
export function retryWait(failed: number, policy: RetryPolicy): number | undefined {
  if (failed >= policy.attempts) return undefined
  return Math.min(policy.firstWaitMillis * 2 ** (failed - 1), policy.longestWaitMillis)
}

export interface RenewalPolicy {
  /** Renew when less than this is left. Default 30 minutes. */
  readonly thresholdMillis: number
  /** Look at the ticket this often. Default 10 minutes. */
  readonly intervalMillis: number
}

export const DEFAULT_RENEWAL: RenewalPolicy = { thresholdMillis: 30 * 60_000, intervalMillis: 10 * 60_000 }

interface Lifetime {
  readonly startsAt: number
  readonly expiresAt: number
}

/**
 * When a ticket is due for renewal. A ticket whose life is shorter than twice the threshold is renewed at half its life:
 * by the threshold alone it would be due from its first second on.
 */
export function renewalDueAt(ticket: Lifetime, policy: RenewalPolicy): number {
  const life = Math.max(0, ticket.expiresAt - ticket.startsAt)
  return ticket.expiresAt - Math.min(policy.thresholdMillis, life / 2)
}

/**
 * Whether a renewal gains time: a ticket that would be due again at once is better replaced from the keytab.
 *
 * @param ticket.renewableUntil the latest end of a renewed ticket
 */
export function isWorthRenewing(
  ticket: Lifetime & { readonly renewableUntil?: number | undefined },
  policy: RenewalPolicy,
): boolean {
  const gain = (ticket.renewableUntil ?? ticket.expiresAt) - ticket.expiresAt
  return gain >= ticket.expiresAt - renewalDueAt(ticket, policy) && gain > 0
}

/** The shortest pause between two looks at a ticket. */
const SHORTEST_PAUSE_MILLIS = 200

/** How long to sleep before the next look: the interval, or less when the ticket is due earlier. */
export function nextLook(ticket: Lifetime | undefined, policy: RenewalPolicy, now: number): number {
  const due = ticket === undefined ? Number.POSITIVE_INFINITY : renewalDueAt(ticket, policy) - now
  return Math.max(SHORTEST_PAUSE_MILLIS, Math.min(policy.intervalMillis, due))
}
