/** The TDS server test double logs in Microsoft's own clients, by every login that they have. */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { gssAcceptor } from '../../support/gss-acceptor.ts'
import { ntlmAcceptor } from '../../support/tds/ntlm-acceptor.ts'
import { CLIENTS, Client, type Login } from './clients.ts'
import { interopSetup, SA } from './setup.ts'

/** The hash is the one of `password`. */
const ACCOUNT = { domain: 'CORP', user: 'etl', ntHash: Buffer.from('8846f7eaee8fb117ad06bdd830b7586c', 'hex') }

const { start, at, issuer, kdc, cache, serviceOf } = await interopSetup()

for (const kind of CLIENTS) {
  describe(`${kind.name} logs in`, () => {
    for (const encrypt of kind.encrypts) {
      test(`by password under encrypt=${encrypt}`, async () => {
        const server = await start()
        await using client = new Client(kind)
        assert.deepEqual(await client.connect(at(server, { encrypt }), SA), {})
        assert.deepEqual(await client.rows('select suser_sname() as n'), [['sa']])
        const seen = { false: 'login-only', true: 'tls', strict: 'strict' }[encrypt]
        assert.equal(server.journal.logins[0]?.encryption, seen)
      })
    }

    test('to a server that insists on encryption, although the client does not', async () => {
      const server = await start({ encryption: 'required', strictToo: false })
      await using client = new Client(kind)
      assert.deepEqual(await client.connect(at(server, { encrypt: 'false' }), SA), {})
      assert.equal(server.journal.logins[0]?.encryption, 'tls')
    })

    test('not to a server whose certificate it does not trust', async () => {
      const server = await start()
      await using client = new Client(kind)
      const { error, message } = await client.connect(at(server, { untrusting: true }), SA)
      assert.notEqual(error, undefined, message)
      assert.equal(server.journal.logins.length, 0)
    })

    test('not with a wrong, an expired or a new password', async () => {
      const server = await start()
      await using client = new Client(kind)
      for (const [login, number, words] of [
        [{ ...SA, password: 'wrong' }, 18456, /Login failed/],
        [{ user: 'old', password: 'x' }, 18487, /expired/],
        [{ user: 'late', password: 'x' }, 18488, /must be changed/],
      ] as const) {
        const { error, message = '' } = await client.connect(at(server), login)
        // Not every client passes the number on.
        assert.ok(error === number || error === -1, `${error}: ${message}`)
        assert.match(message, words)
      }
    })

    const lacking = (login: string) => ({ skip: kind.lacks[login] ?? false })
    test('by an access token, but not by an expired one', lacking('token'), async () => {
      for (const fedAuthRequired of [true, false]) {
        const server = await start({ fedAuthRequired })
        await using client = new Client(kind)
        assert.deepEqual(await client.connect(at(server), { token: await issuer.issue() }), {})
        assert.deepEqual(await client.rows('select suser_sname() as n'), [['svc@test']])
        const old = await client.connect(at(server), { token: await issuer.issue({ expiresInSeconds: -60 }) })
        assert.notEqual(old.error, undefined)
      }
    })

    test('by Kerberos', async () => {
      const server = await start({ sspi: { acceptor: async () => gssAcceptor(await kdc.keytab(spn)) } })
      const spn = await serviceOf(kind, server)
      await using client = new Client(kind, { ...kdc.environment, KRB5CCNAME: cache })
      const login = { spn, cache, config: kdc.environment['KRB5_CONFIG'] ?? '' }
      const { error, message } = await client.connect(at(server), login)
      assert.equal(error, undefined, message)
      assert.deepEqual(await client.rows('select suser_sname() as n'), [[`alice@${kdc.realm}`]])
    })

    const ntlm: Login = { domain: 'CORP', user: 'etl', password: 'password' }
    test('by NTLM, whose acceptor checks NTLMv2 alone', lacking('ntlm'), async () => {
      const server = await start({ sspi: { acceptor: () => ntlmAcceptor(ACCOUNT, { anyTime: true }) } })
      await using client = new Client(kind)
      const { error, message } = await client.connect(at(server), ntlm)
      assert.equal(error, undefined, message)
      assert.deepEqual(await client.rows('select suser_sname() as n'), [['CORP\\etl']])
    })

    test('to another server, where the first one sends it on, with its intent to read', async () => {
      const target = await start()
      const gateway = await start({ routing: { server: 'localhost', port: target.port } })
      await using client = new Client(kind)
      const { error, message } = await client.connect(at(gateway, { readOnly: true }), SA)
      assert.equal(error, undefined, message)
      assert.deepEqual(
        [gateway, target].map(({ journal }) => journal.logins.map((one) => one.readOnlyIntent)),
        [[true], [true]],
      )
    })

    test('with packets of any size that it can send', async () => {
      const server = await start()
      await using client = new Client(kind)
      for (const encrypt of ['false', 'true'] as const) {
        for (const packetSize of kind.packetSizes[encrypt]) {
          const { error, message } = await client.connect(at(server, { encrypt, packetSize }), SA)
          assert.equal(error, undefined, `${packetSize} under encrypt=${encrypt}: ${message}`)
          assert.equal(server.journal.logins.at(-1)?.packetSize, packetSize)
          assert.deepEqual(await client.rows(`select '${'ä'.repeat(9000)}' as n`), [['ä'.repeat(9000)]])
        }
      }
    })
  })
}

test('go changes a password that must be changed with the login', async () => {
  const kind = CLIENTS.find(({ name }) => name === 'go')
  assert.ok(kind)
  const server = await start()
  await using client = new Client(kind)
  const [url = ''] = kind.address(at(server), { user: 'late', password: 'x' }) ?? []
  assert.deepEqual(await client.ask('connect', `${url}&change%20password=new`), {})
  assert.equal((await client.connect(at(server), { user: 'late', password: 'x' })).error, 18456)
  assert.deepEqual(await client.connect(at(server), { user: 'late', password: 'new' }), {})
  assert.deepEqual(await client.rows('select suser_sname() as n'), [['late']])
})
