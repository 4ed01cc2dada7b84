/** The promises of `session_init` and `onSession`, over both databases. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createEngine, type Engine, type EngineOptions, PoolsmithError } from '../../src/index.ts'
import type { Side, SideKind } from './sides/side.ts'

async function failure(work: PromiseLike<unknown>): Promise<PoolsmithError> {
  const error = await Promise.resolve(work).then(
    () => assert.fail('it succeeded'),
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof PoolsmithError, String(error))
  return error
}

async function endSession(session: object): Promise<void> {
  if ('close' in session) (session as { close(): void }).close()
  else await (session as { end(): Promise<void> }).end()
}

export function sessionHookSuite(kind: SideKind): void {
  describe(`${kind.name}: session_init and onSession`, () => {
    let side: Side
    before(async () => {
      side = await kind.start()
      await using db = await createEngine(side.connection)
      await db.pool.use((raw) => side.run(raw, 'create table steps (n int)'))
    })
    after(() => side[Symbol.asyncDispose]())

    const open = (options: EngineOptions): Promise<Engine> =>
      createEngine(side.connection, { pool_size: 1, max_overflow: 0, pool_timeout: 5, drain_timeout: 1, ...options })
    const ask = (db: Engine, sql: string): Promise<unknown> => db.pool.use((raw) => side.run(raw, sql))
    const steps = async (db: Engine): Promise<number> => Number(await ask(db, 'select count(*) as n from steps'))

    test('both run once for each session, in this order, before it is first handed out', async () => {
      const seen: unknown[] = []
      await using db = await open({
        session_init: 'insert into steps values (1); insert into steps values (2)',
        async onSession(session, { id, identity }) {
          seen.push([await side.run(session, 'select count(*) as n from steps'), id, typeof identity])
        },
        on: { 'connection:opened': ({ id }) => seen.push(`opened ${id}`) },
      })
      await ask(db, 'delete from steps')
      for (let uses = 0; uses < 3; uses++) await ask(db, 'select 1 as n')
      assert.deepEqual(
        seen.map((one) => (Array.isArray(one) ? one.map(String) : one)),
        [['2', '1', 'string'], 'opened 1'],
      )
      db.pool.invalidate()
      assert.equal(await steps(db), 2)
      assert.equal(seen.length, 4)
    })

    test('both run again after a reset under full, and what they set is there for every user', async () => {
      let calls = 0
      await using db = await open({
        pool_reset_on_return: 'full',
        session_init: 'insert into steps values (1)',
        onSession: () => void calls++,
      })
      await ask(db, 'select 1 as n')
      await ask(db, 'select 1 as n')
      assert.ok(calls >= 2, `${calls}`)
      // An untouched session is not reset, so the hook's own statements do not count as a use.
      const before = calls
      for (let uses = 0; uses < 3; uses++) await db.pool.use(() => undefined)
      assert.ok(calls <= before + 1, `${calls} after ${before}`)
    })

    test('a failure closes the session and is the error of the caller', async () => {
      const closed: string[] = []
      const cause = new Error('no such tenant')
      await using refused = await open({ session_init: 'select * from no_such_table' })
      refused.pool.on('connection:failed', ({ error }) => closed.push(error.code))
      const first = await failure(ask(refused, 'select 1 as n'))
      assert.deepEqual([first.code, first.phase, first.details.step], ['SESSION_INIT_FAILED', 'query', 'session_init'])
      assert.match(first.message, /no_such_table/)
      assert.deepEqual(closed, ['SESSION_INIT_FAILED'])

      await using db = await open({
        onSession() {
          throw cause
        },
      })
      const second = await failure(ask(db, 'select 1 as n'))
      assert.deepEqual([second.code, second.details.step, second.cause], ['SESSION_INIT_FAILED', 'onSession', cause])
      assert.equal(db.pool.stats().total, 0)
    })

    test('a hook that never returns costs pool_timeout and leaves no session behind', async () => {
      const sessions: object[] = []
      await using db = await open({
        pool_timeout: 0.5,
        onSession(session) {
          sessions.push(session)
          return new Promise(() => undefined)
        },
      })
      const failed = new Promise((resolve) => db.pool.on('connection:failed', resolve))
      const error = await failure(ask(db, 'select 1 as n'))
      assert.deepEqual([error.code, error.phase], ['CONNECT_TIMEOUT', 'query'])
      assert.match(error.message, /onSession/)
      assert.equal(db.pool.stats().total, 0)
      await failed
      const [session] = sessions
      await assert.rejects(side.run(session as object, 'select 1 as n'))
    })

    test('the statement of a hook that hangs is ended on the server, in an opening and in a reset', async () => {
      const isOver = async (): Promise<void> => {
        for (let tries = 0; await side.runsSlow(); tries++) {
          assert.ok(tries < 200, 'the statement ends within ten seconds')
          await sleep(50)
        }
      }
      await using opening = await open({ pool_timeout: 1, session_init: kind.slow })
      assert.equal((await failure(ask(opening, 'select 1 as n'))).code, 'CONNECT_TIMEOUT')
      await isOver()

      let calls = 0
      await using db = await open({
        pool_reset_on_return: 'full',
        pool_ping_timeout: 1,
        onSession: async (session) => void (++calls === 2 && (await side.run(session, kind.slow))),
      })
      const closed = new Promise((resolve) => db.pool.on('connection:closed', resolve))
      await ask(db, 'select 1 as n')
      assert.equal(((await closed) as { reason: string }).reason, 'reset-failed')
      await isOver()
    })

    test('a hook that ends the session without waiting for its end hands on none', async () => {
      await using db = await open({ onSession: (session) => void endSession(session) })
      assert.equal((await failure(ask(db, 'select 1 as n'))).code, 'SESSION_INIT_FAILED')
    })

    test('a hook that ends the session, or leaves a transaction and a statement, hands on neither', async () => {
      await using ended = await open({ onSession: endSession })
      assert.equal((await failure(ask(ended, 'select 1 as n'))).code, 'SESSION_INIT_FAILED')

      await using db = await open({ onSession: (session) => void side.run(session, 'begin transaction') })
      await ask(db, 'delete from steps')
      await using other = await open({})
      assert.equal(await steps(other), 0)
      await ask(db, 'insert into steps values (7)')
      // A transaction that the hook left open would take the row back.
      db.pool.invalidate()
      assert.equal(await steps(other), 1)
    })
  })
}
