/** The facts that the tracing channels tell: types alone, in a file that no program loads. */

import type { Phase } from './errors.ts'
import type { EventOrigin, PlaceRole } from './events.ts'

/** The part of every trace: the pool. `error` is set when it failed. */
export interface TraceContext extends EventOrigin {
  /** Undefined where the server chooses it. */
  readonly database: string | undefined
  error?: unknown
  /** A subscriber sets it at the start, and has the work run in a context of its own. Of extracts and of the step `query`. */
  within?: <T>(work: () => T) => T
}

/** One attempt to open a session. */
export interface ConnectTrace extends TraceContext {
  /** Of the last login; undefined before there is a credential. */
  credentialKind?: string | undefined
  identity?: string | undefined
  /** Logins so far: more than one when a credential was refused. */
  logins: number
  /** The server that the session was opened at, where the record may lead to several. Known at the end. */
  place?: TracedPlace | undefined
}

/** One server of a list of hosts. */
export interface TracedPlace {
  readonly host: string
  readonly port: number | undefined
  /** The IP address, the path of a Unix socket, or the name that a proxy resolves. */
  readonly address: string | undefined
  readonly role: PlaceRole | undefined
}

/** A step of an attempt. Of several hosts, `host` and `port` are those of the one that is tried. */
export interface PhaseTrace extends TraceContext {
  readonly phase: Phase
  /** The attempt that it belongs to: the same object as in its own trace. */
  readonly connect: ConnectTrace
}

/** One statement. No instrumentation of its driver sees it. */
export interface QueryTrace extends TraceContext {
  readonly text: string
  /** Whether values are sent apart from the text. They are not told. */
  readonly hasParameters: boolean
  /** The stored procedure that is called by its name, which is the text then. SQL Server. */
  readonly procedure?: string | undefined
}

/** One `extractTable`. */
export interface ExtractTrace extends TraceContext {
  /** `schema.table`; undefined for a query. */
  readonly table: string | undefined
  /** Known at the end. */
  rows: number | undefined
  bytes: number | undefined
}

/** The traces by name: `connect`, its steps, an acquire that had to wait, a statement, and an extract. */
export interface Traces {
  readonly query: QueryTrace
  readonly extract: ExtractTrace
  readonly connect: ConnectTrace
  readonly 'connect:phase': PhaseTrace
  readonly acquire: TraceContext
}
