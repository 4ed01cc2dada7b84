import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { once } from 'node:events'
import { after, describe, test } from 'node:test'
import { inspect } from 'node:util'
import pg from 'pg'
import { from as copyFrom, to as copyTo } from 'pg-copy-streams'
import QueryStream from 'pg-query-stream'
import { createPgPool, type PgPool, type PgPoolOptions } from '../../../src/engine/pg/index.ts'
import { PoolsmithError } from '../../../src/errors.ts'
import { freePort } from '../../support/free-port.ts'
import { startPostgres } from '../../support/postgres.ts'
import { superuserRecord } from '../../support/superuser-record.ts'

const server = await startPostgres()
after(() => server[Symbol.asyncDispose]())
await server.sql('create table numbers as select n from generate_series(1, 1000) n')

const record = superuserRecord(server)

const open = (options: PgPoolOptions = {}): Promise<PgPool> => createPgPool(record, options)

/** The same two forms for every call: a promise, or the values that a callback gets. */
function called<T extends unknown[]>(run: (callback: (...values: T) => void) => unknown): Promise<T> {
  return new Promise((resolve) => run((...values) => resolve(values)))
}

test('it is a pg.Pool, and await using ends it', async () => {
  let ended: PgPool
  {
    await using pool = await open()
    ended = pool
    assert.ok(pool instanceof pg.Pool)
    assert.match(Object.getPrototypeOf(pool).constructor.name, /Pool/)
    assert.deepEqual((await pool.query('select 1 as one')).rows, [{ one: 1 }])
    assert.deepEqual([pool.totalCount, pool.idleCount, pool.waitingCount, pool.expiredCount], [1, 1, 0, 0])
    assert.deepEqual([pool.ending, pool.ended], [false, false])
  }
  assert.deepEqual([ended.ending, ended.ended, ended.totalCount], [true, true, 0])
})

describe('query', () => {
  test('every form of a query gives what pg gives', async () => {
    await using pool = await open({ pool_size: 1 })
    assert.deepEqual((await pool.query('select $1::int as n', [7])).rows, [{ n: 7 }])
    assert.deepEqual((await pool.query({ text: 'select $1::int as n', values: [8] })).rows, [{ n: 8 }])
    assert.deepEqual((await pool.query({ text: 'select 9 as n', rowMode: 'array' })).rows, [[9]])
    assert.deepEqual((await pool.query({ name: 'ten', text: 'select $1::int as n' }, [10])).rows, [{ n: 10 }])
    const types = { getTypeParser: () => (text: string) => `<${text}>` } as unknown as pg.CustomTypesConfig
    assert.deepEqual((await pool.query({ text: 'select 11 as n', types })).rows, [{ n: '<11>' }])
    const [none, result] = await called<[Error | undefined, pg.QueryResult]>((done) =>
      pool.query('select 12 as n', done),
    )
    assert.deepEqual([none, result.rows], [undefined, [{ n: 12 }]])
    const [, bound] = await called<[Error, pg.QueryResult]>((done) => pool.query('select $1::int as n', [13], done))
    assert.deepEqual(bound.rows, [{ n: 13 }])
    assert.equal(pool.idleCount, 1)
  })

  test('a syntax error is its own error and costs no session', async () => {
    await using pool = await open({ pool_size: 1 })
    const pid = async (): Promise<number> => (await pool.query('select pg_backend_pid() as pid')).rows[0].pid
    const before = await pid()
    await assert.rejects(pool.query('selekt'), { code: '42601' })
    const [error] = await called<[Error & { code?: string }]>((done) => pool.query('selekt', done))
    assert.equal(error.code, '42601')
    assert.equal(await pid(), before)
  })

  test('a value that cannot be sent is an error, and the client goes back', async () => {
    await using pool = await open({ pool_size: 1 })
    const value = {
      toPostgres: () => {
        throw new Error('no such value')
      },
    }
    await assert.rejects(pool.query('select $1::text', [value]), /no such value/)
    assert.deepEqual((await pool.query('select 1 as one')).rows, [{ one: 1 }])
  })

  test('a function as the first argument is refused in the words of pg', async () => {
    await using pool = await open()
    const [error] = await called<[Error]>((done) => (pool.query as (first: unknown) => void)(done))
    assert.match(error.message, /Passing a function as the first parameter to pool.query is not supported/)
  })
})

describe('connect', () => {
  test('the client is a pg.Client, and the same object for the same session', async () => {
    await using pool = await open({ pool_size: 1 })
    const first = await pool.connect()
    assert.ok(first instanceof pg.Client)
    first.release()
    const [error, second, release] = await called<[Error | undefined, pg.PoolClient, () => void]>((done) =>
      pool.connect(done as never),
    )
    assert.deepEqual([error, second === first, release === second.release], [undefined, true, true])
    release()
  })

  test('a second release is refused in the words of pg, and does not touch the next lease', async () => {
    await using pool = await open({ pool_size: 1 })
    const client = await pool.connect()
    const { release } = client
    release()
    assert.throws(release, /Release called on client which has already been released to the pool/)
    const next = await pool.connect()
    assert.throws(release, /already been released/)
    assert.equal(pool.idleCount, 0)
    next.release()
  })

  for (const reason of [true, new Error('do not use it again')]) {
    test(`release(${typeof reason === 'boolean' ? reason : 'error'}) condemns the session`, async () => {
      await using pool = await open({ pool_size: 1 })
      const client = await pool.connect()
      const removed = once(pool, 'remove')
      client.release(reason)
      assert.deepEqual(await removed, [client])
      const other = await pool.connect()
      assert.notEqual(other, client)
      other.release()
    })
  }

  test('a transaction that is left open and a statement that still runs never reach the next user', async () => {
    await using pool = await open({ pool_size: 1 })
    const client = await pool.connect()
    await client.query('begin')
    await client.query('create table left_open (n int)')
    client.release()
    assert.equal((await pool.query("select to_regclass('left_open') as found")).rows[0].found, null)
    const busy = await pool.connect()
    const running = busy.query('select pg_sleep(30)').catch((error: Error) => error)
    busy.release()
    assert.deepEqual((await pool.query('select 1 as one')).rows, [{ one: 1 }])
    assert.ok((await running) instanceof Error)
  })

  test('a failure to connect has the code that pg gives it, in both forms, and our error as its cause', async () => {
    await using pool = await createPgPool({ ...record, password: 'wrong' })
    const refused = (error: Error & { code?: string }): boolean =>
      error.code === '28P01' && error.cause instanceof PoolsmithError && error.cause.code === 'LOGIN_REFUSED'
    await assert.rejects(pool.connect(), refused)
    await assert.rejects(pool.query('select 1'), refused)
    const [error, client, release] = await called<[Error, undefined, () => void]>((done) => pool.connect(done as never))
    assert.deepEqual([refused(error), client], [true, undefined])
    release()
    await using closed = await createPgPool({ ...record, port: await freePort() })
    await assert.rejects(closed.connect(), { code: 'ECONNREFUSED' })
  })

  test('an error that pg does not have is ours', async () => {
    await using pool = await open({ pool_size: 1, max_overflow: 0, pool_timeout: 0.1 })
    // So that no login has to be done within that time.
    pool.poolsmith.suspend()
    await assert.rejects(pool.connect(), { name: 'PoolsmithError', code: 'POOL_SUSPENDED' })
  })
})

describe('Submittables', () => {
  test('a query stream and copy streams go to the client as they are', async () => {
    await using pool = await open({ pool_size: 1 })
    const client = await pool.connect()
    const rows: unknown[] = []
    for await (const row of client.query(new QueryStream('select n from numbers order by n limit 3'))) rows.push(row)
    assert.deepEqual(rows, [{ n: 1 }, { n: 2 }, { n: 3 }])
    await client.query('create temporary table copied (n int)')
    const into = client.query(copyFrom('copy copied from stdin'))
    into.end('1\n2\n')
    await once(into, 'finish')
    let text = ''
    for await (const chunk of client.query(copyTo('copy copied to stdout'))) text += String(chunk)
    assert.equal(text, '1\n2\n')
    client.release()
  })

  test('a Query object given to the pool gets its result', async () => {
    await using pool = await open()
    const [error, result] = await called<[Error | null, pg.QueryResult]>((done) => {
      const query = new (pg.Query as unknown as new (text: string) => { callback?: unknown })('select 5 as n')
      void (pool.query as (query: unknown, done: unknown) => void)(query, done)
    })
    assert.deepEqual([error ?? undefined, result.rows], [undefined, [{ n: 5 }]])
  })
})

describe('events', () => {
  test('connect once for each session, with its statements first; acquire and release each time', async () => {
    await using pool = await open({ pool_size: 1 })
    const seen: string[] = []
    pool.on('connect', (client) => {
      seen.push('connect')
      void client.query("set application_name = 'hooked'")
    })
    pool.on('acquire', () => seen.push('acquire'))
    pool.on('release', () => seen.push('release'))
    const name = async (): Promise<string> => (await pool.query('show application_name')).rows[0].application_name
    assert.equal(await name(), 'hooked')
    assert.equal(await name(), 'hooked')
    assert.deepEqual(seen, ['connect', 'acquire', 'release', 'acquire', 'release'])
  })

  test('a session that dies idle is told by error and remove where they are listened to', async () => {
    await using pool = await open({ pool_size: 1 })
    const failed = once(pool, 'error') as Promise<[Error & { client?: unknown }, pg.PoolClient]>
    const removed = Promise.withResolvers<pg.PoolClient>()
    pool.on('remove', removed.resolve)
    const client = await pool.connect()
    const { rows } = await client.query('select pg_backend_pid() as pid')
    client.release()
    await server.sql(`select pg_terminate_backend(${rows[0].pid})`)
    const [error, dead] = await failed
    assert.deepEqual([dead === client, error.client === client], [true, true])
    assert.equal((await removed.promise) === client, true)
    assert.deepEqual((await pool.query('select 1 as one')).rows, [{ one: 1 }])
  })

  test('without a listener to error it ends nothing', async () => {
    await using pool = await open({ pool_size: 1 })
    const { rows } = await pool.query('select pg_backend_pid() as pid')
    const removed = Promise.withResolvers<void>()
    pool.on('remove', () => removed.resolve())
    await server.sql(`select pg_terminate_backend(${rows[0].pid})`)
    await removed.promise
    assert.deepEqual((await pool.query('select 1 as one')).rows, [{ one: 1 }])
  })
})

describe('end', () => {
  test('a second end and a use after the end are refused in the words of pg', async () => {
    const pool = await open()
    await pool.end()
    await assert.rejects(pool.end(), /Called end on pool more than once/)
    await assert.rejects(pool.connect(), /Cannot use a pool after calling end on the pool/)
    await assert.rejects(pool.query('select 1'), /Cannot use a pool after calling end on the pool/)
    const [error] = await called<[Error]>((done) => pool.connect(done as never))
    assert.match(error.message, /after calling end/)
  })

  test('a callback is called once all sessions are closed', async () => {
    const pool = await open()
    await pool.query('select 1')
    await called((done) => pool.end(done as () => void))
    assert.deepEqual([pool.ended, pool.totalCount], [true, 0])
  })

  test('end waits for a client in use', async () => {
    const pool = await open()
    const client = await pool.connect()
    const running = client.query('select pg_sleep(0.2), 1 as one')
    const ended = pool.end()
    assert.equal((await running).rows[0].one, 1)
    assert.equal(pool.ended, false)
    client.release()
    await ended
  })
})

test('callbacks run in the context of their caller', async () => {
  await using pool = await open({ pool_size: 1 })
  const context = new AsyncLocalStorage<string>()
  const blocker = await pool.connect()
  const waiting = ['a', 'b'].map((name) =>
    context.run(name, () =>
      called<[string | undefined]>((done) => {
        pool.query('select 1', () => done(context.getStore()))
      }),
    ),
  )
  blocker.release()
  assert.deepEqual(await Promise.all(waiting), [['a'], ['b']])
})

test('no secret is in the options or anywhere in what the pool prints', async () => {
  await using pool = await open()
  await pool.query('select 1')
  const { options } = pool as unknown as { options: Record<string, unknown> }
  assert.deepEqual(
    [options.host, options.port, options.user, options.max],
    [record.host, record.port, record.login, pool.poolsmith.stats().max],
  )
  assert.equal(inspect(pool, { depth: 20, showHidden: true }).includes(record.password), false)
})

describe('what is refused', () => {
  test('a configuration of pg.Pool, with the names to use here', async () => {
    const config = { host: 'db', user: 'etl', password: 'x', max: 5 } as never
    await assert.rejects(createPgPool(config), (error: Error) => /user: .*login/s.test(error.message))
  })

  test('a connection of SQL Server', async () => {
    await assert.rejects(createPgPool({ type: 'mssql', host: 'db', login: 'x', password: 'y' }), {
      code: 'CONFIG_INVALID',
      message: /type: is mssql; createPgPool is for PostgreSQL/,
    })
  })

  test('an unknown option and a module that is not pg', async () => {
    await assert.rejects(open({ pool_sise: 1 } as PgPoolOptions), /did you mean pool_size/)
    await assert.rejects(open({ pg: {} as never }), /pg: expected the module pg/)
  })
})

test('another copy of pg is told, and the pool is of that copy', async () => {
  class OtherPool extends pg.Pool {}
  class OtherClient extends pg.Client {}
  const warnings: string[] = []
  await using pool = await open({
    pg: { Pool: OtherPool, Client: OtherClient },
    on: { 'config:warning': ({ message }) => warnings.push(message) },
  })
  assert.ok(pool instanceof OtherPool)
  assert.match(warnings.join(), /two copies of pg are installed/)
  assert.deepEqual((await pool.query('select 1 as one')).rows, [{ one: 1 }])
})
