/** JSON Lines are written here, and must be what PostgreSQL's own row_to_json says, to the byte. */

import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { extractTable } from '../../src/extract/extract-table.ts'
import { dataText, superuserEngine } from '../support/extract.ts'
import { temporaryFolder } from '../support/folder.ts'
import { startPostgres } from '../support/postgres.ts'

/** Every value of a type that is at an edge, as SQL; NULL comes by itself. */
const VALUES: Record<string, readonly string[]> = {
  boolean: ['true', 'false'],
  smallint: ['0', '-32768', '32767'],
  integer: ['0', '-1', '2147483647', '-2147483648'],
  bigint: ['0', '9007199254740991', '9007199254740993', '-9223372036854775808', '9223372036854775807'],
  oid: ['4294967295'],
  real: ['1.1', '1e-40', "'NaN'", "'-Infinity'"],
  'double precision': ['0.1', '-0', '1e15', '1e300', "'NaN'", "'Infinity'"],
  numeric: [
    ...['0', '-0.00', '1.10', '10000', '99999999', '-12345.678900', '0.0001', '0.00001000', "'NaN'"],
    ...['1e1000', '-1e-1000', '1e131071', '1e-16383', '100000000.00000001'],
  ],
  'numeric(12,2)': ['0', '-0.01', '9999999999.99', '10000.5'],
  money: ["'-1234.56'"],
  text: [
    "''",
    "'plain'",
    "'a ''quote'', a \"double\" one, a \\ and a /'",
    'string_all_ascii()',
    "'Zażółć 😀 \u2028 \u007f'",
    "repeat('x', 300)",
    "repeat(e'\\x01', 9000)",
    "repeat('a long line, ', 200000)",
  ],
  'varchar(10)': ["'a\"b'"],
  'char(5)': ["'ab'"],
  name: ["'a name'"],
  '"char"': ["'x'"],
  bytea: ["'\\x00ff'"],
  uuid: ["'00112233-4455-6677-8899-aabbccddeeff'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'"],
  date: [
    ...["'0001-01-01'", "'0001-12-31 BC'", "'4713-01-01 BC'", "'2000-02-29'", "'1900-03-01'", "'9999-12-31'"],
    ...["'10000-01-01'", "'5874897-12-31'", "'infinity'", "'-infinity'"],
  ],
  time: ["'00:00'", "'24:00'", "'12:34:56.789'"],
  timetz: ["'12:34:56.789+02'"],
  timestamp: [
    ...["'2000-01-01'", "'1999-12-31 23:59:59.999999'", "'2024-02-29 12:00:00.1'", "'0001-01-01 00:00:00.000001 BC'"],
    ...["'4713-01-01 BC'", "'294276-12-31 23:59:59.999999'", "'infinity'", "'-infinity'"],
  ],
  timestamptz: ["'2024-03-31 02:30:00.12+02'", "'1066-10-14 BC'", "'290000-01-01'", "'infinity'"],
  interval: ["'1 year -2 days 03:04:05.678'"],
  json: ['e\'{"a":\\n\\n 1.10,\\r\\n "b": "x\\\\\\\\ny"}\'', "'null'", "'3'"],
  jsonb: ['\'{"b": [1, {"c": null}], "a": 1.10}\'', '\'"text"\''],
  'integer[]': ["'{}'", "'{1,null,3}'", "'{{1,2},{3,4}}'"],
  'text[]': ["array['a \" b', null]"],
  'json[]': ['array[e\'{"c":\\n2}\'::json]'],
  mood: ["'sad'", "'so so'"],
  pair: ['row(1, e\'two "words"\\n\')', 'row(null, null)'],
  positive: ['1', '9223372036854775807'],
  int4range: ["'[1,5)'"],
  inet: ["'192.168.0.1'", "'10.0.0.0/8'"],
  xml: ["'<a>\"</a>'"],
  point: ["'(1,2)'"],
  bit: ["B'1'"],
  tsvector: ["'a:1 b:2'"],
}

for (const flavor of ['embedded', 'embedded-13'] as const) {
  describe(flavor === 'embedded' ? 'PostgreSQL 18' : 'PostgreSQL 13', async () => {
    const server = await startPostgres({ flavor })
    const db = await superuserEngine(server)
    after(async () => {
      await db.destroy()
      await server[Symbol.asyncDispose]()
    })
    await server.sql(`create type mood as enum ('sad', 'so so'); create type pair as (a int, b text);
      create domain positive as bigint check (value > 0);
      create function string_all_ascii() returns text language sql as
        $$ select string_agg(chr(code), '') from generate_series(1, 127) code $$`)

    /** The landed rows of a table, and the server's own JSON of them. */
    async function landed(table: string): Promise<{ readonly ours: string[]; readonly server: string[] }> {
      await using folder = await temporaryFolder()
      const manifest = await extractTable(db, { table }, { to: folder.path, format: 'jsonl' })
      const text = await dataText(manifest)
      const ours = text.split('\n').slice(0, -1)
      // Line ends, which only json keeps, are told apart from those between rows.
      const said = await server.sql(
        `set timezone = 'UTC'; select replace(replace(row_to_json(r)::text, e'\\n', ' '), e'\\r', ' ') from ${table} r order by ctid`,
      )
      return { ours: ours.map((line) => line.replace(/,?"_extracted_at":.*$/, '}')), server: said.split('\n') }
    }

    for (const [type, values] of Object.entries(VALUES)) {
      test(type, async () => {
        const rows = [...values, 'null'].map((value) => `((${value})::${type})`)
        await server.sql(`drop table if exists one; create table one ("a ""name""\ton 2 lines\nof ü" ${type});
          insert into one values ${rows.join(', ')}`)
        const { ours, server: said } = await landed('one')
        assert.deepEqual(ours, said)
        assert.equal(ours.length, rows.length)
      })
    }

    test('thousands of numbers and moments are written as the server writes them, also in adjacent columns', async () => {
      await server.sql(`create table many as select g as id, ((random() - 0.5) * 10 ^ (random() * 20))::numeric as n,
          (random() * 10 ^ (random() * 18))::bigint * (g % 2 * 2 - 1) as big, round((random() * 1e9)::numeric, g % 9) as scaled,
          timestamp '4000-01-01 BC' + random() * interval '290000 years' as at, date '4000-01-01 BC' + (random() * 3e6)::int as day,
          now() - random() * interval '100 years' as seen, case when g % 3 > 0 then md5(g::text) end as hash,
          md5(g::text)::uuid as uid, random() as ratio, g % 2 = 0 as even
        from generate_series(1, 3000) g`)
      const { ours, server: said } = await landed('many')
      assert.deepEqual(ours, said)
    })

    test('a table without columns and a table without rows give valid lines', async () => {
      await server.sql('create table bare (); insert into bare default values; insert into bare default values')
      assert.deepEqual((await landed('bare')).ours, ['{}', '{}'])
      await server.sql('create table nothing (a int)')
      assert.deepEqual((await landed('nothing')).ours, [])
    })
  })
}
