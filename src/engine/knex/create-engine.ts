import type { Knex } from 'knex'
import type { Connection } from '../../connections/connection.ts'
import type { ConnectionInput } from '../../connections/parse.ts'
import type { ConnectionPool } from '../../pool/pool.ts'
import { type BuildPoolOptions, buildPool } from '../build-pool.ts'
import { checkCallOptions } from '../check-options.ts'
import type { KnexOptions } from './knex-options.ts'

/** Options of {@link createEngine}: the pool's, under their names in the extras, and those that are no text. */
export interface EngineOptions extends BuildPoolOptions {
  /**
   * Options of knex itself, such as `postProcessResponse` or `wrapIdentifier`. `acquireConnectionTimeout` is
   * `pool_timeout` in milliseconds. Of knex's connection settings only `options.mapBinding` of SQL Server is read; the
   * others are written into the connection.
   */
  readonly knex?: KnexOptions
}

/**
 * A Knex instance over a pool of ours. `destroy()` and `await using` drain the pool and stop every timer, so that
 * the process ends by itself.
 *
 * @typeParam Client what the pool hands out: `pg.Client`, or tedious' `Connection`
 */
export interface Engine<Client extends object = object> extends Knex, AsyncDisposable {
  /**
   * The pool: `stats()`, `on()`, `use()`, `invalidate()`, `suspend()`, `resume()`. Another one after `destroy()` and
   * `initialize()`.
   */
  readonly pool: ConnectionPool<Client>
  /** The connection record that the engine was made from. */
  readonly connection: Connection
  /** The name of the strategy in use. */
  readonly strategy: string
}

/**
 * Builds a pooled Knex engine from a connection record. Nothing is opened yet: the first statement does that, or
 * `pool_min_idle` in the background.
 *
 * @param input a connection object, a text in one of the forms of docs/connections.md, a place in a store
 *   (`vault:secret/sales`), or the id of a connection in the stores
 * @throws ConfigError with all problems of the record at once; PoolsmithError CONNECTION_NOT_FOUND,
 *   STRATEGY_UNKNOWN, PACKAGE_MISSING
 *
 * @example
 * await using db = await createEngine('postgres://svc@db.example.com/app?auth_method=iam&region=eu-west-1')
 * await db('flights').where({ carrier: 'AA' }).limit(10)
 *
 * @example
 * import type pg from 'pg' // the types: npm install --save-dev @types/pg
 * await using db = await createEngine<pg.Client>('sales')
 * await db.pool.use((client) => client.query('select 1')) // a pg.Client
 *
 * @typeParam Client what the pool hands out, for `db.pool`: `pg.Client`, or tedious' `Connection`
 */
export async function createEngine<Client extends object = object>(
  input: ConnectionInput,
  options: EngineOptions = {},
): Promise<Engine<Client>> {
  checkCallOptions(options)
  const { ClientBackend, knexClient, readKnexOptions } = await import('./parts.ts')
  const { knex: given, ...rest } = options
  const { config, mapBinding, poolTimeout = rest.pool_timeout } = readKnexOptions(given, rest.pool_timeout)
  // As an option that is not given, it would take the place of the record's.
  const poolOptions = poolTimeout === undefined ? rest : { ...rest, pool_timeout: poolTimeout }
  const built = await buildPool(input, poolOptions)
  const { connection, strategy } = built
  const backend = new ClientBackend(built, () => buildPool(input, poolOptions), mapBinding)
  try {
    const { default: knex } = await import('knex')
    const db = knex({
      ...config,
      client: await knexClient(connection.type, backend),
      connectionPool: backend.pool,
    })
    // Read by OpenTelemetry's instrumentation of knex. No secret.
    const { host, port, database, login: user } = connection
    Object.assign(db.client.connectionSettings, { host, port, database, user })
    Object.defineProperty(db, 'pool', { enumerable: true, get: () => backend.pool })
    return Object.assign(db as Knex & Pick<Engine<Client>, 'pool'>, {
      connection,
      strategy,
      [Symbol.asyncDispose]: () => backend.destroy(),
    })
  } catch (error) {
    await backend.destroy()
    throw error
  }
}
