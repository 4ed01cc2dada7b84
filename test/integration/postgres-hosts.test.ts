/** Lists of hosts against psql: what goes on to the next host, what stops, and which role is taken. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { createEngine } from '../../src/index.ts'
import { errorResponse, type Peer, startFakePostgres } from '../support/fake-postgres.ts'
import { freePort } from '../support/free-port.ts'
import { type PostgresServer, psql, startPostgres } from '../support/postgres.ts'
import { libpq18 } from '../support/postgres-builds.ts'
import { driverFor, openSession, passwordCredential } from '../support/postgres-driver.ts'
import { ask, postgresPool } from '../support/postgres-pool.ts'
import { promote, REPLICATED, startStandby } from '../support/standby.ts'

let primary: PostgresServer
let standby: PostgresServer
let other: PostgresServer

before(async () => {
  ;[primary, other] = await Promise.all([startPostgres({ flavor: 'debian', hba: REPLICATED }), startPostgres()])
  standby = await startStandby(primary)
})
after(async () => {
  for (const server of [standby, primary, other]) await server?.[Symbol.asyncDispose]()
})

interface Place {
  readonly host: string
  readonly port: number
}

const QUESTION = "select current_setting('port')"

/** The port that answers psql, or `refused`: by the libpq of Debian 12 (15), and by that of PostgreSQL 18, which must agree. */
async function byPsql(places: readonly Place[], extra: Record<string, string>, password: string): Promise<string> {
  const [old, current] = await Promise.all([
    // It knows no load_balance_hosts.
    extra['load_balance_hosts'] === undefined ? askPsql(places, extra, password, {}) : undefined,
    askPsql(places, extra, password, await libpq18()),
  ])
  if (old !== undefined) assert.equal(current, old, 'both versions of libpq')
  return current
}

async function askPsql(
  places: readonly Place[],
  extra: Record<string, string>,
  password: string,
  library: Readonly<Record<string, string>>,
): Promise<string> {
  const words = {
    host: places.map(({ host }) => host).join(','),
    port: places.map(({ port }) => port).join(','),
    user: 'postgres',
    dbname: 'postgres',
    sslmode: 'disable',
    gssencmode: 'disable',
    ...extra,
  }
  const line = Object.entries(words).map(([key, value]) => `${key}='${value}'`)
  const { code, stdout } = await psql(['-Atc', QUESTION, line.join(' ')], { PGPASSWORD: password, ...library })
  return code === 0 ? stdout.trim() : 'refused'
}

/** The port that answers us, or `refused`. */
async function byUs(places: readonly Place[], extra: Record<string, string>, password: string): Promise<string> {
  const host = places.map((place) => `${place.host}:${place.port}`).join(',')
  const target = {
    host: places.length === 1 ? places[0]?.host : host,
    port: places.length === 1 ? places[0]?.port : undefined,
  }
  const { driver } = driverFor({ ...target, login: 'postgres', database: 'postgres' }, { sslmode: 'disable', ...extra })
  try {
    await using session = await openSession(driver, passwordCredential(password))
    return (await session.client.query({ text: QUESTION, rowMode: 'array' })).rows[0]?.[0]
  } catch {
    return 'refused'
  }
}

const TARGETS = ['any', 'read-write', 'read-only', 'primary', 'standby', 'prefer-standby']

describe('several hosts, as psql takes them', () => {
  test('every target_session_attrs takes the same server as psql, in every order', async () => {
    const password = primary.superuserPassword
    for (const places of [[primary, standby], [standby, primary], [primary], [standby]]) {
      for (const target of TARGETS) {
        const extra = { target_session_attrs: target }
        const [theirs, ours] = await Promise.all([byPsql(places, extra, password), byUs(places, extra, password)])
        const about = `${target} of ${places.map((place) => (place === primary ? 'primary' : 'standby')).join(', ')}`
        assert.equal(ours, theirs, about)
      }
    }
  })

  test('default_transaction_read_only decides about read-write and read-only', async (t) => {
    const password = primary.superuserPassword
    await primary.sql('alter role postgres set default_transaction_read_only = on')
    t.after(() => primary.sql('begin read write; alter role postgres reset default_transaction_read_only; commit'))
    for (const target of TARGETS) {
      const extra = { target_session_attrs: target }
      assert.equal(await byUs([primary], extra, password), await byPsql([primary], extra, password), target)
    }
  })

  const refusing = (C: string) => async (peer: Peer) => {
    await peer.startup()
    peer.send(errorResponse({ C, M: 'no' }))
    peer.end()
  }
  const FAULTS: readonly (readonly [what: string, fault: (peer: Peer) => Promise<void>, goesOn: boolean])[] = [
    ['is starting (57P03)', refusing('57P03'), true],
    ['refuses the password (28P01)', refusing('28P01'), false],
    ['does not admit the user (28000)', refusing('28000'), false],
    ['has no such database (3D000)', refusing('3D000'), false],
    ['is full (53300)', refusing('53300'), false],
    ['is being stopped (57P01)', refusing('57P01'), false],
    ['refuses the connection (08004)', refusing('08004'), false],
    [
      'hangs up in the start-up',
      async (peer) => {
        await peer.startup()
        peer.end()
      },
      false,
    ],
    [
      'is silent for connect_timeout',
      async (peer) => {
        await peer.startup()
        peer.drain()
      },
      true,
    ],
  ]
  for (const [what, fault, goesOn] of FAULTS) {
    test(`a first host that ${what} ${goesOn ? 'leaves the next one to try' : 'ends the attempt'}`, async () => {
      await using fake = await startFakePostgres(fault)
      const extra = { connect_timeout: '2' }
      const places = [fake, primary]
      const expected = goesOn ? String(primary.port) : 'refused'
      const password = primary.superuserPassword
      assert.deepEqual(await Promise.all([byPsql(places, extra, password), byUs(places, extra, password)]), [
        expected,
        expected,
      ])
    })
  }

  test('a host where nothing listens and a name without an address leave the next one to try', async () => {
    const places = [{ host: 'no-such-host.invalid', port: 5432 }, { host: '127.0.0.1', port: await freePort() }, other]
    const password = other.superuserPassword
    assert.equal(await byPsql(places, {}, password), String(other.port))
    assert.equal(await byUs(places, {}, password), String(other.port))
  })

  test('a wrong password is not tried at the next host', async () => {
    const before = (other.log().match(/password authentication failed/g) ?? []).length
    assert.equal(await byUs([primary, other], {}, 'wrong'), 'refused')
    assert.equal(await byPsql([primary, other], {}, 'wrong'), 'refused')
    assert.equal((other.log().match(/password authentication failed/g) ?? []).length, before)
  })

  test('hostaddr is a list beside the hosts', async () => {
    const places = [
      { ...primary, host: 'no-such-host.invalid', port: primary.port },
      { host: 'localhost', port: other.port },
    ]
    const extra = { hostaddr: '127.0.0.1,' }
    assert.equal(await byPsql(places, extra, primary.superuserPassword), String(primary.port))
    assert.equal(await byUs(places, extra, primary.superuserPassword), String(primary.port))
  })

  test('load_balance_hosts=random opens sessions at every host', async () => {
    await other.sql(`alter role postgres password '${primary.superuserPassword}'`)
    const seen = new Set<string>()
    // The chance that 60 openings miss one of two hosts is below one in 10^17.
    for (let openings = 0; seen.size < 2 && openings < 60; openings++) {
      seen.add(await byUs([primary, other], { load_balance_hosts: 'random' }, primary.superuserPassword))
    }
    await other.sql(`alter role postgres password '${other.superuserPassword}'`)
    assert.deepEqual(seen, new Set([String(primary.port), String(other.port)]))
  })
})

test('the error of a list names every place with its phase and its cause', async () => {
  await using fake = await startFakePostgres(async (peer) => {
    await peer.startup()
    peer.send(errorResponse({ C: '57P03', M: 'the database system is starting up' }))
    peer.end()
  })
  const dead = await freePort()
  const { driver } = driverFor(
    { host: `127.0.0.1:${dead},127.0.0.1:${fake.port}`, login: 'x', database: 'x' },
    { sslmode: 'disable' },
  )
  await assert.rejects(openSession(driver, passwordCredential('x')), (error: unknown) => {
    assert.ok(error instanceof Error && 'details' in error && 'code' in error)
    const { places } = error.details as { places: { place: string; phase: string; code: string }[] }
    assert.deepEqual(
      places.map(({ place, phase, code }) => [place, phase, code]),
      [
        [`127.0.0.1:${dead}`, 'connect', 'CONNECT_REFUSED'],
        [`127.0.0.1:${fake.port}`, 'login', 'SERVER_NOT_READY'],
      ],
    )
    assert.equal(error.code, 'SERVER_NOT_READY')
    assert.match(error.message, new RegExp(`${dead} \\(connect\\): .*${fake.port} \\(login\\): `))
    return true
  })
})

test('a dead first host costs one connect_timeout in all: later openings try it last', async () => {
  await using silent = await startFakePostgres(async (peer) => {
    await peer.startup()
    peer.drain()
  })
  const host = `127.0.0.1:${silent.port},127.0.0.1:${other.port}`
  const { superuser, superuserPassword } = other
  await using pool = postgresPool(
    { host, port: undefined as never, superuser, superuserPassword },
    { pool_size: 6, max_overflow: 0 },
    { driver: { connect_timeout: 1 } },
  )
  const clients = [await pool.acquire().promise]
  assert.equal(silent.accepted(), 1)
  for (let opened = 1; opened < 6; opened++) clients.push(await pool.acquire().promise)
  for (const client of clients) pool.release(client)
  // After ten seconds, which a slow machine may need, one opening probes it.
  assert.ok(silent.accepted() <= 2, `${silent.accepted()}`)
})

test('an engine on a list follows the primary through a promotion', async () => {
  await using first = await startPostgres({ flavor: 'debian', hba: REPLICATED })
  await using second = await startStandby(first)
  await first.sql('create table written (n int primary key)')
  await using writers = await createEngine({
    type: 'postgres',
    host: '127.0.0.1,127.0.0.1',
    port: `${first.port},${second.port}`,
    login: 'postgres',
    password: first.superuserPassword,
    database: 'postgres',
    extra: { sslmode: 'disable', target_session_attrs: 'primary', pool_size: 3, max_overflow: 0 },
  })
  await using readers = postgresPool(
    {
      ...second,
      host: second.host,
      port: second.port,
      superuser: 'postgres',
      superuserPassword: second.superuserPassword,
    },
    { pool_size: 2, max_overflow: 0, pool_timeout: 6 },
    { driver: { target_session_attrs: 'standby' } },
  )
  await writers('written').insert({ n: 1 })
  assert.equal(await ask(readers, 'select pg_is_in_recovery()'), true)
  // Callers that come while there is no primary wait for one, and none of them sees an error.
  await first.stop('fast')
  const writes = [2, 3, 4].map((n) => writers('written').insert({ n }))
  await promote(second)
  await Promise.all(writes)
  assert.equal(await second.sql('select count(*) from written'), '4')
  // The open session learns of the promotion by a check or with its next answer, and is not handed out again.
  const asked = () => ask(readers, 'select pg_is_in_recovery()')
  const answer = await asked().catch(({ code }: { readonly code?: unknown }) => code)
  assert.ok(answer === false || answer === 'SERVER_ROLE_MISMATCH', String(answer))
  await assert.rejects(asked(), { code: 'SERVER_ROLE_MISMATCH' })
})
