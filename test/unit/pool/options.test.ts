import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createEngine } from '../../../src/engine/knex/create-engine.ts'
import { ConfigError } from '../../../src/errors.ts'
import { type PoolOptions, poolPolicy } from '../../../src/pool/options.ts'

test('the defaults', () => {
  assert.deepEqual(poolPolicy(), {
    name: undefined,
    size: 10,
    max: 30,
    minIdle: 0,
    timeoutMillis: 30_000,
    recycleMillis: 3_600_000,
    prePing: true,
    checkMillis: 5000,
    idleMillis: 600_000,
    keepaliveMillis: Number.POSITIVE_INFINITY,
    resetMode: 'rollback',
    sessionInit: undefined,
    leakMillis: Number.POSITIVE_INFINITY,
    retireOn: 'never',
    drainMillis: 10_000,
    rebalanceMillis: Number.POSITIVE_INFINITY,
  })
})

test('0 switches a limit off where that is possible, and so does -1 for pool_recycle', () => {
  for (const value of [0, -1]) assert.equal(poolPolicy({ pool_recycle: value }).recycleMillis, Number.POSITIVE_INFINITY)
  assert.equal(poolPolicy({ pool_idle_timeout: 0 }).idleMillis, Number.POSITIVE_INFINITY)
})

test('a check never takes more than half of pool_timeout', () => {
  assert.equal(poolPolicy({ pool_timeout: 4 }).checkMillis, 2000)
  assert.equal(poolPolicy({ pool_timeout: 0.001 }).checkMillis, 1)
  assert.equal(poolPolicy({ pool_ping_timeout: 1 }).checkMillis, 1000)
})

test('pool_min_idle stays within pool_size', () => {
  assert.equal(poolPolicy({ pool_size: 3, pool_min_idle: 9 }).minIdle, 3)
})

test('all wrong options are reported at once', () => {
  const wrong = { pool_size: 0, max_overflow: -1, pool_timeot: 3, retire_on: 'always' } as unknown as PoolOptions
  assert.throws(
    () => poolPolicy(wrong),
    (error: ConfigError) => {
      assert.deepEqual(
        error.problems.map(({ path }) => path),
        ['pool_size', 'max_overflow', 'pool_timeot', 'retire_on'],
      )
      assert.match(error.message, /did you mean pool_timeout/)
      return error instanceof ConfigError
    },
  )
})

test('a time that no timer can measure is refused, because it would pass at once', () => {
  for (const name of ['pool_timeout', 'drain_timeout']) {
    assert.throws(() => poolPolicy({ [name]: 2_147_484 }), { code: 'CONFIG_INVALID' }, name)
    poolPolicy({ [name]: 2_000_000 })
  }
})

test('an option of another pool is reported with the name that it has here', async () => {
  const wrong = { max: 5, min: 1, acquireTimeoutMillis: 2000 } as unknown as PoolOptions
  assert.throws(
    () => poolPolicy(wrong),
    /max: .*write pool_size.*\n.*min: .*pool_min_idle.*\n.*pool_timeout, in seconds/,
  )

  const told: string[] = []
  const on = {
    'config:warning': ({ path, message }: { path: string; message: string }) => told.push(`${path}: ${message}`),
  }
  await using _ = await createEngine('postgres://etl@db/sales', { ...wrong, on })
  assert.deepEqual(told.toSorted(), [
    'options.acquireTimeoutMillis: is an option of another pool; write pool_timeout, in seconds',
    'options.max: is an option of another pool; write pool_size and max_overflow',
    'options.min: is an option of another pool; write pool_min_idle',
  ])
})
