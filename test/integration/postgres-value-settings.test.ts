/** Values arrive in the form that pg reads, whatever a role, a database or a pooler sets. */

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import { createEngine } from '../../src/index.ts'
import { type Pooler, startPgbouncer, startPgpool } from '../support/pooler.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import {
  driverFor,
  openingError,
  openSession,
  passwordCredential,
  type TestDriver,
} from '../support/postgres-driver.ts'

const PASSWORD = 'a p4ssword'
const DATABASES = ['plain', 'strange'] as const
/** Each of them makes some value arrive in another form, or another literal mean something else. */
const STRANGE = {
  datestyle: "'German'",
  intervalstyle: "'iso_8601'",
  extra_float_digits: '0',
  client_encoding: "'LATIN1'",
  standard_conforming_strings: 'off',
  bytea_output: "'escape'",
} as const

/** A line for a PgBouncer that takes the start-up parameters and does nothing with them. */
const IGNORING = 'ignore_startup_parameters = extra_float_digits,IntervalStyle'

let servers: Readonly<Record<string, PostgresServer>> = {}
const poolers: Pooler[] = []

before(async () => {
  const hba = ['host all all 127.0.0.1/32 trust']
  const [eighteen, fifteen, thirteen] = await Promise.all([
    startPostgres({ hba }),
    startPostgres({ hba, flavor: 'debian' }),
    startPostgres({ hba, flavor: 'embedded-13', config: { datestyle: 'SQL, MDY', intervalstyle: 'sql_standard' } }),
  ])
  servers = { 'PostgreSQL 18': eighteen, 'PostgreSQL 15': fifteen, 'PostgreSQL 13': thirteen }
  for (const server of Object.values(servers)) {
    for (const role of ['usual', 'odd']) await server.sql(`create role ${role} login password '${PASSWORD}'`)
    for (const name of DATABASES) await server.sql(`create database ${name}`)
    for (const [name, value] of Object.entries(STRANGE)) {
      await server.sql(`alter role odd set ${name} = ${value}; alter database strange set ${name} = ${value}`)
    }
    await server.sql('alter role usual in database plain set bytea_output = escape')
  }
})
after(async () => {
  for (const pooler of poolers) await pooler[Symbol.asyncDispose]()
  for (const server of Object.values(servers)) await server[Symbol.asyncDispose]()
})

function driverTo(port: number, login: string, database: string, options?: string): TestDriver {
  return driverFor({ host: '127.0.0.1', port, login, database }, { sslmode: 'disable', options })
}

const BOUND = {
  day: '2020-02-01',
  moment: '2020-02-01 03:04:05.678+00',
  text: "a\\b'c ä €",
  bytes: Buffer.from([0, 92, 39, 255]),
}

async function assertValues(client: pg.Client): Promise<void> {
  const { rows } = await client.query(
    `select $1::date as day, array[$1::date] as days, $2::timestamptz as moment,
       interval '1 year 2 days 03:04:05.5' as span, 0.1::float8 + 0.2::float8 as float, 1.1::float4 as small,
       $3::text as text, 'a\\b' as literal, $4::bytea as bytes`,
    [BOUND.day, BOUND.moment, BOUND.text, BOUND.bytes],
  )
  const { span, ...row } = rows[0]
  const day = new Date(2020, 1, 1)
  assert.deepEqual(row, {
    day,
    days: [day],
    moment: new Date('2020-02-01T03:04:05.678Z'),
    float: 0.30000000000000004,
    small: 1.1,
    text: BOUND.text,
    literal: 'a\\b',
    bytes: BOUND.bytes,
  })
  assert.deepEqual({ ...span }, { years: 1, days: 2, hours: 3, minutes: 4, seconds: 5, milliseconds: 500 })
}

/** Opens two sessions after each other, uses them, and cleans them up for the next caller. */
async function assertSessions({ driver }: TestDriver): Promise<void> {
  for (let round = 0; round < 2; round++) {
    await using session = await openSession(driver, passwordCredential(PASSWORD))
    await assertValues(session.client)
    await driver.reset(session.client, 'full')
    await assertValues(session.client)
  }
}

const LOGINS = [
  ['odd', 'plain'],
  ['usual', 'strange'],
  ['odd', 'strange'],
  ['usual', 'plain'],
] as const

for (const [login, database] of LOGINS) {
  test(`values arrive for the role ${login} in the database ${database}`, async () => {
    for (const server of Object.values(servers)) await assertSessions(driverTo(server.port, login, database))
  })
}

for (const poolMode of ['session', 'transaction'] as const) {
  test(`values arrive through PgBouncer (pool_mode=${poolMode})`, async () => {
    for (const server of Object.values(servers)) {
      // One session with the server, so that the next client sees a SET under transaction pooling.
      const bouncer = await startPgbouncer(server, {
        poolMode,
        users: { odd: PASSWORD, usual: PASSWORD },
        lines: ['default_pool_size = 1'],
      })
      poolers.push(bouncer)
      await assertSessions(driverTo(bouncer.port, 'odd', 'plain'))
      await assertSessions(driverTo(bouncer.port, 'usual', 'strange'))
      assert.match(bouncer.log(), /unsupported startup parameter/, 'the first attempt was refused')
    }
  })
}

test('values arrive through a PgBouncer that ignores the start-up parameters', async () => {
  for (const server of Object.values(servers)) {
    const bouncer = await startPgbouncer(server, {
      users: { odd: PASSWORD },
      lines: [IGNORING],
    })
    poolers.push(bouncer)
    await assertSessions(driverTo(bouncer.port, 'odd', 'plain'))
    assert.doesNotMatch(bouncer.log(), /unsupported startup parameter/)
  }
})

test('values arrive through a PgBouncer that repeats the report of an earlier session', async () => {
  const server = servers['PostgreSQL 15'] as PostgresServer
  await server.sql(`create role changed login password '${PASSWORD}'`)
  for (const lines of [[], [IGNORING]]) {
    const bouncer = await startPgbouncer(server, { users: { changed: PASSWORD }, lines })
    poolers.push(bouncer)
    await server.sql('alter role changed reset all')
    await assertSessions(driverTo(bouncer.port, 'changed', 'plain'))
    await server.sql("alter role changed set intervalstyle = 'iso_8601'")
    await server.sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'changed'")
    while (!/ S-0x\w+: .*closing because: /.test(bouncer.log())) await sleep(10)
    await assertSessions(driverTo(bouncer.port, 'changed', 'plain'))
  }
})

test('values arrive from a list of hosts of which one is a server and another a pooler', async () => {
  const server = servers['PostgreSQL 15'] as PostgresServer
  for (const lines of [[], [IGNORING]]) {
    const bouncer = await startPgbouncer(server, { users: { odd: PASSWORD }, lines })
    poolers.push(bouncer)
    const hosts = [server.port, bouncer.port].map((port) => `127.0.0.1:${port}`)
    const target = { host: hosts.join(','), login: 'odd', database: 'plain' }
    const { driver } = driverFor(target, { sslmode: 'disable' })
    const { places = [] } = driver
    for (const at of [...places, ...places]) {
      const signal = AbortSignal.timeout(10_000)
      const client = await driver.open(passwordCredential(PASSWORD), { signal, enter: () => undefined, at })
      await assertValues(client)
      await driver.close(client)
    }
  }
})

test('a start-up parameter is sent only once to a pooler that refuses it', async () => {
  const server = servers['PostgreSQL 15'] as PostgresServer
  const bouncer = await startPgbouncer(server, { users: { odd: PASSWORD } })
  poolers.push(bouncer)
  const driver = driverTo(bouncer.port, 'odd', 'plain')
  for (let round = 0; round < 3; round++) await assertSessions(driver)
  assert.equal(bouncer.log().match(/closing because: unsupported startup parameter/g)?.length, 1)
})

test('values arrive through pgpool, also over a reused session', async () => {
  const server = servers['PostgreSQL 15'] as PostgresServer
  const pgpool = await startPgpool(server)
  poolers.push(pgpool)
  await assertSessions(driverTo(pgpool.port, 'odd', 'plain'))
  await assertSessions(driverTo(pgpool.port, 'usual', 'strange'))
})

test('the order of day and month in input remains the one of the role', async () => {
  for (const server of Object.values(servers)) {
    const { driver } = driverTo(server.port, 'odd', 'plain')
    await using session = await openSession(driver, passwordCredential(PASSWORD))
    const { rows } = await session.client.query("select '01.02.2020'::date::text as day")
    assert.deepEqual(rows, [{ day: '2020-02-01' }])
  }
})

test('settings in `options` are left alone, except the encoding', async () => {
  const options =
    '-c datestyle=German -cintervalstyle=iso_8601 --extra-float-digits=0 -c standard_conforming_strings=off -c client_encoding=LATIN1'
  for (const server of Object.values(servers)) {
    const { driver } = driverTo(server.port, 'usual', 'plain', options)
    await using session = await openSession(driver, passwordCredential(PASSWORD))
    const { rows } = await session.client.query(
      "select date '2020-02-01'::text as day, interval '1 day'::text as span, (0.1::float8 + 0.2)::text as float, 'ä' as text",
    )
    assert.deepEqual(rows, [{ day: '01.02.2020', span: 'P1D', float: '0.3', text: 'ä' }])
    await assert.rejects(session.client.query("select 'a\\'"), { code: '42601' })
  }
})

test('a session with the right settings costs no round trip, except the first one of a driver', async () => {
  const server = servers['PostgreSQL 15'] as PostgresServer
  await server.sql("alter role usual set log_statement = 'all'")
  const { driver } = driverTo(server.port, 'usual', 'plain')
  const before = server.log().length
  for (let round = 0; round < 4; round++) {
    await using session = await openSession(driver, passwordCredential(PASSWORD))
    await session.client.query('select 4711')
    await driver.reset(session.client, 'full')
  }
  const count = (wanted: RegExp): number => server.log().slice(before).match(wanted)?.length ?? 0
  // The log comes over a pipe.
  while (count(/statement: select 4711/g) < 4) await sleep(10)
  const said = server.log().slice(before)
  assert.equal(said.match(/statement: show extra_float_digits/g)?.length, 1)
  assert.doesNotMatch(said, /statement: set /)
})

test('dates of a role with another style arrive through knex', async () => {
  const server = servers['PostgreSQL 18'] as PostgresServer
  await using db = await createEngine(
    {
      type: 'postgres',
      host: '127.0.0.1',
      port: server.port,
      login: 'odd',
      password: PASSWORD,
      database: 'strange',
      extra: { sslmode: 'disable' },
    },
    { pool_reset_on_return: 'full', pool_size: 1, max_overflow: 0 },
  )
  for (let round = 0; round < 2; round++) {
    const { rows } = await db.raw("select date '2020-02-01' as day, interval '2 days' as span")
    assert.deepEqual(rows[0].day, new Date(2020, 1, 1))
    assert.deepEqual({ ...rows[0].span }, { days: 2 })
  }
})

test('a server that keeps a setting under which values cannot be read is refused', async () => {
  // A pooler that sets it anew behind each transaction.
  const server = servers['PostgreSQL 15'] as PostgresServer
  const bouncer = await startPgbouncer(server, {
    poolMode: 'transaction',
    users: { odd: PASSWORD },
    lines: ["server_reset_query = set intervalstyle = 'iso_8601'", 'server_reset_query_always = 1'],
  })
  poolers.push(bouncer)
  const error = await openingError(driverTo(bouncer.port, 'odd', 'plain').driver, passwordCredential(PASSWORD))
  assert.deepEqual([error.code, error.phase], ['SETTING_REFUSED', 'login'])
  assert.match(error.message, /keeps IntervalStyle at iso_8601/)
})
