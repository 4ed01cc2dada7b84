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

/** What the engine needs to know of one database family. */
export interface EngineDialect<F extends Fields = Fields> {
  readonly fields: F
  /** What is wrong with the options taken together. */
  check(connection: Connection, options: ValuesOf<F>): readonly ConfigProblem[]
  /**
   * Loads the database's packages and makes the parts; opens nothing.
   *
   * @param route what goes through a proxy; absent when nothing does
   */
  build(connection: Connection, options: ValuesOf<F>, emit: Emit, route: ProxyRouter | undefined): Promise<DialectParts>
}
