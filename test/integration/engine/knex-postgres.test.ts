import assert from 'node:assert/strict'
import test from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import type pg from 'pg'
import { ConfigError, createEngine, type Engine, type EngineOptions } from '../../../src/index.ts'
import { startPostgres } from '../../support/postgres.ts'

const server = await startPostgres()
test.after(() => server[Symbol.asyncDispose]())
await server.sql('create table numbers as select n from generate_series(1, 5000) n')

function engine(options: EngineOptions = {}): Promise<Engine> {
  const { host, port, superuser: login, superuserPassword: password } = server
  return createEngine({ type: 'postgres', host, port, login, password, database: 'postgres' }, options)
}

test('an engine made from a URI is an ordinary Knex instance, and await using ends it', async () => {
  const uri = `postgres://${server.superuser}:${server.superuserPassword}@${server.host}:${server.port}/postgres?pool_size=2`
  let closed = false
  {
    await using db = await createEngine(uri, { on: { 'pool:destroyed': () => (closed = true) } })
    assert.deepEqual(await db('numbers').where('n', '<', 3).orderBy('n'), [{ n: 1 }, { n: 2 }])
    assert.equal(db.strategy, 'password')
    const sum = await db.transaction(async (trx) => trx('numbers').sum('n as total').first())
    assert.equal(sum?.total, '12502500')
    assert.deepEqual(Object.keys(await db('numbers').columnInfo()), ['n'])
    assert.equal(db.pool.stats().total, 1)
  }
  assert.ok(closed)
})

test('db.destroy() ends the pool, with and without a callback', async () => {
  const db = await engine()
  await db.raw('select 1')
  await db.destroy()
  assert.equal(db.pool.stats().closed, true)
  await assert.rejects(async () => db.raw('select 1'), { code: 'POOL_CLOSED' })
  const other = await engine()
  await new Promise<void>((resolve) => other.destroy(resolve))
  assert.equal(other.pool.stats().closed, true)
})

test('options of the call override the extras, and all problems are reported at once', async () => {
  await assert.rejects(engine({ pool_size: -1, extra: { sslmod: 'require', pool_timeout: 'soon' } }), (error) => {
    assert.ok(error instanceof Error && 'problems' in error)
    const paths = (error.problems as { path: string }[]).map((problem) => problem.path).sort()
    assert.deepEqual(paths, ['extra.pool_timeout', 'extra.sslmod', 'options.pool_size'])
    assert.match(error.message, /did you mean sslmode\?/)
    return true
  })
  await assert.rejects(engine({ poolSize: 5 } as EngineOptions), (error) => {
    assert.ok(error instanceof ConfigError)
    const told = 'The second argument is not valid: options.poolSize: unknown key; did you mean pool_size?'
    assert.equal(error.message, told)
    return true
  })
})

test('a second argument that is no object, and listeners to unknown events, are refused with the known names', async () => {
  for (const nothing of [null, 'pool_size', 7, []]) {
    await assert.rejects(engine(nothing as unknown as EngineOptions), (error) => {
      assert.ok(error instanceof ConfigError)
      assert.match(error.message, /^The second argument is not valid: expected an object with options$/)
      return true
    })
  }
  const on = { 'pool:aquired': () => undefined, 'pool:drained': () => undefined, 'pool:resumed': 7 }
  await assert.rejects(engine({ on } as unknown as EngineOptions), (error) => {
    assert.ok(error instanceof ConfigError)
    const told = Object.fromEntries(error.problems.map(({ path, message }) => [path, message]))
    assert.match(told['on.pool:aquired'] ?? '', /did you mean pool:acquired\?/)
    assert.match(told['on.pool:drained'] ?? '', /one of config:warning, .*, pool:destroyed\b/)
    assert.equal(told['on.pool:resumed'], 'expected a function')
    return true
  })
  await using db = await engine({ on: { 'pool:resumed': undefined } as unknown as NonNullable<EngineOptions['on']> })
  db.pool.resume()
})

test("pool.use lends the driver's own client, typed by the caller", async () => {
  await using db = await engine()
  const { rows } = await db.pool.use(async (client: pg.Client) => client.query<{ n: number }>('select 1 as n'))
  assert.deepEqual(rows, [{ n: 1 }])
  assert.equal(await db.pool.use((raw) => db.pool.infoOf(raw)?.identity), server.superuser)
  assert.equal(db.pool.stats().inUse, 0)
})

test('problems of the record, of its extras and of the strategy are reported together', async () => {
  const record = {
    type: 'postgres',
    port: 'first',
    extra: { auth_method: 'iamm', pool_size: 'ten', sslmod: 'require' },
  }
  const stores = { environment: { POOLSMITH_CONN_SALES: JSON.stringify(record) }, cwd: '/nonexistent' }
  for (const input of [record, 'sales']) {
    await assert.rejects(createEngine(input, { stores }), (error) => {
      assert.ok(error instanceof ConfigError)
      const paths = error.problems.map(({ path }) => path).sort()
      assert.deepEqual(paths, ['extra.auth_method', 'extra.pool_size', 'extra.sslmod', 'port'])
      assert.match(error.message, /did you mean iam\?/)
      return true
    })
  }
  await assert.rejects(engine({ extra: { auth_method: 'iamm' } }), { code: 'STRATEGY_UNKNOWN' })
  await assert.rejects(createEngine({ type: 'postgres', port: 'first', extra: { auth_method: 'iamm' } }), /iamm/)
})

test('contradicting options and problems of the strategy are reported with the rest, under the id', async () => {
  const stores = {
    environment: {
      POOLSMITH_CONN_SALES:
        'postgres://etl:x@127.0.0.1/db?sslnegotiation=direct&password_file=/run/pw&pool_size=many&region=eu&strict_extras=true',
    },
  }
  await assert.rejects(createEngine('sales', { stores }), (error) => {
    assert.ok(error instanceof Error && 'problems' in error)
    assert.match(error.message, /^The connection sales is not valid/)
    const paths = (error.problems as { path: string }[]).map((problem) => problem.path).sort()
    assert.deepEqual(paths, ['extra.password_file', 'extra.pool_size', 'extra.region', 'extra.sslmode'])
    return true
  })
})

test('an unknown key is a warning, and an error under strict_extras', async () => {
  const warnings: string[] = []
  await using _db = await engine({
    extra: { favourite_colour: 'blue', region: 'eu-west-1' },
    on: { 'config:warning': ({ path }) => warnings.push(path) },
  })
  assert.deepEqual(warnings.sort(), ['extra.favourite_colour', 'extra.region'])
  await assert.rejects(engine({ extra: { favourite_colour: 'blue', strict_extras: true } }), { code: 'CONFIG_INVALID' })
})

test('inspecting an engine, its pool and its errors shows no password', async () => {
  await using db = await engine()
  await db.raw('select 1')
  for (const thing of [db, db.pool, db.client, db.connection]) {
    assert.ok(!inspect(thing, { depth: 12, showHidden: true }).includes(server.superuserPassword))
  }
})

test('a stream that is read to its end returns its connection once', async () => {
  await using db = await engine({ pool_size: 1, max_overflow: 0 })
  // A waiting caller gets the connection at the first release; a second release would take it away again.
  const stream = db('numbers').orderBy('n').stream({ highWaterMark: 64 })
  const waiting = db.transaction(async (trx) => {
    for (let round = 0; round < 20; round++) {
      await trx.raw('select 1')
      await sleep(1)
      assert.equal(db.pool.stats().inUse, 1)
    }
    return 'whole'
  })
  let rows = 0
  for await (const _row of stream) rows++
  assert.equal(rows, 5000)
  assert.equal(await waiting, 'whole')
  assert.equal(db.pool.stats().inUse, 0)
})

test('a stream that is left early returns a clean connection, also in the middle of a slow statement', async () => {
  await using db = await engine({ pool_size: 1, max_overflow: 0, pool_timeout: 10 })
  for await (const row of db('numbers').orderBy('n').stream({ highWaterMark: 4 })) {
    if (row.n === 3) break
  }
  assert.deepEqual((await db.raw('select 1 as one')).rows, [{ one: 1 }])

  const slow = db.raw('select n, pg_sleep(60) from numbers').stream()
  slow.on('error', () => undefined)
  // Without the session that asks.
  const running = async (): Promise<number> =>
    Number(await server.sql("select count(*) from pg_stat_activity where state = 'active' and query ~ 'sleep.60'")) - 1
  while ((await running()) === 0) await sleep(20)
  slow.destroy()
  assert.deepEqual((await db.raw('select 2 as two')).rows, [{ two: 2 }])
  assert.equal(await running(), 0)
})

test('a stream whose statement fails raises the error and returns the connection', async () => {
  await using db = await engine({ pool_size: 1, max_overflow: 0 })
  await assert.rejects(async () => {
    for await (const _row of db.raw('select 1 / (n - 3) from numbers').stream());
  }, /division by zero/)
  assert.deepEqual((await db.raw('select 1 as one')).rows, [{ one: 1 }])
})

test('a statement whose time limit passes is cancelled on the server; without cancel its connection is not used again', async () => {
  await using db = await engine({ pool_size: 1, max_overflow: 0 })
  await assert.rejects(async () => db.raw('select pg_sleep(60)').timeout(200, { cancel: true }), /timeout/)
  assert.deepEqual((await db.raw('select 1 as one')).rows, [{ one: 1 }])
  assert.equal(db.pool.stats().counts.opened, 1)
  await assert.rejects(async () => db.raw('select pg_sleep(60)').timeout(200), /timeout/)
  assert.deepEqual((await db.raw('select 1 as one')).rows, [{ one: 1 }])
  assert.equal(db.pool.stats().counts.opened, 2)
})
