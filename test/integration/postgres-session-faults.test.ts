/** Servers that damage or end an open session. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PoolsmithError } from '../../src/errors.ts'
import { collectGarbage } from '../support/collect-garbage.ts'
import {
  authentication,
  errorResponse,
  type FakePostgres,
  message,
  type Peer,
  startFakePostgres,
} from '../support/fake-postgres.ts'
import { openSession, passwordCredential } from '../support/postgres-driver.ts'
import { driverTo, PASSWORD } from '../support/postgres-faults.ts'

/** An open session in which the server sends `said` as the answer to the first statement. */
async function afterLogin(said: Buffer, then: (peer: Peer) => void = () => undefined): Promise<FakePostgres> {
  return startFakePostgres(async (peer) => {
    await peer.startup()
    peer.letIn()
    await peer.message()
    peer.send(said)
    then(peer)
  })
}

const DAMAGE: Readonly<Record<string, Buffer>> = {
  'a request for a login': authentication(7),
  'a request for a cleartext password': authentication(3),
  'a message that is cut off': message('T', Buffer.from([0, 9])),
  'an error without an end': message('E', Buffer.from('SERROR\0C22012\0')),
  'an error that ends the session': errorResponse({ C: '57P01', M: 'terminating connection' }),
}

for (const [name, said] of Object.entries(DAMAGE)) {
  test(`${name} ends an open session, and later statements are refused at once`, async () => {
    await using fake = await afterLogin(said, (peer) => peer.end())
    const { driver } = driverTo(fake)
    const { client } = await openSession(driver, passwordCredential(PASSWORD))
    assert.equal(driver.isBroken(client), false)
    await assert.rejects(driver.ping(client), {
      code: said[0] === 0x45 && said.includes('57P01') ? '57P01' : 'NOT_POSTGRES',
    })
    assert.equal(driver.isBroken(client), true)
    await assert.rejects(client.query('select 1'), 'what comes later is refused at once')
    await driver.close(client)
    await fake.deserted()
  })
}

test('an idle session that the server ends is broken', async () => {
  const { promise: told, resolve: tell } = Promise.withResolvers<void>()
  await using fake = await startFakePostgres(async (peer) => {
    await peer.startup()
    peer.letIn()
    await told
    peer.send(errorResponse({ C: '57P05', M: 'idle for too long' }))
    peer.end()
  })
  const { driver } = driverTo(fake)
  const { client } = await openSession(driver, passwordCredential(PASSWORD))
  tell()
  await fake.deserted()
  assert.equal(driver.isBroken(client), true)
  await driver.close(client)
})

test('settings with names that the server invents take no memory', async () => {
  const settings = Buffer.concat(
    Array.from({ length: 50_000 }, (_, n) => message('S', Buffer.from(`made_up_${n}\0${'x'.repeat(400)}\0`))),
  )
  await using fake = await startFakePostgres(async (peer) => {
    await peer.startup()
    peer.letIn()
    await peer.message()
    peer.send(Buffer.concat([settings, message('I'), message('Z', Buffer.from('I'))]))
  })
  const { driver } = driverTo(fake)
  const { client } = await openSession(driver, passwordCredential(PASSWORD))
  collectGarbage()
  const before = process.memoryUsage().heapUsed
  await driver.ping(client)
  collectGarbage()
  assert.ok(process.memoryUsage().heapUsed - before < settings.length / 4)
  driver.abort(client)
})

for (const how of ['end', 'reset'] as const) {
  test(`a connection that is closed right after the login is an error of the opening or of the first statement (${how})`, async () => {
    await using fake = await startFakePostgres(async (peer) => {
      await peer.startup()
      peer.letIn()
      peer[how]()
    })
    const { driver } = driverTo(fake)
    for (let round = 0; round < 20; round++) {
      try {
        const { client } = await openSession(driver, passwordCredential(PASSWORD), AbortSignal.timeout(2000))
        await assert.rejects(client.query('select 1'))
        assert.equal(driver.isBroken(client), true)
        await driver.close(client)
      } catch (error) {
        assert.ok(error instanceof PoolsmithError)
        assert.equal(error.code, 'CONNECTION_CLOSED')
      }
    }
    await fake.deserted()
  })
}
