/** Errors of statements after which a session of SQL Server is not handed out again, or is checked first. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createEngine, type Engine } from '../../src/index.ts'
import { open, testDriver } from '../support/tds/driver.ts'
import type { TdsServer } from '../support/tds/server.ts'
import { SA, sa, sqlServerSetup } from '../support/tds/setup.ts'

const { caFile, start } = await sqlServerSetup()

const WRITE = 'insert into marks values (1)'

type Extra = Readonly<Record<string, unknown>>

function engineOf(servers: readonly TdsServer[], extra: Extra = {}): Promise<Engine> {
  const [only, ...others] = servers
  const host = servers.map(({ port }) => `localhost:${port}`).join(',')
  const address = others.length > 0 ? { host } : { host: 'localhost', port: only?.port }
  const options = { ca_file: caFile, pool_size: 3, max_overflow: 0, ...extra }
  return createEngine({ type: 'mssql', ...address, login: 'sa', password: SA, database: 'master', extra: options })
}

/** The sessions of a full pool, idle again. */
async function fill({ pool }: Engine): Promise<ReadonlySet<object>> {
  const all = await Promise.all([1, 2, 3].map(() => pool.acquire().promise))
  for (const raw of all) pool.release(raw)
  return new Set(all)
}

interface Closed {
  readonly reason: string
  readonly message: string | undefined
}

function closedOf({ pool }: Engine): readonly Closed[] {
  const closed: Closed[] = []
  pool.on('connection:closed', ({ reason, cause }) => closed.push({ reason, message: cause?.message }))
  return closed
}

for (const pool_pre_ping of [true, false]) {
  test(`after error 3906 no session to the read-only database is handed out again (pool_pre_ping=${pool_pre_ping})`, async () => {
    await using server = await start()
    await using db = await engineOf([server], { pool_pre_ping })
    const closed = closedOf(db)
    const before = await fill(db)
    server.faults.readOnly = true
    await assert.rejects(db.raw(WRITE), { number: 3906 })
    server.faults.readOnly = false
    // The database has come back before the check: nothing is closed.
    assert.deepEqual(await fill(db), before)

    server.faults.readOnly = true
    await assert.rejects(db.raw(WRITE), { number: 3906 })
    const after = await fill(db)
    assert.deepEqual(
      [...after].filter((raw) => before.has(raw)),
      [],
    )
    // The first session may be checked on its return already.
    const reasons = closed.map(({ reason }) => reason).toSorted()
    assert.match(reasons.join(), /^ping-failed,ping-failed,(ping|reset)-failed$/)
    for (const { message } of closed) assert.match(message ?? '', /has become read-only/)

    // The new ones were read-only from their login on: further refusals close nothing.
    await assert.rejects(db.raw(WRITE), { number: 3906 })
    assert.deepEqual(await fill(db), after)
    assert.equal(closed.length, 3)
  })
}

for (const number of [976, 983, 40_613]) {
  test(`a session that has reported error ${number} is not handed out again, and the others are checked first`, async () => {
    await using server = await start()
    await using db = await engineOf([server])
    const closed = closedOf(db)
    const before = await fill(db)
    server.faults.add({ at: 'request', fault: { do: 'refuse', number }, times: 1, sql: /replica/ })
    const asked = server.journal.requests.length
    await assert.rejects(db.raw("select 'replica' as a"), { number })
    const after = await fill(db)
    assert.equal([...after].filter((raw) => before.has(raw)).length, 2)
    assert.deepEqual(
      closed.map(({ reason }) => reason),
      ['broken'],
    )
    const checks = server.journal.requests.slice(asked).filter((sql) => /^select .*Updateability/.test(sql))
    assert.equal(checks.length, 2)
  })
}

test('a refused write closes no session where application_intent=ReadOnly asks for a readable replica', async () => {
  await using server = await start()
  server.faults.readOnly = true
  await using db = await engineOf([server], { application_intent: 'ReadOnly' })
  const before = await fill(db)
  await assert.rejects(db.raw(WRITE), { number: 3906 })
  assert.deepEqual(await fill(db), before)
})

test('after a failover one write fails, and all others go to the new primary', async () => {
  await using first = await start()
  await using second = await start()
  second.faults.readOnly = true
  await using db = await engineOf([first, second], { target_session_attrs: 'primary' })
  await db.raw('create table failed_over (n int)')
  await fill(db)
  const roles: unknown[] = []
  db.pool.on('place:role', ({ port, before, role }) => roles.push({ port, before, role }))
  await db('failed_over').insert({ n: 1 })
  first.faults.readOnly = true
  // There is no primary for a moment: callers wait for one.
  await assert.rejects(db('failed_over').insert({ n: 2 }), { number: 3906 })
  const writes = [3, 4, 5, 6].map((n) => db('failed_over').insert({ n }))
  second.faults.readOnly = false
  await Promise.all(writes)
  assert.deepEqual(await db('failed_over').orderBy('n').pluck('n'), [1, 3, 4, 5, 6])
  for (const raw of await fill(db)) assert.equal(db.pool.infoOf(raw)?.peer, `127.0.0.1:${second.port}`)
  await db.raw('drop table failed_over')
  assert.partialDeepStrictEqual(roles, [{ port: first.port, before: 'primary', role: 'secondary' }])
  const places = db.pool.stats().places.map(({ port, role, state, sessions }) => ({ port, role, state, sessions }))
  assert.deepEqual(places, [
    { port: first.port, role: 'secondary', state: 'up', sessions: 0 },
    { port: second.port, role: 'primary', state: 'up', sessions: 3 },
  ])
})

test('a check of a session for readers finds that its database can be written now', async () => {
  await using server = await start()
  server.faults.readOnly = true
  const target = { host: 'localhost', port: server.port, login: 'sa' }
  const { driver } = testDriver(target, { ca_file: caFile, target_session_attrs: 'standby' })
  const { raw } = await open(driver, sa())
  await driver.ping(raw)
  server.faults.readOnly = false
  await assert.rejects(driver.ping(raw), { code: 'SERVER_ROLE_MISMATCH', message: /has become a primary/ })
  await driver.close(raw)
})
