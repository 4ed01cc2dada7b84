import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { test } from 'node:test'
import { createEngine } from '../../../src/engine/knex/create-engine.ts'
import { PoolsmithError } from '../../../src/errors.ts'
import type { PoolsmithEvents } from '../../../src/events.ts'
import { StrategyRegistry } from '../../../src/strategies/registry.ts'
import { defineStrategy } from '../../../src/strategies/strategy.ts'
import { freePort } from '../../support/free-port.ts'

async function failureOf(work: PromiseLike<unknown>): Promise<PoolsmithError> {
  const error = await Promise.resolve(work).then(
    () => undefined,
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof PoolsmithError, String(error))
  return error
}

test('every event and error of two engines says which pool it is about', async () => {
  const port = await freePort()
  const heard: PoolsmithEvents['connection:failed'][] = []
  const listener = (message: unknown): void => void heard.push(message as PoolsmithEvents['connection:failed'])
  subscribe('poolsmith:connection:failed', listener)
  try {
    await using sales = await createEngine(`postgres://etl@127.0.0.1:${port}/sales`)
    await using stock = await createEngine(`mssql://etl:secret@127.0.0.1:${port}/stock?pool_name=the stock`)
    const told: unknown[] = []
    stock.pool.on('connection:failed', ({ error: _, phase: __, ...origin }) => told.push(origin))
    const place = { host: '127.0.0.1', port }
    const salesPool = { poolName: `127.0.0.1:${port}/sales`, system: 'postgresql', ...place }
    const stockPool = { poolName: 'the stock', system: 'microsoft.sql_server', ...place }

    const errors = [await failureOf(sales.raw('select 1')), await failureOf(stock.raw('select 1'))]

    assert.deepEqual(
      errors.map(({ details: { poolName, system, host, port } }) => ({ poolName, system, host, port })),
      [salesPool, stockPool],
    )
    assert.deepEqual(
      heard.map(({ poolName, system, host, port }) => ({ poolName, system, host, port })),
      [salesPool, stockPool],
    )
    assert.deepEqual(told, [stockPool])
    assert.equal(sales.pool.name, salesPool.poolName)
    assert.equal(stock.pool.name, 'the stock')
  } finally {
    unsubscribe('poolsmith:connection:failed', listener)
  }
})

test('the error of a credential names the pool that it was for, and keeps its class and stack', async () => {
  const registry = new StrategyRegistry()
  const refusal = new PoolsmithError('No.', { code: 'CREDENTIAL_REFUSED', phase: 'credential', hint: 'Ask again.' })
  registry.register(
    defineStrategy({
      name: 'stubborn',
      dialects: ['postgres'],
      description: 'It has no credential.',
      fields: {},
      credentials: () => ({
        current: () => undefined,
        get: () => Promise.reject(refusal),
        reject: () => false,
        onChange: () => () => undefined,
        close: () => undefined,
      }),
    }),
  )
  await using db = await createEngine('postgres://db.example.com/sales?auth_method=stubborn', { registry })
  const error = await failureOf(db.raw('select 1'))
  assert.equal(error.code, 'CREDENTIAL_REFUSED')
  assert.equal(error.hint, 'Ask again.')
  assert.equal(error.stack, refusal.stack)
  assert.equal(error.details.poolName, 'db.example.com:5432/sales')
})

test('a warning about the record is told with the pool that the record makes', async () => {
  const told: unknown[] = []
  await using _ = await createEngine('postgres://db.example.com/sales?no_such_option=1', {
    pool_name: 'first',
    on: { 'config:warning': ({ path, poolName }) => told.push([path, poolName]) },
  })
  assert.deepEqual(told, [['extra.no_such_option', 'first']])
})
