/** The contract of pool and engine when a server fails, over every database. */

import assert from 'node:assert/strict'
import type { EventEmitter } from 'node:events'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { PoolsmithError } from '../../src/errors.ts'
import { createEngine } from '../../src/index.ts'
import { ask, begun, engineOf, failure, idle, placeOf, until } from './pool-sides.ts'
import type { SideKind } from './sides/side.ts'
import { stall } from './stall.ts'

export function poolFaultSuite(kind: SideKind): void {
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
}
