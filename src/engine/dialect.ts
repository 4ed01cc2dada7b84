import type { Connection } from '../connections/connection.ts'
import type { Fields, ForeignOptions, ValuesOf } from '../connections/fields.ts'
import type { BindingLimit } from '../drivers/binding-limit.ts'
import type { Driver } from '../drivers/driver.ts'
import type { ProxyRouter } from '../drivers/network/proxy/tunnel.ts'
import type { Whereabouts } from '../drivers/whereabouts.ts'
import type { ConfigProblem } from '../errors.ts'
import type { Emit } from '../events.ts'

/** The parts that a database family makes for one connection; every data layer is built on these parts and a pool. */
export interface DialectParts {
  readonly driver: Driver<object>
  /** Asks the server to end the statement that a session is running. */
  cancel(raw: object): Promise<void>
  /** The error of a failed statement: the driver's error with what is known about it, or CONNECTION_LOST. */
  statementError(raw: object, error: Error): Error
  /** The database of the sessions: the one that the record names, else the one that the server chose. */
  database(): string | undefined
  /** How many bindings a statement may have, and what sets that limit. */
  readonly bindingLimit: BindingLimit
  /** Whether sessions give numbers and times as text with every digit (`exact_values` of SQL Server). */
  readonly exactValues: boolean
  /** Whether text is always bound as `nvarchar` (`unicode_strings` of SQL Server). */
  readonly unicodeStrings: boolean
}

export interface Normalised {
  readonly connection: Connection
  readonly overrides: Readonly<Record<string, unknown>>
  /** Options that were left out, with the reason. */
  readonly notes: readonly ConfigProblem[]
  readonly problems: readonly ConfigProblem[]
}

/** The surroundings of the parts. */
export interface BuildContext {
  readonly emit: Emit
  /** With the name of the pool, for errors. */
  readonly where?: Whereabouts
  /** The connections that go through a proxy; undefined when none does. */
  readonly route?: ProxyRouter | undefined
}

/** The properties of one database family that the engine needs. */
export interface EngineDialect<F extends Fields = Fields> {
  readonly fields: F
  /** The messages about options of other drivers for this database. */
  readonly foreign?: ForeignOptions
  /**
   * Translates other tools' names of options into ours, before anything else reads them.
   *
   * @param overrides extras that take precedence over the connection's own
   */
  normalise?(connection: Connection, overrides: Readonly<Record<string, unknown>>): Normalised
  /** The problems of the options taken together. */
  check(connection: Connection, options: ValuesOf<F>): readonly ConfigProblem[]
  /** The place that sessions will be opened to. */
  where(connection: Connection, options: ValuesOf<F>): Whereabouts
  /** Loads the database's packages and makes the parts; opens nothing. */
  build(connection: Connection, options: ValuesOf<F>, context: BuildContext): Promise<DialectParts>
}
