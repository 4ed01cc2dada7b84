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

  test('stopped: refused at once with the reason; started again: works without help', async () => {
    await using server = await startPostgres()
    await using pool = postgresPool(server, { pool_size: 3, max_overflow: 0, pool_min_idle: 1 })
    assert.equal(await ask(pool, 'select 1'), 1)
    await server.stop('immediate')
    // The session was used a moment ago, so that only the end of its socket tells that it is dead.
    await sleep(100)
    const begin = performance.now()
    const errors = await Promise.all(Array.from({ length: 50 }, () => failure(ask(pool, 'select 1'))))
    assert.ok(performance.now() - begin < 5000, 'nobody waits for a server that is down')
    for (const error of errors) assert.deepEqual([error.phase, error.transient], ['connect', true])
    await server.start()
    assert.equal(await ask(pool, 'select 2'), 2)
    // The warm-up comes back too, after its pause.
    for (let tries = 0; pool.stats().idle === 0 && tries < 100; tries++) await sleep(100)
    assert.ok(pool.stats().idle >= 1)
  })

  test('a backend that is killed while idle is never handed out', async () => {
    await using server = await startPostgres()
    await using pool = postgresPool(server, { pool_size: 4, max_overflow: 0 })
    await idlePool(pool, 4)
    await server.sql(
      "select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()",
    )
    const answers = await Promise.all(Array.from({ length: 8 }, () => ask(pool, 'select 7')))
    assert.deepEqual(new Set(answers), new Set([7]))
  })

  test('a backend that is killed in use fails its own statement and is replaced', async () => {
    await using server = await startPostgres()
    await using pool = postgresPool(server, { pool_size: 1, max_overflow: 0 })
    const closed: string[] = []
    pool.on('connection:closed', ({ reason }) => closed.push(reason))
    const raw = await pool.acquire().promise
    const pid = pool.infoOf(raw)?.processId
    const statement = assert.rejects(raw.query('select pg_sleep(30)'))
    await server.sql(`select pg_terminate_backend(${pid})`)
    await statement
    pool.release(raw)
    assert.equal(await ask(pool, 'select 3'), 3)
    assert.deepEqual(closed, ['broken'])
  })

  test('frozen with idle connections: one ping is waited for, then the attempt, and the error comes in time', async () => {
    await using server = await startPostgres()
    await using pool = postgresPool(server, {
      pool_size: 4,
      max_overflow: 0,
      pool_timeout: 4,
      pool_ping_timeout: 1,
      drain_timeout: 1,
    })
    await idlePool(pool, 4)
    server.freeze()
    const begin = performance.now()
    const error = await failure(pool.acquire().promise)
    const millis = performance.now() - begin
    assert.equal(error.code, 'CONNECT_TIMEOUT')
    assert.ok(millis > 3900 && millis < 6000, `answered after ${millis} ms`)
    assert.equal(pool.stats().idle, 0, 'the others were not left for the next ones to wait for')
    server.thaw()
    assert.equal(await ask(pool, 'select 5'), 5)
  })

  test('frozen from the start: 200 who wait all get the phase in time, and no storm of connections', async () => {
    await using server = await startPostgres()
    await using pool = postgresPool(server, { pool_size: 3, max_overflow: 2, pool_timeout: 2, drain_timeout: 1 })
    server.freeze()
    const begin = performance.now()
    const errors = await Promise.all(Array.from({ length: 200 }, () => failure(pool.acquire().promise)))
    assert.ok(performance.now() - begin < 5000)
    for (const error of errors) assert.deepEqual([error.code, error.phase], ['CONNECT_TIMEOUT', 'login'])
    server.thaw()
    assert.ok(pool.stats().counts.failed + pool.stats().opening <= 10)
    assert.equal(await ask(pool, 'select 6'), 6)
  })

  test('frozen: destroy() ends all the same, with connections idle, in use and being opened', async () => {
    await using server = await startPostgres()
    const pool = postgresPool(server, { pool_size: 3, max_overflow: 0, drain_timeout: 1 })
    await idlePool(pool, 2)
    const raw = await pool.acquire().promise
    server.freeze()
    const statement = assert.rejects(raw.query('select 1'))
    const waiting = failure(Promise.all([pool.acquire().promise, pool.acquire().promise, pool.acquire().promise]))
    const begin = performance.now()
    await pool.destroy()
    assert.ok(performance.now() - begin < 5000)
    await statement
    assert.equal((await waiting).code, 'POOL_CLOSED')
    assert.equal(pool.stats().total, 0)
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

  test('a wrong password and an unknown host are told at once, with their own codes', async () => {
    await using server = await startPostgres()
    const begin = performance.now()
    await using wrong = postgresPool({ ...portOf(server), superuserPassword: 'wrong' })
    const refused = await failure(wrong.acquire().promise)
    assert.deepEqual([refused.code, refused.phase], ['LOGIN_REFUSED', 'login'])
    await using nowhere = postgresPool({ ...portOf(server), host: 'no-such-host.invalid' })
    const unknown = await failure(nowhere.acquire().promise)
    assert.equal(unknown.phase, 'dns')
    assert.ok(performance.now() - begin < 10_000)
  })

  test('more clients than the server takes: who waits is served by returns', async () => {
    await using server = await startPostgres({ config: { max_connections: '8', superuser_reserved_connections: '0' } })
    await using pool = postgresPool(server, { pool_size: 20, max_overflow: 0 })
    const answers = await Promise.all(Array.from({ length: 40 }, () => ask(pool, 'select 1 from pg_sleep(0.05)')))
    assert.deepEqual(new Set(answers), new Set([1]))
  })
})

function portOf({ host, port, superuser, superuserPassword }: Awaited<ReturnType<typeof startPostgres>>) {
  return { host, port, superuser, superuserPassword }
}
