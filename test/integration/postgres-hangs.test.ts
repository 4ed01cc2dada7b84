/** Servers, name servers and addresses that do not answer: each attempt ends at its limit and leaves nothing open. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Phase, PoolsmithError } from '../../src/errors.ts'
import { authentication, type Peer, startFakePostgres } from '../support/fake-postgres.ts'
import {
  driverFor,
  openingError,
  openSession,
  passwordCredential,
  type TestDriver,
} from '../support/postgres-driver.ts'
import { certificate, driverTo, PASSWORD, refused, scram } from '../support/postgres-faults.ts'

interface Hang {
  readonly name: string
  readonly script: (peer: Peer) => Promise<void> | void
  readonly extra?: Record<string, unknown>
  readonly phase: Phase
}

const HANGS: readonly Hang[] = [
  {
    name: 'before the answer to the request for TLS',
    script: () => undefined,
    extra: { sslmode: 'require' },
    phase: 'tls',
  },
  {
    name: 'in the TLS handshake',
    script: async (peer) => {
      await peer.first()
      peer.send(Buffer.from('S'))
    },
    extra: { sslmode: 'require' },
    phase: 'tls',
  },
  {
    name: 'in a direct TLS handshake',
    script: () => undefined,
    extra: { sslmode: 'require', sslnegotiation: 'direct' },
    phase: 'tls',
  },
  { name: 'before the request for a login', script: () => undefined, phase: 'login' },
  {
    name: 'inside TLS, before the request for a login',
    script: async (peer) => peer.tls(await certificate),
    extra: { sslmode: 'require' },
    phase: 'login',
  },
  { name: 'in the middle of a message', script: async (peer) => peer.send(Buffer.from('R\0\0')), phase: 'login' },
  {
    name: 'in the middle of SCRAM',
    script: (peer) => scram(peer, (nonce) => `r=${nonce}x,s=c2FsdA==,i=1`),
    phase: 'login',
  },
  {
    name: 'after the login',
    script: async (peer) => {
      await peer.startup()
      peer.send(authentication(0))
    },
    phase: 'login',
  },
]

/** Within this time every attempt reaches the place where it hangs, also on a busy machine. */
const REACHED_MILLIS = 600

for (const hang of HANGS) {
  test(`an attempt ends at its limit when the server hangs ${hang.name}`, async () => {
    await using fake = await startFakePostgres(hang.script)
    const { driver } = driverTo(fake, hang.extra)
    const given = await openingError(driver, passwordCredential(PASSWORD), AbortSignal.timeout(REACHED_MILLIS))
    assert.equal(given.code, 'ABORTED')
    assert.equal(given.phase, hang.phase)
    await fake.deserted()

    const limited = driverTo(fake, { ...hang.extra, connect_timeout: REACHED_MILLIS / 1000 })
    const late = await openingError(limited.driver, passwordCredential(PASSWORD))
    assert.equal(late.code, 'CONNECT_TIMEOUT')
    assert.equal(late.phase, hang.phase)
    assert.equal(late.transient, true)
    await fake.deserted()
  })
}

test('a PoolsmithError that is the reason of an abort is what the attempt rejects with', async () => {
  await using fake = await startFakePostgres(() => undefined)
  const reason = new PoolsmithError('pool_timeout is over', { code: 'POOL_EXHAUSTED', phase: 'pool' })
  const controller = new AbortController()
  setTimeout(() => controller.abort(reason), 50)
  const { driver } = driverTo(fake)
  assert.equal(await openingError(driver, passwordCredential(PASSWORD), controller.signal), reason)
  const already = driverTo(fake)
  assert.equal(await openingError(already.driver, passwordCredential(PASSWORD), controller.signal), reason)
  await fake.deserted()
})

test('a name server that hangs, fails, or does not know the host is reported as that', async () => {
  const resolver = (lookup: () => Promise<readonly string[]>): TestDriver =>
    driverFor({ host: 'db.example.test', login: 'alice' }, {}, { lookup })
  const failing = (code: string): TestDriver => resolver(() => Promise.reject(Object.assign(new Error(code), { code })))
  const credential = passwordCredential(PASSWORD)

  const hung = await openingError(
    resolver(() => new Promise(() => undefined)).driver,
    credential,
    AbortSignal.timeout(50),
  )
  assert.deepEqual([hung.code, hung.phase], ['ABORTED', 'dns'])
  const unknown = await openingError(failing('ENOTFOUND').driver, credential)
  assert.deepEqual([unknown.code, unknown.phase, unknown.transient], ['DNS_NOT_FOUND', 'dns', false])
  const broken = await openingError(failing('EAI_AGAIN').driver, credential)
  assert.deepEqual([broken.code, broken.phase, broken.transient], ['DNS_FAILED', 'dns', true])
  const empty = await openingError(resolver(async () => []).driver, credential)
  assert.equal(empty.code, 'DNS_NOT_FOUND')
})

test('every address of a host is tried in turn, and a refused login is final', async () => {
  const letIn = async (peer: Peer): Promise<void> => {
    await peer.startup()
    peer.letIn()
  }
  await using good = await startFakePostgres(letIn, { host: '127.0.0.3' })
  const { port } = good
  const to = (addresses: string[], extra: Record<string, unknown> = {}): TestDriver =>
    driverFor(
      { host: 'db.example.test', port, login: 'alice' },
      { sslmode: 'disable', ...extra },
      { lookup: async () => addresses },
    )
  const credential = passwordCredential(PASSWORD)
  {
    const { driver } = to(['127.0.0.2', '127.0.0.3'])
    await using session = await openSession(driver, credential)
    assert.equal(driver.info(session.client).peer, `127.0.0.3:${port}`)
  }
  {
    await using silent = await startFakePostgres(() => undefined, { host: '127.0.0.4', port })
    const { driver } = to(['127.0.0.4', '127.0.0.3'], { connect_timeout: 1 })
    await using session = await openSession(driver, credential)
    assert.equal(driver.info(session.client).peer, `127.0.0.3:${port}`)
    await silent.deserted()
  }
  {
    await using refusing = await startFakePostgres(refused('28P01', 'auth_failed'), { host: '127.0.0.5', port })
    const error = await openingError(to(['127.0.0.5', '127.0.0.3']).driver, credential)
    assert.equal(error.code, 'LOGIN_REFUSED')
    assert.equal(refusing.accepted(), 1)
  }
  const none = await openingError(to(['127.0.0.6', '127.0.0.7']).driver, credential)
  assert.deepEqual([none.code, none.phase], ['CONNECT_REFUSED', 'connect'])
})

test('a missing Unix socket is reported as that', async () => {
  const { driver } = driverFor({ host: '/nonexistent', login: 'alice' })
  const error = await openingError(driver, passwordCredential(PASSWORD))
  assert.deepEqual([error.code, error.phase], ['SOCKET_NOT_FOUND', 'connect'])
})
