/** The TDS server test double serves the requests of Microsoft's own clients, and of ours beside them. */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { TdsServer } from '../../support/tds/server.ts'
import { CLIENTS, Client, type Place } from './clients.ts'
import { Poolsmith } from './poolsmith.ts'
import { interopSetup, SA, TABLE } from './setup.ts'
import { VALUES } from './values.ts'

/** Longer than any limit of these tests. */
const WAITING = "waitfor delay '00:10:00'"
const MANY = 'select a.n from generate_series(1, 100000) as a(n)'

const { start, at } = await interopSetup()

const marked = (sql: string, mark: (index: number) => string): string => {
  let index = 0
  return sql.replaceAll('?', () => mark(++index))
}

interface Session extends AsyncDisposable {
  get: Client['get']
  rows: Client['rows']
}

interface Subject {
  readonly name: string
  readonly mark: (index: number) => string
  readonly lacks: Readonly<Record<string, string>>
  readonly open: (server: TdsServer, place?: Partial<Place>) => Promise<Session>
}

/** Every client, and ours. */
const SUBJECTS: readonly Subject[] = [
  {
    name: 'poolsmith',
    mark: () => '?',
    lacks: {
      batch: 'tedious sends one call in a message',
      scroll: 'neither tedious nor knex opens server cursors',
      tables: 'knex asks the catalogue itself',
      types: 'knex does not ask for types',
      parameters: 'tedious describes no parameters',
      mars: 'tedious has no MARS, and PRELOGIN says so',
    },
    open: ({ port }) =>
      Poolsmith.connect({
        type: 'mssql',
        host: 'localhost',
        port,
        login: SA.user,
        password: SA.password,
        database: 'master',
        extra: { trust_server_certificate: true, exact_values: true, pool_size: 1, max_overflow: 0 },
      }),
  },
  ...CLIENTS.map((kind) => ({
    ...kind,
    open: async (server: TdsServer, place?: Partial<Place>) => {
      const client = new Client(kind)
      const { error, message } = await client.connect(at(server, place), SA)
      assert.equal(error, undefined, message)
      return client
    },
  })),
]

for (const { name, open, mark, lacks } of SUBJECTS) {
  const has = (verb: string): { readonly skip: string | false } => ({ skip: lacks[verb] ?? false })

  describe(`${name} works in its session`, () => {
    test('reads every value of every type', async () => {
      const server = await start()
      await using client = await open(server)
      for (const [type, sql, expected, exceptions = {}] of VALUES) {
        const wanted = exceptions[name] ?? expected
        if (wanted === 'unreadable') continue
        const got = (await client.rows(`select ${sql} as v, cast(null as int) as n`))[0]?.[0]
        assert.equal(plain(got), plain(wanted), `${type}: ${sql}`)
      }
      assert.deepEqual(server.complaints, [])
    })

    test('sends parameters of its types', async () => {
      const server = await start()
      await using client = await open(server)
      const sql = marked('select ? as a, ? as b, ? as c, ? as d, ? as e, ? as f, ? as g', mark)
      const { results } = await client.get(
        'execute',
        sql,
        'int:-7',
        "text:O'Brien 🐘",
        'bytes:00ff07',
        'bit:1',
        'bigint:9007199254740993',
        'float:0.1',
        'null:',
      )
      const expected = ['-7', "O'Brien 🐘", '00ff07', '1', '9007199254740993', '0.1', null]
      assert.deepEqual(results?.find(({ rows }) => rows)?.rows, [expected])
      assert.deepEqual(server.complaints, [])
    })

    test('executes one statement many times', async () => {
      const server = await start()
      await using client = await open(server)
      const sql = marked('select ? + 1 as n', mark)
      const { answers = [] } = await client.get('repeat', sql, 'int:1', 'int:2', 'int:3', 'int:4')
      assert.deepEqual(
        answers.map(({ results }) => results?.find(({ rows }) => rows)?.rows?.[0]?.[0]),
        ['2', '3', '4', '5'],
      )
    })

    test('sends many sets of parameters in one message', has('batch'), async () => {
      const server = await start()
      await using client = await open(server)
      await client.get('run', `create table ${TABLE} (id int)`)
      const sets = Array.from({ length: 20 }, (_, index) => `int:${index}`)
      assert.equal(
        (await client.get('batch', marked(`insert into ${TABLE} (id) values (?)`, mark), ...sets)).changed,
        20,
      )
      assert.deepEqual(await client.rows(`select count(*) as n, sum(id) as s from ${TABLE}`), [['20', '190']])
      assert.deepEqual(server.complaints, [])
    })

    test('gets an output parameter', has('output'), async () => {
      const server = await start()
      await using client = await open(server)
      assert.equal((await client.get('output', 'select @out = 7')).out, 7)
    })

    test('is told how many rows a statement changed', async () => {
      const server = await start()
      await using client = await open(server)
      await client.get('run', `create table ${TABLE} (id int)`)
      const [insert, update, remove] = [
        `insert into ${TABLE} values (1), (2)`,
        `update ${TABLE} set id = 3`,
        `delete from ${TABLE}`,
      ]
      // JDBC and ODBC give a count for each statement of a batch.
      if (name === 'jdbc' || name === 'odbc') {
        const { results } = await client.get('run', `${insert}; ${update}; select id from ${TABLE}; ${remove}`)
        assert.deepEqual(results, [{ count: 2 }, { count: 2 }, { rows: [['3'], ['3']] }, { count: 2 }])
      } else {
        for (const sql of [insert, update, remove]) assert.equal((await client.get('change', sql)).changed, 2)
      }
    })

    test('copies rows in bulk', has('bulk'), async () => {
      const server = await start()
      await using client = await open(server)
      await client.get('run', `create table ${TABLE} (id int, note nvarchar(20))`)
      assert.equal((await client.get('bulk', TABLE, '7,ä🐘', '8,b')).changed, 2)
      assert.deepEqual(await client.rows(`select id, note from ${TABLE} order by id`), [
        ['7', 'ä🐘'],
        ['8', 'b'],
      ])
      assert.deepEqual(server.complaints, [])
    })

    test('scrolls through the rows of a server cursor', has('scroll'), async () => {
      const server = await start()
      await using client = await open(server)
      const sql = 'select a.n from generate_series(1, 1000) as a(n) where a.n > ? order by a.n'
      const bare = await client.get('scroll', sql.replace('?', '0'))
      assert.deepEqual(bare.results?.[0]?.rows, [['1000'], ['1'], ['500'], ['499']])
      const { results } = await client.get('scroll', marked(sql, mark), 'int:10')
      assert.deepEqual(results?.[0]?.rows, [['1000'], ['11'], ['505'], ['504']])
      const forward = await client.get('cursor', sql.replace('?', '997'))
      assert.deepEqual(forward.results?.[0]?.rows, [['998'], ['999'], ['1000']])
      assert.deepEqual(server.complaints, [])
    })

    test('finds tables in the catalogue', has('tables'), async () => {
      const server = await start()
      await using client = await open(server)
      await client.get('run', `create table ${TABLE} (id int)`)
      assert.deepEqual((await client.get('tables', TABLE)).results, [{ rows: [[TABLE]] }])
      assert.deepEqual((await client.get('tables', 'no_such_table')).results, [{ rows: [] }])
    })

    test('asks for the types of the server', has('types'), async () => {
      const server = await start()
      await using client = await open(server)
      const types = (await client.get('types')).results?.[0]?.rows?.map(([type]) => type) ?? []
      for (const type of ['bit', 'int', 'nvarchar', 'datetime2']) assert.ok(types.includes(type), type)
    })

    test('has the types of parameters described', has('parameters'), async () => {
      const server = await start()
      await using client = await open(server)
      await client.get('run', `create table ${TABLE} (id int, note nvarchar(20))`)
      const { results } = await client.get('parameters', marked(`insert into ${TABLE} (id, note) values (?, ?)`, mark))
      assert.deepEqual(results, [{ rows: [['int'], ['nvarchar']] }])
    })

    test('runs blocks, and statements without semicolons', async () => {
      const server = await start()
      await using client = await open(server)
      await client.get('run', `create table ${TABLE} (id int)`)
      const block = `if exists (select 1 as n) begin insert into ${TABLE} values (1) update ${TABLE} set id = 2 end`
      await client.get('run', `${block} else begin delete from ${TABLE} insert into ${TABLE} values (3) end`)
      assert.deepEqual(await client.rows(`set nocount on select id from ${TABLE} set nocount off`), [['2']])
      assert.deepEqual(
        await client.rows(`exec sp_executesql N'select id + @a as n from ${TABLE}', N'@a int', @a = 5`),
        [['7']],
      )
    })

    for (const how of ['timeout', 'cancel']) {
      test(`ends a statement by ${how}, and uses the session afterwards`, has(how), async () => {
        const server = await start()
        await using client = await open(server)
        await client.get('run', `create table ${TABLE} (id int)`)
        await assert.rejects(async () => {
          const { error, message } = await client.get(how, WAITING)
          if (error !== undefined) throw new assert.AssertionError({ message })
        })
        assert.deepEqual(await client.rows(`select count(*) as n from ${TABLE}`), [['0']])
        assert.ok(server.journal.attentions >= 1)
      })
    }

    test('reads a hundred thousand rows, and leaves others unread', async () => {
      const server = await start()
      await using client = await open(server)
      assert.equal((await client.get('count', MANY)).rows, 100_000)
      assert.equal((await client.get('leave', MANY)).first, '1')
      assert.deepEqual(await client.rows('select 2 as n'), [['2']])
    })

    for (const encrypt of ['false', 'true'] as const) {
      test(`reads several results by turns under encrypt=${encrypt}`, has('mars'), async () => {
        const server = await start()
        await using client = await open(server, { mars: true, encrypt })
        const other = MANY.replace('a.n from', 'a.n + 200000 as n from')
        const { results } = await client.get('mars', MANY, other)
        assert.deepEqual(results, [{ rows: [['1'], ['200001'], ['2'], ['200002'], ['3'], ['200003']] }])
        assert.deepEqual(await client.rows('select @@trancount as n'), [['0']])
        assert.equal(server.journal.logins[0]?.prelogin.get(4)?.toString('hex'), '01')
        assert.deepEqual(server.complaints, [])
      })
    }

    for (const level of ['read committed', 'serializable', 'snapshot']) {
      test(`commits and rolls back at ${level}`, async () => {
        const server = await start()
        await using client = await open(server)
        await client.get('run', `create table ${TABLE} (id int)`)
        await client.get('begin', level)
        await client.get('run', `insert into ${TABLE} values (1)`)
        await client.get('rollback')
        assert.deepEqual(await client.rows(`select count(*) as n from ${TABLE}`), [['0']])
        await client.get('begin', level)
        await client.get('run', `insert into ${TABLE} values (1)`)
        await client.get('commit')
        assert.deepEqual(await client.rows(`select count(*) as n, @@trancount as t from ${TABLE}`), [['1', '0']])
        assert.deepEqual(server.complaints, [])
      })
    }
  })
}

/** Points in time and numbers in one form: clients write more or fewer zeros. */
function plain(value: string | null | undefined): string | null | undefined {
  if (typeof value !== 'string') return value
  if (/^-?[\d.]+e\+?\d+$/i.test(value)) return String(Number(value))
  return value
    .replace(/^(\d{4}-\d\d-\d\d)T/, '$1 ')
    .replace(/(\d\d:\d\d:\d\d)(?:\.(\d+?))?0*(?=$|[ +-])/, (_, clock, digits) =>
      digits === undefined || /^0+$/.test(digits) ? clock : `${clock}.${digits}`,
    )
}
