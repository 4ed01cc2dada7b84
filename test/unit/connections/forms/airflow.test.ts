/** Records that Airflow and AWS keep, beside those of airflow-uri.test.ts. */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type ConnectionInput, readConnection } from '../../../../src/connections/parse.ts'
import { configure } from '../../../../src/engine/configure.ts'
import { ConfigError, type ConfigProblem } from '../../../../src/errors.ts'
import { strategies } from '../../../../src/strategies/index.ts'
import { revealed } from '../revealed.ts'

function read(input: ConnectionInput) {
  const { connection, problems } = readConnection(input)
  assert.ok(connection, JSON.stringify(problems))
  return revealed(connection)
}

async function problemsOf(input: ConnectionInput): Promise<readonly ConfigProblem[]> {
  const { connection, problems, closed } = readConnection(input)
  if (connection === undefined) return problems
  return configure(connection, { registry: strategies, environment: {}, closed }).then(
    () => [],
    (error: unknown) => {
      assert.ok(error instanceof ConfigError, String(error))
      return error.problems
    },
  )
}

describe("Airflow's uri in a record", () => {
  test('is the whole connection', () => {
    const whole = { type: 'postgres', host: 'db', port: 5433, login: 'etl', password: 's3cret', database: 'sales' }
    const uri = 'postgresql://etl:s3cret@db:5433/sales?sslmode=require'
    assert.deepEqual(read({ uri }), { ...whole, extra: { sslmode: 'require' } })
    assert.deepEqual(read(JSON.stringify({ uri, description: 'sales', conn_type: '', port: null })), {
      ...whole,
      description: 'sales',
      extra: { sslmode: 'require' },
    })
  })

  test('is refused beside other parts, and where it is none, without being repeated', async () => {
    for (const record of [
      { uri: 'postgres://u:hunter2@h', host: 'h' },
      { uri: 7 },
      { uri: ['postgres://u:hunter2@h'] },
    ]) {
      const problems = await problemsOf(record as ConnectionInput)
      assert.deepEqual(
        problems.map(({ path }) => path),
        ['uri'],
      )
    }
    for (const uri of ['sales', '{"uri": "postgres://u:hunter2@h"}', 'postgres://u:hunter2@h:x']) {
      const problems = await problemsOf({ uri })
      assert.ok(problems.length > 0)
      assert.doesNotMatch(JSON.stringify(problems), /hunter2/)
    }
  })
})

describe("Airflow's other parts", () => {
  test('team_name has no effect, and port 0 means none', () => {
    for (const port of [0, null, '']) {
      assert.deepEqual(read({ conn_type: 'postgres', host: 'db', port, team_name: 'data' }), {
        type: 'postgres',
        host: 'db',
        extra: {},
      })
    }
  })

  test('port 0 in a URI is refused', async () => {
    assert.deepEqual(
      (await problemsOf('postgres://h:0/')).map(({ path }) => path),
      ['port'],
    )
  })

  test('blanks round a host do not count', () => {
    assert.equal(read({ conn_type: 'postgres', host: ' db.example\n' })['host'], 'db.example')
    assert.equal(read({ conn_type: 'postgres', host: ' ' })['host'], undefined)
  })
})

describe('an integer above 2^53', () => {
  test('keeps every digit in the extras, in JSON and in __extra__', () => {
    const digits = '9007199254740993'
    const json = `{"conn_type": "postgres", "extra": {"a": ${digits}, "b": [{"c": -${digits}001}], "d": 9007199254740991, "e": 1.5e300}}`
    const extra = { a: digits, b: [{ c: `-${digits}001` }], d: 9_007_199_254_740_991, e: 1.5e300 }
    assert.deepEqual(read(json)['extra'], extra)
    assert.deepEqual(read({ type: 'postgres', extra: `{"a": ${digits}}` })['extra'], { a: digits })
    assert.deepEqual(read(`postgres://h/?__extra__=${encodeURIComponent(`{"a": ${digits}}`)}`)['extra'], { a: digits })
  })

  test('stays a number where the number is written the same, so that it survives a round trip', () => {
    for (const number of [2 ** 60, 1e17, -(2 ** 53)]) {
      const { extra } = read({ type: 'postgres', extra: JSON.stringify({ a: number }) })
      assert.deepEqual(extra, { a: number })
    }
  })

  test('is no number that an option of numbers takes', async () => {
    const problems = await problemsOf('{"conn_type": "postgres", "extra": {"pool_size": 9007199254740993}}')
    assert.deepEqual(
      problems.map(({ path, message }) => `${path}: ${message}`),
      ['extra.pool_size: expected a whole number of at least 1, got "9007199254740993"'],
    )
  })
})

describe("Airflow's conn_type odbc", () => {
  const base = { conn_type: 'odbc', host: 'sql.example', login: 'etl', password: 's3cret', schema: 'sales' }
  const parts = { type: 'mssql', host: 'sql.example', login: 'etl', password: 's3cret', database: 'sales' }
  const Driver = 'ODBC Driver 18 for SQL Server'

  test('is read where its driver is one for SQL Server', async () => {
    const extra = { Driver, ApplicationIntent: 'ReadOnly', connect_kwargs: { autocommit: true } }
    const expected = { ...parts, extra: { ApplicationIntent: 'ReadOnly' } }
    for (const input of [
      { ...base, extra },
      { ...base, port: 1433, extra: JSON.stringify(extra) },
      JSON.stringify({ ...base, port: 0, extra_dejson: extra }),
    ]) {
      const { port: _, ...rest } = read(input)
      assert.deepEqual(rest, expected)
      assert.deepEqual(await problemsOf(input), [])
    }
    const uri =
      'odbc://etl:s3cret@sql.example/sales?driver=%7BODBC+Driver+18+for+SQL+Server%7D&ApplicationIntent=ReadOnly'
    assert.deepEqual(read(uri), expected)
    assert.deepEqual(
      readConnection({ ...base, extra }).notes.map(({ path }) => path),
      ['extra.connect_kwargs'],
    )
  })

  test('is refused with what to write where Microsoft’s driver would drop something, or the driver is another', async () => {
    const cases: [object, string, RegExp][] = [
      [{ port: 1444, extra: { Driver } }, 'port', /write HOST,PORT into host/],
      [{ extra: {} }, 'extra.driver', /write the type mssql or postgres/],
      [{}, 'extra.driver', /write the type mssql or postgres/],
      [{ extra: { Driver: 'PostgreSQL Unicode' } }, 'extra.driver', /write a URI such as postgres:/],
      [{ extra: { Driver: 'MySQL' } }, 'extra.driver', /expected a driver of Microsoft/],
      [{ extra: { Driver, DSN: 'prod' } }, 'extra.dsn', /not read/],
      [{ extra: { Driver, 'Application Name': 'x' } }, 'extra', /write ODBC's name/],
      [{ extra: { Driver, Nonsense: 'x' } }, 'extra.Nonsense', /unknown key/],
      [{ extra: '{"Driver":' }, 'extra', /not valid JSON/],
    ]
    for (const [more, path, message] of cases) {
      const problems = await problemsOf({ ...base, ...more })
      const found = problems.find((problem) => problem.path === path)
      assert.match(found?.message ?? JSON.stringify(problems), message)
      assert.doesNotMatch(JSON.stringify(problems), /s3cret/)
    }
  })
})

describe('the JSON that AWS Secrets Manager keeps for RDS', () => {
  const SECRET = { username: 'etl', password: 's3cret', host: 'x.rds.amazonaws.com', port: 5432 }

  test('is read by its own keys', () => {
    const expected = { login: 'etl', password: 's3cret', host: 'x.rds.amazonaws.com' }
    const aurora = {
      ...SECRET,
      engine: 'aurora-postgresql',
      dbname: 'sales',
      dbClusterIdentifier: 'x',
      masterarn: 'arn:x',
    }
    assert.deepEqual(read(JSON.stringify(aurora)), {
      ...expected,
      type: 'postgres',
      port: 5432,
      database: 'sales',
      extra: {},
    })
    assert.deepEqual(
      readConnection(aurora as ConnectionInput).notes.map(({ path }) => path),
      ['dbClusterIdentifier', 'masterarn'],
    )
    assert.equal(read({ ...SECRET, engine: 'postgres' } as ConnectionInput)['database'], 'postgres')
    const mssql = read({ ...SECRET, engine: 'sqlserver-se', port: '1433' } as ConnectionInput)
    assert.deepEqual([mssql['type'], mssql['port'], mssql['database']], ['mssql', 1433, 'master'])
  })

  test('takes options of ours beside them', () => {
    const record = { ...SECRET, engine: 'postgres', extra: { sslmode: 'verify-full' } }
    assert.deepEqual(read(record as ConnectionInput)['extra'], { sslmode: 'verify-full' })
  })

  test('is refused for another engine, a part that stands twice, and an unknown key', async () => {
    const cases: [object, string][] = [
      [{ engine: 'mysql' }, 'engine'],
      [{ engine: 'postgres', dbname: 'a', database: 'b' }, 'dbname'],
      [{ engine: 'postgres', ssl: true }, 'ssl'],
    ]
    for (const [more, path] of cases) {
      const problems = await problemsOf({ ...SECRET, ...more } as ConnectionInput)
      assert.deepEqual([...new Set(problems.map((problem) => problem.path))], [path], JSON.stringify(problems))
      assert.doesNotMatch(JSON.stringify(problems), /s3cret/)
    }
  })
})
