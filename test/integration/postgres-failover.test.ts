/**
 * A standby is promoted while a pool writes: by a list of hosts, through HAProxy as Patroni sets it up, and behind a
 * network that has become silent or was cut. No write that was acknowledged is lost, and none is made twice.
 */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { layCable, mayLayCables } from '../support/cable.ts'
import { assertGoesOn, ENOUGH, engineOn, Load, POOL_SIZE, startPair, WORKERS } from '../support/failover.ts'
import { startHaproxy } from '../support/haproxy.ts'
import { startMiddle } from '../support/middle.ts'
import { promote } from '../support/standby.ts'

test('by a list of hosts: once the new primary has been written to, no statement fails any more', async () => {
  await using pair = await startPair()
  const { first, second, places } = pair
  await using db = await engineOn(places, pair, { target_session_attrs: 'primary' })
  using load = new Load(db)
  await load.more(ENOUGH)
  await first.stop('fast')
  await promote(second)
  const begun = await assertGoesOn(second, load)
  assert.deepEqual(
    load.failures.filter(({ n, code }) => n > begun || code === '25006'),
    [],
  )
  assert.deepEqual(
    db.pool.stats().places.map(({ state, role }) => [state, role]),
    [
      ['down', 'primary'],
      ['up', 'primary'],
    ],
  )
})

test('through HAProxy, which asks for the primary as Patroni has it: writing goes on at the new primary', async () => {
  await using pair = await startPair()
  const { first, second } = pair
  /** The answer of Patroni's API at each server to the question for the primary. */
  const status = { first: 200, second: 503 }
  const api = { first: apiOf(() => status.first), second: apiOf(() => status.second) }
  try {
    const server = async (name: 'first' | 'second'): Promise<string> => {
      api[name].listen(0, '127.0.0.1')
      await once(api[name], 'listening')
      return `127.0.0.1:${pair[name].port} check port ${(api[name].address() as AddressInfo).port}`
    }
    await using haproxy = await startHaproxy({
      servers: { first: await server('first'), second: await server('second') },
      lines: [
        'option httpchk OPTIONS /primary',
        'http-check expect status 200',
        // A check that is answered late counts as answered.
        'timeout check 30s',
        'default-server inter 200ms fall 2 rise 1 on-marked-down shutdown-sessions',
      ],
    })
    await using db = await engineOn([`127.0.0.1:${haproxy.port}`], pair, { target_session_attrs: 'read-write' })
    using load = new Load(db)
    await load.more(ENOUGH)
    status.first = 503
    await first.stop('fast')
    await promote(second)
    status.second = 200
    await assertGoesOn(second, load)
    assert.deepEqual(
      load.failures.filter(({ code }) => code === '25006'),
      [],
    )
    const again = Array.from({ length: ENOUGH }, (_, index) => db('written').insert({ n: -index - 1 }))
    await Promise.all(again)
  } finally {
    for (const one of [api.first, api.second]) one.close()
  }
})

function apiOf(status: () => number) {
  return createServer((_request, response) => {
    response.writeHead(status(), { connection: 'close' })
    response.end()
  })
}

test('a primary that has become silent: idle sessions are given up, and callers get the new primary in time', async () => {
  await using pair = await startPair()
  const { first, second, places } = pair
  await using middle = await startMiddle(first.port)
  await using db = await engineOn([`127.0.0.1:${middle.port}`, places[1]], pair, {
    target_session_attrs: 'primary',
    connect_timeout: 5,
    pool_ping_timeout: 0.5,
  })
  const { pool } = db
  const held = await Promise.all(Array.from({ length: POOL_SIZE }, () => pool.acquire().promise))
  for (const raw of held) pool.release(raw)
  middle.toClient = () => []
  middle.toServer = () => []
  await promote(second)
  // A session that was used a moment ago is handed out without a check.
  await sleep(600)
  await Promise.all(Array.from({ length: WORKERS }, (_, n) => db('written').insert({ n })))
  assert.equal(await second.sql('select count(*) from written'), String(WORKERS))
  const [silent, other] = pool.stats().places
  assert.deepEqual([silent?.state, silent?.sessions, other?.state], ['down', 0, 'up'])
})

test('a network that is cut: each session loses the statement in flight, and writing goes on at the new primary', async (t) => {
  if (!mayLayCables(t)) return
  using cable = layCable()
  await using pair = await startPair(cable)
  const { first, second, places } = pair
  // An answer that is lost shows by the probes, a statement that is lost by the kernel's table.
  await using db = await engineOn(places, pair, {
    target_session_attrs: 'primary',
    connect_timeout: 5,
    keepalives_idle: 1,
  })
  using load = new Load(db)
  await load.more(ENOUGH)
  await cable.pull()
  await promote(second)
  const begun = await assertGoesOn(second, load)
  assert.ok(load.failures.length <= POOL_SIZE, JSON.stringify(load.failures))
  assert.deepEqual(
    load.failures.filter(({ n, code }) => n > begun || code !== 'CONNECTION_LOST'),
    [],
  )
  const [cut, other] = db.pool.stats().places
  assert.deepEqual([cut?.state, cut?.sessions, other?.state], ['down', 0, 'up'])
  // It waits for the standby, which is not there any more.
  await first.stop('immediate')
})
