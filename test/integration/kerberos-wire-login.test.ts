/** Servers that misbehave while a Kerberos login is under way. psql is the oracle for what counts as a credential. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { authentication, int32, message, type Peer, startFakePostgres } from '../support/fake-postgres.ts'
import { acceptor, cache, GSS_REQUEST, kdc, LET_IN, REFUSED, readFrame } from '../support/gss-server.ts'
import { enterRealm } from '../support/kdc.ts'
import { gssCredential } from '../support/kerberos-postgres.ts'
import { psql } from '../support/postgres.ts'
import { driverFor, openingError, openSession, passwordCredential } from '../support/postgres-driver.ts'

test('an expired ticket counts as a credential, a missing cache does not, as in psql', async (t) => {
  await kdc.addPrincipal('brief', { maxLife: '1 second' })
  const expired = `FILE:${kdc.path('expired')}`
  await kdc.kinit('brief', expired, { keytab: await kdc.keytab('brief') })
  await sleep(2000)
  t.after(() => enterRealm(kdc))
  const START_UP = 196608
  for (const [ticket, expected] of [
    [cache, [GSS_REQUEST, START_UP]],
    [expired, [GSS_REQUEST, START_UP]],
    [`FILE:${kdc.path('none')}`, [START_UP]],
  ] as const) {
    const listen = (asked: number[]) =>
      startFakePostgres(async (peer) => {
        const code = (await peer.first()).readInt32BE()
        asked.push(code)
        if (code === GSS_REQUEST) {
          peer.send(Buffer.from('G'))
          await readFrame(peer)
        } else peer.send(REFUSED)
        peer.end()
      })
    const [ours, theirs]: [number[], number[]] = [[], []]
    const extra = { gssencmode: 'prefer', sslmode: 'disable', hostaddr: '127.0.0.1' }
    process.env.KRB5CCNAME = ticket
    await using one = await listen(ours)
    const { driver } = driverFor({ host: 'localhost', port: one.port, login: 'alice' }, extra)
    await openingError(driver, passwordCredential('x'))
    await using other = await listen(theirs)
    const words = Object.entries({ ...extra, host: 'localhost', port: String(other.port), user: 'alice' })
    await psql(['-c', 'select 1', words.map(([key, value]) => `${key}=${value}`).join(' ')], { KRB5CCNAME: ticket })
    assert.deepEqual([ours, theirs], [expected, expected], ticket)
  }
})

async function openAgainst(
  script: (peer: Peer) => Promise<void>,
  extra: Readonly<Record<string, string>> = {},
): Promise<{ authentication: string; server: string | undefined }> {
  await using fake = await startFakePostgres(async (peer) => {
    await peer.startup()
    await script(peer)
  })
  const { driver } = driverFor(
    { host: 'localhost', port: fake.port, login: 'alice' },
    { gssencmode: 'disable', sslmode: 'disable', hostaddr: '127.0.0.1', ...extra },
  )
  await using session = await openSession(driver, gssCredential(cache, 'alice'))
  const { authentication: method, kerberos } = driver.info(session.client)
  driver.abort(session.client)
  return { authentication: method, server: kerberos?.server }
}

/** A server that asks for a Kerberos login by this code and then lets us in. */
const asking =
  (code: number, prove = true) =>
  async (peer: Peer): Promise<void> => {
    peer.send(authentication(code))
    const { body } = await peer.message()
    const { output = Buffer.alloc(0) } = await acceptor().step(body)
    if (prove) peer.send(message('R', int32(8), output))
    peer.send(LET_IN)
  }

test('a server that asks for SSPI, as on Windows, gets a Kerberos ticket', async () => {
  const opened = await openAgainst(asking(9))
  assert.deepEqual(opened, { authentication: 'sspi', server: 'postgres/localhost@TEST.REALM' })
  await assert.rejects(openAgainst(asking(9), { require_auth: 'gss' }), { code: 'AUTH_METHOD_REFUSED' })
})

test('a server that accepts the login without its own proof is not trusted', async () => {
  assert.equal((await openAgainst(asking(7))).authentication, 'gss')
  await assert.rejects(openAgainst(asking(7, false)), { code: 'SERVER_NOT_GENUINE' })
})

test('require_auth and channel_binding hold for Kerberos too', async () => {
  assert.equal((await openAgainst(asking(7), { require_auth: 'gss' })).authentication, 'gss')
  await assert.rejects(openAgainst(asking(7), { require_auth: '!gss' }), { code: 'AUTH_METHOD_REFUSED' })
  await assert.rejects(openAgainst(asking(7), { channel_binding: 'require' }), { code: 'CHANNEL_BINDING_FAILED' })
  await assert.rejects(
    openAgainst(async (peer) => peer.send(LET_IN), { require_auth: 'gss' }),
    { code: 'AUTH_METHOD_REFUSED' },
  )
})

test('messages out of turn in a Kerberos login are refused', async () => {
  const scripts: readonly ((peer: Peer) => Promise<void>)[] = [
    async (peer) => peer.send(message('R', int32(8), Buffer.from('x'))),
    async (peer) => {
      peer.send(authentication(7))
      await peer.message()
      peer.send(authentication(7))
    },
    async (peer) => {
      peer.send(authentication(7))
      const { body } = await peer.message()
      const { output = Buffer.alloc(0) } = await acceptor().step(body)
      peer.send(Buffer.concat([message('R', int32(8), output), message('R', int32(8), output)]))
    },
  ]
  for (const script of scripts) await assert.rejects(openAgainst(script), { code: 'NOT_POSTGRES' })
  const nonsense = async (peer: Peer): Promise<void> => {
    peer.send(authentication(7))
    await peer.message()
    peer.send(message('R', int32(8), Buffer.from('nonsense')))
  }
  await assert.rejects(openAgainst(nonsense), { code: 'GSS_SERVER_REFUSED', phase: 'gss' })
})

test('the principal of the server is named by service and host, or in full', async () => {
  await assert.rejects(openAgainst(asking(7), { krbsrvname: 'pgsql' }), {
    code: 'SPN_UNKNOWN',
    message: /pgsql\/localhost@TEST\.REALM/,
  })
  await assert.rejects(openAgainst(asking(7), { krbspn: 'postgres/elsewhere@TEST.REALM' }), { code: 'SPN_UNKNOWN' })
  for (const krbspn of ['postgres/localhost@TEST.REALM', 'postgres/localhost']) {
    assert.equal((await openAgainst(asking(7), { krbspn })).server, 'postgres/localhost@TEST.REALM')
  }
})
