import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { after, describe, test } from 'node:test'
import fc from 'fast-check'
import type { Knex } from 'knex'
import { extractTable } from '../../src/extract/extract-table.ts'
import { EXTRACT_FORMATS } from '../../src/extract/formats.ts'
import type { Manifest } from '../../src/extract/manifest.ts'
import { inline } from '../../src/extract/read/postgres/sql.ts'
import { readTable } from '../../src/extract/read-table.ts'
import { csvRowsOf, failureOf, filesBelow, superuserEngine } from '../support/extract.ts'
import { FLIGHTS } from '../support/extract-tables.ts'
import { temporaryFolder } from '../support/folder.ts'
import { startPostgres } from '../support/postgres.ts'

const server = await startPostgres()
const db = await superuserEngine(server)
after(async () => {
  await db.destroy()
  await server[Symbol.asyncDispose]()
})
await server.sql(FLIGHTS)

const idsOf = async (manifest: Manifest): Promise<number[]> => (await csvRowsOf(manifest)).map((row) => Number(row.id))

describe('where', () => {
  const cases: readonly [string, (query: Knex.QueryBuilder) => unknown, string][] = [
    ['a value that is full of traps', (query) => query.where('carrier', "o'k\\"), `carrier = 'o''k\\'`],
    ['or, which stays in its brackets', (query) => query.where('id', 1).orWhere('id', 2), 'id in (1, 2)'],
    ['an array and a comparison', (query) => query.whereRaw('id = any(?)', [[3, 4, 5]]), 'id in (3, 4, 5)'],
    ['an instant', (query) => query.where('at', '<', new Date('2024-01-02Z')), `at < '2024-01-02Z'`],
    ['a column with a question mark', (query) => query.whereRaw('?? > ?', ['Delay?', 48]), '"Delay?" > 48'],
    ['an operator that is a question mark', (query) => query.whereRaw("j \\? 'k' and id < ?", [4]), 'id < 4'],
    ['json, and a list', (query) => query.where('j', '@>', { k: 3 }).whereIn('id', [3, 10, 11]), 'id in (3, 10)'],
    ['a comment that would swallow what follows', (query) => query.whereRaw('id = 7 -- the seventh'), 'id = 7'],
    [
      'a subquery',
      (query) => query.whereIn('id', (late) => late.select('id').from('late').where('delay', 49)),
      '"Delay?" = 49',
    ],
    ['nothing', (query) => query, 'true'],
  ]
  for (const [name, where, oracle] of cases) {
    test(name, async () => {
      await using folder = await temporaryFolder()
      const options = { to: folder.path, format: 'csv', columns: ['id'], where } as const
      const manifest = await extractTable(db, { table: 'flights' }, options)
      const expected = await server.sql(`select id from flights where ${oracle} order by id`)
      assert.notEqual(expected, '')
      assert.deepEqual((await idsOf(manifest)).sort((a, b) => a - b).join('\n'), expected)
    })
  }

  test('where works in every format and for readTable, with an estimate of the planner', async () => {
    await using folder = await temporaryFolder()
    for (const format of EXTRACT_FORMATS) {
      let estimate: number | undefined
      const manifest = await extractTable(
        db,
        { table: 'flights' },
        {
          to: folder.path,
          format,
          where: (query) => query.where('id', '<=', 100),
          onProgress: ({ estimatedRows }) => {
            estimate = estimatedRows
          },
        },
      )
      assert.equal(manifest.rows, 100)
      assert.deepEqual(manifest.where, [`"id" <= (E'100')`])
      assert.ok(estimate !== undefined && estimate > 50 && estimate < 200, String(estimate))
    }
    let rows = 0
    const where = (query: Knex.QueryBuilder): unknown => query.where('id', '<=', 100)
    for await (const batch of readTable(db, { table: 'flights' }, { where })) rows += batch.numRows
    assert.equal(rows, 100)
  })

  test('a view can be selected from too', async () => {
    await using folder = await temporaryFolder()
    const where = (query: Knex.QueryBuilder): unknown => query.where('delay', '>', 45)
    const manifest = await extractTable(db, { table: 'late' }, { to: folder.path, format: 'csv', where })
    assert.equal(String(manifest.rows), await server.sql('select count(*) from late where delay > 45'))
  })

  const wrong: readonly [string, (query: Knex.QueryBuilder) => unknown, string, RegExp][] = [
    ['a limit', (query) => query.where('id', 1).limit(5), 'CONFIG_INVALID', /more than add conditions/],
    ['a join', (query) => query.join('late', 'late.id', 'flights.id'), 'CONFIG_INVALID', /more than add conditions/],
    ['undefined', (query) => query.where({ id: undefined }), 'CONFIG_INVALID', /a value is undefined/],
    ['half a character', (query) => query.where('carrier', '\ud800'), 'CONFIG_INVALID', /surrogate/],
    ['NUL', (query) => query.where('carrier', 'a\0b'), 'CONFIG_INVALID', /NUL/],
    ['two statements', (query) => query.whereRaw('true; drop table flights'), 'CONFIG_INVALID', /more than one/],
    ['an unknown column', (query) => query.where('carier', 'AA'), 'COLUMN_NOT_FOUND', /Did you mean "carrier"\?/],
    ['a value of another type', (query) => query.where('id', 'x'), 'QUERY_FAILED', /invalid input syntax/],
  ]
  for (const [name, where, code, message] of wrong) {
    test(`refused: ${name}`, async () => {
      await using folder = await temporaryFolder()
      const error = await failureOf(extractTable(db, { table: 'flights' }, { to: folder.path, format: 'csv', where }))
      assert.equal(error.code, code)
      assert.match(error.message, message)
      assert.deepEqual(await filesBelow(folder.path), [])
    })
  }
})

for (const setting of ['on', 'off']) {
  test(`every value passes through a literal unchanged, with standard_conforming_strings ${setting}`, async () => {
    const client = (await db.pool.acquire().promise) as unknown as {
      query(text: object): Promise<{ rows: string[][] }>
    }
    const value = fc.oneof(
      fc.string({ unit: 'binary' }).map((text) => text.replaceAll('\0', '')),
      fc.array(fc.constantFrom("'", '\\', '"', '$$', '--', '/*', ';', '?', '\\?', '\n')).map((parts) => parts.join('')),
    )
    try {
      await client.query({ text: `set standard_conforming_strings = ${setting}` })
      await fc.assert(
        fc.asyncProperty(fc.array(value, { minLength: 1, maxLength: 30 }), async (values) => {
          const sql = `select ${values.map(() => '?::text').join(', ')}`
          const { rows } = await client.query({ text: inline({ sql, bindings: values }), rowMode: 'array' })
          assert.deepEqual(rows, [values])
        }),
        { numRuns: 200 },
      )
    } finally {
      await client.query({ text: 'reset standard_conforming_strings' })
      db.pool.release(client)
    }
  })
}

describe('a query in place of a table', () => {
  test('a knex query with values is read into every format', async () => {
    await using folder = await temporaryFolder()
    const query = db('flights')
      .where('carrier', 'AA')
      .groupBy('carrier')
      .select('carrier', db.raw('sum(??)::numeric(12,2) as delay, count(*) n', ['Delay?']))
    for (const format of EXTRACT_FORMATS) {
      const manifest = await extractTable(db, { query, name: 'delays' }, { to: folder.path, format, source: 'crm' })
      assert.equal(manifest.rows, 1)
      assert.match(manifest.folder, /\/crm\/query\.delays\/extract_date=/)
      assert.deepEqual(
        manifest.columns.slice(0, 3).map(({ name, type }) => `${name} ${type}`),
        ['carrier text', 'delay numeric(12,2)', 'n bigint'],
      )
      assert.match(String(manifest.query), /"carrier" = \(E'AA'\)/)
    }
  })

  test('a query as text or knex.raw takes columns, where and a hash', async () => {
    await using folder = await temporaryFolder()
    for (const query of [
      "select id, carrier || '?' as c from flights -- all\n;",
      db.raw("select id, carrier || '\\?' as c from flights where id > ?", [0]),
    ]) {
      const where = (builder: Knex.QueryBuilder): unknown => builder.where('id', 2)
      const options = { to: folder.path, format: 'csv', columns: ['c', 'id'], where, rowHash: true } as const
      const manifest = await extractTable(db, { query, name: 'q', schema: 'reports' }, options)
      const [row] = await csvRowsOf(manifest)
      assert.deepEqual([row?.c, row?.id], ["o'k\\?", '2'])
      assert.match(manifest.folder, /reports\.q/)
    }
  })

  test('a query that selects nothing, repeats a name or is none is refused', async () => {
    await using folder = await temporaryFolder()
    const options = { to: folder.path, format: 'csv' } as const
    const code = async (query: Knex.QueryBuilder | string): Promise<string> =>
      (await failureOf(extractTable(db, { query, name: 'q' }, options))).code
    assert.equal(await code(db('flights').where('id', -1).delete()), 'CONFIG_INVALID')
    assert.equal(await code('select 1 as a, 2 as a'), 'CONFIG_INVALID')
    assert.equal(await code('select 1) as q; delete from flights; select (1'), 'CONFIG_INVALID')
    assert.equal(await code('selec 1'), 'QUERY_FAILED')
    assert.equal(await code('select * from nothing'), 'QUERY_FAILED')
    assert.equal(await code("select set_config('a.b', 'c', false), nextval('nothing')"), 'QUERY_FAILED')
    await server.sql('create sequence counted')
    assert.equal(await code("select nextval('counted')"), 'QUERY_FAILED', 'the transaction is read-only')
  })
})

test("_row_hash is the SHA-256 of the server's text of the row, in every format and run", async () => {
  await using folder = await temporaryFolder()
  await server.sql(`create table hashed (id int, t text, f float8, at timestamptz);
    insert into hashed values (1, 'two words', 0.1, '2024-03-31 02:30+02'), (2, null, null, null), (3, '', 'NaN', 'infinity')`)
  const sha = (text: string): string => createHash('sha256').update(text).digest('hex')
  const expected = [sha('(1,"two words",0.1,"2024-03-31 00:30:00+00")'), sha('(2,,,)'), sha('(3,"",NaN,infinity)')]
  await server.sql(`alter role postgres set timezone = 'Asia/Tokyo'; alter role postgres set datestyle = 'German';
    alter role postgres set extra_float_digits = -5`)
  try {
    await using other = await superuserEngine(server)
    for (const engine of [db, other]) {
      const manifest = await extractTable(
        engine,
        { table: 'hashed' },
        { to: folder.path, format: 'csv', rowHash: true },
      )
      assert.deepEqual(
        (await csvRowsOf(manifest)).map((row) => row._row_hash),
        expected,
      )
      const found: unknown[] = []
      for await (const batch of readTable(engine, { table: 'hashed' }, { rowHash: true })) {
        for (const row of batch) found.push(row._row_hash)
      }
      assert.deepEqual(found, expected)
    }
  } finally {
    await server.sql('alter role postgres reset all')
  }
  await server.sql('create table taken (_row_hash text)')
  const error = await failureOf(extractTable(db, { table: 'taken' }, { to: folder.path, format: 'csv', rowHash: true }))
  assert.equal(error.code, 'CONFIG_INVALID')
})

describe('a consumer', () => {
  test('a consumer takes every batch, with the added columns', async () => {
    let rows = 0
    const seen = new Set<string>()
    const content = await extractTable(
      db,
      { table: 'flights' },
      {
        batchRows: 100,
        to: async (batches, info) => {
          assert.deepEqual([info.partition, info.partitions, info.signal.aborted], [0, 1, false])
          for await (const batch of batches) {
            rows += batch.numRows
            seen.add(String(batch.get(0)?._batch_id))
          }
        },
      },
    )
    assert.deepEqual([rows, content.rows, content.files, [...seen]], [1000, 1000, [], [content.batchId]])
  })

  test('a consumer must take all batches, and its own error is thrown unchanged', async () => {
    const take = async (batches: AsyncIterable<unknown>): Promise<void> => {
      for await (const _batch of batches) break
    }
    const error = await failureOf(extractTable(db, { table: 'flights' }, { batchRows: 100, to: take }))
    assert.equal(error.code, 'EXTRACT_INCOMPLETE')
    const own = new Error('mine')
    const fail = (): Promise<never> => Promise.reject(own)
    await assert.rejects(extractTable(db, { table: 'flights' }, { to: fail }), (reason) => reason === own)
    assert.equal(db.pool.stats().inUse, 0)
  })
})
