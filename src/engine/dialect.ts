import type { Knex } from 'knex'
import type { Connection } from '../connections/connection.ts'
import type { Fields, ValuesOf } from '../connections/fields.ts'
import type { Driver } from '../drivers/driver.ts'
import type { ProxyRouter } from '../drivers/network/proxy/tunnel.ts'
import type { ConfigProblem } from '../errors.ts'
import type { Emit } from '../events.ts'
import type { ConnectionPool } from '../pool/pool.ts'

/** A driver and knex's view of its pool, made for one connection. */
export interface DialectParts {
  readonly driver: Driver<object>
  /** The class that knex is handed as its `client`. */
  knexClient(pool: ConnectionPool<object>): Promise<typeof Knex.Client>
}

export interface Normalised {
  readonly connection: Connection
  readonly overrides: Readonly<Record<string, unknown>>
  /** What was left out, and why. */
  readonly notes: readonly ConfigProblem[]
  readonly problems: readonly ConfigProblem[]
}

/** What the engine needs to know of one database family. */
export interface EngineDialect<F extends Fields = Fields> {
  readonly fields: F
  /**
   * Other tools' spellings of a connection, said in ours. Comes before everything else is looked at.
   *
   * @param overrides extras that come before the connection's own
   */
  normalise?(connection: Connection, overrides: Readonly<Record<string, unknown>>): Normalised
  /** What is wrong with the options taken together. */
  check(connection: Connection, options: ValuesOf<F>): readonly ConfigProblem[]
  /**
   * Loads the database's packages and makes the parts; opens nothing.
   *
   * @param route what goes through a proxy; absent when nothing does
   */
  build(connection: Connection, options: ValuesOf<F>, emit: Emit, route: ProxyRouter | undefined): Promise<DialectParts>
}
