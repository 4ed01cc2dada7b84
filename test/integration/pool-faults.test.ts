import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { PoolsmithError } from '../../src/errors.ts'
import type { ConnectionPool } from '../../src/pool/pool.ts'
import { startPostgres } from '../support/postgres.ts'
import { ask, postgresPool } from '../support/postgres-pool.ts'

/** Opens `count` connections and leaves them idle for so long that the next acquire pings. */
async function idlePool(pool: ConnectionPool<import('pg').Client>, count: number): Promise<void> {
  const all = await Promise.all(Array.from({ length: count }, () => pool.acquire().promise))
  for (const raw of all) pool.release(raw)
  await sleep(600)
}

async function failure(work: Promise<unknown>): Promise<PoolsmithError> {
  try {
    await work
  } catch (error) {
    if (error instanceof PoolsmithError) return error
    throw error
  }
  throw new assert.AssertionError({ message: 'The acquire succeeded.' })
}

/** A port in front of the server that can be told to swallow what arrives. */
async function blackHole() {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('No port')
  return {
    port: address.port,
    async [Symbol.asyncDispose]() {
      server.close()
    },
  }
}

describe('a server that fails', () => {
  test('restarted: not one statement fails for it, and no ping is waited for', async () => {
    await using server = await startPostgres()
    await using pool = postgresPool(server, { pool_size: 5, max_overflow: 0 })
    await idlePool(pool, 5)
    await server.restart('immediate')
    const begin = performance.now()
    assert.equal(await ask(pool, 'select 42'), 42)
    assert.ok(performance.now() - begin < 4000)
    const counts = await Promise.all(Array.from({ length: 20 }, () => ask(pool, 'select 1')))
    assert.deepEqual(new Set(counts), new Set([1]))
  })

  test('a port that accepts and never answers: CONNECT_TIMEOUT in the phase that hangs', async () => {
    await using hole = await blackHole()
    const target = { host: '127.0.0.1', port: hole.port, superuser: 'x', superuserPassword: 'x' }
    for (const [sslmode, phase] of [
      ['disable', 'login'],
      ['require', 'tls'],
    ]) {
      await using pool = postgresPool(target, { pool_timeout: 1 }, { driver: { sslmode } })
      const error = await failure(pool.acquire().promise)
      assert.deepEqual([error.code, error.phase], ['CONNECT_TIMEOUT', phase])
    }
  })

  test('more clients than the server takes: who waits is served by returns', async () => {
    await using server = await startPostgres({ config: { max_connections: '8', superuser_reserved_connections: '0' } })
    await using pool = postgresPool(server, { pool_size: 20, max_overflow: 0 })
    const answers = await Promise.all(Array.from({ length: 40 }, () => ask(pool, 'select 1 from pg_sleep(0.05)')))
    assert.deepEqual(new Set(answers), new Set([1]))
  })
})
