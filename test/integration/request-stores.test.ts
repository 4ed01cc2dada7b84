/** A pool keeps nothing in memory of what a service stores in AsyncLocalStorage for a request that has ended. */

import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { test } from 'node:test'
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import { createEngine, type Engine } from '../../src/index.ts'
import { collectGarbage } from '../support/collect-garbage.ts'
import { postgresSide } from '../support/sides/postgres.ts'
import { sqlServerSide } from '../support/sides/sqlserver.ts'

const requests = new AsyncLocalStorage<object>()

const ROUNDS = 3
/** Collections until a store counts as kept. One is enough for what nothing refers to. */
const COLLECTIONS = 20

/** A request with a store of its own, which no function captures: V8 keeps those on the stack of an error. */
function request(work: () => Promise<void>): Promise<WeakRef<object>> {
  return requests.run({ request: 'data of one user' }, async () => {
    const store = new WeakRef(requests.getStore() as object)
    await work()
    assert.ok(requests.getStore() !== undefined && requests.getStore() === store.deref(), 'it has its store to its end')
    return store
  })
}

async function isCollected(store: WeakRef<object>): Promise<boolean> {
  for (let count = 0; count < COLLECTIONS; count++) {
    // A value that a WeakRef has given stays until the end of a turn.
    await turn()
    collectGarbage()
    if (store.deref() === undefined) return true
    await sleep(10)
  }
  return false
}

for (const kind of [postgresSide, sqlServerSide]) {
  const work: Readonly<Record<string, (db: Engine) => Promise<void>>> = {
    'that opens a session and runs a statement': async (db) => {
      await db.raw('select 1')
      assert.equal(db.pool.stats().counts.opened, 1)
    },
    'that waits for a session which another one returns': async (db) => {
      const raw = await db.pool.acquire().promise
      const waiting = db.pool.acquire().promise
      assert.equal(db.pool.stats().waiting, 1)
      db.pool.release(raw)
      db.pool.release(await waiting)
    },
    'whose session is reset': async (db) => {
      const raw = await db.pool.acquire().promise
      await kind.rowsOf(await db.raw('select 1').connection(raw))
      db.pool.release(raw)
      await db.raw('select 2')
    },
    'that fails': async (db) => {
      await assert.rejects(db.raw('select wrong'))
    },
    'in a transaction': async (db) => {
      await db.transaction(async (trx) => {
        await trx.raw('insert into marks values (7)')
      })
    },
  }

  for (const [title, ofRequest] of Object.entries(work)) {
    test(`${kind.name}: the store of a request ${title} is collected while the pool lives`, async () => {
      await using side = await kind.start()
      await using setUp = await createEngine(side.connection)
      // In a request too: timers of the whole process are set by the first statement.
      const before = await request(async () => void (await setUp.raw(kind.setUp)))
      if (kind === sqlServerSide) await setUp.raw('select 1')
      assert.ok(await isCollected(before))
      for (let round = 0; round < ROUNDS; round++) {
        // Of its own, so that each round opens a session, and sets every timer anew.
        await using db = await createEngine(side.connection, {
          pool_size: 1,
          max_overflow: 0,
          pool_reset_on_return: 'full',
          leak_detection_threshold: 60,
        })
        const first = await request(() => ofRequest(db))
        const second = await request(() => ofRequest(db).catch(() => undefined))
        // tedious itself keeps the context of the last statement of each session until the next one.
        if (kind === sqlServerSide) await db.raw('select 1')
        assert.ok(await isCollected(first), `round ${round}: the first request`)
        assert.ok(await isCollected(second), `round ${round}: the second request`)
        assert.equal(db.pool.stats().closed, false)
      }
    })
  }
}
