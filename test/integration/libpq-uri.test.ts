/** URIs with parts of the connection in their query: psql reads the same connection from them. */

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { createEngine, parseConnection, toAirflowUri } from '../../src/index.ts'
import { type PostgresServer, psql, startPostgres } from '../support/postgres.ts'

const PASSWORD = 'a+b &c%=/?#@:'
const WHO = "select current_user || ' ' || current_database() || ' ' || coalesce(inet_server_port()::text, 'socket')"

let server: PostgresServer
before(async () => {
  server = await startPostgres()
  await server.sql(`create role etl login password '${PASSWORD}'; create role other login password 'other'`)
  await server.sql('create database sales owner etl')
})
after(() => server[Symbol.asyncDispose]())

async function byPsql(uri: string): Promise<string> {
  const { code, stdout } = await psql(['-At', '-c', WHO, uri])
  return code === 0 ? stdout.trim() : 'refused'
}

async function byUs(uri: string): Promise<string> {
  try {
    await using db = await createEngine(uri, { pool_timeout: 10 })
    const { rows } = await db.raw(`${WHO} as who`)
    return rows[0].who
  } catch {
    return 'refused'
  }
}

test('the parts of a connection in the query of a URI win, as in psql', async () => {
  const { port, socketDirectory } = server
  const password = encodeURIComponent(PASSWORD)
  const folder = encodeURIComponent(socketDirectory)
  const tcp = `etl sales ${port}`
  const uris: readonly [uri: string, expected: string][] = [
    [`postgres:///sales?host=127.0.0.1&port=${port}&user=etl&password=${password}`, tcp],
    [`postgresql://other:other@127.0.0.1:1/postgres?port=${port}&user=etl&password=${password}&dbname=sales`, tcp],
    [`postgres://etl:${password}@elsewhere.invalid:${port}/sales?host=127.0.0.1`, tcp],
    [`postgres://etl:${password}@127.0.0.1:${port}/sales?port=1&port=${port}`, tcp],
    [`postgres://etl:${password}@127.0.0.1:${port}/sales?dbname=`, 'refused'],
    [`postgres://etl:wrong@127.0.0.1:${port}/sales?password=${password}`, tcp],
    [`postgres://etl:${password}@127.0.0.1:${port}/sales?password=wrong`, 'refused'],
    [`postgres://etl@127.0.0.1:${port}/sales?password=a%2Bb%20%26c%25%3D/?%23@:`, tcp],
    [`postgres:///sales?host=${folder}&port=${port}&user=etl`, 'etl sales socket'],
    [`postgres:///sales?host=${socketDirectory}&port=${port}&user=etl`, 'etl sales socket'],
    [`postgres://etl@127.0.0.1:${port}/sales?host=${folder}`, 'etl sales socket'],
    [`postgres://etl:${password}@nowhere.invalid:${port}/sales?hostaddr=127.0.0.1`, tcp],
  ]
  for (const [uri, expected] of uris) {
    const [theirs, ours] = await Promise.all([byPsql(uri), byUs(uri)])
    assert.deepEqual([theirs, ours], [expected, expected], uri)
    if (expected !== 'refused')
      assert.equal(await byUs(toAirflowUri(parseConnection(uri))), expected, 'written and read')
  }
})

test('SQLAlchemy hands the parts in the query to libpq', async () => {
  const { port, socketDirectory } = server
  const url = `postgresql+psycopg2://etl@/sales?host=${socketDirectory}&port=${port}`
  assert.equal(await byUs(url), 'etl sales socket')
  const twice = () => parseConnection('postgresql+psycopg2://etl@/sales?host=a&host=b')
  assert.throws(twice, { code: 'CONFIG_INVALID', message: /host: names several hosts/ })
})

test('a part that is no part, and one that is wrong, are named without their value', () => {
  for (const [query, path] of [
    ['port=5x32', 'port'],
    ['port=70000', 'port'],
    ['host=a%20b', 'host'],
    ['host=u:secret@h', 'host'],
    ['host=a,', 'host'],
    ['port=1,2', 'port'],
    ['host=a,b&port=70000,2', 'port'],
    // libpq takes it for a plus sign, Airflow for a space.
    ['password=70000+5x32', 'password'],
    ['usr=x', undefined],
  ] as const) {
    const read = () => parseConnection(`postgres://etl@h/sales?${query}`)
    if (path === undefined) read()
    else
      assert.throws(read, { code: 'CONFIG_INVALID', message: new RegExp(`${path}: (?!.*(5x32|70000|secret))`) }, query)
  }
})
