/** Errors of statements after which a session is not handed out again or is checked first, on real servers. */

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import type { ConnectionPool } from '../../src/pool/pool.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { ask, postgresPool } from '../support/postgres-pool.ts'

let servers: readonly PostgresServer[] = []

before(async () => {
  servers = await Promise.all([startPostgres(), startPostgres({ flavor: 'debian' })])
  for (const server of servers) await server.sql('create table marks (n int); create table shape (a int)')
})
after(async () => {
  for (const server of servers) await server[Symbol.asyncDispose]()
})

const WRITE = 'insert into marks values (1)'
const PROCESS = 'select pg_backend_pid()'

/** Opens several sessions at once, uses each, and gives their processes; the first of them is handed out next. */
async function fill(pool: ConnectionPool<pg.Client>, count: number): Promise<unknown[]> {
  const clients = await Promise.all(Array.from({ length: count }, () => pool.acquire().promise))
  const processes: unknown[] = []
  for (const client of clients.reverse()) {
    processes.unshift((await client.query({ text: PROCESS, rowMode: 'array' })).rows[0]?.[0])
    pool.release(client)
  }
  return processes
}

/** Makes every open session read-only, as a demotion does. Resolves when all have changed. */
async function setReadOnly(
  server: PostgresServer,
  value: 'on' | 'off',
  pool: ConnectionPool<pg.Client>,
): Promise<void> {
  await server.sql(`alter system set default_transaction_read_only = ${value}`)
  await server.reload()
  const clients = await Promise.all(Array.from({ length: pool.numFree() }, () => pool.acquire().promise))
  for (const client of clients) {
    for (;;) {
      const { rows } = await client.query("select current_setting('default_transaction_read_only') as is")
      if (rows[0].is === value) break
      await sleep(5)
    }
  }
  for (const client of clients.reverse()) pool.release(client)
}

for (const pool_pre_ping of [true, false]) {
  test(`a session that has become read-only is not handed out again, and the others are checked first (pool_pre_ping=${pool_pre_ping})`, async (t) => {
    for (const server of servers) {
      await using pool = postgresPool(server, { pool_size: 3, max_overflow: 0, pool_pre_ping })
      t.after(() => server.sql('alter system reset default_transaction_read_only').then(() => server.reload()))
      const closed: { reason: string; message: string | undefined }[] = []
      pool.on('connection:closed', ({ reason, cause }) => {
        closed.push({ reason, message: cause instanceof Error ? cause.message : undefined })
      })
      const before = await fill(pool, 3)
      await ask(pool, WRITE)
      await setReadOnly(server, 'on', pool)
      assert.deepEqual(closed, [])

      await assert.rejects(ask(pool, WRITE), { code: '25006' })
      const next = await ask(pool, PROCESS)
      assert.ok(!before.includes(next), 'none of the old sessions is handed out')
      // The server's error can arrive before its ReadyForQuery; then the first session is reset on its return.
      assert.match(closed.map(({ reason }) => reason).join(), /^(ping|reset)-failed,ping-failed,ping-failed$/)
      for (const { message } of closed) assert.match(message ?? '', /has become read-only/)

      await server.sql('alter system reset default_transaction_read_only')
      await server.reload()
      pool.invalidate()
      await ask(pool, WRITE)
    }
  })
}

test('a session that became read-only inside a transaction is not handed out to a waiting caller', async (t) => {
  for (const server of servers) {
    await using pool = postgresPool(server, { pool_size: 1, max_overflow: 0 })
    t.after(() => server.sql('alter system reset default_transaction_read_only').then(() => server.reload()))
    const [before] = await fill(pool, 1)
    await setReadOnly(server, 'on', pool)
    const client = await pool.acquire().promise
    await client.query('begin')
    await assert.rejects(client.query(WRITE), { code: '25006' })
    const next = ask(pool, PROCESS)
    pool.release(client)
    assert.notEqual(await next, before)
    await server.sql('alter system reset default_transaction_read_only')
    await server.reload()
  }
})

test('a transaction that the caller made read-only closes no session', async () => {
  for (const server of servers) {
    await using pool = postgresPool(server, { pool_size: 2, max_overflow: 0 })
    const before = await fill(pool, 2)
    await pool.use(async (client) => {
      await client.query('begin read only')
      await assert.rejects(client.query(WRITE), { code: '25006' })
    })
    const after = await fill(pool, 2)
    assert.deepEqual(new Set(after), new Set(before))
  }
})

test('a session that is read-only by its options is not closed', async () => {
  for (const server of servers) {
    const driver = { options: '-c default_transaction_read_only=on' }
    await using pool = postgresPool(server, { pool_size: 1, max_overflow: 0 }, { driver })
    const [before] = await fill(pool, 1)
    await assert.rejects(ask(pool, WRITE), { code: '25006' })
    assert.equal(await ask(pool, PROCESS), before)
  }
})

test('a session whose named statement no longer fits its table is not handed out again', async () => {
  for (const server of servers) {
    await using pool = postgresPool(server, { pool_size: 1, max_overflow: 0 })
    const causes: unknown[] = []
    pool.on('connection:closed', ({ reason, cause }) =>
      causes.push(reason, (cause?.cause as { code?: string } | undefined)?.code),
    )
    const named = { name: 'shape', text: 'select * from shape' }
    const [before] = await fill(pool, 1)
    await pool.use((client) => client.query(named))
    await server.sql('alter table shape add column b int')
    await assert.rejects(
      pool.use((client) => client.query(named)),
      { code: '0A000', transient: true, hint: /whole transaction again/ },
    )
    assert.deepEqual(causes, ['broken', '0A000'])
    const { fields } = await pool.use((client) => client.query(named))
    assert.equal(fields.length, 2)
    assert.notEqual(await ask(pool, PROCESS), before)
    await server.sql('alter table shape drop column b')
  }
})

test('a session whose named statement the server has forgotten is not handed out again', async () => {
  for (const server of servers) {
    await using pool = postgresPool(server, { pool_size: 1, max_overflow: 0 })
    const named = { name: 'one', text: 'select 1 as n' }
    await pool.use((client) => client.query(named))
    await pool.use((client) => client.query('deallocate all'))
    await assert.rejects(
      pool.use((client) => client.query(named)),
      { code: '26000', transient: true },
    )
    assert.deepEqual((await pool.use((client) => client.query(named))).rows, [{ n: 1 }])
  }
})

test('another statement that is not supported closes no session', async () => {
  for (const server of servers) {
    await using pool = postgresPool(server, { pool_size: 1, max_overflow: 0 })
    const [before] = await fill(pool, 1)
    await assert.rejects(ask(pool, 'select * from marks union select count(*) over () for update'), { code: '0A000' })
    assert.equal(await ask(pool, PROCESS), before)
  }
})

test('a wrong number of values is a mistake of the program: it is not transient, and closes no session', async () => {
  for (const server of servers) {
    await using pool = postgresPool(server, { pool_size: 1, max_overflow: 0 })
    const [before] = await fill(pool, 1)
    await assert.rejects(
      pool.use((client) => client.query('select $1::int, $2::int', [1])),
      { code: '08P01', transient: false, phase: 'query' },
    )
    assert.equal(await ask(pool, PROCESS), before)
  }
})

test("a statement on a client whose session has ended has pg's words, with the server's last ones as cause", async () => {
  for (const server of servers) {
    await using pool = postgresPool(server, { pool_size: 1, max_overflow: 0 })
    await pool.use(async (client) => {
      const ended = new Promise<void>((resolve) => client.on('end', () => resolve()))
      await client.query('begin')
      const { rows } = await client.query('select pg_backend_pid() as id')
      await server.sql(`select pg_terminate_backend(${rows[0].id})`)
      await ended
      await assert.rejects(client.query('commit'), (error: Record<string, unknown>) => {
        assert.equal(error.message, 'Client has encountered a connection error and is not queryable')
        assert.deepEqual([error.phase, error.transient], ['query', true])
        assert.match(String(error.hint), /Run the transaction again/)
        assert.equal((error.cause as { code?: string }).code, '57P01')
        return true
      })
    })
  }
})
