/** The contract of pool and engine over every database: the time limit, faults, resets, events, streams. */

import assert from 'node:assert/strict'
import type { EventEmitter } from 'node:events'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { PoolsmithError } from '../../src/errors.ts'
import { createEngine, type Engine, type EngineOptions } from '../../src/index.ts'
import type { Side, SideKind } from './sides/side.ts'

/** Longer than the time for which a connection is trusted without a ping. */
const BEYOND_TRUST_MILLIS = 600

async function failure(work: PromiseLike<unknown>): Promise<PoolsmithError> {
  try {
    await work
  } catch (error) {
    if (error instanceof PoolsmithError) return error
    throw error
  }
  throw new assert.AssertionError({ message: 'It succeeded.' })
}

function placeOf({ connection: { type, host, port, database } }: Side) {
  const system = type === 'mssql' ? 'microsoft.sql_server' : 'postgresql'
  return { poolName: `${host}:${port}/${database}`, system, host, port, database }
}

async function until(condition: () => boolean): Promise<void> {
  const limit = performance.now() + 20_000
  while (!condition()) {
    assert.ok(performance.now() < limit, 'it did not come about within 20 s')
    await sleep(20)
  }
}

/** Blocks the event loop for this time. */
function stall(millis: number): void {
  const end = performance.now() + millis
  while (performance.now() < end);
}

export function poolSuite(kind: SideKind): void {
  const engineOf = (side: Side, options: EngineOptions = {}): Promise<Engine> => createEngine(side.connection, options)
  const ask = (side: Side, db: Engine, sql: string): Promise<unknown> => db.pool.use((raw) => side.run(raw, sql))

  /** Opens `count` connections and leaves them idle until the next acquire must ping. */
  async function idle({ pool }: Engine, count: number): Promise<void> {
    const all = await Promise.all(Array.from({ length: count }, () => pool.acquire().promise))
    for (const raw of all) pool.release(raw)
    await sleep(BEYOND_TRUST_MILLIS)
  }

  /** knex sends a statement only when its promise is awaited. */
  const begun = (work: PromiseLike<unknown>): Promise<unknown> => Promise.resolve(work)

  describe(`${kind.name}: faults`, () => {
    test('a server that is down is refused at once with the reason, and works again without help when it is back', async () => {
      await using side = await kind.start()
      await using db = await engineOf(side, { pool_size: 3, max_overflow: 0, pool_min_idle: 1 })
      assert.equal(await ask(side, db, 'select 1 as n'), 1)
      await side.stop()
      // The session was used a moment ago, so only the end of its socket shows that it is dead.
      await sleep(100)
      const begin = performance.now()
      const errors = await Promise.all(Array.from({ length: 50 }, () => failure(db.pool.acquire().promise)))
      assert.ok(performance.now() - begin < 5000, 'no caller waits for a server that is down')
      for (const error of errors) {
        assert.deepEqual([error.code, error.phase, error.transient], ['CONNECT_REFUSED', 'connect', true])
      }
      await side.start()
      assert.equal(await ask(side, db, 'select 2 as n'), 2)
      // The warm-up works again too, after its pause.
      for (let tries = 0; db.pool.stats().idle === 0 && tries < 100; tries++) await sleep(100)
      assert.ok(db.pool.stats().idle >= 1)
    })

    test('a session that was killed while idle is never handed out', async () => {
      await using side = await kind.start()
      await using db = await engineOf(side, { pool_size: 4, max_overflow: 0 })
      const all = await Promise.all(Array.from({ length: 4 }, () => db.pool.acquire().promise))
      const ids = all.map((raw) => db.pool.infoOf(raw)?.processId)
      const ended = all.map((raw) => new Promise((resolve) => (raw as EventEmitter).once('end', resolve)))
      for (const raw of all) db.pool.release(raw)
      assert.equal(new Set(ids).size, 4)
      for (const id of ids) await side.kill(id ?? -1)
      // They were used a moment ago, so only the end of their sockets shows that they are dead.
      await Promise.all(ended)
      const answers = await Promise.all(
        Array.from({ length: 8 }, () =>
          db.pool.use(async (raw) => [await side.run(raw, 'select 7 as n'), db.pool.infoOf(raw)?.processId] as const),
        ),
      )
      for (const [answer, id] of answers) {
        assert.equal(answer, 7)
        assert.ok(!ids.includes(id), `session ${id} was killed`)
      }
    })

    test('a session that is killed while idle is closed at once and replaced for pool_min_idle, without a caller', async () => {
      await using side = await kind.start()
      await using db = await engineOf(side, { pool_min_idle: 2 })
      const closed = Promise.withResolvers<readonly [string, PoolsmithError | undefined]>()
      db.pool.on('connection:closed', ({ reason, cause }) => closed.resolve([reason, cause]))
      const raw = await db.pool.acquire().promise
      const id = db.pool.infoOf(raw)?.processId ?? -1
      db.pool.release(raw)
      await side.kill(id)
      const [reason, cause] = await closed.promise
      assert.deepEqual([reason, cause?.code], ['broken', 'CONNECTION_LOST'])
      assert.deepEqual(cause?.details, placeOf(side))
      await until(() => db.pool.stats().idle === 2)
      assert.equal(await ask(side, db, 'select 3 as n'), 3)
    })

    test('a session that is killed in use fails its own statement and is replaced', async () => {
      await using side = await kind.start()
      await using db = await engineOf(side, { pool_size: 1, max_overflow: 0 })
      const closed: string[] = []
      db.pool.on('connection:closed', ({ reason }) => closed.push(reason))
      const raw = await db.pool.acquire().promise
      const statement = assert.rejects(side.run(raw, kind.slow))
      await sleep(50)
      await side.kill(db.pool.infoOf(raw)?.processId ?? -1)
      await statement
      db.pool.release(raw)
      assert.equal(await ask(side, db, 'select 3 as n'), 3)
      assert.deepEqual(closed, ['broken'])
    })

    test('a frozen server with idle connections: one ping, then one attempt, and the error comes in time', async () => {
      await using side = await kind.start()
      await using db = await engineOf(side, {
        pool_size: 4,
        max_overflow: 0,
        pool_timeout: 4,
        pool_ping_timeout: 1,
        drain_timeout: 1,
      })
      await idle(db, 4)
      side.freeze()
      const begin = performance.now()
      const error = await failure(db.pool.acquire().promise)
      const millis = performance.now() - begin
      assert.equal(error.code, 'CONNECT_TIMEOUT')
      assert.ok(millis > 3900 && millis < 6000, `answered after ${millis} ms`)
      assert.equal(db.pool.stats().idle, 0, 'the others were not left for the next ones to wait for')
      side.thaw()
      assert.equal(await ask(side, db, 'select 5 as n'), 5)
    })

    test('a server frozen from the start: 200 waiting callers get the phase in time, and few connections are tried', async () => {
      await using side = await kind.start()
      await using db = await engineOf(side, { pool_size: 3, max_overflow: 2, pool_timeout: 2, drain_timeout: 1 })
      side.freeze()
      const begin = performance.now()
      const errors = await Promise.all(Array.from({ length: 200 }, () => failure(db.pool.acquire().promise)))
      assert.ok(performance.now() - begin < 5000)
      for (const error of errors) assert.deepEqual([error.code, error.phase], ['CONNECT_TIMEOUT', kind.firstWait])
      side.thaw()
      assert.ok(db.pool.stats().counts.failed + db.pool.stats().opening <= 10)
      assert.equal(await ask(side, db, 'select 6 as n'), 6)
    })

    test('a frozen server: destroy() still ends, with connections idle, in use and being opened', async () => {
      await using side = await kind.start()
      const db = await engineOf(side, { pool_size: 3, max_overflow: 0, drain_timeout: 1 })
      await idle(db, 2)
      const raw = await db.pool.acquire().promise
      side.freeze()
      const statement = assert.rejects(side.run(raw, 'select 1 as n'))
      const waiting = failure(Promise.all([1, 2, 3].map(() => db.pool.acquire().promise)))
      const begin = performance.now()
      await db.destroy()
      assert.ok(performance.now() - begin < 5000)
      await statement
      assert.equal((await waiting).code, 'POOL_CLOSED')
      assert.equal(db.pool.stats().total, 0)
      side.thaw()
    })

    test('a database that is down is reported at once although a caller still holds a session', async () => {
      await using side = await kind.start()
      await using db = await engineOf(side, { pool_timeout: 20, drain_timeout: 1 })
      const held = await db.pool.acquire().promise
      await side.stop()
      const begin = performance.now()
      const error = await failure(db.pool.acquire().promise)
      assert.equal(error.code, 'CONNECT_REFUSED')
      assert.ok(performance.now() - begin < 10_000)
      db.pool.release(held)
    })

    test('a blocked event loop costs no session: answers that have arrived are read first', async () => {
      await using side = await kind.start()
      await using db = await engineOf(side, { pool_size: 2, max_overflow: 0, pool_ping_timeout: 0.2 })
      await idle(db, 2)
      // From here on the loop runs its timers before its sockets.
      await new Promise((resolve) => setImmediate(resolve))
      const waiting = [db.pool.acquire().promise, db.pool.acquire().promise]
      stall(1000)
      for (const raw of await Promise.all(waiting)) db.pool.release(raw)
      assert.equal(db.pool.stats().counts.opened, 2)
      assert.equal(db.pool.stats().counts.closed, 0)
    })

    test('an event loop that was blocked for all of pool_timeout is named in the error, and the session is kept', async () => {
      await using side = await kind.start()
      await using db = await engineOf(side, { pool_size: 1, max_overflow: 0, pool_timeout: 1 })
      const waiting = failure(db.pool.acquire().promise)
      // The attempt has begun when the loop is blocked.
      await sleep(1)
      stall(3000)
      const error = await waiting
      assert.deepEqual([error.code, error.phase, error.transient], ['EVENT_LOOP_STALLED', 'pool', true])
      const raw = await db.pool.acquire().promise
      assert.equal(await side.run(raw, 'select 1 as n'), 1)
      db.pool.release(raw)
      assert.deepEqual([db.pool.stats().counts.opened, db.pool.stats().counts.failed], [1, 0])
    })

    test('a wrong password and an unknown host are reported at once, with their own codes', async () => {
      await using side = await kind.start()
      const begin = performance.now()
      await using wrong = await createEngine({ ...side.connection, password: 'wrong' })
      const refused = await failure(begun(wrong.raw('select 1 as n')))
      assert.deepEqual([refused.code, refused.phase], ['LOGIN_REFUSED', 'login'])
      const { host, port, database } = placeOf(side)
      assert.ok(
        refused.message.startsWith(`The connection to ${host}:${port} (database ${database}) failed: `),
        refused.message,
      )
      assert.deepEqual({ ...refused.details, ...placeOf(side) }, refused.details)
      await using nowhere = await createEngine({ ...side.connection, host: 'no-such-host.invalid' })
      const unknown = await failure(begun(nowhere.raw('select 1 as n')))
      assert.equal(unknown.phase, 'dns')
      assert.ok(performance.now() - begin < 10_000)
    })
  })

  describe(`${kind.name}: a pool that works`, () => {
    let side: Side
    before(async () => {
      side = await kind.start()
      await using db = await engineOf(side)
      await ask(side, db, kind.setUp)
    })
    after(() => side[Symbol.asyncDispose]())

    for (const mode of ['rollback', 'full', 'none'] as const) {
      for (const { what, leave, look, clean, left, goneIn } of kind.traces) {
        const gone = goneIn.includes(mode)
        test(`reset ${mode}: ${what} is ${gone ? 'gone' : 'still there'}`, async () => {
          await using db = await engineOf(side, { pool_size: 1, max_overflow: 0, pool_reset_on_return: mode })
          await ask(side, db, leave)
          assert.equal(await ask(side, db, look), gone ? clean : left)
          assert.equal(db.pool.stats().counts.opened, 1, 'by the same session')
        })
      }
    }

    test('a statement that still runs on return is stopped before the next caller gets the session', async () => {
      await using db = await engineOf(side, { pool_size: 1, max_overflow: 0 })
      const raw = await db.pool.acquire().promise
      const stopped = assert.rejects(side.run(raw, kind.slow))
      db.pool.release(raw)
      assert.equal(await ask(side, db, 'select 1 as n'), 1)
      await stopped
      assert.equal(db.pool.stats().counts.opened, 1)
    })

    test('a session that is returned busy repeatedly gathers no listeners', async () => {
      await using db = await engineOf(side, { pool_size: 1, max_overflow: 0 })
      const counts: number[] = []
      for (let round = 0; round < 8; round++) {
        const raw = await db.pool.acquire().promise
        const emitter = raw as EventEmitter
        counts.push(emitter.eventNames().reduce((sum, name) => sum + emitter.listenerCount(name), 0))
        const stopped = assert.rejects(side.run(raw, kind.slow))
        db.pool.release(raw)
        await stopped
      }
      assert.equal(db.pool.stats().counts.opened, 1)
      // The first statement may load and set up more in the session.
      assert.equal(counts.at(-1), counts[1], String(counts))
    })

    test('a full pool and a dead database never give the same error', async () => {
      await using db = await engineOf(side, { pool_size: 1, max_overflow: 0, pool_timeout: 2 })
      const raw = await db.pool.acquire().promise
      const begin = performance.now()
      const error = await failure(db.pool.acquire().promise)
      assert.deepEqual([error.code, error.phase], ['POOL_EXHAUSTED', 'pool'])
      const { host, port, database } = placeOf(side)
      assert.match(
        error.message.replace(`${host}:${port} (database ${database})`, 'PLACE'),
        /^No connection to PLACE became free within 2 s \(pool_timeout\): 1 of 1 connections is in use, 1 caller is waiting; the longest use has lasted [\d.]+ s\.$/,
      )
      assert.match(error.hint ?? '', /transaction/)
      assert.deepEqual({ ...error.details, ...placeOf(side) }, error.details)
      assert.ok(performance.now() - begin >= 1990)
      db.pool.release(raw)
      assert.equal(await ask(side, db, 'select 4 as n'), 4)
    })

    test('a caller that stops waiting gets no session and takes none from the others', async () => {
      await using db = await engineOf(side, { pool_size: 1, max_overflow: 0 })
      const raw = await db.pool.acquire().promise
      const abort = new AbortController()
      const waiting = failure(db.pool.acquire({ signal: abort.signal }).promise)
      abort.abort()
      assert.equal((await waiting).code, 'ABORTED')
      db.pool.release(raw)
      assert.equal(await ask(side, db, 'select 4 as n'), 4)
      assert.equal(db.pool.stats().inUse, 0)
    })

    test('a leak names the line of the program for raw, builders, streams, transactions and the pool', async () => {
      const db = await engineOf(side, { leak_detection_threshold: 0.05, drain_timeout: 0 })
      const stacks: string[] = []
      db.pool.on('connection:leaked', ({ stack = '' }) => stacks.push(stack))
      const ended: Promise<unknown>[] = []
      const begins = {
        async byRaw() {
          await db.raw(kind.slow)
        },
        async byBuilder() {
          await db.count('* as c').from(db.raw(`(${kind.numbers(20_000_000)}) as x`))
        },
        async byStream() {
          for await (const _ of db.raw(kind.numbers(100_000)).stream()) await sleep(1000)
        },
        async byTransaction() {
          await db.transaction(async (trx) => {
            await trx.raw('select 1 as n')
            await sleep(1000)
          })
        },
        async byPool() {
          await db.pool.use(() => sleep(1000))
        },
      }
      for (const [name, begin] of Object.entries(begins)) {
        const known = stacks.length
        ended.push(begin().catch(() => undefined))
        await until(() => stacks.length > known)
        const [, first = '', ...rest] = stacks.at(-1)?.split('\n') ?? []
        const lines = name === 'byPool' ? rest.join('\n') : first
        assert.match(lines, new RegExp(`${name} .*pool-suite\\.ts`), stacks.at(-1))
      }
      await db.destroy()
      await Promise.all(ended)
    })

    test('emits events in the order in which things happen', async () => {
      const told: string[] = []
      const db = await engineOf(side, {
        pool_size: 1,
        max_overflow: 0,
        on: {
          'connection:opened': ({ identity }) => told.push(`opened as ${identity}`),
          'pool:acquired': () => told.push('acquired'),
          'pool:released': () => told.push('released'),
          'connection:closed': ({ reason }) => told.push(`closed, ${reason}`),
          'pool:destroyed': () => told.push('destroyed'),
        },
      })
      await db.raw('select 1 as n')
      await db.destroy()
      const opened = `opened as ${side.connection.login}`
      assert.deepEqual(told, [opened, 'acquired', 'released', 'closed, drained', 'destroyed'])
    })

    test('knex commits, rolls back, and returns every connection', async () => {
      await using db = await engineOf(side, { pool_size: 2, max_overflow: 0 })
      await db('marks').del()
      await db.transaction(async (trx) => {
        await Promise.all([1, 2, 3].map((n) => trx('marks').insert({ n })))
      })
      await assert.rejects(
        db.transaction(async (trx) => {
          await trx('marks').insert({ n: 4 })
          throw new Error('no')
        }),
        /^Error: no$/,
      )
      assert.deepEqual(await db('marks').orderBy('n').pluck('n'), [1, 2, 3])
      await db('marks').del()
      assert.equal(db.pool.stats().inUse, 0)
    })

    test('a stream that is left early or read to its end returns a clean connection', async () => {
      await using db = await engineOf(side, { pool_size: 1, max_overflow: 0, pool_timeout: 10 })
      for await (const row of db.raw(kind.numbers(1_000_000)).stream()) if (row.n === 3) break
      assert.deepEqual(kind.rowsOf(await db.raw('select 1 as n')), [{ n: 1 }])
      let rows = 0
      for await (const _ of db.raw(kind.numbers(5000)).stream()) rows++
      assert.equal(rows, 5000)
      assert.deepEqual(kind.rowsOf(await db.raw('select 2 as n')), [{ n: 2 }])
      assert.equal(db.pool.stats().counts.opened, 1)
    })

    test('an abandoned statement is cancelled, or its connection is not used again', async () => {
      await using db = await engineOf(side, { pool_size: 1, max_overflow: 0 })
      await assert.rejects(begun(db.raw(kind.slow).timeout(200, { cancel: true })), /timeout/i)
      assert.deepEqual(kind.rowsOf(await db.raw('select 1 as n')), [{ n: 1 }])
      assert.equal(db.pool.stats().counts.opened, 1)
      await assert.rejects(begun(db.raw(kind.slow).timeout(200)), /timeout/i)
      assert.deepEqual(kind.rowsOf(await db.raw('select 1 as n')), [{ n: 1 }])
      assert.equal(db.pool.stats().counts.opened, 2)
    })
  })
}
