/** The TDS server test double serves the requests of Microsoft's own clients, and of ours beside them. */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { TdsServer } from '../../support/tds/server.ts'
import { CLIENTS, Client } from './clients.ts'
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
  readonly lacks: readonly string[]
  readonly open: (server: TdsServer) => Promise<Session>
}

/** Every client, and ours. */
const SUBJECTS: readonly Subject[] = [
  {
    name: 'poolsmith',
    mark: () => '?',
    lacks: ['batch', 'change', 'output', 'counts'],
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
    open: async (server: TdsServer) => {
      const client = new Client(kind)
      const { error, message } = await client.connect(at(server), SA)
      assert.equal(error, undefined, message)
      return client
    },
  })),
]

for (const { name, open, mark, lacks } of SUBJECTS) {
  const has = (verb: string): { readonly skip: string | false } => ({
    skip: lacks.includes(verb) && 'it has no such call',
  })

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
      const sql = `insert into ${TABLE} values (1), (2); update ${TABLE} set id = 3; select id from ${TABLE}; delete from ${TABLE}`
      if (!lacks.includes('change')) {
        assert.equal((await client.get('change', `insert into ${TABLE} values (1), (2)`)).changed, 2)
        assert.equal((await client.get('change', `delete from ${TABLE}`)).changed, 2)
      } else if (!lacks.includes('counts')) {
        const { results } = await client.get('run', sql)
        assert.deepEqual(results, [{ count: 2 }, { count: 2 }, { rows: [['3'], ['3']] }, { count: 2 }])
      }
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
