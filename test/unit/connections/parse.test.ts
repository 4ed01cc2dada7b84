import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { inspect } from 'node:util'
import { type ConnectionInput, type ConnectionObject, parseConnection } from '../../../src/connections/parse.ts'
import { ConfigError } from '../../../src/errors.ts'
import { Secret } from '../../../src/secret.ts'
import { revealed } from './revealed.ts'

function problemsOf(input: unknown, options?: { id?: string }): string[] {
  try {
    parseConnection(input as ConnectionInput, options)
  } catch (error) {
    assert.ok(error instanceof ConfigError)
    assert.equal(error.code, 'CONFIG_INVALID')
    assert.equal(error.phase, 'config')
    return error.problems.map(({ path, message }) => `${path}: ${message}`)
  }
  return []
}

describe('a connection object', () => {
  it('is read in our words', () => {
    const connection = parseConnection({
      id: 'sales',
      type: 'postgres',
      host: 'db',
      port: 5432,
      login: 'etl',
      password: 's3cret',
      database: 'sales',
      description: 'The sales database',
      extra: { sslmode: 'require', pool_size: 5 },
    })
    assert.deepEqual(revealed(connection), {
      id: 'sales',
      type: 'postgres',
      host: 'db',
      port: 5432,
      login: 'etl',
      password: 's3cret',
      database: 'sales',
      description: 'The sales database',
      extra: { sslmode: 'require', pool_size: 5 },
    })
    assert.ok(connection.password instanceof Secret)
  })

  const same = { type: 'mssql', host: 'db', port: 1433, login: 'etl', database: 'sales', extra: { a: { b: 1 } } }
  const airflow: Record<string, ConnectionObject> = {
    'extra as an object': {
      conn_type: 'mssql',
      host: 'db',
      port: 1433,
      login: 'etl',
      schema: 'sales',
      extra: { a: { b: 1 } },
    },
    'extra as JSON text': {
      conn_type: 'mssql',
      host: 'db',
      port: 1433,
      login: 'etl',
      schema: 'sales',
      extra: '{"a": {"b": 1}}',
    },
    'extra_dejson, a port as text, nulls': {
      conn_type: 'mssql',
      host: 'db',
      port: '1433',
      login: 'etl',
      password: null,
      schema: 'sales',
      description: null,
      extra: null,
      extra_dejson: { a: { b: 1 } },
    },
    'a type in capitals': {
      conn_type: 'SQLServer',
      host: 'db',
      port: 1433,
      login: 'etl',
      schema: 'sales',
      extra: { a: { b: 1 } },
    },
  }
  for (const [name, input] of Object.entries(airflow)) {
    it(`is read in Airflow's words: ${name}`, () => assert.deepEqual(revealed(parseConnection(input)), same))
    it(`is read as Airflow's JSON text: ${name}`, () =>
      assert.deepEqual(revealed(parseConnection(` ${JSON.stringify(input)}\n`)), same))
  }

  it('takes empty texts for not set', () => {
    const empty = { type: 'postgres', host: '', port: '', login: '', password: '', database: '', extra: '' }
    assert.deepEqual(parseConnection(empty), { type: 'postgres', extra: {} })
    assert.deepEqual(parseConnection({ type: 'postgres', password: new Secret(''), extra: ' ' }), {
      type: 'postgres',
      extra: {},
    })
  })

  it('takes an IPv6 address with or without its brackets', () => {
    assert.equal(parseConnection({ type: 'postgres', host: '[::1]' }).host, '::1')
    assert.equal(parseConnection({ type: 'postgres', host: '::1' }).host, '::1')
  })

  it('carries the id of its store', () => {
    assert.equal(parseConnection('postgres://h', { id: 'sales' }).id, 'sales')
    assert.equal(parseConnection({ conn_id: 'sales', type: 'postgres' }, { id: 'sales' }).id, 'sales')
    assert.equal('id' in parseConnection('postgres://h'), false)
  })

  it('is frozen all through', () => {
    const connection = parseConnection({
      type: 'postgres',
      password: 'p',
      extra: { list: [{ deep: [1] }], token: 't', nested: { secret: ['x'] } },
    })
    const walk = (value: unknown): void => {
      if (typeof value !== 'object' || value === null) return
      assert.ok(Object.isFrozen(value), inspect(value))
      Object.values(value).forEach(walk)
    }
    walk(connection)
  })

  it('owes nothing to the object that it was read from', () => {
    const extra = { list: ['a'] }
    const connection = parseConnection({ type: 'postgres', extra })
    extra.list.push('b')
    assert.deepEqual(connection.extra, { list: ['a'] })
    assert.ok(!Object.isFrozen(extra))
  })
})

describe('a wrong connection', () => {
  it('is reported with all its problems at once, each with its path', () => {
    const problems = problemsOf({
      type: 'postgre',
      hots: 'db',
      port: 70_000,
      user: 'etl',
      password: 12_345,
      sslmode: 'require',
      extra: { a: [1, { b: Number.NaN }], f: () => 1, big: 1n },
    })
    assert.deepEqual(
      problems.sort(),
      [
        'type: expected one of postgres, postgresql, mssql, sqlserver, got "postgre" (did you mean postgres?)',
        'hots: unknown key; did you mean host?',
        'port: expected a whole number from 1 to 65535, got 70000',
        'password: expected a string; put quotes around it',
        'user: unknown key; did you mean login?',
        'sslmode: unknown key; options of the database, the pool and the login belong under extra',
        'extra.a[1].b: is not a number that JSON knows',
        'extra.f: is not a value that JSON knows',
        'extra.big: is not a value that JSON knows',
      ].sort(),
    )
  })

  const cases: readonly [string, unknown, RegExp][] = [
    ['no type', { host: 'db' }, /^type: missing; expected one of postgres/],
    [
      'another database',
      { type: 'oracle' },
      /^type: expected one of postgres, postgresql, mssql, sqlserver, got "oracle"$/,
    ],
    ['a driver in the type', { type: 'postgresql+psycopg2' }, /did you mean postgresql/],
    ['a type that is no text', { type: 5 }, /^type: expected one of .*, got 5$/],
    ['a type named like a method', { type: 'toString' }, /^type: expected one of/],
    ['two words for one thing', { type: 'postgres', database: 'a', schema: 'b' }, /^schema: says the same as database/],
    [
      'two extras',
      { type: 'postgres', extra: { a: 1 }, extra_dejson: { a: 1 } },
      /^extra_dejson: says the same as extra/,
    ],
    ['port 0 as a text', { type: 'postgres', port: '0' }, /^port: expected a whole number from 1 to 65535, got "0"$/],
    ['half a port', { type: 'postgres', port: 1.5 }, /^port: expected a whole number/],
    ['a hexadecimal port', { type: 'postgres', port: '0x50' }, /^port: expected a whole number/],
    ['a port that is a list', { type: 'postgres', port: [5432] }, /^port: .* got a list$/],
    ['a host that is a URL', { type: 'postgres', host: 'postgres://u:hunter2@h' }, /^host: expected a host alone/],
    ['a host with a login', { type: 'postgres', host: 'u:hunter2@h' }, /^host: expected a host alone/],
    ['a host with a port', { type: 'postgres', host: 'db:5432' }, /^host: holds a port; write it into port/],
    ['a host that is an object', { type: 'postgres', host: {} }, /^host: expected a string, got an object$/],
    ['a line end in the host', { type: 'postgres', host: 'db\nx' }, /^host: a host name holds no spaces/],
    ['NUL in the database', { type: 'postgres', database: 'a\0b' }, /^database: holds a NUL character$/],
    ['half a surrogate pair', { type: 'postgres', login: '\ud800' }, /^login: holds half a surrogate pair/],
    ['NUL deep in the extras', { type: 'postgres', extra: { a: ['x\0'] } }, /^extra\.a\[0\]: holds a NUL character$/],
    ['NUL in a key', { type: 'postgres', extra: { 'a\0': 1 } }, /^extra\["…"\]: the key holds a NUL character$/],
    ['extra that is no JSON', { type: 'postgres', extra: '{"password": hunter2}' }, /^extra: is not valid JSON$/],
    ['extra that is a list', { type: 'postgres', extra: '[1]' }, /^extra: expected an object$/],
    [
      'extra that is a class of its own',
      { type: 'postgres', extra: { at: new Date(0) } },
      /^extra\.at: is not a value/,
    ],
    ['an id with a blank', { type: 'postgres', id: 'my id' }, /^id: expected 1 to 250 letters/],
    ['an id of 251 letters', { type: 'postgres', id: 'x'.repeat(251) }, /^id: expected 1 to 250 letters/],
    ['no text', '  ', /^: it is empty$/],
    ['JSON that breaks off', '{"password": "hunter2"', /^: it begins with \{ but is not valid JSON$/],
    ['words', 'hunter2', /^: expected a URI such as/],
    ['a list', [], /^: expected an object, a URI, a connection string or JSON text$/],
    ['nothing', undefined, /^: expected an object, a URI, a connection string or JSON text$/],
    ['a number', 5, /^: expected an object, a URI, a connection string or JSON text$/],
    ['a function', () => 1, /^: expected an object, a URI, a connection string or JSON text$/],
  ]
  for (const [name, input, expected] of cases) {
    it(`${name} is a single problem that repeats no secret`, () => {
      const problems = problemsOf(input)
      assert.equal(problems.length, 1, problems.join('\n'))
      assert.match(problems[0] ?? '', expected)
      assert.ok(!problems.join().includes('hunter2'))
    })
  }

  it('may not carry another id than its store has for it', () => {
    assert.deepEqual(problemsOf({ id: 'a', type: 'postgres' }, { id: 'b' }), [
      'id: differs from the id under which the connection is stored',
    ])
  })

  it('is named by the subject', () => {
    assert.throws(() => parseConnection('', { subject: 'The connection "x" in y' }), {
      message: 'The connection "x" in y is not valid: it is empty',
    })
  })

  it('survives extras that refer back to themselves or never end', () => {
    const circle: Record<string, unknown> = { a: {} }
    circle.a = { circle }
    assert.deepEqual(problemsOf({ type: 'postgres', extra: circle }), ['extra.a.circle: refers back to itself'])
    const deep = `{"a": ${'['.repeat(5000)}${']'.repeat(5000)}}`
    assert.match(problemsOf({ type: 'postgres', extra: deep }).join(), /is nested more than 64 levels deep$/)
    const shared = { b: 1 }
    assert.deepEqual(problemsOf({ type: 'postgres', extra: { x: shared, y: [shared, shared] } }), [])
  })
})
