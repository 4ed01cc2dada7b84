import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { inspect } from 'node:util'
import { toAirflowUri } from '../../../../src/connections/forms/airflow-uri.ts'
import { type ConnectionInput, parseConnection } from '../../../../src/connections/parse.ts'
import { ConfigError } from '../../../../src/errors.ts'
import { revealed } from '../revealed.ts'

/** The reading of each URI by Airflow's own reader (models/connection.py over Python's urllib.parse). */
const READINGS: readonly [string, Record<string, unknown>][] = [
  [
    'postgres://svc_etl@db.example.com:5432/analytics?auth_method=iam&region=eu-west-1',
    {
      type: 'postgres',
      login: 'svc_etl',
      host: 'db.example.com',
      port: 5432,
      database: 'analytics',
      extra: { auth_method: 'iam', region: 'eu-west-1' },
    },
  ],
  ['postgresql://h', { type: 'postgres', host: 'h', extra: {} }],
  ['POSTGRES://h', { type: 'postgres', host: 'h', extra: {} }],
  ['mssql://h', { type: 'mssql', host: 'h', extra: {} }],
  ['sqlserver://h', { type: 'mssql', host: 'h', extra: {} }],
  ['postgres://', { type: 'postgres', extra: {} }],
  ['postgres:///db', { type: 'postgres', database: 'db', extra: {} }],
  ['postgres://user:pw@/db', { type: 'postgres', login: 'user', password: 'pw', database: 'db', extra: {} }],
  ['postgres://?auth_method=x', { type: 'postgres', extra: { auth_method: 'x' } }],
  ['postgres:///?auth_method=x', { type: 'postgres', extra: { auth_method: 'x' } }],
  ['postgres://@:5433', { type: 'postgres', port: 5433, extra: {} }],
  ['postgres://h:/db', { type: 'postgres', host: 'h', database: 'db', extra: {} }],
  ['postgres://:pw@h', { type: 'postgres', password: 'pw', host: 'h', extra: {} }],
  ['postgres://:@h', { type: 'postgres', host: 'h', extra: {} }],
  // Decoding, everywhere.
  [
    'postgres://us%40er:p%3A%2F%3F%23%5B%5D%25@h%C3%B6st/da%2Fta?a%26b=c%3Dd',
    {
      type: 'postgres',
      login: 'us@er',
      password: 'p:/?#[]%',
      host: 'höst',
      database: 'da/ta',
      extra: { 'a&b': 'c=d' },
    },
  ],
  // A % that begins no escape and a : in the password stand for themselves.
  ['postgres://u:100%@h', { type: 'postgres', login: 'u', password: '100%', host: 'h', extra: {} }],
  ['postgres://u:p:word@h', { type: 'postgres', login: 'u', password: 'p:word', host: 'h', extra: {} }],
  // For PostgreSQL, libpq ends the password at the first @.
  ['mssql://u:p@ss:word@h', { type: 'mssql', login: 'u', password: 'p@ss:word', host: 'h', extra: {} }],
  ['postgres://u:a+b@h', { type: 'postgres', login: 'u', password: 'a+b', host: 'h', extra: {} }],
  // A host loses its capitals up to the first escape; a path keeps them.
  ['postgres://DB.Example.COM', { type: 'postgres', host: 'db.example.com', extra: {} }],
  ['postgres://Db%41B', { type: 'postgres', host: 'dbAB', extra: {} }],
  ['postgres://%2Fvar%2Frun%2FPG:5433', { type: 'postgres', host: '/var/run/PG', port: 5433, extra: {} }],
  ['postgres://u:p@Tmp%2Fsock', { type: 'postgres', login: 'u', password: 'p', host: 'Tmp/sock', extra: {} }],
  // libpq's names of the parts, in a URI of PostgreSQL only.
  [
    'postgresql://u:p@h:1/d?host=%2Frun%2FPG&port=5433&user=v&password=a%2Bb&dbname=e&x=y',
    {
      type: 'postgres',
      login: 'v',
      password: 'a+b',
      host: '/run/PG',
      port: 5433,
      database: 'e',
      extra: { x: 'y' },
    },
  ],
  ['postgres://u:p@h:1/d?user=&password=&host=&port=&dbname=', { type: 'postgres', extra: {} }],
  // As in Airflow, options as JSON take the place of the whole query.
  [
    'postgres://u@h/d?user=v&__extra__=%7B%22a%22%3A1%7D',
    { type: 'postgres', login: 'u', host: 'h', database: 'd', extra: { a: 1 } },
  ],
  ['mssql://h/?user=v', { type: 'mssql', host: 'h', extra: { user: 'v' } }],
  // IPv6.
  [
    'postgres://u:p@[2001:DB8::1]:5432',
    { type: 'postgres', login: 'u', password: 'p', host: '2001:db8::1', port: 5432, extra: {} },
  ],
  ['postgres://[::1]', { type: 'postgres', host: '::1', extra: {} }],
  ['postgres://[fe80::1%25eth0]:1', { type: 'postgres', host: 'fe80::1%eth0', port: 1, extra: {} }],
  ['postgres://%3A%3A1:5432', { type: 'postgres', host: '::1', port: 5432, extra: {} }],
  // The query.
  ['postgres://h?application_name=my+app', { type: 'postgres', host: 'h', extra: { application_name: 'my app' } }],
  ['postgres://h?a=1&a=2&b&c=', { type: 'postgres', host: 'h', extra: { a: '2', b: '', c: '' } }],
  ['postgres://h?kdc=alice@REALM', { type: 'postgres', host: 'h', extra: { kdc: 'alice@REALM' } }],
  ['postgres://h?url=http://proxy:3128/?x', { type: 'postgres', host: 'h', extra: { url: 'http://proxy:3128/?x' } }],
  [
    'postgres://h?__extra__=%7B%22pool_size%22%3A+5%2C+%22n%22%3A+%7B%22a%22%3A+%5B1%5D%7D%7D&sslmode=require',
    { type: 'postgres', host: 'h', extra: { pool_size: 5, n: { a: [1] } } },
  ],
  ['postgres://h?__extra__=&sslmode=require', { type: 'postgres', host: 'h', extra: {} }],
  // A fragment means nothing (libpq has none), tabs and line ends vanish.
  ['mssql://h/db?a=1#note', { type: 'mssql', host: 'h', database: 'db', extra: { a: '1' } }],
  [' postgres://h/d\nb\t\n', { type: 'postgres', host: 'h', database: 'db', extra: {} }],
]

describe('reading an Airflow URI', () => {
  for (const [uri, expected] of READINGS) {
    it(JSON.stringify(uri), () => assert.deepEqual(revealed(parseConnection(uri)), expected))
  }
})

describe('a broken URI', () => {
  const SECRET = 'hunter2'
  const DIGITS = '8675309'
  const broken: readonly [string, string, string][] = [
    ['no scheme', `//u:${SECRET}@h`, ''],
    ['a scheme with an underscore', `my_pg://u:${SECRET}@h`, ''],
    ['one slash', `postgres:/u:${SECRET}@h`, ''],
    ['a port that is a word', `postgres://u@h:${SECRET}/db`, 'port'],
    ['port 0', 'postgres://h:0', 'port'],
    ['port 65536', 'postgres://h:65536', 'port'],
    ['digits of a password as the port', `postgres://user:${DIGITS}`, 'port'],
    ['a negative port', 'postgres://h:-1', 'port'],
    ['a port with a fraction', 'postgres://h:5432.0', 'port'],
    ['/ in the password', `postgres://u:12/${SECRET}@h/db`, ''],
    ['/ in the password after an @', `postgres://u:p@ss/${SECRET}@h/db`, ''],
    ['an @ in the password', `postgres://u:p@${SECRET}@h/db`, 'password'],
    ['a fragment', `postgres://u@h/db#${SECRET}`, 'database'],
    ['# in the login', `postgres://u#x:${SECRET}@h/db`, ''],
    ['? in the login', `postgres://u?x:${SECRET}@h/db`, ''],
    ['# in the password', `postgres://u:1#${SECRET}@h/db`, ''],
    ['an unclosed bracket', `postgres://u:${SECRET}@[::1/db`, 'host'],
    ['an unopened bracket', `postgres://u:${SECRET}@::1]/db`, 'host'],
    ['a name in brackets', `postgres://u:${SECRET}@[host]/db`, 'host'],
    ['text after the bracket', `postgres://u:${SECRET}@[::1]x/db`, 'host'],
    ['a protocol before the host', `postgres://https://u:${SECRET}@h`, ''],
    ['a protocol before a bare host', 'postgres://https://h', 'host'],
    ['a space in the host', `postgres://u:${SECRET}@my%20host`, 'host'],
    ['an @ in the host', `postgres://u:${SECRET}@my%40host`, 'host'],
    ['a NUL in the login', `postgres://u%00options:${SECRET}@h`, 'login'],
    ['a NUL in the password', `postgres://u:${SECRET}%00@h`, 'password'],
    ['an __extra__ that is no JSON', `postgres://h?__extra__=%7B"password":"${SECRET}`, 'extra'],
    ['an __extra__ that is no object', `postgres://h?__extra__=["${SECRET}"]`, 'extra'],
    ['an unknown type', `mysql://u:${SECRET}@h`, 'type'],
  ]
  for (const [name, uri, path] of broken) {
    it(`${name}: is refused at ${path || 'the root'} without repeating a secret`, () => {
      assert.throws(
        () => parseConnection(uri),
        (error) => {
          assert.ok(error instanceof ConfigError)
          assert.deepEqual(
            error.problems.map((problem) => problem.path),
            [path],
          )
          const shown = `${inspect(error, { depth: 9, showHidden: true })}${JSON.stringify(error)}${error.stack}`
          assert.ok(!shown.includes(SECRET) && !shown.includes(DIGITS), shown)
          return true
        },
      )
    })
  }

  it('says all that is wrong at once', () => {
    assert.throws(
      () => parseConnection('mysql://u@a%20b:x/d%00b'),
      (error) => {
        assert.ok(error instanceof ConfigError)
        assert.deepEqual(error.problems.map((problem) => problem.path).sort(), ['database', 'host', 'port', 'type'])
        return true
      },
    )
  })
})

describe('writing an Airflow URI', () => {
  // The answer of Airflow's get_uri, save for the brackets and the capital, which it would lose.
  const written: readonly [ConnectionInput, string][] = [
    [
      { type: 'postgres', host: 'db', port: 5432, login: 'u', password: 'p@ss/', database: 'a b' },
      'postgres://u:p%40ss%2F@db:5432/a%20b',
    ],
    [{ type: 'postgresql', host: 'db', extra: { sslmode: 'require' } }, 'postgres://db/?sslmode=require'],
    [{ type: 'postgres', database: 'd', extra: { application_name: 'a b' } }, 'postgres:///d?application_name=a+b'],
    [{ type: 'postgres', port: 5433 }, 'postgres://@:5433'],
    [{ type: 'postgres', login: 'u', port: 5433 }, 'postgres://u@:5433'],
    [{ type: 'sqlserver', password: 'p' }, 'mssql://:p@'],
    [{ type: 'postgres', host: '/var/run/pg' }, 'postgres://%2Fvar%2Frun%2Fpg'],
    [{ type: 'postgres', host: '::1', port: 1 }, 'postgres://[::1]:1'],
    [{ type: 'postgres', host: 'db.Example' }, 'postgres://db.%45xample'],
    [{ type: 'postgres', host: 'h', extra: { pool_size: 5 } }, 'postgres://h/?__extra__=%7B%22pool_size%22%3A5%7D'],
    [
      { type: 'postgres', host: 'h', extra: { __extra__: 'x' } },
      'postgres://h/?__extra__=%7B%22__extra__%22%3A%22x%22%7D',
    ],
  ]
  for (const [input, expected] of written) {
    it(expected, () => assert.equal(toAirflowUri(parseConnection(input)), expected))
  }
})
