/** The database behind the tests of pool and engine, so that the same tests run over each. */

import type { ConnectionObject } from '../../../src/connections/parse.ts'
import type { PoolOptions } from '../../../src/pool/options.ts'

export type ResetMode = NonNullable<PoolOptions['pool_reset_on_return']>

/** Something that a session can leave behind, and how its next user would notice. */
export interface Trace {
  readonly what: string
  readonly leave: string
  readonly look: string
  readonly clean: unknown
  readonly left: unknown
  /** The modes under which it is gone. */
  readonly goneIn: readonly ResetMode[]
}

/** One running server. */
export interface Side extends AsyncDisposable {
  /** A login that works. */
  readonly connection: ConnectionObject & { readonly extra: Readonly<Record<string, unknown>> }
  /** Runs a batch on a connection of the driver's; the first column of the first row. */
  run(raw: object, sql: string): Promise<unknown>
  /** Ends a session from outside. */
  kill(processId: number): Promise<void>
  /** Away without a word to its sessions; afterwards the port refuses. */
  stop(): Promise<void>
  start(): Promise<void>
  /** Silent, with every connection standing. */
  freeze(): void
  thaw(): void
}

/** A database family. */
export interface SideKind {
  readonly name: string
  start(): Promise<Side>
  /** Has a table `marks` with one column `n`, which is empty. */
  readonly setUp: string
  readonly traces: readonly Trace[]
  /** A statement that takes a minute. */
  readonly slow: string
  /** Numbers from 1 to `count`, in a column `n`. */
  numbers(count: number): string
  /** What knex' `raw` gives for a statement, as its rows. */
  rowsOf(result: unknown): readonly Record<string, unknown>[]
  /** The phase in which an attempt hangs at a server that says nothing. */
  readonly firstWait: 'login' | 'tls'
}
