import type { Credential } from '../credentials/credential.ts'
import type { Phase } from '../errors.ts'
import type { Place, PlaceName, SessionPlace } from '../hosts/place.ts'
import type { StatementWatcher } from './statement-watch.ts'
import type { Whereabouts } from './whereabouts.ts'

/** How a session is encrypted, as far as the client knows. */
export interface EncryptionInfo {
  readonly kind: 'none' | 'tls' | 'gss'
  /** `TLSv1.3` */
  readonly protocol?: string
  /** `TLS_AES_256_GCM_SHA384` */
  readonly cipher?: string
  /** `chain`: the server's certificate was verified against a CA; `hostname`: its name too; `exact`: it is the one that was named. */
  readonly verified?: 'chain' | 'hostname' | 'exact'
  readonly serverCertificate?: { readonly subject: string; readonly issuer: string; readonly expiresAt: number }
  readonly clientCertificate?: { readonly subject: string; readonly expiresAt: number }
}

/** The proxy that a session goes through. */
export interface ProxyInfo {
  /** `http://proxy.example.com:3128`: without a login. */
  readonly url: string
  /** How we logged in to the proxy. */
  readonly authentication: 'none' | 'basic' | 'kerberos'
  /** As whom: a user name, a Kerberos principal. Absent without a login. */
  readonly identity?: string
  /** Under Kerberos: whether the proxy proved itself to us. */
  readonly mutual?: boolean
  /** The TLS version to the proxy itself, under `https://`. */
  readonly tls?: string
}

/** Both ends of a Kerberos login, as they have proved to be. */
export interface KerberosInfo {
  /** `alice@EXAMPLE.COM` */
  readonly principal: string
  /** `postgres/db.example.com@EXAMPLE.COM`: as krb5 made it from what was asked for. */
  readonly server: string
  /** Whether the server has been given a ticket to act for us. */
  readonly delegated: boolean
}

/** The facts about an open session. Plain values: it goes to `poolsmith check --json` as it is. */
export interface SessionInfo {
  readonly user: string
  readonly database: string
  /** `127.0.0.1:5432`, or the path of a Unix socket. */
  readonly peer: string
  /** The server of the list that it was opened at. Absent where the driver does not say. */
  readonly place?: SessionPlace
  /** Our end of the connection, to the server or to a proxy: `127.0.0.1:40312`. Absent for a Unix socket. */
  readonly client?: string | undefined
  readonly serverVersion: string
  readonly processId?: number
  /** How the server let us in: `scram-sha-256`, `scram-sha-256-plus`, `md5`, `password`, `gss`, `none`. */
  readonly authentication: string
  readonly encryption: EncryptionInfo
  /** Absent when Kerberos had no part in it. */
  readonly kerberos?: KerberosInfo
  /** Absent when the session goes through no proxy. */
  readonly proxy?: ProxyInfo
  /** Milliseconds that each phase of the opening took. */
  readonly timings: Readonly<Partial<Record<Phase, number>>>
}

/** A notification to a session that listens (PostgreSQL Documentation, "NOTIFY"). */
export interface Notification {
  readonly channel: string
  /** Empty when none was sent. */
  readonly payload: string
  /** The server process of the sender, as in {@link SessionInfo}. */
  readonly processId: number
}

/** The arguments of `open` for one attempt. */
export interface OpenContext {
  /** Ends the attempt: the driver closes whatever it has open and rejects. */
  readonly signal: AbortSignal
  /** The driver says which phase begins, and at which place, so that a time limit can say what hung. */
  readonly enter: (phase: Phase, place?: PlaceName) => void
  /**
   * When the signal will end the attempt, on the clock of performance.now(): addresses that do not answer are given up in
   * time for the others. Absent: it is not known.
   */
  readonly deadline?: number | undefined
  /** Opens it at this one of the driver's places, whatever its role. Absent: at the first that fits. */
  readonly at?: Place | undefined
}

/**
 * Opens and tends authenticated connections to one database. The pool sees only this.
 * `Raw` is the connection that knex is given (`pg.Client`, tedious' `Connection`).
 */
export interface Driver<Raw extends object> {
  /** Where it connects to, for the pool's errors; its own errors name it too. */
  readonly where?: Whereabouts
  /** The servers that it opens sessions at, in the order of the connection. The driver keeps the facts up to date. */
  readonly places?: readonly Place[]
  /** The one of a session. */
  placeOf?(raw: Raw): Place | undefined
  /**
   * The rank of a place by the driver's order and the role that it has now: 0 comes first; Infinity does not fit, or is not
   * known to fit. Places that are taken by chance have the same.
   */
  rankOf?(place: Place): number
  /** How far the server of a session is behind its primary, in milliseconds. Undefined for a primary, or where it is not known. */
  lagMillis?(raw: Raw): Promise<number | undefined>
  open(credential: Credential, context: OpenContext): Promise<Raw>
  /** One round trip that proves the session alive; rejects when it is not. */
  ping(raw: Raw): Promise<void>
  /**
   * Whether the session must be pinged before it is handed out, however lately it was used: something said on another one
   * casts doubt on it. On the hot path.
   */
  mustPing?(raw: Raw): boolean
  /** Whether a returned connection has something to put right under this mode; false is the hot path. */
  needsReset(raw: Raw, mode: 'rollback' | 'full'): boolean
  /** Removes the listeners that a user has left on a session that is returned. On the hot path. */
  tidy?(raw: Raw): void
  /** `rollback`: no open transaction. `full`: nothing of the session's state is left. Rejects when it cannot. */
  reset(raw: Raw, mode: 'rollback' | 'full'): Promise<void>
  /**
   * Has the session listen to a channel until it ends. Rejects when it does not listen.
   *
   * @param channel as `pg_notify` takes it: upper and lower case differ
   */
  listen?(raw: Raw, channel: string, handler: (notification: Notification) => void): Promise<void>
  /** Runs SQL whose result is not needed, as for `session_init`. */
  run?(raw: Raw, sql: string): Promise<void>
  /**
   * From now on the present state of the session counts as that of a new one: `full` has nothing to clear, and the
   * listeners that were added before the first call stay on it.
   */
  markClean?(raw: Raw): void
  /** Says goodbye and closes the socket; resolves when it is closed. The caller holds the time limit. */
  close(raw: Raw): Promise<void>
  /** Closes the socket at once, without a word. `reason`: what statements on it are told. */
  abort(raw: Raw, reason?: Error): void
  /**
   * Has the server end the statement that the session is running, and no other one. Resolves at once when none runs, else
   * when none runs any more; rejects when that cannot be reached before the signal.
   */
  interrupt?(raw: Raw, signal: AbortSignal): Promise<void>
  /**
   * As `abort`, and has the server end the statement that the session was running, where closing the socket does not.
   * Resolves when the server has been asked.
   */
  kill?(raw: Raw, signal: AbortSignal, reason?: Error): Promise<void>
  /** Whether the session is of no more use: socket closed, or an error was seen on it that ends or outdates sessions. */
  isBroken(raw: Raw): boolean
  /** Calls `listener` when the session ends without our doing; at once when it has ended already. */
  onEnd?(raw: Raw, listener: () => void): void
  /** Why a broken session has ended: the server's last words, or the error of its socket. Undefined: without a word. */
  endedBy?(raw: Raw): Error | undefined
  info(raw: Raw): SessionInfo
  /** From now on a watcher is told of each statement of the session. */
  watch?(raw: Raw, watcher: StatementWatcher): void
}
