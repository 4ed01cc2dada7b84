/** A `pg.Pool` and the pool of `poolsmith/pg` with the same options, for the cases that hold for both. */

import assert from 'node:assert/strict'
import { after } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { createPgPool, type PgPoolOptions } from '../../src/engine/pg/index.ts'
import type { PostgresServer } from './postgres.ts'

export interface Options {
  readonly max?: number
  readonly port?: number
  /** Milliseconds. */
  readonly connectTimeout?: number
  readonly idleTimeout?: number
  readonly maxLifetime?: number
  readonly onConnect?: (client: pg.Client) => Promise<void> | void
}

export type Pools = Readonly<Record<string, (options: Options) => Promise<pg.Pool>>>

export function bothPools(server: PostgresServer): Pools {
  const place = { host: server.host, database: 'postgres' }
  return {
    'pg.Pool': async ({ max, port = server.port, connectTimeout, idleTimeout, maxLifetime, onConnect }) =>
      new pg.Pool({
        ...place,
        port,
        user: server.superuser,
        password: server.superuserPassword,
        max,
        connectionTimeoutMillis: connectTimeout,
        idleTimeoutMillis: idleTimeout,
        maxLifetimeSeconds: maxLifetime && maxLifetime / 1000,
        onConnect,
      } as pg.PoolConfig),
    'poolsmith/pg': ({ max, port = server.port, connectTimeout, idleTimeout, maxLifetime, onConnect }) => {
      const options: PgPoolOptions = {
        pool_size: max,
        max_overflow: max === undefined ? undefined : 0,
        pool_timeout: connectTimeout && connectTimeout / 1000,
        pool_idle_timeout: idleTimeout && idleTimeout / 1000,
        pool_recycle: maxLifetime && maxLifetime / 1000,
        onSession: onConnect && ((session) => onConnect(session as pg.Client)),
      }
      const login = { login: server.superuser, password: server.superuserPassword }
      return createPgPool({ type: 'postgres', ...place, port, ...login }, options)
    },
  }
}

/** The values that a callback gets. */
export function called<T extends unknown[]>(run: (callback: (...values: T) => void) => unknown): Promise<T> {
  return new Promise((resolve) => {
    const returned = run((...values) => resolve(values))
    assert.equal(returned, undefined, 'a call with a callback returns no promise')
  })
}

export type Connected = [
  error: Error | undefined,
  client: pg.PoolClient | undefined,
  release: (error?: unknown) => void,
]
export const connect = (pool: pg.Pool): Promise<Connected> => called<Connected>((done) => pool.connect(done as never))

export async function until(condition: () => boolean): Promise<void> {
  for (let tries = 0; !condition(); tries++) {
    assert.ok(tries < 1000, 'the condition is met within ten seconds')
    await sleep(10)
  }
}

/** With one value, `hi`. */
export const HI = 'select $1::text as name'

export async function hi(pool: pg.Pool): Promise<unknown> {
  return (await pool.query(HI, ['hi'])).rows
}

/** Opens pools, and ends those that are left after the suite. */
export function opener(make: Pools[string]): (options?: Options) => Promise<pg.Pool> {
  const pools: pg.Pool[] = []
  after(async () => {
    for (const pool of pools) if (!pool.ending) await pool.end()
  })
  return async (options = {}) => {
    const pool = await make(options)
    pools.push(pool)
    return pool
  }
}
