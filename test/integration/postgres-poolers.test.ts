/** The errors of real poolers, under the codes that the same faults have on a server. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { ErrorCode } from '../../src/errors.ts'
import { createEngine } from '../../src/index.ts'
import { startMiddle } from '../support/middle.ts'
import { type Pgbouncer, type Pooler, startPgbouncer, startPgpool } from '../support/pooler.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { driverFor, openingError, openSession, passwordCredential } from '../support/postgres-driver.ts'
import { ask, postgresPool } from '../support/postgres-pool.ts'

const PASSWORD = 'a p4ssword'

let server: PostgresServer
const stack = new AsyncDisposableStack()

before(async () => {
  server = stack.use(
    await startPostgres({
      flavor: 'debian',
      hba: ['host all shut 127.0.0.1/32 reject', 'host all all 127.0.0.1/32 scram-sha-256'],
    }),
  )
  await server.sql(
    `create role etl login password '${PASSWORD}'; create role limited login password '${PASSWORD}' connection limit 0`,
  )
})
after(() => stack.disposeAsync())

interface Fault {
  readonly login?: string
  readonly database?: string
  readonly password?: string
  readonly options?: string
  readonly code: ErrorCode
  readonly transient?: boolean
  readonly hint: RegExp
}

async function assertFault(pooler: Pooler, fault: Fault): Promise<void> {
  const { login = 'etl', database = 'postgres', password = PASSWORD, options, code, transient = false, hint } = fault
  await using middle = await startMiddle(pooler.port)
  const { driver } = driverFor(
    { host: '127.0.0.1', port: middle.port, login, database },
    { sslmode: 'disable', options },
  )
  const error = await openingError(driver, passwordCredential(password))
  assert.deepEqual([error.code, error.phase, error.transient], [code, 'login', transient], error.message)
  assert.match(error.hint ?? '', hint)
  assert.doesNotMatch(error.message, /: *$|: *\(|undefined/)
  assert.ok(!JSON.stringify(error).includes(password))
  // At most one more, without the parameters that a pooler refuses.
  const accepted = middle.accepted()
  assert.ok(accepted <= 2)
  await openingError(driver, passwordCredential(password))
  assert.equal(middle.accepted() - accepted, 1, 'it is tried once')
}

describe('PgBouncer', () => {
  let bouncer: Pgbouncer
  before(async () => {
    bouncer = stack.use(
      await startPgbouncer(server, {
        users: { etl: PASSWORD, stale: PASSWORD, limited: PASSWORD, admin: 'admin' },
        lines: ['admin_users = admin', 'query_wait_timeout = 1'],
      }),
    )
  })

  const faults: Readonly<Record<string, Fault>> = {
    'a wrong password': { password: 'wrong', code: 'LOGIN_REFUSED', hint: /auth_file/ },
    'an unknown user': { login: 'nobody', code: 'LOGIN_REFUSED', hint: /auth_file/ },
    'a password that the server does not take': { login: 'stale', code: 'LOGIN_REFUSED', hint: /auth_file/ },
    'a database that the server does not have': { database: 'nodb', code: 'DATABASE_NOT_FOUND', hint: /name/ },
    'the console, for a user who may not use it': {
      database: 'pgbouncer',
      code: 'DATABASE_NOT_PERMITTED',
      hint: /admin_users/,
    },
    '`options`': {
      options: '-c statement_timeout=5s',
      code: 'SETTING_REFUSED',
      hint: /options.*ignore_startup_parameters/,
    },
    'a role that has all of its connections': {
      login: 'limited',
      code: 'SERVER_FULL',
      transient: true,
      hint: /default_pool_size/,
    },
  }
  for (const [name, fault] of Object.entries(faults)) {
    test(`${name} is ${fault.code}`, () => assertFault(bouncer, fault))
  }

  test('a database that is disabled or paused is transient, before and after the pooler knows the server', async () => {
    const disabled: Fault = { code: 'SERVER_NOT_READY', transient: true, hint: /Wait/ }
    const paused: Fault = { code: 'SERVER_FULL', transient: true, hint: /query_wait_timeout.*RESUME/ }
    await bouncer.command('admin', 'disable postgres')
    await assertFault(bouncer, disabled)
    await bouncer.command('admin', 'enable postgres')
    await bouncer.command('admin', 'pause postgres')
    await assertFault(bouncer, paused)
    await bouncer.command('admin', 'resume postgres')
    const { driver } = driverFor({ host: '127.0.0.1', port: bouncer.port, login: 'etl', database: 'postgres' })
    await (await openSession(driver, passwordCredential(PASSWORD)))[Symbol.asyncDispose]()
    await bouncer.command('admin', 'pause postgres')
    await assertFault(bouncer, paused)
    await bouncer.command('admin', 'resume postgres')
  })

  test('a paused database delays callers, and fails none', async () => {
    await using pool = postgresPool({
      host: '127.0.0.1',
      port: bouncer.port,
      superuser: 'etl',
      superuserPassword: PASSWORD,
    })
    await bouncer.command('admin', 'pause postgres')
    const failed = Promise.withResolvers<void>()
    pool.on('connection:failed', () => failed.resolve())
    const answer = ask(pool, 'select 1 as n')
    await failed.promise
    await bouncer.command('admin', 'resume postgres')
    assert.equal(await answer, 1)
  })

  test('a full pooler is SERVER_FULL, and callers wait for a free place', async () => {
    const full = stack.use(await startPgbouncer(server, { users: { etl: PASSWORD }, lines: ['max_client_conn = 1'] }))
    const { driver } = driverFor({ host: '127.0.0.1', port: full.port, login: 'etl', database: 'postgres' })
    const session = await openSession(driver, passwordCredential(PASSWORD))
    await assertFault(full, { code: 'SERVER_FULL', transient: true, hint: /max_client_conn/ })
    await using pool = postgresPool({
      host: '127.0.0.1',
      port: full.port,
      superuser: 'etl',
      superuserPassword: PASSWORD,
    })
    const failed = Promise.withResolvers<void>()
    pool.on('connection:failed', () => failed.resolve())
    const answer = ask(pool, 'select 1 as n')
    await failed.promise
    await session[Symbol.asyncDispose]()
    assert.equal(await answer, 1)
  })

  test('a server that is down is transient', async () => {
    const other = stack.use(await startPostgres({ flavor: 'debian' }))
    const alone = stack.use(
      await startPgbouncer(other, { users: { etl: PASSWORD }, lines: ['query_wait_timeout = 1'] }),
    )
    await other.stop()
    await assertFault(alone, { code: 'SERVER_FULL', transient: true, hint: /server runs/ })
  })

  test('a limit of the pooler that ends a statement is named in the hint', async () => {
    const limits: readonly [line: string, hint: RegExp][] = [
      ['query_wait_timeout = 1', /did not run.*query_wait_timeout/],
      ['query_timeout = 1', /query_timeout of PgBouncer/],
      ['idle_transaction_timeout = 1', /idle_transaction_timeout.*PgBouncer/],
    ]
    for (const [line, hint] of limits) {
      await using strict = await startPgbouncer(server, {
        poolMode: 'transaction',
        users: { etl: PASSWORD },
        lines: ['default_pool_size = 1', line],
      })
      const where = { host: '127.0.0.1', port: strict.port, login: 'etl', password: PASSWORD, database: 'postgres' }
      await using db = await createEngine({ type: 'postgres', ...where })
      const both = [await db.pool.acquire().promise, await db.pool.acquire().promise]
      for (const raw of both) db.pool.release(raw)
      const trx = await db.transaction()
      const [waits] = line.split(' ')
      // The server's only session is taken by the transaction.
      const failing = waits === 'query_timeout' ? trx.raw('select pg_sleep(60)') : db.raw('select 2')
      if (waits === 'idle_transaction_timeout') {
        await failing
        await assert.rejects(async () => trx.raw('select 1'), lost(hint))
      } else {
        await assert.rejects(async () => failing, lost(hint))
      }
      await trx.rollback().catch(() => undefined)
    }
  })
})

/** The session ended, and the hint says by which limit. */
function lost(hint: RegExp) {
  return (error: Error & { code?: string; hint?: string }): boolean => {
    assert.equal(error.code, 'CONNECTION_LOST')
    assert.match(error.hint ?? '', hint)
    return true
  }
}

describe('pgpool-II', () => {
  let pgpool: Pooler
  before(async () => {
    pgpool = stack.use(
      await startPgpool(server, { users: { etl: PASSWORD, stale: PASSWORD, limited: PASSWORD, shut: PASSWORD } }),
    )
  })
  const faults: Readonly<Record<string, Fault>> = {
    'a wrong password': { password: 'wrong', code: 'LOGIN_REFUSED', hint: /pool_passwd/ },
    'a user without a line in pool_hba.conf': { login: 'nobody', code: 'LOGIN_NOT_ADMITTED', hint: /rules/ },
    'a password that the server does not take': {
      login: 'stale',
      code: 'SERVER_ERROR',
      transient: true,
      hint: /pool_passwd/,
    },
    // pgpool-II sends an empty error in the old format first.
    'a user whom the server does not admit': {
      login: 'shut',
      code: 'SERVER_ERROR',
      transient: true,
      hint: /see its log/,
    },
    'a database that the server does not have': { database: 'nodb', code: 'DATABASE_NOT_FOUND', hint: /name/ },
    'a role that has all of its connections': {
      login: 'limited',
      code: 'SERVER_FULL',
      transient: true,
      hint: /pool_size/,
    },
  }
  for (const [name, fault] of Object.entries(faults)) {
    test(`${name} is ${fault.code}`, () => assertFault(pgpool, fault))
  }

  test('a full pooler is SERVER_FULL', async () => {
    const full = stack.use(
      await startPgpool(server, {
        users: { etl: PASSWORD },
        lines: ['num_init_children = 2', 'reserved_connections = 1'],
      }),
    )
    const { driver } = driverFor({ host: '127.0.0.1', port: full.port, login: 'etl', database: 'postgres' })
    await using _ = await openSession(driver, passwordCredential(PASSWORD))
    await assertFault(full, { code: 'SERVER_FULL', transient: true, hint: /pool_size/ })
  })

  test('a login that pgpool-II cannot pass through is reported with its reason', async () => {
    const through = stack.use(await startPgpool(server))
    await assertFault(through, { code: 'LOGIN_ROLE_UNUSABLE', hint: /pool_passwd/ })
  })

  test('a server that is down is SERVER_NOT_READY', async () => {
    const other = stack.use(await startPostgres({ flavor: 'debian', hba: ['host all all 127.0.0.1/32 trust'] }))
    const alone = stack.use(await startPgpool(other))
    await other.stop()
    await assertFault(alone, { code: 'SERVER_NOT_READY', transient: true, hint: /log of the pooler/ })
  })
})
