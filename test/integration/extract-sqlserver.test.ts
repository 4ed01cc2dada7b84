/** Tables of SQL Server into files, and what goes wrong, against the TDS server test double. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type ExtractOptions, extractTable } from '../../src/extract/extract-table.ts'
import type { ReadOptions } from '../../src/extract/read/table.ts'
import { readTable } from '../../src/extract/read-table.ts'
import { createEngine, type Engine } from '../../src/index.ts'
import { collectGarbage } from '../support/collect-garbage.ts'
import { batchesOf, failureOf, filesBelow } from '../support/extract.ts'
import { temporaryFolder } from '../support/folder.ts'
import { locationOf, type SqlServerDouble, startDouble } from '../support/sqlserver-double.ts'

let double: SqlServerDouble
let db: Engine

const SMALL = { pool_size: 2, max_overflow: 0 }

before(async () => {
  double = await startDouble()
  db = await double.open(SMALL)
  await db.raw('create table dbo.flights (id int, filler nvarchar(300), wide nvarchar(max))')
  await double.postgres.sql(`insert into dbo.flights
    select g, repeat(md5(g::text), 6), repeat('w', g % 50) from generate_series(1, 40000) g; analyze dbo.flights`)
})

after(async () => {
  await db.destroy()
  await double[Symbol.asyncDispose]()
})

describe('tables', () => {
  test('names with brackets, chosen columns, views and empty tables are read', async () => {
    await db.raw('create table dbo.[odd]]name [x] (a int, [col[1]]] int, c int identity(1,1))')
    const [none] = await batchesOf(db, 'odd]name [x')
    assert.equal(none?.numRows, 0)
    await db.raw('insert into dbo.[odd]]name [x] (a, [col[1]]]) values (7, 8)')
    const [some] = await batchesOf(db, 'odd]name [x', { columns: ['c', 'col[1]'] })
    assert.deepEqual(
      some?.toArray().map((row) => ({ ...row.toJSON() })),
      [{ c: 1, 'col[1]': 8 }],
    )
    await db.raw('create view dbo.oddity as select a from dbo.[odd]]name [x]')
    assert.equal((await batchesOf(db, 'oddity'))[0]?.getChild('a')?.get(0), 7)
  })

  test('a table of 1,000 columns is read', async () => {
    const names = Array.from({ length: 1000 }, (_, index) => `c${index}`)
    await db.raw(`create table dbo.wide (${names.map((name) => `${name} int`).join(', ')})`)
    await db.raw(`insert into dbo.wide (c0, c999) values (1, 2), (3, 4)`)
    const [batch] = await batchesOf(db, 'wide')
    assert.deepEqual(
      [batch?.schema.fields.length, batch?.getChild('c999')?.get(1), batch?.getChild('c5')?.get(1)],
      [1000, 4, null],
    )
  })

  test('conditions are bound, never spliced', async () => {
    const quote = "x' or 1=1 --"
    const [batch] = await batchesOf(db, 'flights', {
      where: (query) => query.where('id', '<', 4).whereNotIn('filler', [quote]),
    })
    assert.equal(batch?.numRows, 3)
    assert.ok(!double.server.journal.requests.some((sql) => sql.includes(quote)))
  })

  test('batches end at their limits of rows and bytes', async () => {
    const byRows = await batchesOf(db, 'flights', { batchRows: 999 })
    assert.deepEqual(new Set(byRows.slice(0, -1).map((batch) => batch.numRows)), new Set([999]))
    assert.equal(
      byRows.reduce((sum, batch) => sum + batch.numRows, 0),
      40_000,
    )
    const byBytes = await batchesOf(db, 'flights', { batchBytes: 1 << 20 })
    assert.ok(byBytes.length > 10 && byBytes.length < 40, String(byBytes.length))
    const ids = byBytes.flatMap((batch) => [...(batch.getChild('id')?.toArray() ?? [])]).toSorted((a, b) => a - b)
    assert.deepEqual([ids.length, ids[0], ids.at(-1), new Set(ids).size], [40_000, 1, 40_000, 40_000])
  })

  test('the estimate comes from the catalogue', async () => {
    await using folder = await temporaryFolder()
    const seen: (number | undefined)[] = []
    const onProgress = (progress: { readonly estimatedRows?: number | undefined }): void => {
      seen.push(progress.estimatedRows)
    }
    await extractTable(db, { table: 'flights' }, { to: folder.path, format: 'parquet', onProgress })
    assert.equal(seen[0], 40_000)
  })

  const names: readonly [string, { schema?: string; table: string }, ReadOptions, string, RegExp][] = [
    [
      'a table',
      { table: 'flihgts' },
      {},
      'TABLE_NOT_FOUND',
      /no table \[dbo\]\.\[flihgts\]\. Did you mean \[flights\]\?/,
    ],
    [
      'a schema',
      { schema: 'dboo', table: 'flights' },
      {},
      'SCHEMA_NOT_FOUND',
      /no schema \[dboo\]\. Did you mean \[dbo\]\?/,
    ],
    [
      'a column',
      { table: 'flights' },
      { columns: ['idd'] },
      'COLUMN_NOT_FOUND',
      /no column \[idd\]\. Did you mean \[id\]\?/,
    ],
    ['a column as text', { table: 'flights' }, { asText: ['nope'] }, 'COLUMN_NOT_FOUND', /no column \[nope\]/],
    ['an attack', { table: "x'; drop table flights; --" }, {}, 'TABLE_NOT_FOUND', /no table/],
  ]
  for (const [what, table, options, code, message] of names) {
    test(`${what} that does not exist`, async () => {
      await using folder = await temporaryFolder()
      const error = await failureOf(extractTable(db, table, { to: folder.path, format: 'csv', ...options }))
      assert.deepEqual([error.code, error.phase], [code, 'query'])
      assert.match(error.message, message)
      assert.ok(error.hint)
      assert.equal(db.pool.stats().inUse, 0)
    })
  }
})

describe('snapshots', () => {
  const settings = async (text: string): Promise<string[]> => {
    await double.postgres.sql(`alter database postgres ${text}`)
    try {
      await using own = await double.start()
      await using engine = await double.open(SMALL, own)
      await using folder = await temporaryFolder()
      const manifest = await extractTable(engine, { table: 'flights' }, { to: folder.path, format: 'csv' })
      assert.deepEqual(own.complaints, [])
      return [...manifest.notes]
    } finally {
      await double.postgres.sql('alter database postgres reset all')
    }
  }

  test('under snapshot isolation rows that are committed meanwhile are not read', async () => {
    await db.raw('create table dbo.counted (n int)')
    await double.postgres.sql('insert into dbo.counted select g from generate_series(1, 20000) g')
    let rows = 0
    for await (const batch of readTable(db, { table: 'counted' }, { batchRows: 500 })) {
      if (rows === 0) await double.postgres.sql('insert into dbo.counted select g from generate_series(1, 100) g')
      rows += batch.numRows
    }
    assert.equal(rows, 20_000)
    assert.equal(
      (await batchesOf(db, 'counted')).reduce((sum, batch) => sum + batch.numRows, 0),
      20_100,
    )
    assert.deepEqual(await settings("set mssql.snapshot = '1'"), [])
  })

  test('without snapshots the manifest says what that means', async () => {
    assert.match((await settings("set mssql.snapshot = '0'"))[0] ?? '', /no snapshot.*ALLOW_SNAPSHOT_ISOLATION/)
  })

  test('READ_COMMITTED_SNAPSHOT is noted in the manifest', async () => {
    const text = "set mssql.snapshot = '0'; alter database postgres set mssql.rcsi = 'on'"
    assert.match((await settings(text))[0] ?? '', /READ_COMMITTED_SNAPSHOT/)
  })
})

describe('failures', () => {
  for (const format of ['parquet', 'csv'] as const) {
    test(`${format}: an abort midway cancels the statement, and the session is used again`, async () => {
      await using own = await double.start()
      await using engine = await double.open(SMALL, own)
      await using folder = await temporaryFolder()
      const abort = new AbortController()
      const error = await failureOf(
        extractTable(
          engine,
          { table: 'flights' },
          {
            to: folder.path,
            format,
            batchRows: 100,
            signal: abort.signal,
            onProgress: () => abort.abort(new Error('enough')),
          },
        ),
      )
      assert.deepEqual([error.code, (error.cause as Error).message], ['ABORTED', 'enough'])
      assert.deepEqual(await filesBelow(folder.path), [])
      assert.equal(own.journal.attentions, 1)
      assert.equal(own.journal.logins.length, 1)
      assert.deepEqual(await engine.select(engine.raw('@@trancount as open_transactions')), [{ open_transactions: 0 }])
      assert.equal(own.journal.logins.length, 1, 'it is the same session')
      assert.equal(engine.pool.stats().inUse, 0)
    })
  }

  test('leaving the loop early cancels the statement, and the consumer’s own error is thrown unchanged', async () => {
    const before = double.server.journal.attentions
    const own = new Error('mine')
    const consume = async (): Promise<void> => {
      for await (const _batch of readTable(db, { table: 'flights' }, { batchRows: 100 })) throw own
    }
    await assert.rejects(consume, (error) => error === own)
    assert.equal(double.server.journal.attentions, before + 1)
    assert.equal(db.pool.stats().inUse, 0)
  })

  test('an abort before the run begins is ABORTED', async () => {
    const error = await failureOf(batchesOf(db, 'flights', { signal: AbortSignal.abort() }))
    assert.equal(error.code, 'ABORTED')
  })

  test('a login without SELECT is PERMISSION_DENIED', async () => {
    await double.postgres.sql(`create function dbo.forbidden() returns int language plpgsql as
      $$ begin raise insufficient_privilege using message = 'The SELECT permission was denied'; end $$;
      create view dbo.secret as select dbo.forbidden() as a`)
    const error = await failureOf(batchesOf(db, 'secret'))
    assert.deepEqual([error.code, error.details.number, error.phase], ['PERMISSION_DENIED', 229, 'query'])
    assert.match(error.message, /\[dbo\]\.\[secret\]/)
  })

  test('a session that is killed midway is CONNECTION_LOST', async () => {
    await using own = await double.start()
    await using engine = await double.open(SMALL, own)
    let killed = false
    const read = async (): Promise<void> => {
      for await (const _batch of readTable(engine, { table: 'flights' }, { batchRows: 100 })) {
        if (!killed) own.sessions()[0]?.kill()
        killed = true
      }
    }
    const error = await failureOf(read())
    assert.deepEqual([error.code, error.transient], ['CONNECTION_LOST', true])
    assert.equal(engine.pool.stats().inUse, 0)
    assert.deepEqual(await engine.select(engine.raw('1 as one')), [{ one: 1 }])
  })

  test('an error of the server in the middle of the rows leaves no file', async () => {
    await using own = await double.start()
    await using engine = await double.open(SMALL, own)
    await engine.raw('select 1 as one')
    await using folder = await temporaryFolder()
    const refuse = { do: 'refuse', number: 1205, class: 13, message: 'deadlock victim' } as const
    own.faults.add({ at: 'rows', fault: refuse, after: 500, times: 1 })
    const error = await failureOf(
      extractTable(engine, { table: 'flights' }, { to: folder.path, format: 'parquet', batchRows: 100 }),
    )
    assert.deepEqual([error.code, error.details.number, error.transient], ['QUERY_CANCELED', 1205, true])
    assert.deepEqual(await filesBelow(folder.path), [])
  })

  test('a time limit of the connection does not end a long reading', async () => {
    await using own = await double.start()
    await using engine = await createEngine(`${locationOf(own)}&request_timeout=1`, SMALL)
    let rows = 0
    for await (const batch of readTable(engine, { table: 'flights' }, { batchRows: 10_000 })) {
      rows += batch.numRows
      await sleep(400)
    }
    assert.equal(rows, 40_000)
  })
})

test('a slow reader makes the server wait, and memory stays bounded', async () => {
  // 240 MB on the wire; whoever does not wait for the reader would hold them all. The double's own share is in it.
  await db.raw('create table dbo.heavy (id int, filler nvarchar(max))')
  await double.postgres.sql("insert into dbo.heavy select g, repeat('x', 10000) from generate_series(1, 12000) g")
  // The living objects alone, without those that wait for the garbage collector.
  const held = (): number => {
    collectGarbage()
    return process.memoryUsage().arrayBuffers
  }
  let rows = 0
  let most = 0
  const before = held()
  for await (const batch of readTable(db, { table: 'heavy' }, { batchBytes: 1 << 20 })) {
    rows += batch.numRows
    if (rows < 600) {
      // Time enough for everything to come, if it came.
      await sleep(60)
      most = Math.max(most, held() - before)
    }
  }
  assert.equal(rows, 12_000)
  assert.ok(most < 80 << 20, `${most >> 20} MB`)
})

test('one session reads all parts of a memory-optimized table, on its own kind of snapshot', async () => {
  await db.raw('create table dbo.in_memory (id int not null primary key, v nvarchar(20))')
  await db.raw("insert into dbo.in_memory values (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd')")
  for (const allowed of ['1', '0']) {
    await using another = await double.start()
    await double.postgres.sql(`alter database postgres set mssql.snapshot = '${allowed}'`)
    const engine = await double.open(SMALL, another)
    try {
      for (const partitions of [1, 2]) {
        await using folder = await temporaryFolder()
        const watermark = { column: 'id', after: 1 }
        const options: ExtractOptions = { to: folder.path, format: 'csv', partitions, watermark }
        const manifest = await extractTable(engine, { table: 'in_memory' }, options)
        assert.equal(manifest.rows, 3)
        assert.equal(manifest.files.length, partitions)
        assert.doesNotMatch(manifest.notes.join(), /READ.COMMITTED/)
        if (partitions > 1) assert.match(manifest.notes.join(), /One session .*memory-optimized/)
      }
    } finally {
      await engine.destroy()
      await double.postgres.sql('alter database postgres reset mssql.snapshot')
    }
  }
})
