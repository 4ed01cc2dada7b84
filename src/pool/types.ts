/** The configuration of a pool, and the facts that it reports. */

import type { Credential, CredentialSource } from '../credentials/credential.ts'
import type { Driver, Notification, SessionInfo } from '../drivers/driver.ts'
import type { PoolsmithError } from '../errors.ts'
import type { PlaceFacts, PlaceName } from '../hosts/place.ts'
import type { EventHub } from './events.ts'
import type { Occupancy } from './failures.ts'
import type { PoolOptions } from './options.ts'

/**
 * Called with each new session before it is first handed out, and again after a reset under
 * `pool_reset_on_return=full`.
 */
export type SessionHook<Raw extends object> = (session: Raw, info: ConnectionInfo) => Promise<void> | void

/**
 * The configuration of a {@link ConnectionPool}.
 *
 * The life of a connection, with all hooks and events, in the order in which they happen:
 *
 * 1. **Credential.** Every acquire asks the source for its current credential: a comparison of times while it is
 *    fresh, a renewal in the background when it nears its end. An opening waits for it when there is none. A fetch ends
 *    with `credential:refreshed` or `credential:failed`.
 * 2. **Opening.** `driver.open`, with one signal for the whole attempt. A login that is refused is tried once more
 *    with a fresh credential, when the source can have one; a password that is just being rotated gets a third try.
 * 3. **Prepared**: the SQL of `session_init`, then the hook `onSession`, which has the session alone. A transaction or
 *    statement that the hook leaves is ended. If one of them fails or ends the session, the session is closed, and that
 *    is the failure of the opening (`connection:failed`). Then `connection:opened`.
 * 4. **Handed out**, to the caller that has waited for longest: `pool:acquired`. The connection used last is handed out
 *    first. A `pg.Pool` of `createPgPool` emits `connect` before the first use of a session, and `acquire`.
 * 5. **Returned**: `release` of that `pg.Pool`, then `pool:released`. If the driver finds something to clean up (an open
 *    transaction; under `full`, any state), the connection is reset in the background, before the next caller gets it.
 *    After a reset under `full` it is prepared again, as in step 3.
 * 6. **Idle.** A sweep closes what is too old, idle for too long, beyond `pool_size`, or retired, sends keepalives,
 *    and opens what `pool_min_idle` lacks.
 * 7. **Validated** before it is handed out again: broken, condemned, too old, retired (all of them questions that
 *    need no waiting), and then one ping unless it was used within the last half second.
 * 8. **Closed**, with a goodbye if the server may still listen, and with `connection:closed` that says why.
 */
export interface ConnectionPoolConfig<Raw extends object> {
  readonly driver: Driver<Raw>
  /** Asked on every acquire and before every opening; closed with the pool. */
  readonly source: CredentialSource
  /** Under their names in the extras; times in seconds. */
  readonly options?: PoolOptions
  /** The hook of step 3. */
  readonly onSession?: SessionHook<Raw> | undefined
  /** Shared with the driver and the source, when they raise events too. */
  readonly events?: EventHub
  /** A monotonic clock in milliseconds. Default `performance.now`. */
  readonly now?: () => number
  /** From 0 to 1, for jitter. Default `Math.random`. */
  readonly random?: () => number
}

/** Options of {@link ConnectionPool.acquire} and `use`. */
export interface AcquireOptions {
  /** Aborts the wait for a connection. `use` and statements that take a signal go on to heed it. */
  readonly signal?: AbortSignal | undefined
  /** Leak detection says nothing about this connection, which is meant to be held: by a worker that listens, say. */
  readonly longLived?: boolean | undefined
  /** For leak detection: its stack says where the connection was asked for. Default: the caller of `acquire`. */
  readonly site?: Error | undefined
}

/**
 * Gets what a channel is sent, in the context (`AsyncLocalStorage`) of the call of `listen`. An error that it throws
 * becomes a warning of the process.
 */
export type NotificationHandler = (notification: Notification) => Promise<void> | void

/** Options of {@link ConnectionPool.listen}. */
export interface ListenOptions {
  /**
   * Called each time the session has begun to listen: what was sent before is not told, so this is the time to look for
   * it. `first` is false after a loss. If it fails after a loss, the session is closed, and the next one is tried.
   */
  readonly onListen?: ((event: { readonly first: boolean }) => Promise<void> | void) | undefined
  /** Ends the listening. */
  readonly signal?: AbortSignal | undefined
}

/** A server of the connection's list of hosts, as `pool.stats()` tells it. */
export interface PlaceStats extends PlaceFacts {
  /** Open connections of this pool there, and those of them that are idle. */
  readonly sessions: number
  readonly idle: number
}

/** The finding of {@link ConnectionPool.visitPlaces} at one server. */
export interface PlaceVisit extends PlaceName {
  /** Undefined where no session was opened. */
  readonly info: SessionInfo | undefined
  /** How long the opening took, without the time for the credential. */
  readonly openingMillis: number | undefined
  /** How far a standby is behind; undefined for a primary, or where it is not known. */
  readonly lagMillis: number | undefined
  /** Why no session was opened. */
  readonly error: PoolsmithError | undefined
}

/** How many connections there are and what they do, as `pool.stats()` counts them. */
export interface PoolStats extends Occupancy {
  /** Open connections: in use, idle, and being checked. */
  readonly total: number
  readonly suspended: boolean
  readonly closed: boolean
  /** The servers in the order of the connection; one where it names one. */
  readonly places: readonly PlaceStats[]
  /** Since the pool was built. */
  readonly counts: {
    readonly acquired: number
    readonly timedOut: number
    readonly opened: number
    readonly failed: number
    readonly closed: number
  }
}

/** Facts about one connection of the pool. */
export interface ConnectionInfo extends SessionInfo {
  /** The pool's number for it, as in events. */
  readonly id: number
  /** The identity of the credential that it logged in with; its expiry in milliseconds since the epoch. */
  readonly identity: string
  readonly credentialKind: Credential['kind']
  readonly credentialExpiresAt: number | undefined
  readonly ageMillis: number
}
