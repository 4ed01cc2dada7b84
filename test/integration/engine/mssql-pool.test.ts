/** The package mssql over our connections, against the TDS test double. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { PoolsmithError } from '../../../src/errors.ts'
import { createMssqlPool, type MssqlConnectionPool, type MssqlPoolExtras } from '../../../src/index.ts'
import { createPki, type IssuedCertificate } from '../../support/pki.ts'
import { type PostgresServer, startPostgres } from '../../support/postgres.ts'
import { startTdsServer, type TdsServer } from '../../support/tds/server.ts'

interface Result {
  readonly recordset: readonly Record<string, unknown>[]
}

interface Request extends NodeJS.EventEmitter {
  stream: boolean
  input(name: string, type: unknown, value: unknown): this
  query(sql: string): Promise<Result>
  batch(sql: string): Promise<Result>
  bulk(table: Table): Promise<{ readonly rowsAffected: number }>
  cancel(): void
  pause(): void
  resume(): void
}

interface Table {
  create: boolean
  readonly columns: { add(name: string, type: unknown, options: object): void }
  readonly rows: { add(...values: unknown[]): void }
}

interface Transaction {
  begin(): Promise<unknown>
  commit(): Promise<unknown>
  rollback(): Promise<unknown>
}

interface PreparedStatement {
  input(name: string, type: unknown): this
  prepare(sql: string): Promise<unknown>
  execute(values: object): Promise<Result>
  unprepare(): Promise<unknown>
}

/** The package as programs use it, which has no types. */
const sql = createRequire(import.meta.url)('mssql') as {
  readonly Int: unknown
  readonly MAX: unknown
  readonly NVarChar: (length?: unknown) => unknown
  readonly VarBinary: (length?: unknown) => unknown
  readonly DateTime2: (scale: number) => unknown
  readonly BigInt: unknown
  readonly Table: new (name: string) => Table
  readonly VarChar: (length?: unknown) => unknown
  readonly Char: (length?: unknown) => unknown
  readonly Text: unknown
  readonly Request: new (parent: object) => Request
  readonly Transaction: new (pool: object) => Transaction
  readonly PreparedStatement: new (pool: object) => PreparedStatement
}

let postgres: PostgresServer
let certificate: IssuedCertificate

before(async () => {
  postgres = await startPostgres()
  certificate = await (await createPki()).issue({ commonName: 'localhost', dns: ['localhost'] })
})

after(() => postgres[Symbol.asyncDispose]())

const start = (): Promise<TdsServer> => startTdsServer({ postgres, logins: { sa: 'pw' }, tls: certificate })

const poolOf = (server: TdsServer, more: object = {}): Promise<MssqlConnectionPool & MssqlPoolExtras> =>
  createMssqlPool(
    {
      type: 'mssql',
      host: 'localhost',
      port: server.port,
      login: 'sa',
      password: 'pw',
      database: 'master',
      extra: { encrypt: 'true', trust_server_certificate: true },
    },
    { pool_size: 2, max_overflow: 0, ...more },
  )

describe('a pool of mssql over ours', () => {
  test('connects, runs queries with parameters, and closes every session', async () => {
    await using server = await start()
    const pool = await poolOf(server)
    assert.equal(server.journal.logins.length, 0)
    assert.equal(await pool.connect(), pool)
    assert.equal(pool.strategy, 'sql_auth')
    const { recordset } = await new sql.Request(pool)
      .input('id', sql.Int, 7)
      .input('name', sql.NVarChar, "O'Grün")
      .input('big', sql.BigInt, '9223372036854775807')
      .query('select @id as id, @name as name, @big as big')
    assert.deepEqual(recordset, [{ id: 7, name: "O'Grün", big: '9223372036854775807' }])
    const tagged = await pool.query`select ${42} as answer`
    assert.deepEqual(tagged.recordset, [{ answer: 42 }])
    await Promise.all(Array.from({ length: 20 }, (_, n) => pool.query(`select ${n} as n`)))
    assert.ok(server.journal.logins.length <= 2)
    assert.equal(pool.connections.stats().inUse, 0)
    await pool.close()
    assert.equal(pool.connected, false)
    assert.equal(pool.connections.stats().closed, true)
    await assert.rejects(pool.query('select 1'), /closed|not yet open/i)
    assert.deepEqual(server.complaints, [])
  })

  test('connects again after close(), and close() ends every session', async () => {
    await using server = await start()
    const opened: number[] = []
    const pool = await poolOf(server, {
      pool_size: 1,
      on: { 'connection:opened': ({ id }: { id: number }) => opened.push(id) },
    })
    const first = pool.connections
    for (let round = 1; round <= 3; round++) {
      // In any order, also while it is still closing.
      const closing = pool.close()
      assert.deepEqual(await Promise.all([pool.connect(), pool.connect(), closing]), [pool, pool, pool])
      assert.equal(pool.connected, true)
      assert.deepEqual((await pool.query('select 1 as one')).recordset, [{ one: 1 }])
      // The server notices the end of the previous session a little later.
      for (let tries = 0; server.sessions().length > 1 && tries < 500; tries++) await sleep(10)
      assert.deepEqual([opened.length, server.sessions().length], [round, 1])
    }
    assert.notEqual(pool.connections, first)
    await pool.close()
    const connecting = pool.connect().catch((error: unknown) => error)
    await pool.close()
    assert.equal(pool.connected, false)
    assert.equal(pool.connections.stats().closed, true)
    await connecting
    await pool.close()
    for (let tries = 0; server.sessions().length > 0 && tries < 100; tries++) await sleep(20)
    assert.equal(server.sessions().length, 0)
    assert.deepEqual(server.complaints, [])
  })

  test('loads rows in bulk, also in a transaction', async () => {
    await using server = await start()
    await using pool = await poolOf(server)
    const rows = [
      [1, "O'Grün", '9223372036854775807', Buffer.from([0, 255]), new Date('2026-01-02T03:04:05.678Z')],
      [2, null, null, null, null],
      ...Array.from({ length: 500 }, (_, n) => [n + 3, 'x'.repeat(n), String(n), Buffer.alloc(n), new Date(n * 1000)]),
    ]
    const table = new sql.Table('moved in')
    table.create = true
    table.columns.add('n', sql.Int, { nullable: false })
    for (const [name, type] of [
      ['t', sql.NVarChar(sql.MAX)],
      ['b', sql.BigInt],
      ['v', sql.VarBinary(sql.MAX)],
      ['d', sql.DateTime2(7)],
    ] as const) {
      table.columns.add(name, type, { nullable: true })
    }
    for (const row of rows) table.rows.add(...row)
    assert.equal((await new sql.Request(pool).bulk(table)).rowsAffected, rows.length)
    const back = await pool.query('select * from [moved in] order by n')
    assert.deepEqual(back.recordset.map(Object.values), rows)

    table.create = false
    const transaction = new sql.Transaction(pool)
    await transaction.begin()
    await new sql.Request(transaction).bulk(table)
    await transaction.rollback()
    const count = await pool.query('select cast(count(*) as int) as n from [moved in]')
    assert.deepEqual(count.recordset, [{ n: rows.length }])
    await pool.query('drop table [moved in]')
    assert.equal(pool.connections.stats().inUse, 0)
    assert.deepEqual(server.complaints, [])
  })

  test('runs batches with texts of one byte a character, also in a transaction', async () => {
    await using server = await start()
    await using pool = await poolOf(server)
    const transaction = new sql.Transaction(pool)
    await transaction.begin()
    for (const parent of [pool, transaction]) {
      const { recordset } = await new sql.Request(parent)
        .input('a', sql.VarChar(20), "O'Grün")
        .input('b', sql.Char(3), 'abc')
        .input('c', sql.Text, 'text')
        .batch('select @a as a, @b as b, @c as c')
      assert.deepEqual(recordset, [{ a: "O'Grün", b: 'abc', c: 'text' }])
    }
    await transaction.commit()
    assert.equal(pool.connections.stats().inUse, 0)
    assert.deepEqual(server.complaints, [])
  })

  test('keeps a transaction on one connection, and rolls it back', async () => {
    await using server = await start()
    await using pool = await poolOf(server)
    await pool.query('create table moves (n int)')
    for (const end of ['commit', 'rollback'] as const) {
      const transaction = new sql.Transaction(pool)
      await transaction.begin()
      await new sql.Request(transaction).query('insert into moves (n) values (1)')
      await new sql.Request(transaction).query('insert into moves (n) values (2)')
      assert.equal(pool.connections.stats().inUse, 1)
      await transaction[end]()
    }
    assert.deepEqual((await pool.query('select cast(count(*) as int) as n from moves')).recordset, [{ n: 2 }])
    assert.equal(pool.connections.stats().inUse, 0)
    await pool.query('drop table moves')
  })

  test('frees the place of a prepared statement whose session has ended', async () => {
    await using server = await start()
    await using pool = await poolOf(server, { pool_size: 1 })
    const statement = new sql.PreparedStatement(pool)
    statement.input('n', sql.Int)
    await statement.prepare('select @n as n')
    for (const session of server.sessions()) session.kill()
    await assert.rejects(statement.execute({ n: 1 }))
    await assert.rejects(statement.unprepare())
    assert.deepEqual((await pool.query('select 1 as one')).recordset, [{ one: 1 }])
    assert.equal(pool.connections.stats().inUse, 0)
  })

  test('gives every digit under exact_values, in results, prepared statements and streams', async () => {
    await using server = await start()
    await using pool = await poolOf(server, { extra: { exact_values: true } })
    const columns =
      "cast('12345678901234567890123456.789012345678' as decimal(38,12)) as d, cast('922337203685477.5807' as money) as m, " +
      "cast('2026-01-02 03:04:05.1234567' as datetime2(7)) as t, cast('2026-01-02 03:04:05.1 +05:30' as datetimeoffset(3)) as o"
    const exact = {
      d: '12345678901234567890123456.789012345678',
      m: '922337203685477.5807',
      t: '2026-01-02 03:04:05.1234567',
      o: '2026-01-02 03:04:05.100 +05:30',
    }
    assert.deepEqual((await pool.query(`select ${columns}`)).recordset, [exact])
    const statement = new sql.PreparedStatement(pool)
    statement.input('n', sql.Int)
    await statement.prepare(`select @n as n, ${columns}`)
    assert.deepEqual((await statement.execute({ n: 1 })).recordset, [{ n: 1, ...exact }])
    await statement.unprepare()
    const request = new sql.Request(pool)
    request.stream = true
    const rows: unknown[] = []
    request.on('row', (row) => rows.push(row))
    const done = once(request, 'done')
    void request.query(`select ${columns}`)
    await done
    assert.deepEqual(rows, [exact])
    // A bound value is as exact as its type: text for a decimal keeps every digit.
    const bound = new sql.Request(pool).input('d', sql.NVarChar, exact.d)
    assert.deepEqual((await bound.query('select cast(@d as decimal(38,12)) as d')).recordset, [{ d: exact.d }])
  })

  test('prepares a statement and runs it several times', async () => {
    await using server = await start()
    await using pool = await poolOf(server, { pool_size: 1 })
    const statement = new sql.PreparedStatement(pool)
    statement.input('n', sql.Int)
    await statement.prepare('select @n as n')
    for (const n of [1, 2]) assert.deepEqual((await statement.execute({ n })).recordset, [{ n }])
    await statement.unprepare()
    assert.equal(pool.connections.stats().inUse, 0)
  })

  test('streams with pauses, and returns the connection when a stream is cancelled', async () => {
    await using server = await start()
    await using pool = await poolOf(server, { pool_size: 1 })
    const request = new sql.Request(pool)
    request.stream = true
    let rows = 0
    request.on('row', () => {
      rows++
      if (rows % 1000 !== 0) return
      request.pause()
      setImmediate(() => request.resume())
    })
    const done = once(request, 'done')
    request.query('select n from generate_series(1, 5000) as s(n)')
    await done
    assert.equal(rows, 5000)

    const left = new sql.Request(pool)
    left.stream = true
    left.on('error', () => undefined)
    left.once('row', () => left.cancel())
    // A cancelled stream emits an error, and its end as well.
    const ended = new Promise((resolve) => left.once('done', resolve))
    left.query('select n from generate_series(1, 500000) as s(n)')
    await ended
    assert.deepEqual((await pool.query('select 1 as one')).recordset, [{ one: 1 }])
    assert.equal(server.journal.logins.length, 1)
  })

  test('never lends a session that ended while idle, and reports why none can be opened', async () => {
    await using server = await start()
    await using pool = await poolOf(server, { pool_size: 1, pool_timeout: 5 })
    // Returned idle in the turn in which the wait for its end begins.
    const ended = await pool.connections.use(async (raw) => ({ promise: once(raw as NodeJS.EventEmitter, 'end') }))
    server.sessions()[0]?.kill()
    await ended.promise
    assert.deepEqual((await pool.query('select 1 as one')).recordset, [{ one: 1 }])
    server.faults.add({ at: 'login', fault: { do: 'refuse', number: 18456, state: 1 } })
    pool.connections.invalidate()
    await assert.rejects(pool.connect(), (error) => error instanceof PoolsmithError && error.details.number === 18456)
  })

  test('is for SQL Server only', async () => {
    await assert.rejects(createMssqlPool('postgres://u:p@localhost/db'), { code: 'CONFIG_INVALID' })
  })
})
