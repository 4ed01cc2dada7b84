/** knex on SQL Server over our pool, against the TDS server test double. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createPki, type IssuedCertificate } from '../../support/pki.ts'
import { type PostgresServer, startPostgres } from '../../support/postgres.ts'
import { password } from '../../support/tds/driver.ts'
import { type TestEngine, testEngine } from '../../support/tds/engine.ts'
import { startTdsServer, type TdsServer } from '../../support/tds/server.ts'

let postgres: PostgresServer
let certificate: IssuedCertificate

before(async () => {
  postgres = await startPostgres()
  certificate = await (await createPki()).issue({ commonName: 'localhost', dns: ['localhost'] })
})

after(() => postgres[Symbol.asyncDispose]())

const start = (): Promise<TdsServer> => startTdsServer({ postgres, logins: { sa: 'pw' }, tls: certificate })

const engine = (
  server: TdsServer,
  extra: Readonly<Record<string, unknown>> = {},
  options: Parameters<typeof testEngine>[3] = {},
): Promise<TestEngine> => testEngine(server.port, password('sa', 'pw'), extra, options)

/** The next statement works on the connection that was cancelled. */
async function assertHealthy({ db, pool }: TestEngine): Promise<void> {
  assert.deepEqual(await db.select(db.raw('1 as one')), [{ one: 1 }])
  assert.equal(pool.stats().inUse, 0)
}

describe('queries', () => {
  test('are built, run and answered', async () => {
    await using server = await start()
    await using own = await engine(server)
    const { db } = own
    await db.schema.dropTableIfExists('planes')
    await db.raw('create table planes (id int identity(1,1) primary key, name nvarchar(50), seats int)')
    const inserted = await db('planes').insert(
      [
        { name: 'A', seats: 3 },
        { name: 'Bö', seats: null },
      ],
      ['id'],
    )
    assert.deepEqual(inserted, [{ id: 1 }, { id: 2 }])
    assert.deepEqual(await db('planes').where({ name: 'Bö' }).first(), { id: 2, name: 'Bö', seats: null })
    assert.equal(await db('planes').where('id', 1).update({ seats: 4 }), 1)
    assert.deepEqual(await db('planes').orderBy('id').limit(1).offset(1).pluck('name'), ['Bö'])
    await assert.rejects(db('nowhere').select(), (error: Error & { number?: number }) => error.number === 208)
    await assert.rejects(db('planes').insert({ id: 1 }), Error)
    await db.schema.dropTable('planes')
    await assertHealthy(own)
    assert.deepEqual(server.complaints, [])
  })

  test('keep brackets in identifiers', async () => {
    await using server = await start()
    await using own = await engine(server)
    const { db } = own
    assert.equal(db('a]b').select('c[d]').toString(), 'select [c[d]]] from [a]]b]')
    assert.equal(db('t').select('*').toString(), 'select * from [t]')
    await db.raw('create table [odd]]name] ([col[1]]] int)')
    await db('odd]name').insert({ 'col[1]': 7 })
    assert.deepEqual(await db('odd]name').select('col[1]'), [{ 'col[1]': 7 }])
    await db.raw('drop table [odd]]name]')
  })

  test('run in transactions, several at once, and roll back', async () => {
    await using server = await start()
    await using own = await engine(server)
    const { db } = own
    await db.raw('create table ledger (n int)')
    await db.transaction(async (trx) => {
      // Stock knex has one queue for all connections of the process; ours has one for each.
      await Promise.all([1, 2, 3, 4, 5].map((n) => trx('ledger').insert({ n })))
    })
    await assert.rejects(
      db.transaction(async (trx) => {
        await trx('ledger').insert({ n: 6 })
        await trx.transaction(async (inner) => {
          await inner('ledger').insert({ n: 7 })
        })
        throw new Error('no')
      }),
      /^Error: no$/,
    )
    assert.deepEqual(await db('ledger').orderBy('n').pluck('n'), [1, 2, 3, 4, 5])
    await db.raw('drop table ledger')
    await assertHealthy(own)
  })

  test('on many connections at once each stay on their own connection', async () => {
    await using server = await start()
    await using own = await engine(server, {}, { pool_size: 5, max_overflow: 0 })
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, index) => own.db.raw('select ? as n, @@spid as spid', [index])),
    )
    assert.deepEqual(
      answers.map(([row]) => row.n),
      Array.from({ length: 40 }, (_, index) => index),
    )
    assert.ok(new Set(answers.map(([row]) => row.spid)).size <= 5)
    assert.equal(own.pool.stats().inUse, 0)
  })

  test('that take too long are cancelled, and their connection can be used again', async () => {
    await using server = await start()
    await using own = await engine(server, {}, { pool_size: 1, max_overflow: 0 })
    await assert.rejects(own.db.raw("waitfor delay '00:00:30'").timeout(150, { cancel: true }), /timeout/i)
    await assertHealthy(own)
    assert.equal(server.journal.attentions, 1)
    assert.equal(server.journal.logins.length, 1)
    // Without cancel knex abandons the connection; it is closed and not lent again.
    await assert.rejects(own.db.raw("waitfor delay '00:00:30'").timeout(150), /timeout/i)
    await assertHealthy(own)
    assert.equal(server.journal.logins.length, 2)
  })

  test('are not sent on a session that ended while idle', async () => {
    await using server = await start()
    await using own = await engine(server, {}, { pool_size: 1, max_overflow: 0 })
    await assertHealthy(own)
    server.sessions()[0]?.kill()
    await sleep(20)
    await assertHealthy(own)
    assert.equal(server.journal.logins.length, 2)
  })
})

describe('streams', () => {
  test('deliver every row, however slow the reader is', async () => {
    await using server = await start()
    await using own = await engine(server)
    let rows = 0
    let sum = 0
    for await (const row of own.db
      .raw("select n, repeat(N'x', 50) as t from generate_series(1, 20000) as n")
      .stream()) {
      rows++
      sum += row.n
      if (rows % 5000 === 0) await sleep(5)
    }
    assert.deepEqual([rows, sum], [20_000, (20_000 * 20_001) / 2])
    await assertHealthy(own)
  })

  test('are sent no faster than they are read', async () => {
    await using server = await start()
    await using own = await engine(server)
    const stream = own.db.raw("select repeat(N'x', 20000) as t from generate_series(1, 20000)").stream()
    await once(stream, 'readable')
    await sleep(200)
    const [connection] = server.sessions()
    assert.ok(connection !== undefined)
    // 20,000 rows of 40 kB: the server is still sending, and only a few rows have arrived.
    assert.ok(stream.readableLength + stream.writableLength < 200)
    assert.equal(own.pool.stats().inUse, 1)
    const closed = once(stream, 'close')
    stream.destroy()
    await closed
    await released(own)
    await assertHealthy(own)
  })

  test('that are left early cancel their statement and return a usable connection', async () => {
    await using server = await start()
    await using own = await engine(server, {}, { pool_size: 1, max_overflow: 0 })
    for (let round = 1; round <= 3; round++) {
      for await (const row of own.db.raw('select n from generate_series(1, 1000000) as n').stream()) {
        if (row.n === 10 * round) break
      }
      await released(own)
      assert.equal(server.journal.attentions, round)
      await assertHealthy(own)
    }
    assert.equal(server.journal.logins.length, 1)
    assert.deepEqual(server.complaints, [])
  })

  test('that are destroyed before they began send nothing', async () => {
    await using server = await start()
    await using own = await engine(server)
    await assertHealthy(own)
    const before = server.journal.requests.length
    own.db.raw('select n from generate_series(1, 10) as n').stream().destroy()
    await sleep(50)
    await released(own)
    assert.equal(server.journal.requests.length, before)
  })

  test('that fail report it once and release their connection', async () => {
    await using server = await start()
    await using own = await engine(server)
    const read = async (sql: string): Promise<void> => {
      for await (const _ of own.db.raw(sql).stream());
    }
    await assert.rejects(read('select 1/0'), /division by zero/)
    await assert.rejects(read('select 1/(5000-n) as x from generate_series(1, 10000) as n'), /division by zero/)
    await released(own)
    await assertHealthy(own)
    server.faults.add({ at: 'rows', fault: { do: 'cut' }, after: 500, times: 1 })
    await assert.rejects(read('select n from generate_series(1, 100000) as n'))
    server.faults.clear()
    server.faults.add({ at: 'rows', fault: { do: 'garble' }, after: 500, times: 1 })
    await assert.rejects(read('select n from generate_series(1, 100000) as n').finally(() => server.faults.clear()))
    await released(own)
    await assertHealthy(own)
  })
})

describe('the pool', () => {
  test('waits for a busy Azure SQL, and reports it when the time limit has passed', async () => {
    await using server = await start()
    await using own = await engine(server, {}, { pool_size: 1, max_overflow: 0 })
    server.faults.add({ at: 'login', fault: { do: 'refuse', number: 40613, message: 'Not available now.' }, times: 3 })
    await assertHealthy(own)
    assert.equal(server.journal.logins.length, 4)

    server.faults.add({ at: 'login', fault: { do: 'refuse', number: 49918, message: 'Too many requests.' } })
    await using other = await engine(server, { connect_timeout: 1.5 })
    await assert.rejects(other.db.raw('select 1'), (error: { code?: string }) => error.code === 'SERVER_THROTTLED')
  })

  test('answers in time when the server freezes at login, and works again after it', async () => {
    await using server = await start()
    await using own = await engine(server, {}, { pool_timeout: 2 })
    server.faults.add({ at: 'login', fault: { do: 'hang' }, times: 1 })
    const error = await own.db.raw('select 1').then(
      () => undefined,
      (reason: { code?: string; phase?: string }) => reason,
    )
    assert.deepEqual([error?.code, error?.phase], ['CONNECT_TIMEOUT', 'login'])
    // The attempt that hung has the same limit and ends about now; its error goes to callers that wait at that moment.
    await sleep(100)
    await assertHealthy(own)
  })

  test('resets the state that a user left, by the protocol', async () => {
    await using server = await start()
    await using own = await engine(server, {}, { pool_size: 1, max_overflow: 0, pool_reset_on_return: 'full' })
    await own.db.raw('set lock_timeout 1234')
    assert.deepEqual(await own.db.raw('select @@lock_timeout as t'), [{ t: -1 }])
    assert.ok(server.journal.resets >= 1)
    assert.equal(server.journal.logins.length, 1)
  })
})

/** Waits until no connection is in use. */
async function released({ pool }: TestEngine): Promise<void> {
  for (let tries = 0; pool.stats().inUse + pool.stats().checking > 0; tries++) {
    assert.ok(tries < 500, 'a connection was not given back')
    await sleep(10)
  }
}
