/** GSSAPI sessions over a wire that damages and cuts the bytes, and many of them one after the other. */

import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { PoolsmithError } from '../../src/errors.ts'
import { collectGarbage } from '../support/collect-garbage.ts'
import { gssCredential } from '../support/kerberos-postgres.ts'
import { cache, engine, realm, WHO } from '../support/kerberos-sessions.ts'
import { type Middle, startMiddle, type Tamper } from '../support/middle.ts'
import { driverFor, openSession } from '../support/postgres-driver.ts'

const DAMAGE: Readonly<Record<string, { readonly tamper: Tamper; readonly code: string }>> = {
  'cut in the middle': { tamper: () => 'cut', code: 'GSS_MESSAGE_DAMAGED' },
  altered: {
    tamper: (chunk) => {
      const at = chunk.length >> 1
      chunk[at] = (chunk[at] ?? 0) ^ 0x10
      return [chunk]
    },
    code: 'GSS_MESSAGE_DAMAGED',
  },
  repeated: { tamper: (chunk) => [chunk, chunk], code: 'GSS_MESSAGE_DAMAGED' },
  'shifted by a byte': { tamper: (chunk) => [Buffer.of(0), chunk], code: 'GSS_MESSAGE_DAMAGED' },
}

for (const [name, { tamper, code }] of Object.entries(DAMAGE)) {
  test(`bytes that are ${name} on their way end the session, and the pool opens another`, async () => {
    await using middle = await startMiddle(realm.server.port)
    await using db = await engine({ port: middle.port }, { pool_size: 1 })
    await db.raw('select 1')
    const pass = middle.toClient
    middle.toClient = (chunk) => {
      middle.toClient = pass
      return tamper(chunk)
    }
    const error = await db.raw("select repeat('x', 5000) as text").then(
      () => undefined,
      (reason: unknown) => reason,
    )
    // A packet that is repeated whole follows the answer: it hurts the session, but nobody who waits.
    if (name === 'repeated') await sleep(50)
    else {
      assert.ok(error instanceof PoolsmithError, String(error))
      assert.equal(error.code, code)
    }
    assert.equal((await db.raw(WHO)).rows[0].encrypted, true)
    assert.equal(middle.accepted(), 2)

    // The other way the server notices, and hangs up.
    const passThere = middle.toServer
    middle.toServer = (chunk) => {
      middle.toServer = passThere
      return tamper(chunk)
    }
    await db.raw('select length(?) as text', ['x'.repeat(5000)]).catch(() => undefined)
    const { rows } = await retried(() => db.raw(WHO))
    assert.equal(rows[0].encrypted, true)
    assert.equal(middle.accepted(), 3)
  })
}

/** The statement that meets the damage fails; the next one finds another session. */
async function retried<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run()
  } catch {
    return run()
  }
}

test('packets that arrive in pieces are put together again, both ways', async () => {
  await using middle: Middle = await startMiddle(realm.server.port)
  middle.toClient = () => 'dribble'
  middle.toServer = () => 'dribble'
  await using db = await engine({ port: middle.port })
  const text = 'x'.repeat(60_000)
  assert.equal((await db.raw('select ?::text as text', [text])).rows[0].text, text)
})

test('many connections leave neither memory nor open files behind', async () => {
  const target = { host: 'localhost', port: realm.server.port, login: 'alice', database: 'postgres' }
  const { driver } = driverFor(target, { gssencmode: 'require', hostaddr: '127.0.0.1' })
  const credential = gssCredential(cache, 'alice')
  const some = async (count: number): Promise<void> => {
    const lane = async (): Promise<void> => {
      for (let done = 0; done < count / 4; done++) {
        await using session = await openSession(driver, credential)
        await session.client.query('select 1')
      }
    }
    await Promise.all([lane(), lane(), lane(), lane()])
  }
  await some(300)
  const files = readdirSync('/proc/self/fd').length
  // Allocators grow in steps, and later on a busy machine. A security context that is not released is some 7 kB, so a
  // leak of one for each connection shows in every round.
  const growths: number[] = []
  do {
    collectGarbage()
    const before = process.memoryUsage().rss
    await some(300)
    collectGarbage()
    growths.push(process.memoryUsage().rss - before)
  } while (Math.min(...growths) >= 1.8e6 && growths.length < 12)
  assert.ok(Math.min(...growths) < 1.8e6, `memory grew by ${growths} bytes`)
  assert.ok(readdirSync('/proc/self/fd').length <= files + 2)
})
