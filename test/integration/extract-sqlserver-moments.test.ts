/** Several sessions of SQL Server that read a table at one moment, and what keeps them from it. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { PoolsmithError } from '../../src/errors.ts'
import { extractTable } from '../../src/extract/extract-table.ts'
import type { ExtractOptions } from '../../src/extract/options.ts'
import { Lease } from '../../src/extract/read/sqlserver/lease.ts'
import type { Engine } from '../../src/index.ts'
import { failureOf, parquetRowsOf } from '../support/extract.ts'
import { temporaryFolder } from '../support/folder.ts'
import { type SqlServerDouble, startDouble } from '../support/sqlserver-double.ts'
import type { FaultRule } from '../support/tds/faults.ts'

let double: SqlServerDouble
let db: Engine

before(async () => {
  double = await startDouble()
  db = await double.open()
  await db.raw('create table dbo.moved (id int not null primary key, v int not null)')
  await double.postgres.sql('insert into dbo.moved select g, 100 from generate_series(1, 40) g; analyze')
})

after(async () => {
  await db.destroy()
  await double[Symbol.asyncDispose]()
})

/** Extracts `moved` in parts while something goes wrong, and somebody moves amounts from part to part. */
async function whileMoving(rule: FaultRule | undefined, options: Partial<ExtractOptions> = {}) {
  await using own = await double.start()
  await using engine = await double.open({}, own)
  if (rule !== undefined) own.faults.add(rule)
  await using folder = await temporaryFolder()
  let stop = false
  const moving = (async () => {
    while (!stop) {
      await double.postgres.sql(`begin; update dbo.moved set v = v - 1 where id <= 5; update dbo.moved set v = v + 1 where id > 35;
        commit`)
    }
  })()
  try {
    const to = folder.path
    const manifest = await extractTable(
      engine,
      { table: 'moved' },
      { to, format: 'parquet', partitions: 3, ...options },
    )
    const sum = (await parquetRowsOf(manifest)).reduce((total, row) => total + Number(row.v), 0)
    assert.equal(engine.pool.stats().inUse, 0)
    return { sum, notes: manifest.notes.join(' '), logins: own.journal.logins.length }
  } finally {
    stop = true
    await moving
  }
}

const TOUCH = /^[^;]*select top \(1\) 1 as one from \[dbo\]\.\[moved\]$/
const LOCK = /from \[dbo\]\.\[moved\] with \(tablock, holdlock\)/

describe('several sessions at one moment', () => {
  test('the lock is held until a late session has begun', async () => {
    const { sum, notes } = await whileMoving({
      at: 'request',
      sql: TOUCH,
      times: 1,
      fault: { do: 'delay', millis: 300 },
    })
    assert.equal(sum, 4000)
    assert.match(notes, /3 sessions read at one moment/)
  })

  test('no session keeps settings of the run', async () => {
    await using engine = await double.open({ pool_size: 4, max_overflow: 0 })
    await using folder = await temporaryFolder()
    await extractTable(engine, { table: 'moved' }, { to: folder.path, format: 'csv', partitions: 3 })
    const sessions = await Promise.all([1, 2, 3, 4].map(() => engine.pool.acquire().promise))
    for (const session of sessions) engine.pool.release(session)
    for (let turn = 0; turn < 8; turn += 1) {
      const state = await engine.select(engine.raw('@@lock_timeout as lock_limit, @@trancount as open_ones'))
      assert.deepEqual(state, [{ lock_limit: -1, open_ones: 0 }])
    }
  })

  test('a session that begins too late does not take part', async () => {
    const { sum, notes } = await whileMoving({
      at: 'request',
      sql: TOUCH,
      times: 1,
      fault: { do: 'delay', millis: 1700 },
    })
    assert.equal(sum, 4000)
    assert.match(notes, /2 sessions read at one moment|One session has read all parts/)
  })

  const locks: readonly [string, FaultRule, RegExp][] = [
    ['the one that locks is cut off', { at: 'request', sql: LOCK, fault: { do: 'cut' } }, /was lost/],
    [
      'the table cannot be locked',
      {
        at: 'request',
        sql: LOCK,
        fault: { do: 'refuse', number: 10794, message: 'not supported with memory optimized' },
      },
      /memory optimized/,
    ],
    [
      'others keep locking it',
      { at: 'request', sql: LOCK, fault: { do: 'refuse', number: 1222, message: 'Lock request time out' } },
      /other sessions keep changing it/,
    ],
  ]
  for (const [what, rule, note] of locks) {
    test(`${what}: one session reads all parts`, async () => {
      const { sum, notes } = await whileMoving(rule)
      assert.equal(sum, 4000)
      assert.match(notes, /One session has read all parts, one after the other/)
      assert.match(notes, note)
    })
  }

  test('the lock is requested again when it could not be acquired at first', async () => {
    const refuse = { do: 'refuse', number: 1222, message: 'Lock request time out' } as const
    const { sum, notes } = await whileMoving({ at: 'request', sql: LOCK, times: 2, fault: refuse })
    assert.equal(sum, 4000)
    assert.match(notes, /3 sessions read at one moment/)
  })

  test('sessions that began after the server has released the lock do not count as one moment', async () => {
    const { sum, notes } = await whileMoving({ at: 'attention', times: 1, fault: { do: 'hang' } })
    assert.equal(sum, 4000)
    assert.match(notes, /One session has read all parts/)
  })

  test('a lock that was not acquired is not held for a second', async () => {
    await using engine = await double.open()
    await using holder = await double.open()
    await using lease = await Lease.take(engine, 'moved', undefined)
    await holder.transaction(async (trx) => {
      await trx.raw('update dbo.moved set v = v where id = 1')
      let settled = false
      const refused = assert.rejects(lease.holdTable('[dbo].[moved]', 100), { number: 1222 }).finally(() => {
        settled = true
      })
      const waits: string[] = []
      while (!settled)
        waits.push(await double.postgres.sql("select pid from pg_stat_activity where query = 'select pg_sleep(1)'"))
      await refused
      assert.equal(waits.join(''), '')
    })
    assert.deepEqual(await lease.ask('select @@lock_timeout, @@trancount'), [[60_000, 0]])
  })

  test('the server itself releases the lock, and a later release reports that', async () => {
    await using engine = await double.open()
    await using lease = await Lease.take(engine, 'moved', undefined)
    const lock = await lease.holdTable('[dbo].[moved]', 250)
    const waited = await failureOf(
      double.postgres.sql("set lock_timeout = '100ms'; update dbo.moved set v = v where id = 1").catch(() => {
        throw new PoolsmithError('locked', { code: 'TABLE_LOCKED', phase: 'query', hint: '' })
      }),
    )
    assert.equal(waited.code, 'TABLE_LOCKED')
    // Waits for the lock, which nobody releases.
    await double.postgres.sql("set lock_timeout = '20s'; update dbo.moved set v = v where id = 1")
    assert.equal(await lock.release(), false)
    const again = await lease.holdTable('[dbo].[moved]', 250)
    assert.equal(await again.release(), true)
  })

  const settings = async (text: string, options: Partial<ExtractOptions> = {}) => {
    await double.postgres.sql(`alter database postgres ${text}`)
    try {
      return await whileMoving(undefined, options)
    } finally {
      await double.postgres.sql('alter database postgres reset all')
    }
  }

  test('without snapshot isolation several parts are refused, unless each may have its own moment', async () => {
    const error = await failureOf(settings("set mssql.snapshot = '0'"))
    assert.deepEqual([error.code, error.phase], ['SNAPSHOT_UNAVAILABLE', 'query'])
    assert.match(error.hint ?? '', /ALTER DATABASE CURRENT SET ALLOW_SNAPSHOT_ISOLATION ON/)
    const { notes } = await settings("set mssql.snapshot = '0'", { oneSnapshot: false })
    assert.match(notes, /no snapshot.*Each part was read at a moment of its own/)
    await settings("set mssql.snapshot = '0'", { partitions: 1 })
  })

  test('one session reads all on a read-only replica, and several read a database snapshot without a lock', async () => {
    const replica = await settings("set mssql.updateability = 'READ_ONLY'")
    assert.match(replica.notes, /One session has read all parts.*read-only replica/)
    assert.equal(replica.sum, 4000)
    const frozen = await settings("set mssql.source = '7'; alter database postgres set mssql.snapshot = '0'")
    assert.match(frozen.notes, /All sessions read one database snapshot/)
  })

  test('with a small pool one session reads all parts', async () => {
    await using engine = await double.open({ pool_size: 2, max_overflow: 0 })
    await using folder = await temporaryFolder()
    const manifest = await extractTable(engine, { table: 'moved' }, { to: folder.path, format: 'csv', partitions: 2 })
    assert.match(manifest.notes.join(), /the pool had no two further connections/)
    assert.deepEqual([manifest.files.length, manifest.rows], [2, 40])
  })

  test('an abort while sessions are gathered leaves no session and no lock', async () => {
    await using own = await double.start()
    await using engine = await double.open({}, own)
    own.faults.add({
      at: 'request',
      sql: LOCK,
      fault: { do: 'refuse', number: 1222, message: 'Lock request time out' },
    })
    await using folder = await temporaryFolder()
    const options = { to: folder.path, format: 'csv', partitions: 3, signal: AbortSignal.timeout(400) } as const
    const error = await failureOf(extractTable(engine, { table: 'moved' }, options))
    assert.equal(error.code, 'ABORTED')
    for (let tries = 0; engine.pool.stats().inUse > 0 && tries < 100; tries += 1) {
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    assert.equal(engine.pool.stats().inUse, 0)
    assert.deepEqual(await engine.select(engine.raw('1 as one')), [{ one: 1 }])
  })
})
