/** Helpers of the tests of pool and engine over every database. */

import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { PoolsmithError } from '../../src/errors.ts'
import { createEngine, type Engine, type EngineOptions } from '../../src/index.ts'
import type { Side } from './sides/side.ts'

/** Longer than the time for which a connection is trusted without a ping. */
export const BEYOND_TRUST_MILLIS = 600

export async function failure(work: PromiseLike<unknown>): Promise<PoolsmithError> {
  try {
    await work
  } catch (error) {
    if (error instanceof PoolsmithError) return error
    throw error
  }
  throw new assert.AssertionError({ message: 'It succeeded.' })
}

export function placeOf({ connection: { type, host, port, database } }: Side) {
  const system = type === 'mssql' ? 'microsoft.sql_server' : 'postgresql'
  return { poolName: `${host}:${port}/${database}`, system, host, port, database }
}

export async function until(condition: () => boolean): Promise<void> {
  const limit = performance.now() + 20_000
  while (!condition()) {
    assert.ok(performance.now() < limit, 'it did not come about within 20 s')
    await sleep(20)
  }
}

export const engineOf = (side: Side, options: EngineOptions = {}): Promise<Engine> =>
  createEngine(side.connection, options)
export const ask = (side: Side, db: Engine, sql: string): Promise<unknown> => db.pool.use((raw) => side.run(raw, sql))

/** Opens `count` connections and leaves them idle until the next acquire must ping. */
export async function idle({ pool }: Engine, count: number): Promise<void> {
  const all = await Promise.all(Array.from({ length: count }, () => pool.acquire().promise))
  for (const raw of all) pool.release(raw)
  await sleep(BEYOND_TRUST_MILLIS)
}

/** knex sends a statement only when its promise is awaited. */
export const begun = (work: PromiseLike<unknown>): Promise<unknown> => Promise.resolve(work)
