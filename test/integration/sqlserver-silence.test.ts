/** A network that falls silent while SQL Server answers: noticed within `request_timeout`, and never a slow reader. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createEngine, type Engine, type EngineOptions } from '../../src/index.ts'
import { type Gate, startGate } from '../support/gate.ts'
import { createPki } from '../support/pki.ts'
import { startPostgres } from '../support/postgres.ts'
import { startTdsServer, type TdsServer } from '../support/tds/server.ts'

const resources = new AsyncDisposableStack()
let server: TdsServer
let gate: Gate

before(async () => {
  const postgres = resources.use(await startPostgres())
  const certificate = await (await createPki()).issue({ commonName: 'localhost', dns: ['localhost'] })
  server = resources.use(await startTdsServer({ postgres, logins: { sa: 'pw' }, tls: certificate }))
  gate = resources.use(await startGate(server.port))
})
after(() => resources.disposeAsync())

const engine = (request_timeout: number, options: EngineOptions = {}): Promise<Engine> =>
  createEngine(
    {
      type: 'mssql',
      host: 'localhost',
      port: gate.port,
      login: 'sa',
      password: 'pw',
      database: 'master',
      extra: { trust_server_certificate: true, request_timeout },
    },
    { pool_size: 1, max_overflow: 0, drain_timeout: 1, ...options },
  )

/** Far more than the bytes in transit at any moment. */
const MANY = "select n, repeat(N'x', 500) as t from generate_series(1, 40000) as n"

async function codeOf(work: PromiseLike<unknown>): Promise<unknown> {
  try {
    await work
  } catch (error) {
    return error instanceof Error && 'code' in error ? error.code : error
  }
  throw new assert.AssertionError({ message: 'It succeeded.' })
}

/** A silent connection is closed; the next one works as soon as the network does. */
async function assertReplaced(db: Engine): Promise<void> {
  gate.thaw()
  assert.deepEqual(await db.raw('select 1 as one'), [{ one: 1 }])
  assert.equal(db.pool.stats().counts.opened, 2)
  assert.equal(db.pool.stats().inUse, 0)
}

describe('silence', () => {
  test('before the first row ends the statement, and then the session', async () => {
    await using db = await engine(1)
    await db.raw('select 1 as one')
    gate.freeze()
    const begin = performance.now()
    assert.equal(await codeOf(db.raw('select 2 as two')), 'ETIMEOUT')
    assert.ok(performance.now() - begin < 5000)
    await assertReplaced(db)
  })

  test('in the middle of a stream ends it', async () => {
    await using db = await engine(1)
    const stream = db.raw(MANY).stream()
    await once(stream, 'data')
    gate.freeze()
    const begin = performance.now()
    const outcome = (async () => {
      for await (const _ of stream);
    })()
    assert.equal(await codeOf(outcome), 'ETIMEOUT')
    assert.ok(performance.now() - begin < 5000)
    await assertReplaced(db)
  })

  test('in the middle of a result without a stream ends it too', async () => {
    await using db = await engine(1)
    await db.raw('select 1 as one')
    server.faults.add({ at: 'rows', fault: { do: 'hang' }, after: 1000, times: 1 })
    assert.equal(await codeOf(db.raw(MANY)), 'ETIMEOUT')
    server.faults.clear()
    await assertReplaced(db)
  })

  test('does not count while the reader pauses, for any length of time', async () => {
    await using db = await engine(1)
    let rows = 0
    for await (const _ of db.raw(MANY).stream()) {
      rows++
      if (rows === 100 || rows === 30_000) await sleep(2000)
    }
    assert.equal(rows, 40_000)
    assert.equal(db.pool.stats().counts.opened, 1)
  })

  test('does not count while our own thread is busy', async () => {
    await using db = await engine(1)
    let rows = 0
    for await (const _ of db.raw(MANY).stream()) {
      rows++
      if (rows % 15_000 !== 0) continue
      const until = performance.now() + 1500
      while (performance.now() < until);
    }
    assert.equal(rows, 40_000)
  })
})

describe('a server that breaks off', () => {
  const statements = {
    request: 'select 2 as two',
    rows: MANY,
    // Its time limit sends the attention.
    attention: "waitfor delay '00:00:30'",
  } as const
  for (const at of ['request', 'rows', 'attention'] as const) {
    for (const what of ['hang', 'cut', 'reset', 'garble'] as const) {
      test(`at ${at}, by ${what}: the statement fails in time, and the next one has a session that works`, async () => {
        await using db = await engine(1)
        await db.raw('select 1 as one')
        server.faults.add({ at, fault: { do: what }, times: 1, ...(at === 'rows' ? { after: 1000 } : {}) })
        const begin = performance.now()
        const code = await codeOf(db.raw(statements[at]))
        server.faults.clear()
        assert.ok(performance.now() - begin < 5000)
        if (what === 'hang') assert.equal(code, 'ETIMEOUT')
        else assert.ok(code !== undefined)
        await assertReplaced(db)
      })
    }
  }

  test('by an error of its own keeps the session', async () => {
    await using db = await engine(0.5)
    await db.raw('select 1 as one')
    for (const at of ['request', 'rows'] as const) {
      const fault = { do: 'refuse', number: 1205, class: 13, message: 'You are the deadlock victim.' } as const
      server.faults.add({ at, fault, times: 1, ...(at === 'rows' ? { after: 1000 } : {}) })
      await assert.rejects(
        async () => db.raw(MANY),
        (error: Error & { number?: number }) => error.number === 1205,
      )
      server.faults.clear()
      assert.deepEqual(await db.raw('select 1 as one'), [{ one: 1 }])
    }
    assert.equal(db.pool.stats().counts.opened, 1)
  })
})
