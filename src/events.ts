/** The events that a pool, its credential source and its driver raise: the contract, and nothing that raises them. */

import type { AuditFacts } from './audit-facts.ts'
import type { Phase, PoolsmithError } from './errors.ts'

/** Why a connection was closed. */
export type CloseReason =
  | 'idle'
  | 'overflow'
  | 'recycled'
  | 'retired'
  | 'broken'
  | 'ping-failed'
  | 'reset-failed'
  | 'invalidated'
  | 'rebalanced'
  | 'drained'
  | 'drain-timeout'

/** The kind of database, as `db.system.name` of OpenTelemetry names it. */
export type DatabaseSystem = 'postgresql' | 'microsoft.sql_server'

/** The role of a server: of PostgreSQL `primary` and `standby`; of an availability group `primary` and `secondary`. */
export type PlaceRole = 'primary' | 'standby' | 'secondary'

/** Which pool an event is about. Every payload has these; the details of the pool's errors have them too. */
export interface EventOrigin {
  /** The option `pool_name`; without it `host:port/database`. */
  readonly poolName: string
  /** Undefined for a pool over a driver that does not say. */
  readonly system: DatabaseSystem | undefined
  readonly host: string | undefined
  /** Undefined for a named instance. */
  readonly port: number | undefined
}

/**
 * Every event with what its listeners are told: the origin, and the facts in {@link EventFacts}. Where the facts have a
 * host and port, these are told in place of the record's.
 */
export type PoolsmithEvents = {
  readonly [Name in EventName]: Readonly<Omit<EventOrigin, keyof EventFacts[Name]> & EventFacts[Name]>
}

/** The facts that are particular to each event. */
export interface EventFacts {
  /** A setting that works but needs attention: an unknown key, an ignored option. */
  'config:warning': { readonly path: string; readonly message: string }
  /**
   * A session that is weaker than asked for or advised: md5 in use, no TLS under `prefer`, a certificate that is not
   * verified. Once for each pool and cause.
   */
  'security:warning': { readonly code: string; readonly message: string }
  /** The text of an error that came before the server had proved anything: for debugging, never to be believed. */
  'debug:refusal': { readonly peer: string; readonly text: string }
  /** A client or CA certificate nears its end. `expiresAt` in milliseconds since the epoch. */
  'certificate:expiring': { readonly file: string; readonly subject: string; readonly expiresAt: number }
  /** A person has to sign in now: `message` says where and how. `expiresAt` is when it is given up. */
  'credential:prompt': {
    readonly message: string
    readonly url: string
    /** The code to enter there, for a sign-in by device code. */
    readonly userCode: string | undefined
    readonly expiresAt: number
  }
  'credential:refreshed': {
    readonly identity: string
    readonly expiresAt: number | undefined
    readonly durationMillis: number
  }
  'credential:failed': {
    readonly error: PoolsmithError
    readonly attempt: number
    readonly retryInMillis: number | undefined
  }
  /** A store of secrets is down, and a secret that was read before is used. `ageMillis` is the time since then. */
  'secret:stale': { readonly place: string; readonly error: PoolsmithError; readonly ageMillis: number }
  /** `host` and `port` are those of the server of the list, as in `connection:closed`. */
  'connection:opened': {
    readonly host: string | undefined
    readonly port: number | undefined
    readonly id: number
    readonly identity: string
    readonly durationMillis: number
  }
  'connection:failed': { readonly error: PoolsmithError; readonly phase: Phase }
  /**
   * PostgreSQL: a notice or warning that came with a login, from a login trigger or about a setting. On one line, and each
   * text bounded.
   */
  'connection:notice': {
    /** `NOTICE`, `WARNING`, `INFO`, `DEBUG` or `LOG`, in the language of the server. */
    readonly severity: string
    readonly sqlstate: string | undefined
    readonly message: string
    readonly detail: string | undefined
    readonly hint: string | undefined
  }
  'connection:closed': {
    readonly host: string | undefined
    readonly port: number | undefined
    readonly id: number
    readonly reason: CloseReason
    readonly ageMillis: number
    /** For `broken`, `ping-failed` and `reset-failed`: the server's last words, the socket's error, a time limit. */
    readonly cause: PoolsmithError | undefined
  }
  'connection:leaked': { readonly id: number; readonly heldMillis: number; readonly stack: string | undefined }
  /** A server of the list could not be reached, or is starting or stopping. It is tried after the others for 10 s. */
  'place:down': { readonly host: string; readonly port: number | undefined; readonly error: PoolsmithError }
  /** A session was opened at a server that was down. */
  'place:up': {
    readonly host: string
    readonly port: number | undefined
    readonly address: string | undefined
    readonly role: PlaceRole | undefined
  }
  /** A server has another role than before. */
  'place:role': {
    readonly host: string
    readonly port: number | undefined
    readonly role: PlaceRole
    readonly before: PlaceRole
  }
  'pool:acquired': { readonly id: number; readonly waitedMillis: number }
  'pool:released': { readonly id: number; readonly heldMillis: number }
  'pool:timeout': { readonly error: PoolsmithError }
  'pool:suspended': Record<never, never>
  'pool:resumed': Record<never, never>
  'pool:destroyed': Record<never, never>
  /** Something was done with a secret, a credential or an API key that this pool uses: `kind` says what. */
  audit: AuditFacts
  /** Lines of the audit log could not be written. `lost`: how many will never be, under `audit=on`. */
  'audit:failed': { readonly error: PoolsmithError; readonly lost: number }
}

/** The name of an event, such as `connection:opened`. */
export type EventName = keyof EventFacts

const NAMES: Readonly<Record<EventName, true>> = {
  'config:warning': true,
  'security:warning': true,
  'debug:refusal': true,
  'certificate:expiring': true,
  'credential:prompt': true,
  'credential:refreshed': true,
  'credential:failed': true,
  'secret:stale': true,
  'connection:opened': true,
  'connection:failed': true,
  'connection:notice': true,
  'connection:closed': true,
  'connection:leaked': true,
  'place:down': true,
  'place:up': true,
  'place:role': true,
  'pool:acquired': true,
  'pool:released': true,
  'pool:timeout': true,
  'pool:suspended': true,
  'pool:resumed': true,
  'pool:destroyed': true,
  audit: true,
  'audit:failed': true,
}
/** For a program that is not type-checked. */
export const EVENT_NAMES: readonly string[] = Object.keys(NAMES)

/** Raises an event, which is told with its origin. Listeners' errors never come back through it. */
export type Emit = <Name extends EventName>(name: Name, facts: EventFacts[Name]) => void
