import assert from 'node:assert/strict'
import { createServer, type RequestListener } from 'node:http'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { CredentialSource } from '../../src/credentials/credential.ts'
import { refreshingSource } from '../../src/credentials/refreshing-source.ts'
import { PoolsmithError } from '../../src/errors.ts'
import { Secret } from '../../src/secret.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { ask, postgresPool } from '../support/postgres-pool.ts'

/** A store of passwords behind HTTP, and the source that asks it. */
async function secretStore(answer: RequestListener) {
  let requests = 0
  const server = createServer((request, response) => {
    requests++
    answer(request, response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('No port')
  const source = (lifeMillis: number): CredentialSource =>
    refreshingSource({
      fetch: async (signal) => {
        const issuedAt = Date.now()
        const response = await fetch(`http://127.0.0.1:${address.port}/`, { signal })
        if (!response.ok) {
          throw new PoolsmithError(`The store answered ${response.status}.`, {
            code: response.status >= 500 ? 'CREDENTIAL_FAILED' : 'CREDENTIAL_REFUSED',
            phase: 'credential',
            transient: response.status >= 500,
          })
        }
        const password = new Secret(await response.text())
        return { kind: 'password', identity: 'etl', user: 'etl', password, issuedAt, expiresAt: issuedAt + lifeMillis }
      },
    })
  return {
    source,
    get requests() {
      return requests
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

describe('credentials that are fetched', () => {
  let server: PostgresServer
  before(async () => {
    server = await startPostgres()
    await server.sql("create role etl login password 'start'")
  })
  after(() => server[Symbol.asyncDispose]())

  test('200 callers on a cold pool cause one fetch, and no more connections than the pool allows', async () => {
    await server.sql("alter role etl password 'cold'")
    await using store = await secretStore((_, response) => response.end('cold'))
    await using pool = postgresPool(server, { pool_size: 20, max_overflow: 0 }, { source: store.source(3_600_000) })
    const answers = await Promise.all(Array.from({ length: 200 }, () => ask(pool, 'select current_user')))
    assert.deepEqual(new Set(answers), new Set(['etl']))
    assert.equal(store.requests, 1)
    // On a busy machine the first connections may serve all callers before the last ones are open.
    assert.ok(pool.stats().counts.opened <= 20)
  })

  test('a password that rotates all the time under load fails no statement', async () => {
    let password = 'p0'
    await server.sql(`alter role etl password '${password}'`)
    await using store = await secretStore((_, response) => response.end(password))
    // Its end is known, so it is renewed ahead; the rotation comes when it likes, so that logins are refused too.
    await using pool = postgresPool(
      server,
      { pool_size: 8, max_overflow: 4, pool_recycle: 0.3, retire_on: 'rotation' },
      { source: store.source(2000) },
    )
    let running = true
    let statements = 0
    const workers = Array.from({ length: 16 }, async () => {
      while (running) {
        assert.equal(await ask(pool, 'select current_user'), 'etl')
        statements++
        await sleep(2)
      }
    })
    const load = Promise.all(workers)
    try {
      for (let rotation = 1; rotation <= 6; rotation++) {
        await Promise.race([sleep(1000), load])
        // First the server, then the store: between the two every fresh login is refused.
        await server.sql(`alter role etl password 'p${rotation}'`)
        await sleep(20)
        password = `p${rotation}`
      }
    } finally {
      running = false
    }
    await load
    assert.ok(statements > 200, `${statements} statements`)
    assert.ok(pool.stats().counts.opened > 30, 'sessions were opened all along')
  })

  test('a store that hangs is CREDENTIAL_TIMEOUT within the limit', async () => {
    await using store = await secretStore(() => undefined)
    await using pool = postgresPool(server, { pool_timeout: 1 }, { source: store.source(60_000) })
    const begin = performance.now()
    await assert.rejects(pool.acquire().promise, { code: 'CREDENTIAL_TIMEOUT', phase: 'credential' })
    assert.ok(performance.now() - begin < 3000)
  })

  test('a store that refuses is reported at once', async () => {
    await using store = await secretStore((_, response) => response.writeHead(403).end())
    await using pool = postgresPool(server, { pool_timeout: 30 }, { source: store.source(60_000) })
    const begin = performance.now()
    await assert.rejects(pool.acquire().promise, { code: 'CREDENTIAL_REFUSED' })
    assert.ok(performance.now() - begin < 5000)
  })

  test('a store that fails is asked again, and open sessions go on while it is down', async () => {
    await server.sql("alter role etl password 'again'")
    let down = 2
    await using store = await secretStore((_, response) => {
      if (down-- > 0) response.writeHead(503).end()
      else response.end('again')
    })
    await using pool = postgresPool(server, { pool_size: 2 }, { source: store.source(2500) })
    assert.equal(await ask(pool, 'select current_user'), 'etl')
    assert.equal(store.requests, 3)
    down = Number.POSITIVE_INFINITY
    await sleep(2700)
    assert.equal(await ask(pool, 'select current_user'), 'etl')
  })

  for (const [mode, expected] of [
    ['never', [1, 1]],
    ['rotation', [1, 2]],
  ] as const) {
    test(`retire_on=${mode}: sessions on the server after a rotation`, async () => {
      let password = `${mode}-1`
      await server.sql(`alter role etl password '${password}'`)
      await using store = await secretStore((_, response) => response.end(password))
      const source = store.source(400)
      await using pool = postgresPool(server, { retire_on: mode }, { source })
      const session = async () => pool.use((raw) => pool.infoOf(raw)?.id)
      const first = await session()
      password = `${mode}-2`
      await server.sql(`alter role etl password '${password}'`)
      await sleep(800)
      source.current()
      await sleep(200)
      assert.deepEqual([first, await session()], expected)
    })
  }

  test('retire_on=expiry: a session in use outlives its credential, and is closed on return', async () => {
    await server.sql("alter role etl password 'brief'")
    await using store = await secretStore((_, response) => response.end('brief'))
    await using pool = postgresPool(server, { retire_on: 'expiry' }, { source: store.source(3000) })
    const closed: string[] = []
    pool.on('connection:closed', ({ reason }) => closed.push(reason))
    await pool.use(async (client) => {
      await sleep(3200)
      assert.equal((await client.query('select 1 as one')).rows[0].one, 1)
      assert.deepEqual(closed, [])
    })
    assert.deepEqual(closed, ['retired'])
  })
})
