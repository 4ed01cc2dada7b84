import type { PoolsmithError } from '../errors.ts'
import type { TicketSource } from './refresh-ticket.ts'
import type { TicketInfo } from './ticket.ts'
import type { RenewalPolicy, RetryPolicy } from './ticket-schedule.ts'

/**
 * How several processes share the work of keeping a ticket good.
 * - `lock`: each process updates the same cache, one at a time, and not when another has just done so.
 * - `elected`: one process updates, the others watch, and one of them takes over when it dies.
 * - `process`: each process has a cache of its own, named by its process id, and removes it at its end.
 */
export type TicketUpdater = 'lock' | 'elected' | 'process'

/** An event of {@link KerberosTicket}, for its `onEvent`. */
export type TicketEvent =
  | { readonly kind: 'acquired' | 'renewed'; readonly ticket: TicketInfo }
  /** Another updater has put a new ticket into the cache. */
  | { readonly kind: 'found'; readonly ticket: TicketInfo }
  | {
      readonly kind: 'failed'
      readonly error: PoolsmithError
      readonly attempt: number
      /** Undefined when there is no further attempt before the next look at the ticket. */
      readonly retryInMillis: number | undefined
    }
  /** This process is the elected updater from now on. */
  | { readonly kind: 'elected' }

/** How {@link KerberosTicket} obtains a ticket, where it keeps it, and when it replaces it. */
export interface KerberosTicketOptions extends TicketSource {
  /** Default `lock`. */
  readonly updater?: TicketUpdater | undefined
  readonly retry?: Partial<RetryPolicy>
  readonly renewal?: Partial<RenewalPolicy>
  /** `true` renews the present ticket even where there is a keytab, and uses the keytab when that fails. Default false. */
  readonly preferRenewal?: boolean
  readonly onEvent?: (event: TicketEvent) => void
  /** Default `process.env`. */
  readonly environment?: Readonly<Record<string, string | undefined>>
}

/** The state of a ticket that is kept good. */
export interface TicketStatus {
  readonly ticket: TicketInfo | undefined
  /** Why there is no ticket that can be used. */
  readonly error: PoolsmithError | undefined
  /** Milliseconds since the epoch. */
  readonly renewalDueAt: number | undefined
}
