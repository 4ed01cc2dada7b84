/** `service` and `passfile`, each file read beside psql: the same server, user, password and settings come out. */

import assert from 'node:assert/strict'
import { chmod, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { inspect } from 'node:util'
import { ConfigError, PoolsmithError } from '../../src/errors.ts'
import { createEngine, listConnections, parseConnection, resolveConnection } from '../../src/index.ts'
import { temporaryFolder } from '../support/folder.ts'
import { type PostgresServer, psql, startPostgres } from '../support/postgres.ts'

const PASSWORD = String.raw`pa:ss\word #1`
const WHO = `select current_user || ' ' || current_database() || ' ' || current_setting('application_name')`

const stack = new AsyncDisposableStack()
let folder: string
let server: PostgresServer

before(async () => {
  folder = stack.use(await temporaryFolder()).path
  server = stack.use(await startPostgres({ hba: ['host all all 127.0.0.1/32 scram-sha-256'] }))
  await server.sql(`create role etl login password '${PASSWORD}'`)
  await server.sql('create database sales')
})
after(() => stack.disposeAsync())

async function write(name: string, content: string): Promise<string> {
  const path = join(folder, name)
  await writeFile(path, content, { mode: 0o600 })
  return path
}

/** The answer of the session, or `refused`. */
async function byPsql(dsn: string, environment: Record<string, string> = {}): Promise<string> {
  const { code, stdout } = await psql(['-Atw', '-c', WHO, dsn], environment)
  return code === 0 ? stdout.trim() : 'refused'
}

async function byUs(input: string): Promise<string> {
  try {
    await using db = await createEngine(input, { pool_timeout: 10 })
    const { rows } = await db.raw(`${WHO} as who`)
    return rows[0].who
  } catch (error) {
    assert.ok(error instanceof PoolsmithError, inspect(error))
    assert.ok(!inspect(error, { depth: 9 }).includes(PASSWORD), inspect(error))
    return 'refused'
  }
}

const at = () =>
  `host=127.0.0.1\nport=${server.port}\ndbname=postgres\nuser=etl\npassword=${PASSWORD}\napplication_name=etl\n`

describe('service', () => {
  const cases: Readonly<Record<string, () => [file: string, dsn: string]>> = {
    'the whole connection': () => [`[sales]\n${at()}`, 'service=sales'],
    'with comments, blanks and other services': () => [
      `# x\n[other]\nhost=nowhere.invalid\n\n  [sales]  \n\t${at()}# end\n[third]\nuser=postgres\n`,
      'service=sales',
    ],
    'the connection itself takes precedence': () => [
      `[sales]\n${at()}`,
      'service=sales dbname=sales application_name=a',
    ],
    'the first of two values counts': () => [`[sales]\n${at()}dbname=nowhere\n`, 'service=sales'],
    'a service that is not there': () => [`[sale]\n${at()}`, 'service=sales'],
    'a name that continues': () => [`[sales2]\n${at()}`, 'service=sales'],
    'an unknown key': () => [`[sales]\n${at()}nonsense=1\n`, 'service=sales'],
    'a line without a value': () => [`[sales]\n${at()}nonsense\n`, 'service=sales'],
    'a blank before the =': () => [`[sales]\nuser =etl\n${at()}`, 'service=sales'],
    'a service in a service': () => [`[sales]\n${at()}service=other\n`, 'service=sales'],
  }
  for (const [name, make] of Object.entries(cases)) {
    test(`is read as by psql: ${name}`, async () => {
      const [content, dsn] = make()
      const file = await write('pg_service.conf', content)
      const theirs = await byPsql(dsn, { PGSERVICEFILE: file })
      assert.equal(await byUs(`${dsn} servicefile=${file}`), theirs)
    })
  }

  test('is named by a URI, a record and an id, and listed as where it leads', async () => {
    const file = await write('pg_service.conf', `[sales]\n${at()}keepalives_count=3\n`)
    const uri = `postgres:///?service=sales&servicefile=${encodeURIComponent(file)}`
    const expected = { type: 'postgres', host: '127.0.0.1', port: server.port, login: 'etl', database: 'postgres' }
    const record = { type: 'postgres', extra: { service: 'sales', servicefile: file } }
    const environment = { POOLSMITH_CONN_X: uri }
    const [listed] = await listConnections({ environment, cwd: folder })
    for (const connection of [
      await resolveConnection(uri),
      await resolveConnection(record),
      await resolveConnection(parseConnection(record)),
      await resolveConnection('x', { environment }),
      listed?.connection,
    ]) {
      assert.ok(connection)
      const { id: _, password, ...rest } = connection
      assert.deepEqual(rest, { ...expected, extra: { application_name: 'etl', keepalives_count: '3' } })
      assert.equal(password?.reveal(), PASSWORD)
    }
  })

  test('that cannot be read is a problem of extra.service, which repeats no line', async () => {
    const file = await write('pg_service.conf', `[sales]\npassword=hunter2\nhunter2\n[lake]\nport=hunter2\n`)
    const cases: [string, object, RegExp][] = [
      ['extra.service', { service: 'sales' }, /line 3 is none of libpq's keywords/],
      ['extra.service', { service: 'sale' }, /no service "sale" .* Did you mean sales\?/],
      [
        'extra.service',
        { service: 'x', servicefile: join(folder, 'none') },
        /does not exist.*set servicefile for another file/,
      ],
      ['extra.service', { service: ['sales'] }, /expected a name/],
      ['extra.servicefile', { service: 'sales', servicefile: 'hunter2' }, /expected the path of a file/],
      ['port', { service: 'lake' }, /expected a whole number/],
    ]
    for (const [path, extra, message] of cases) {
      await assert.rejects(resolveConnection({ type: 'postgres', extra: { servicefile: file, ...extra } }), (error) => {
        assert.ok(error instanceof ConfigError, inspect(error))
        assert.equal(error.problems[0]?.path, path)
        assert.match(error.message, message)
        assert.ok(!inspect(error).includes('hunter2'), inspect(error))
        return true
      })
    }
  })

  test('that cannot be read is one problem, beside those of the other options', async () => {
    const record = { type: 'postgres', extra: { service: 'x', servicefile: join(folder, 'none'), pool_size: 'x' } }
    await assert.rejects(createEngine(record), (error) => {
      assert.ok(error instanceof ConfigError, inspect(error))
      assert.deepEqual(error.problems.map(({ path }) => path).toSorted(), ['extra.pool_size', 'extra.service'])
      return true
    })
  })

  test('in the second argument says where to write it', async () => {
    await assert.rejects(createEngine('postgres://h', { extra: { service: 'sales' } }), {
      message: /extra\.service: is read where the connection itself names it/,
    })
  })
})

describe('passfile', () => {
  const escaped = PASSWORD.replaceAll(/[\\:]/g, '\\$&')
  const cases: Readonly<Record<string, () => string>> = {
    'a line of its own': () => `127.0.0.1:${server.port}:postgres:etl:${escaped}\n`,
    'wildcards, comments, and the first that fits': () =>
      `# *:*:*:*:x\n\n127.0.0.1:1:*:*:x\n*:*:*:other:x\n*:*:postgres:*:${escaped}\r\n*:*:*:*:x\n`,
    'without an end of line': () => `*:*:*:*:${escaped}`,
    'an escaped part': () => String.raw`127\.0.0.1:*:post\gres:etl:${escaped}`,
    'a wrong password first': () => `*:*:*:*:x\n*:*:*:etl:${escaped}\n`,
    'too few parts': () => `*:*:*:${escaped}\n`,
    'a star that is escaped': () => String.raw`\*:*:*:*:${escaped}`,
    'blanks round a part': () => ` *:*:*:*:${escaped}\n`,
    'another host': () => `localhost:*:*:*:${escaped}\n`,
    'an empty file': () => '',
  }
  for (const [name, make] of Object.entries(cases)) {
    test(`is read as by psql: ${name}`, async () => {
      const passfile = await write('pgpass', make())
      const dsn = `host=127.0.0.1 port=${server.port} dbname=postgres user=etl application_name=x passfile=${passfile}`
      assert.equal(await byUs(dsn), await byPsql(dsn))
    })
  }

  test('that other users may read is refused, with the command that helps', async () => {
    const passfile = await write('pgpass', `*:*:*:*:${escaped}`)
    await chmod(passfile, 0o640)
    const record = { type: 'postgres', host: '127.0.0.1', port: server.port, login: 'etl', database: 'postgres' }
    await using db = await createEngine({ ...record, extra: { passfile } })
    await assert.rejects(db.raw('select 1'), { code: 'CREDENTIAL_FAILED', hint: `Run chmod 0600 ${passfile}` })
    await chmod(passfile, 0o600)
    await using other = await createEngine({ ...record, extra: { passfile } })
    assert.deepEqual((await other.raw('select 1 as one')).rows, [{ one: 1 }])
  })

  test('counts where the connection holds no password, and not beside password_file', async () => {
    const passfile = await write('pgpass', `*:*:*:*:wrong`)
    const record = { type: 'postgres', host: '127.0.0.1', port: server.port, login: 'etl', database: 'postgres' }
    await using db = await createEngine({ ...record, password: PASSWORD, extra: { passfile } })
    assert.deepEqual((await db.raw('select 1 as one')).rows, [{ one: 1 }])
    await assert.rejects(createEngine({ ...record, extra: { passfile, password_file: passfile } }), {
      message: /extra\.passfile: password_file names a password too/,
    })
  })

  test('without a line that fits says which one is missing', async () => {
    const passfile = await write('pgpass', `other:*:*:*:${escaped}`)
    const record = { type: 'postgres', host: '127.0.0.1', port: server.port, login: 'etl' }
    await using db = await createEngine({ ...record, extra: { passfile } })
    await assert.rejects(db.raw('select 1'), {
      code: 'CREDENTIAL_MISSING',
      hint: `Add 127.0.0.1:${server.port}:etl:etl:PASSWORD; * stands for any part.`,
    })
  })
})
