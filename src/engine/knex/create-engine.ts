import type { Knex } from 'knex'
import type { Connection } from '../../connections/connection.ts'
import type { ConnectionInput } from '../../connections/parse.ts'
import type { ConnectionPool } from '../../pool/pool.ts'
import { type BuildPoolOptions, buildPool } from '../build-pool.ts'
import { checkCallOptions } from '../check-options.ts'
import { knexClient } from './clients.ts'

/** Options of {@link createEngine}: the pool's, under their names in the extras, and those that are no text. */
export interface EngineOptions extends BuildPoolOptions {
  /** Options of knex itself, such as `postProcessResponse` or `wrapIdentifier`. */
  readonly knex?: Omit<Knex.Config, 'client' | 'connection' | 'connectionPool' | 'pool' | 'searchPath' | 'version'>
}

/**
 * A Knex instance over a pool of ours. `destroy()` and `await using` drain the pool and stop every timer, so that
 * the process ends by itself.
 */
export interface Engine extends Knex, AsyncDisposable {
  /** The pool: `stats()`, `on()`, `use()`, `invalidate()`, `suspend()`, `resume()`. */
  readonly pool: ConnectionPool<object>
  /** The connection record that the engine was made from. */
  readonly connection: Connection
  /** The name of the strategy in use. */
  readonly strategy: string
}

/**
 * Builds a pooled Knex engine from a connection record. Nothing is opened yet: the first statement does that, or
 * `pool_min_idle` in the background.
 *
 * @param input a connection object, an Airflow URI or JSON text, or the id of a connection in the stores
 * @throws ConfigError with all problems of the record at once; PoolsmithError CONNECTION_NOT_FOUND,
 *   STRATEGY_UNKNOWN, PACKAGE_MISSING
 *
 * @example
 * await using db = await createEngine('postgres://svc@db.example.com/app?auth_method=iam&region=eu-west-1')
 * await db('flights').where({ carrier: 'AA' }).limit(10)
 */
export async function createEngine(input: ConnectionInput, options: EngineOptions = {}): Promise<Engine> {
  checkCallOptions(options)
  const { knex: knexOptions, ...poolOptions } = options
  const { pool, parts, connection, strategy } = await buildPool(input, poolOptions)
  try {
    const { default: knex } = await import('knex')
    const db = knex({
      ...knexOptions,
      client: await knexClient(connection.type, { pool, parts }),
      connectionPool: pool,
    })
    return Object.assign(db, {
      pool,
      connection,
      strategy,
      [Symbol.asyncDispose]: () => pool.destroy(),
    })
  } catch (error) {
    await pool.destroy()
    throw error
  }
}
