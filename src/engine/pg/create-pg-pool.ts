import type pg from 'pg'
import type { ConnectionInput } from '../../connections/parse.ts'
import { ConfigError } from '../../errors.ts'
import type { ConnectionPool } from '../../pool/pool.ts'
import { type BuildPoolOptions, buildPool } from '../build-pool.ts'
import { checkCallOptions } from '../check-options.ts'
import type { PgPool } from './pool-class.ts'

/** Options of {@link createPgPool}: the pool's, under their names in the extras, and what only a program can give. */
export interface PgPoolOptions extends BuildPoolOptions {
  /**
   * The module `pg` of the application, whose `Pool` the result is an instance of. Default: the copy of `pg` that
   * poolsmith itself loads. Only needed where two copies are installed, which `config:warning` tells.
   */
  readonly pg?: { readonly Pool: typeof pg.Pool; readonly Client: typeof pg.Client }
}

/**
 * Builds a `pg.Pool` from a connection record of PostgreSQL, for plain `pg` code and for the data layers that take a
 * `pg.Pool`: Kysely, Drizzle, Prisma's adapter, TypeORM, pg-boss, graphile-worker and others. Nothing is opened yet.
 *
 * It differs from the class that it extends in these points. A syntax error does not cost the session. A statement that
 * still runs, or a transaction that is open, when a client is released never reaches the next user. `end()` waits for
 * clients in use no longer than `drain_timeout`. The event `error` is emitted only if it has a listener. Options of the
 * pool are ours (`pool_size`, `pool_timeout`, `pool_recycle`).
 *
 * @param input a connection object, a text in one of the forms of docs/connections.md, a place in a store
 *   (`vault:secret/sales`), or the id of a connection in the stores
 * @throws ConfigError with all problems of the record at once; PoolsmithError CONNECTION_NOT_FOUND, STRATEGY_UNKNOWN,
 *   PACKAGE_MISSING
 *
 * @example
 * await using pool = await createPgPool('postgres://svc@db.example.com/app?auth_method=iam&region=eu-west-1')
 * const { rows } = await pool.query('select * from flights where carrier = $1', ['AA'])
 */
export async function createPgPool(input: ConnectionInput, options: PgPoolOptions = {}): Promise<PgPool> {
  checkCallOptions(options)
  const { pg: own, ...poolOptions } = options
  if (own !== undefined && typeof own?.Pool !== 'function') {
    throw new ConfigError([{ path: 'pg', message: 'expected the module pg, as in import pg from "pg"' }], {
      subject: 'The second argument',
    })
  }
  const { pool, connection, strategy } = await buildPool(input, poolOptions, ({ type }) =>
    type === 'postgres' ? undefined : { path: 'type', message: `is ${type}; createPgPool is for PostgreSQL` },
  )
  try {
    const { loadPg } = await import('../../drivers/postgres/pg-client.ts')
    const { poolClass } = await import('./pool-class.ts')
    const loaded = await loadPg()
    if (own !== undefined && own.Client !== loaded.Client) {
      pool.events.emit('config:warning', {
        path: 'pg',
        message:
          'two copies of pg are installed: the pool is of the given one, its clients are of the one that poolsmith loads; run npm dedupe',
      })
    }
    const PoolsmithPgPool = poolClass((own ?? loaded).Pool)
    return new PoolsmithPgPool({ pool: pool as ConnectionPool<pg.Client>, connection, strategy })
  } catch (error) {
    await pool.destroy()
    throw error
  }
}
