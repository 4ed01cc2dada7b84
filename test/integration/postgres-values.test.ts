/** Values through a session of the pool are those that a bare pg client gives, whichever way they are asked for. */

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import pg from 'pg'
import Cursor from 'pg-cursor'
import QueryStream from 'pg-query-stream'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { postgresPool } from '../support/postgres-pool.ts'

let server: PostgresServer

before(async () => {
  server = await startPostgres()
})
after(async () => {
  await server[Symbol.asyncDispose]()
})

const SELECT = `select n::int2 as small, -n as int, n::oid as oid, n::int8 as big, d as date, d + time '12:34:56.789012' as at,
    (d + time '01:02:03.5') at time zone 'Asia/Kathmandu' as zoned, array[d] as dates, n::text as note
  from (values (1, date '2024-02-29'), (32767, '0044-03-15 BC'), (0, '9999-12-31'), (null, null), (7, 'infinity'),
    (8, '10000-01-01'), (9, '0099-12-31'), (10, '1883-11-18')) v (n, d)`

/** Longer than what a socket reads at once. */
const LONG = `select n as id, 'a text ' || n as note, timestamptz '2024-02-29 23:59:59.5+00' + n * interval '1.234567 s' as at,
    n % 2 = 0 as even, n / 7.0::float8 as ratio, n::int8 as big, nullif(n % 3, 0) as id, n * 1.5 as "__proto__",
    jsonb_build_array(n) as "1", case when n % 5000 = 0 then repeat('ö', 100000) end as wide
  from generate_series(1, 20000) n`

interface Asked {
  readonly name: string
  readonly rows: (client: pg.Client) => Promise<unknown>
}

const WAYS: readonly Asked[] = [
  { name: 'a text', rows: async (client) => (await client.query(SELECT)).rows },
  { name: 'a parameter', rows: async (client) => (await client.query(`${SELECT} where $1 or n > 0`, [true])).rows },
  { name: 'arrays', rows: async (client) => (await client.query({ text: SELECT, rowMode: 'array' })).rows },
  {
    name: 'a named statement, twice',
    rows: async (client) => {
      await client.query({ name: 'named', text: SELECT })
      return (await client.query({ name: 'named', text: SELECT })).rows
    },
  },
  {
    name: 'several statements at once',
    rows: async (client) => {
      const results = (await client.query(
        `select 1 as a, date '2024-01-01' as b; ${SELECT}; select 'x' as c`,
      )) as unknown
      return (results as pg.QueryResult[]).map(({ rows }) => rows)
    },
  },
  {
    name: 'statements that wait for each other',
    rows: (client) =>
      Promise.all(
        ["select 1 as a, 'x' as b", "select 'y' as a, 2 as b", SELECT].map(
          async (text) => (await client.query(text)).rows,
        ),
      ),
  },
  {
    name: 'a parser of the query',
    rows: async (client) => {
      const types = { getTypeParser: () => (value: string) => `own ${value}` }
      return (await client.query({ text: SELECT, types: types as unknown as pg.CustomTypesConfig })).rows
    },
  },
  {
    name: 'a cursor',
    rows: async (client) => {
      const cursor = client.query(new Cursor(SELECT))
      const rows = [...(await cursor.read(3)), ...(await cursor.read(100))]
      await cursor.close()
      return rows
    },
  },
  {
    name: 'a stream',
    rows: async (client) => {
      const rows: unknown[] = []
      for await (const row of client.query(new QueryStream(SELECT, [], { batchSize: 2 }))) rows.push(row)
      return rows
    },
  },
  { name: 'a long answer', rows: async (client) => (await client.query(LONG)).rows },
  {
    name: 'a long answer as arrays',
    rows: async (client) => (await client.query({ text: LONG, rowMode: 'array' })).rows,
  },
  {
    name: 'long and short answers in turn',
    rows: async (client) => {
      const texts = [LONG, SELECT, `${LONG}; ${SELECT}; ${LONG}`, 'select 1 as a']
      const results = await Promise.all(texts.map((text) => client.query(text)))
      return results.flat().map(({ rows, rowCount, fields }) => ({ rows, rowCount, fields }))
    },
  },
  {
    name: 'a long answer that ends in an error',
    rows: async (client) => {
      const failed = await client.query(`select 1 / (20000 - n), * from (${LONG}) long (n)`).catch(String)
      return [failed, (await client.query(SELECT)).rows]
    },
  },
  {
    name: 'a long answer with a parser that throws',
    rows: async (client) => {
      const types = {
        getTypeParser: () => (value: string) => {
          if (value === '10000') throw new Error('no such number')
          return value
        },
      }
      const query = { text: LONG, types: types as unknown as pg.CustomTypesConfig }
      return [await client.query(query).catch(String), (await client.query(SELECT)).rows]
    },
  },
  {
    name: 'a long answer with a listener that comes late',
    rows: async (client) => {
      const query = client.query(new pg.Query<Record<string, unknown>>(LONG))
      const rows: unknown[] = []
      const { promise, resolve } = Promise.withResolvers<void>()
      query.on('row', (row) => {
        if (rows.push(row) === 1) query.on('row', ({ note }) => rows.push(note))
      })
      query.on('end', () => resolve())
      await promise
      return rows
    },
  },
  {
    name: 'another DateStyle',
    rows: async (client) => {
      await client.query("set datestyle = 'German'")
      const { rows } = await client.query(SELECT)
      await client.query("set datestyle = 'ISO, MDY'")
      return rows
    },
  },
]

for (const { name, rows } of WAYS) {
  test(`values are those of a bare client: ${name}`, async () => {
    const { host, port, superuser: user, superuserPassword: password } = server
    const bare = new pg.Client({ host, port, user, password, database: 'postgres', ssl: false })
    await bare.connect()
    try {
      await using pool = postgresPool(server, { pool_size: 1, max_overflow: 0 })
      const [ours, theirs] = [await pool.use(rows), await rows(bare)]
      assert.deepStrictEqual(ours, theirs)
      // With the order of the columns.
      assert.equal(JSON.stringify(ours), JSON.stringify(theirs))
    } finally {
      await bare.end()
    }
  })
}

test('a parser that is registered while the session is open is used from then on', async (t) => {
  const { DATE } = pg.types.builtins
  const before = pg.types.getTypeParser(DATE, 'text')
  t.after(() => pg.types.setTypeParser(DATE, before))
  await using pool = postgresPool(server, { pool_size: 1, max_overflow: 0 })
  const day = async (): Promise<unknown> =>
    (await pool.use((client) => client.query("select date '2024-06-01' as d"))).rows
  assert.deepEqual(await day(), [{ d: new Date(2024, 5, 1) }])
  pg.types.setTypeParser(DATE, (value: string) => `day ${value}`)
  assert.deepEqual(await day(), [{ d: 'day 2024-06-01' }])
})

test('a listener of messages receives the texts', async () => {
  await using pool = postgresPool(server, { pool_size: 1, max_overflow: 0 })
  await pool.use(async (client) => {
    const seen: unknown[] = []
    const { connection } = client as unknown as { connection: import('node:events').EventEmitter }
    connection.on('message', (message: { name: string; fields?: unknown }) => {
      if (message.name === 'dataRow') seen.push(message.fields)
    })
    await client.query("select 1 as a, date '2024-06-01' as d")
    assert.deepEqual(seen, [['1', '2024-06-01']])
  })
})
