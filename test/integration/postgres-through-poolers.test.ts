/** The features that work directly work through a real pooler too: a rotation fails no statement, and cancelling ends a statement. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { CredentialSource } from '../../src/credentials/credential.ts'
import { refreshingSource } from '../../src/credentials/refreshing-source.ts'
import { readTable } from '../../src/extract/read-table.ts'
import { createEngine, type Engine } from '../../src/index.ts'
import { Secret } from '../../src/secret.ts'
import { type Pooler, startPgbouncer, startPgpool } from '../support/pooler.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { driverFor, openSession, passwordCredential } from '../support/postgres-driver.ts'
import { ask, postgresPool } from '../support/postgres-pool.ts'

const PASSWORD = 'a p4ssword'

let server: PostgresServer
const stack = new AsyncDisposableStack()

before(async () => {
  server = stack.use(
    await startPostgres({
      flavor: 'debian',
      hba: ['host all trusted 127.0.0.1/32 trust', 'host all all 127.0.0.1/32 scram-sha-256'],
    }),
  )
  await server.sql(`create role etl login password '${PASSWORD}'; create role trusted login;
    create role lookup login superuser password '${PASSWORD}'; create role turning login;
    create table numbers as select n, repeat(md5(n::text), 8) as filler from generate_series(1, 200000) n;
    grant select on numbers to etl, trusted`)
})
after(() => stack.disposeAsync())

const targetOf = (pooler: Pooler) => ({
  host: '127.0.0.1',
  port: pooler.port,
  superuser: 'etl',
  superuserPassword: PASSWORD,
})

function engineTo(pooler: Pooler, login: string, options = {}): Promise<Engine> {
  const where = { host: '127.0.0.1', port: pooler.port, login, password: PASSWORD, database: 'postgres' }
  return createEngine({ type: 'postgres', ...where }, options)
}

describe('a password that rotates under load fails no statement', () => {
  /** Reads the password as a secret store has it, after a refused login only: it does not expire during the test. */
  function sourceOf(password: () => string, onFetch: () => void): CredentialSource {
    return refreshingSource({
      fetch: async () => {
        onFetch()
        const issuedAt = Date.now()
        const current = { password: new Secret(password()), issuedAt, expiresAt: issuedAt + 3_600_000 }
        return { kind: 'password', identity: 'turning', user: 'turning', ...current }
      },
    })
  }

  /** @param rotate changes the password for the server and the pooler, after which the store is changed */
  async function rotating(pooler: Pooler, rotate: (password: string) => Promise<void>): Promise<void> {
    let password = 'p0'
    let fetches = 0
    await rotate(password)
    const source = sourceOf(
      () => password,
      () => fetches++,
    )
    const options = { pool_size: 4, max_overflow: 4, pool_recycle: 0.2 }
    await using pool = postgresPool(targetOf(pooler), options, { source })
    let running = true
    const workers = Array.from({ length: 8 }, async () => {
      while (running) {
        assert.equal(await ask(pool, 'select current_user'), 'turning')
        await sleep(2)
      }
    })
    const load = Promise.all(workers)
    try {
      for (let rotation = 1; rotation <= 4; rotation++) {
        const { opened } = pool.stats().counts
        await rotate(`p${rotation}`)
        password = `p${rotation}`
        // More than could have been under way before: some are opened with the new password.
        while (pool.stats().counts.opened <= opened + 8) await Promise.race([sleep(20), load])
      }
    } finally {
      running = false
    }
    await load
    assert.ok(fetches >= 5, `${fetches} fetches`)
  }

  test('through PgBouncer with auth_query', async () => {
    await using bouncer = await startPgbouncer(server, {
      users: { lookup: PASSWORD },
      database: 'auth_user=lookup',
    })
    await rotating(bouncer, async (password) => {
      await server.sql(`alter role turning password '${password}'`)
    })
  })

  test('through PgBouncer with auth_file', async () => {
    await using bouncer = await startPgbouncer(server, {
      users: { turning: 'p0', admin: 'admin' },
      lines: ['admin_users = admin'],
    })
    await rotating(bouncer, async (password) => {
      await server.sql(`alter role turning password '${password}'`)
      await bouncer.setPassword('turning', password)
      await bouncer.command('admin', 'reload')
    })
  })
})

describe('cancelling', () => {
  const poolers: Record<string, () => Promise<readonly [Pooler, login: string]>> = {
    'PgBouncer (session)': async () => [await startPgbouncer(server, { users: { etl: PASSWORD } }), 'etl'],
    'PgBouncer (transaction)': async () => [
      await startPgbouncer(server, { poolMode: 'transaction', users: { etl: PASSWORD } }),
      'etl',
    ],
    'pgpool-II': async () => [await startPgpool(server), 'trusted'],
  }
  for (const [name, start] of Object.entries(poolers)) {
    describe(`through ${name}`, () => {
      let pooler: Pooler
      let login: string
      before(async () => {
        const started = await start()
        pooler = stack.use(started[0])
        login = started[1]
      })

      const sleeping = (): Promise<string> =>
        server.sql(`select count(*) from pg_stat_activity
          where query like '%pg_sleep(60)%' and state = 'active' and pid <> pg_backend_pid()`)

      test('a statement is cancelled, and the session goes on', async () => {
        const { driver } = driverFor({ host: '127.0.0.1', port: pooler.port, login, database: 'postgres' })
        await using session = await openSession(driver, passwordCredential(PASSWORD))
        const cancelled = assert.rejects(session.client.query('select pg_sleep(60)'), { code: '57014' })
        while ((await sleeping()) === '0') await sleep(20)
        await driver.cancel(session.client, AbortSignal.timeout(20_000))
        await cancelled
        assert.deepEqual((await session.client.query('select 1 as n')).rows, [{ n: 1 }])
      })

      test('in a transaction the statement of that transaction alone is cancelled', async () => {
        await using db = await engineTo(pooler, login, { pool_size: 2 })
        // A neighbour whose server session must not be hit.
        const neighbour = db.raw('select pg_sleep(2), pg_backend_pid() as pid').then(({ rows }) => rows[0].pid)
        const own = await db.transaction(async (trx) => {
          const { pid } = (await trx.raw('select pg_backend_pid() as pid')).rows[0]
          await trx.raw('savepoint before')
          const slow = trx.raw('select pg_sleep(60)').timeout(200, { cancel: true })
          await assert.rejects(slow, { name: 'KnexTimeoutError' })
          await trx.raw('rollback to savepoint before')
          const again = (await trx.raw('select pg_backend_pid() as pid')).rows[0]
          assert.equal(again.pid, pid)
          return pid
        })
        assert.notEqual(await neighbour, own)
        assert.equal(await sleeping(), '0')
      })

      test('.timeout(ms, { cancel: true }) of knex ends the statement on the server', async () => {
        await using db = await engineTo(pooler, login)
        await assert.rejects(db.raw('select pg_sleep(60)').timeout(200, { cancel: true }), /timeout/)
        while ((await sleeping()) !== '0') await sleep(20)
        assert.equal((await db.raw('select 1 as n')).rows[0].n, 1)
        assert.equal(db.pool.stats().counts.closed, 0)
      })

      test('an extract that is left early cancels its statement, and the session is used again', async () => {
        await using db = await engineTo(pooler, login, { pool_size: 1, max_overflow: 0 })
        for await (const batch of readTable(db, { table: 'numbers' }, { batchRows: 1000 })) {
          assert.equal(batch.numRows, 1000)
          break
        }
        const copies = "select count(*) from pg_stat_activity where query ilike 'copy%' and state = 'active'"
        while ((await server.sql(copies)) !== '0') await sleep(20)
        assert.equal((await db.raw('select count(*) as n from numbers')).rows[0].n, '200000')
        assert.equal(db.pool.stats().counts.closed, 0)
      })
    })
  }
})

describe('LISTEN through a pooler that keeps the session', () => {
  const poolers: Record<string, () => Promise<readonly [Pooler, login: string]>> = {
    'PgBouncer (session)': async () => [await startPgbouncer(server, { users: { etl: PASSWORD } }), 'etl'],
    'pgpool-II': async () => [await startPgpool(server), 'trusted'],
  }
  for (const [name, start] of Object.entries(poolers)) {
    test(`${name}: notifications arrive, and again after the server has ended the session`, async () => {
      const [pooler, login] = await start()
      stack.use(pooler)
      await using db = await engineTo(pooler, login)
      const seen: string[] = []
      let listening = 0
      await db.pool.listen('news', ({ payload }) => void seen.push(payload), { onListen: () => void listening++ })
      const arrives = async (payload: string): Promise<void> => {
        await server.sql(`select pg_notify('news', '${payload}')`)
        while (!seen.includes(payload)) await sleep(20)
      }
      await arrives('first')
      await server.sql(`select pg_terminate_backend(pid) from pg_stat_activity where query = 'listen "news"'`)
      while (listening < 2) await sleep(20)
      await arrives('second')
      assert.deepEqual(seen, ['first', 'second'])
    })
  }
})
