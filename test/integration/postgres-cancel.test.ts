/** The connection for a cancel request: protected like the session, and successful only when the request was sent. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { errorResponse, type Peer, startFakePostgres } from '../support/fake-postgres.ts'
import { createPki } from '../support/pki.ts'
import { startPostgres } from '../support/postgres.ts'
import { driverFor, openSession, passwordCredential } from '../support/postgres-driver.ts'

const CANCEL_REQUEST = 80877102
const certificate = createPki().then((pki) => pki.issue({ commonName: 'localhost' }))

/** A session in TLS, and `second` for every later connection. */
async function withSession(
  second: (peer: Peer) => Promise<void> | void,
  use: (cancel: (signal: AbortSignal) => Promise<void>) => Promise<void>,
): Promise<void> {
  let first = true
  await using fake = await startFakePostgres(async (peer) => {
    if (!first) return second(peer)
    first = false
    await peer.tls(await certificate)
    await peer.startup()
    peer.letIn()
  })
  const { driver } = driverFor({ host: '127.0.0.1', port: fake.port, login: 'alice' }, { sslmode: 'require' })
  const { client } = await openSession(driver, passwordCredential('secret'))
  try {
    await use((signal) => driver.cancel(client, signal))
  } finally {
    driver.abort(client)
  }
  await fake.deserted()
}

const soon = (): AbortSignal => AbortSignal.timeout(20_000)

test('a cancel request is sent inside TLS where the session uses TLS', async () => {
  const sent: number[] = []
  const second = async (peer: Peer): Promise<void> => {
    await peer.tls(await certificate)
    sent.push((await peer.first()).readInt32BE())
    peer.end()
  }
  await withSession(second, (cancel) => cancel(soon()))
  assert.deepEqual(sent, [CANCEL_REQUEST])
})

const FAILURES: Readonly<Record<string, readonly [(peer: Peer) => Promise<void> | void, string]>> = {
  'hangs up at once': [(peer) => peer.end(), 'CONNECTION_CLOSED'],
  'hangs up when it is asked for TLS': [
    async (peer) => {
      await peer.first()
      peer.end()
    },
    'CONNECTION_CLOSED',
  ],
  'has no TLS any more': [
    async (peer) => {
      await peer.first()
      peer.send(Buffer.from('N'))
      const more = await peer.first()
      assert.fail(`the client sent ${more.length} bytes without TLS`)
    },
    'TLS_NOT_OFFERED',
  ],
  'answers with an error': [
    async (peer) => {
      await peer.first()
      peer.send(errorResponse({ C: '53300', M: 'do not show this' }))
    },
    'NEGOTIATION_FAILED',
  ],
  'is no PostgreSQL any more': [
    async (peer) => {
      await peer.first()
      peer.send(Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'))
    },
    'NOT_POSTGRES',
  ],
}

for (const [name, [script, code]] of Object.entries(FAILURES)) {
  test(`a cancel request to a server that ${name} is an error`, async () => {
    await withSession(script, async (cancel) => {
      await assert.rejects(cancel(soon()), (error: Error & { code?: string }) => {
        assert.equal(error.code, code)
        assert.doesNotMatch(error.message, /do not show/)
        return true
      })
    })
  })
}

test('a cancel request that hangs ends with its signal, also with one that has aborted already', async () => {
  const reason = new Error('enough')
  await withSession(
    () => undefined,
    async (cancel) => {
      const controller = new AbortController()
      const cancelling = cancel(controller.signal)
      setTimeout(() => controller.abort(reason), 50)
      await assert.rejects(cancelling, reason)
      await assert.rejects(cancel(AbortSignal.abort(reason)), reason)
    },
  )
})

test('a statement is cancelled on real servers, over TCP and over a Unix socket', async () => {
  for (const flavor of ['embedded', 'debian'] as const) {
    await using server = await startPostgres({ flavor })
    for (const host of [server.host, server.socketDirectory]) {
      const target = { host, port: server.port, login: server.superuser, database: 'postgres' }
      const { driver } = driverFor(target, { sslmode: host === server.host ? 'disable' : 'prefer' })
      await using session = await openSession(driver, passwordCredential(server.superuserPassword))
      const sleeping = session.client.query('select pg_sleep(60)')
      const ended = assert.rejects(sleeping, { code: '57014' })
      // The request may come before the statement does.
      while (await Promise.race([ended.then(() => false), driver.cancel(session.client, soon()).then(() => true)])) {
        if (await Promise.race([ended.then(() => true), new Promise((r) => setTimeout(r, 20, false))])) break
      }
      await ended
    }
  }
})
