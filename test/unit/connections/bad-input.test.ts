/**
 * Texts that are cut off at each character, hold NUL or half a surrogate pair, or are a million characters long, in every
 * part, option and form of a connection: an error with the path, or a connection; never a crash, a hang, or a secret.
 */

import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { inspect } from 'node:util'
import type { Field } from '../../../src/connections/fields.ts'
import type { ConnectionInput } from '../../../src/connections/parse.ts'
import { createEngine, type EngineOptions } from '../../../src/engine/knex/create-engine.ts'
import { ConfigError, PoolsmithError } from '../../../src/errors.ts'
import { listConnections } from '../../../src/stores/resolve.ts'
import { assertPaths, outcomeOf, PASSWORD } from '../../support/bad-input.ts'
import { damages, STRANGERS, truncations } from '../../support/bad-strings.ts'
import { temporaryFolder } from '../../support/folder.ts'
import { OPTION_SPELLINGS, type OptionSpelling } from '../../support/option-tables.ts'

process.setMaxListeners(0)
// The engine's own warnings are not what is looked at.
process.on('warning', () => undefined)

/** A value that an option accepts, as a text. */
function sampleOf({ type, default: fallback }: Field<unknown>): string {
  if (typeof fallback === 'string' || typeof fallback === 'number' || typeof fallback === 'boolean')
    return String(fallback)
  if (type.startsWith('path')) return '/etc/ssl/client.key'
  if (type.startsWith('integer') || type.startsWith('seconds')) return '15'
  return type.includes(' | ') ? (type.split(' | ')[0] ?? '') : type === 'secret' ? PASSWORD : 'some-text.example.com'
}

function record({ type, authMethod }: OptionSpelling, extra: Record<string, unknown>): ConnectionInput {
  const method = authMethod === undefined ? {} : { auth_method: authMethod }
  return { type, host: 'db.test', login: 'etl', password: PASSWORD, extra: { ...method, ...extra } }
}

test('every option in the extras, cut off at each character', async () => {
  for (const option of OPTION_SPELLINGS) {
    for (const value of truncations(sampleOf(option.field))) {
      const { error } = await outcomeOf(record(option, { [option.key]: value }))
      assertPaths(error, `${option.key}=${value}`)
    }
  }
})

test('every option in the extras and in the second argument, damaged or enormous', async () => {
  for (const option of OPTION_SPELLINGS) {
    for (const value of damages(sampleOf(option.field))) {
      const extra = { [option.key]: value }
      for (const { error } of [
        await outcomeOf(record(option, extra)),
        await outcomeOf(record(option, {}), { extra }),
      ]) {
        assertPaths(error, option.key)
        if (/[\0\ud800-\udfff]/.test(value) || value.length > 100_000) {
          const named =
            error instanceof ConfigError && error.problems.some(({ path }) => path === `extra.${option.key}`)
          assert.ok(named, `${option.key} with ${JSON.stringify(value.slice(0, 40))}: ${error?.message}`)
        }
      }
    }
  }
})

test('every option as a value of another type', async () => {
  for (const option of OPTION_SPELLINGS) {
    for (const value of STRANGERS) {
      const extra = { [option.key]: value }
      assertPaths((await outcomeOf(record(option, extra))).error, option.key)
      const { error, shown } = await outcomeOf(record(option, {}), { extra })
      assertPaths(error, option.key)
      assert.ok(!shown.includes("'source'"), `the source of a function is shown: ${shown}`)
    }
  }
})

const PARTS = {
  type: 'postgres',
  host: 'db.example.com',
  port: '5432',
  login: 'svc_etl',
  password: PASSWORD,
  database: 'sales',
  description: 'the sales database',
  id: 'sales_db',
  extra: '{"sslmode": "verify-full"}',
} as const

test('every part of a record, cut off, damaged, enormous, or of another type', async () => {
  for (const [part, sample] of Object.entries(PARTS)) {
    for (const value of [...truncations(sample), ...damages(sample), ...STRANGERS]) {
      const { error } = await outcomeOf({ ...PARTS, [part]: value } as ConnectionInput)
      assertPaths(error, `${part}=${inspect(value).slice(0, 100)}`)
    }
  }
  for (const stranger of STRANGERS) await outcomeOf(stranger as ConnectionInput)
  for (const key of damages('host')) await outcomeOf({ ...PARTS, [key]: 'x' } as ConnectionInput)
  for (const key of damages('sslmode')) await outcomeOf({ ...PARTS, extra: { [key]: 'x' } })
})

const QUERY =
  'auth_method=password&sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem&options=-c%20a%3Db&pool_size=5&sslpassword='
const URI = `postgres://svc_etl:${encodeURIComponent(PASSWORD)}@db.example.com:5432/sales?${QUERY}${encodeURIComponent(PASSWORD)}`
const EXTRAS = { sslmode: 'verify-full', sslpassword: PASSWORD, require_auth: ['scram-sha-256'], pool_size: 5 }
const JSON_TEXT = JSON.stringify({ ...PARTS, id: undefined, extra: EXTRAS })

/** A password without characters that a form gives a meaning. */
const BARE = 'Zq9!kWv3pLx7'
const STRINGS = {
  'a keyword string of libpq': `host=db.example.com port=5432 user=svc_etl password='${PASSWORD}' dbname=sales sslmode=verify-full`,
  'a URI of libpq with its parts in the query': `postgres:///sales?host=db.example.com&port=5432&user=svc_etl&password=${encodeURIComponent(PASSWORD)}&hostaddr=127.1`,
  'a string of ADO.NET': `Server=tcp:db.example.com,1433;User ID=svc_etl;Password="${PASSWORD}";Initial Catalog=sales;Encrypt=True`,
  'a string of ODBC': `Driver={ODBC Driver 18 for SQL Server};Server=db.example.com,1433;UID=svc_etl;PWD={${PASSWORD}};Encrypt=yes`,
  'a string of ODBC or ADO.NET': `Server=db.example.com\\SALES;UID=svc_etl;PWD=${BARE};Trusted_Connection=no`,
  'a JDBC URL of PostgreSQL': `jdbc:postgresql://db.example.com:5432/sales?user=svc_etl&password=${BARE}&currentSchema=a&sslmode=require`,
  'a JDBC URL of SQL Server': `jdbc:sqlserver://db.example.com\\SALES:1433;user=svc_etl;password={${PASSWORD}};databaseName=sales`,
  'a URL of Prisma': `sqlserver://db.example.com:1433;user=svc_etl;password={${PASSWORD}};database=sales;encrypt=true`,
  'a URL of go-mssqldb': `sqlserver://svc_etl:${encodeURIComponent(PASSWORD)}@db.example.com:1433/SALES?database=sales&encrypt=true`,
  'an odbc: string of go-mssqldb': `odbc:server=db.example.com;port=1433;user id=svc_etl;password={${PASSWORD}};database=sales`,
  'a URL of psycopg2': `postgresql+psycopg2://svc_etl:${encodeURIComponent(PASSWORD)}@db.example.com:5432/sales?sslmode=require`,
  'a URL of pyodbc': `mssql+pyodbc://svc_etl:${encodeURIComponent(PASSWORD)}@db.example.com:1433/sales?driver=ODBC+Driver+18+for+SQL+Server`,
  "Airflow's uri as JSON": JSON.stringify({
    uri: `postgres://svc_etl:${encodeURIComponent(PASSWORD)}@db.example.com/sales`,
  }),
  'a secret of RDS': `{"engine": "postgres", "username": "svc_etl", "password": "${PASSWORD}", "host": "db.example.com", "dbname": "sales"}`,
  "Airflow's odbc": `odbc://svc_etl:${encodeURIComponent(PASSWORD)}@db.example.com/sales?Driver=ODBC+Driver+18+for+SQL+Server`,
  'a URL of pyodbc with a string': `mssql+pyodbc://?odbc_connect=${encodeURIComponent(`Driver={ODBC Driver 18 for SQL Server};Server=db;UID=etl;PWD={${PASSWORD}}`)}`,
}

test('each of the connection strings is read whole', async () => {
  for (const [form, text] of Object.entries(STRINGS)) {
    const { error, shown } = await outcomeOf(text)
    assert.equal(error, undefined, `${form}: ${error?.message}`)
    assert.ok(!shown.includes(BARE), shown)
  }
})

for (const [form, text] of Object.entries({ URI, 'JSON text': JSON_TEXT, ...STRINGS })) {
  test(`${form}, cut off at each character, damaged or enormous`, async () => {
    for (const value of [...truncations(text), ...damages(text)]) {
      await outcomeOf(value)
    }
  })

  test(`${form} in the environment, cut off at each character, damaged or enormous`, async () => {
    for (const value of [...truncations(text), ...damages(text)]) {
      const environment = { POOLSMITH_CONN_X: value, AIRFLOW_CONN_Y: text }
      await outcomeOf('x', { stores: { environment } })
      const [x, y] = await listConnections({ environment, cwd: '/nonexistent' })
      assert.equal((y ?? x)?.error, undefined)
      assert.ok(!inspect(x, { depth: 9 }).includes(PASSWORD))
    }
  })
}

const YAML = `sales: ${URI}\nlake:\n  conn_type: mssql\n  password: "${PASSWORD}"\n  extra:\n    encrypt: strict\n    list: [1, {a: b}]\n`
const JSON_FILE = JSON.stringify({ sales: URI, lake: { conn_type: 'mssql', password: PASSWORD, extra: EXTRAS } })

const ENV_FILE = `# connections\nsales=${URI}\nlake={"conn_type": "mssql", "password": "${PASSWORD}"}\n`
const FILES = { 'connections.yaml': YAML, 'connections.json': JSON_FILE, 'connections.env': ENV_FILE }

for (const [name, text] of Object.entries(FILES)) {
  test(`${name}, cut off at each character, damaged or enormous`, async () => {
    await using folder = await temporaryFolder()
    const file = join(folder.path, name)
    for (const value of [...truncations(text), ...damages(text), '['.repeat(100_000), '{"a":'.repeat(100_000)]) {
      await writeFile(file, value, { mode: 0o600 })
      await outcomeOf('sales', { stores: { file, environment: {} } })
      const listed = await listConnections({ file, environment: {} }).catch((error: unknown) => {
        assert.ok(error instanceof PoolsmithError, inspect(error))
        return error
      })
      assert.ok(!inspect(listed, { depth: 9 }).includes(PASSWORD))
    }
  })
}

const SERVICE = `# services\n[sales]\nhost=db.example.com\nuser=svc_etl\npassword=${PASSWORD}\nsslmode=require\n[lake]\nhost=x\n`

test('a service file, cut off at each character, damaged or enormous', async () => {
  await using folder = await temporaryFolder()
  const servicefile = join(folder.path, 'pg_service.conf')
  for (const value of [...truncations(SERVICE), ...damages(SERVICE)]) {
    await writeFile(servicefile, value, { mode: 0o600 })
    const { error } = await outcomeOf({ type: 'postgres', extra: { service: 'sales', servicefile } })
    assertPaths(error, JSON.stringify(value.slice(0, 200)))
  }
})

test('ids and names of files, cut off, damaged or enormous', async () => {
  for (const value of [...truncations('sales_db'), ...damages('sales_db')]) {
    await outcomeOf(value)
    await outcomeOf('sales', { stores: { file: value, environment: {} } })
    await outcomeOf('sales', { stores: { environment: { POOLSMITH_CONNECTIONS_FILE: value } } })
  }
})

test('the second argument itself may be anything', async () => {
  for (const stranger of STRANGERS) {
    for (const key of ['extra', 'on', 'stores', 'registry', 'knex', 'pool_size', 'nothing']) {
      const run = createEngine('postgres://db', { [key]: stranger } as EngineOptions)
      await run.then(
        (engine) => engine.destroy(),
        (error: unknown) => assert.ok(error instanceof PoolsmithError || error instanceof TypeError, inspect(error)),
      )
    }
  }
})
