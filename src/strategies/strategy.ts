import type { Agent as HttpAgent } from 'node:http'
import type { Agent as HttpsAgent } from 'node:https'
import type { Connection, Dialect } from '../connections/connection.ts'
import type { Fields, ValuesOf } from '../connections/fields.ts'
import type { CredentialSource } from '../credentials/credential.ts'
import type { ConfigProblem } from '../errors.ts'
import type { Emit, EventName } from '../events.ts'

/** The arguments of a strategy besides the connection and its own options. */
export interface StrategyContext {
  readonly emit: Emit
  /** Whether an event has a listener: without one a prompt need not be made. Absent: no event has one. */
  readonly listens?: (name: EventName) => boolean
  /** The environment to read (`process.env` unless a test holds it still). */
  readonly environment: Readonly<Record<string, string | undefined>>
  /**
   * All parsed options of the connection (the driver's, the pool's and the strategy's), for a strategy that
   * needs to see more than its own, such as `sslcert`.
   */
  readonly settings: Readonly<Record<string, unknown>>
  /**
   * Under `proxy`: agents for Node's HTTP client, and for SDKs built on it, that go through the same proxy as the
   * database does (or not, by `no_proxy`), and never with what this machine alone answers (metadata services).
   * Absent without `proxy`: a strategy's library then goes its own way.
   */
  readonly agents?: RequestAgents
}

export interface RequestAgents {
  readonly http: HttpAgent
  readonly https: HttpsAgent
}

/** A way to prove who we are. `auth_method` in the extras selects one by name. */
export interface Strategy<F extends Fields = Fields> {
  readonly name: string
  readonly aliases?: readonly string[]
  readonly dialects: readonly Dialect[]
  /** One sentence for the documentation. */
  readonly description: string
  /** The extras that it understands. */
  readonly fields: F
  /** The kind of store that it logs in to: the options of that login are known too. */
  readonly logsInto?: 'vault'
  /** Stricter defaults for options that belong to the driver, such as `{ sslmode: 'verify-full' }`. */
  readonly defaults?: Readonly<Record<string, unknown>>
  /** Defaults that depend on its own options; they come before `defaults`. */
  defaultsFor?(options: ValuesOf<F>): Readonly<Record<string, unknown>>
  /**
   * The contradictions between the connection and the options, which are reported with all other problems.
   * `credentials` is not called when there is any.
   */
  check?(
    connection: Connection,
    options: ValuesOf<F>,
    environment: StrategyContext['environment'],
  ): readonly ConfigProblem[] | Promise<readonly ConfigProblem[]>
  /**
   * Builds the source of credentials for one pool. May load an SDK; must not touch the network
   * (the first fetch happens on the first `get`).
   */
  credentials(
    connection: Connection,
    options: ValuesOf<F>,
    context: StrategyContext,
  ): CredentialSource | Promise<CredentialSource>
}

/**
 * Types a strategy by its own table of fields; returns it unchanged.
 *
 * @example
 * const broker = defineStrategy({
 *   name: 'broker',
 *   dialects: ['postgres'],
 *   description: 'A password from our own broker.',
 *   fields: { broker_key: text({ description: 'The key of the password.' }) },
 *   credentials: (connection, options) =>
 *     refreshingSource({ fetch: (signal) => passwordFrom(options.broker_key, signal) }),
 * })
 * register(broker)
 */
export function defineStrategy<const F extends Fields>(strategy: Strategy<F>): Strategy<F> {
  return strategy
}
