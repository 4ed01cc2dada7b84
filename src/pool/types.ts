/** The configuration of a pool, and the facts that it reports. */

import type { Credential, CredentialSource } from '../credentials/credential.ts'
import type { Driver, SessionInfo } from '../drivers/driver.ts'
import type { EventHub } from './events.ts'
import type { Occupancy } from './failures.ts'
import type { PoolOptions } from './options.ts'

/** The configuration of a {@link ConnectionPool}. */
export interface ConnectionPoolConfig<Raw extends object> {
  readonly driver: Driver<Raw>
  /** Asked on every acquire and before every opening; closed with the pool. */
  readonly source: CredentialSource
  /** Under their names in the extras; times in seconds. */
  readonly options?: PoolOptions
  /** Shared with the driver and the source, when they raise events too. */
  readonly events?: EventHub
  /** A monotonic clock in milliseconds. Default `performance.now`. */
  readonly now?: () => number
  /** From 0 to 1, for jitter. Default `Math.random`. */
  readonly random?: () => number
}

/** Options of {@link ConnectionPool.acquire} and `use`. */
export interface AcquireOptions {
  /** Aborts the wait for a connection; the connection itself is not touched by it. */
  readonly signal?: AbortSignal | undefined
  /** For leak detection: its stack says where the connection was asked for. Default: the caller of `acquire`. */
  readonly site?: Error | undefined
}

/** How many connections there are and what they do, as `pool.stats()` counts them. */
export interface PoolStats extends Occupancy {
  /** Open connections: in use, idle, and being checked. */
  readonly total: number
  readonly suspended: boolean
  readonly closed: boolean
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
