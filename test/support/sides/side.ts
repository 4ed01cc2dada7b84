/** The database behind the tests of pool and engine, so that the same tests run over each database. */

import type { ConnectionObject } from '../../../src/connections/parse.ts'
import type { PoolOptions } from '../../../src/pool/options.ts'

export type ResetMode = NonNullable<PoolOptions['pool_reset_on_return']>

/** State that a session can leave behind, and how its next user would notice it. */
export interface Trace {
  readonly what: string
  readonly leave: string
  readonly look: string
  readonly clean: unknown
  readonly left: unknown
  /** The reset modes that remove it. */
  readonly goneIn: readonly ResetMode[]
}

/** One running server. */
export interface Side extends AsyncDisposable {
  /** A valid login. */
  readonly connection: ConnectionObject & { readonly extra: Readonly<Record<string, unknown>> }
  /** Runs a batch on a separate connection; returns the first column of the first row. */
  run(raw: object, sql: string): Promise<unknown>
  /** Whether a session is running the statement {@link SideKind.slow}. */
  runsSlow(): Promise<boolean>
  /** Ends a session from another session. */
  kill(processId: number): Promise<void>
  /** Stops the server without notice to its sessions; afterwards the port refuses connections. */
  stop(): Promise<void>
  start(): Promise<void>
  /** Makes the server silent, with every connection open. */
  freeze(): void
  thaw(): void
}

/** A database family. */
export interface SideKind {
  readonly name: string
  start(): Promise<Side>
  /** The server has an empty table `marks` with one column `n`. */
  readonly setUp: string
  readonly traces: readonly Trace[]
  /** A statement that runs for a minute. */
  readonly slow: string
  /** Numbers from 1 to `count`, in a column `n`. */
  numbers(count: number): string
  /** The rows in the result of knex's `raw`. */
  rowsOf(result: unknown): readonly Record<string, unknown>[]
  /** The phase in which an attempt hangs at a silent server. */
  readonly firstWait: 'login' | 'tls'
}
