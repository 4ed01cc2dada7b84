/** PRELOGIN and LOGIN7 of Microsoft's own clients and ours, field by field: a change in any of them shows. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Credential } from '../../../src/credentials/credential.ts'
import { Secret } from '../../../src/secret.ts'
import { gssAcceptor } from '../../support/gss-acceptor.ts'
import { open, testDriver, token } from '../../support/tds/driver.ts'
import { ntlmAcceptor } from '../../support/tds/ntlm-acceptor.ts'
import type { TdsServer } from '../../support/tds/server.ts'
import { CLIENTS, Client, type Encrypt } from './clients.ts'
import { Poolsmith } from './poolsmith.ts'
import { interopSetup, SA, SPN } from './setup.ts'

const { start, at, issuer, kdc, cache, serviceOf } = await interopSetup()

/** The fields that say how a session is to behave; names of machines and processes are left out. */
function fieldsOf(server: TdsServer): Readonly<Record<string, unknown>> {
  const [login] = server.journal.logins
  assert.ok(login)
  const hex = (value: number): string => value.toString(16).padStart(2, '0')
  return {
    tdsVersion: login.tdsVersion.toString(16),
    packetSize: login.packetSize,
    flags: login.flags.map(hex).join(' '),
    library: login.libraryName,
    language: login.language,
    features: login.features.map(hex).join(' '),
    prelogin: [...login.prelogin.keys()].join(' '),
    encryption: login.prelogin.get(1)?.toString('hex'),
    mars: login.prelogin.get(4)?.toString('hex'),
  }
}

interface Fields {
  readonly packetSize: number
  readonly flags: string
  readonly library?: string
  readonly features: string
  /** The options of PRELOGIN: version, encryption, instance, thread, MARS, trace id, federated authentication. */
  readonly prelogin: string
  readonly mars?: string
}

/** ENCRYPTION in PRELOGIN; under `strict` TLS is there already. */
const ENCRYPTION: Readonly<Record<Encrypt, string>> = { false: '00', true: '01', strict: '02' }

const FIELDS: Readonly<Record<string, Fields>> = {
  // fODBC is not set, so tedious sends the ANSI settings and TEXTSIZE as a batch.
  poolsmith: { packetSize: 4096, flags: 'f0 00 00 18', features: '0a', prelogin: '0 1 2 3 4', mars: '00' },
  jdbc: {
    packetSize: 8000,
    flags: 'e0 03 00 18',
    library: 'Microsoft JDBC Driver 13.2',
    features: '04 09 0a 0b 0e 0d 01',
    prelogin: '0 1 5',
  },
  odbc: {
    packetSize: 0,
    flags: 'e0 03 00 10',
    library: 'ODBC',
    features: '10 01 09 0a 0b',
    prelogin: '0 1 2 3 4 5',
    mars: '00',
  },
  go: {
    packetSize: 4096,
    flags: 'a0 02 00 00',
    library: 'go-mssqldb',
    features: '',
    prelogin: '0 1 2 3 4 5',
    mars: '00',
  },
  sqlclient: {
    packetSize: 8000,
    flags: 'e0 03 00 10',
    library: 'Core .Net SqlClient Data Provider',
    features: '01 05',
    prelogin: '0 1 2 3 4 5 6',
    mars: '00',
  },
}

function expected(name: string, encrypt: Encrypt): unknown {
  // Only these two name TDS 8.0 in LOGIN7; Microsoft's ODBC driver does as ours.
  const tdsVersion = encrypt === 'strict' && (name === 'jdbc' || name === 'go') ? '8000000' : '74000004'
  // go says that TLS is required.
  const encryption = encrypt === 'strict' && name === 'go' ? '04' : ENCRYPTION[encrypt]
  return { tdsVersion, language: '', encryption, mars: undefined, ...FIELDS[name] }
}

for (const kind of CLIENTS) {
  for (const encrypt of kind.encrypts) {
    test(`${kind.name} under encrypt=${encrypt}`, async () => {
      const server = await start()
      await using client = new Client(kind)
      assert.deepEqual(await client.connect(at(server, { encrypt }), SA), {})
      assert.deepEqual(fieldsOf(server), expected(kind.name, encrypt))
    })
  }
}

for (const encrypt of ['false', 'true', 'strict'] as const) {
  test(`poolsmith under encrypt=${encrypt}`, async () => {
    const server = await start()
    const { port, certificateFile } = at(server)
    await using client = await Poolsmith.connect({
      type: 'mssql',
      host: 'localhost',
      port,
      login: SA.user,
      password: SA.password,
      database: 'master',
      extra: {
        encrypt,
        ...(encrypt === 'strict' ? { server_certificate: certificateFile } : { trust_server_certificate: true }),
      },
    })
    await client.rows('select 1 as n')
    const { library, ...fields } = fieldsOf(server)
    assert.match(String(library), /^poolsmith /)
    assert.deepEqual(fields, expected('poolsmith', encrypt))
  })
}

/** A login by ours, whatever its outcome. */
async function byUs(server: TdsServer, credential: Credential, extra: Readonly<Record<string, unknown>>) {
  const target = { port: server.port, database: undefined }
  const { driver } = testDriver(target, { trust_server_certificate: true, ...extra })
  await driver.close((await open(driver, credential)).raw)
}

for (const fedAuthRequired of [true, false]) {
  test(`one token makes the same bytes of all, where the server ${fedAuthRequired ? 'requires' : 'takes'} it`, async () => {
    const access = await issuer.issue()
    const ours = await start({ fedAuthRequired })
    await byUs(ours, token(access), {})
    const [login] = ours.journal.logins
    assert.ok(login?.fedAuth)
    assert.equal(login.fedAuth.subarray(0, 1).toString('hex'), fedAuthRequired ? '03' : '02')
    assert.equal([...login.prelogin.keys()].join(' '), '0 1 2 3 4 6')
    assert.equal(login.prelogin.get(6)?.toString('hex'), '01')
    for (const kind of CLIENTS) {
      if (kind.address({ port: 1, encrypt: 'true' }, { token: 'x' }) === undefined) continue
      const server = await start({ fedAuthRequired })
      await using client = new Client(kind)
      assert.deepEqual(await client.connect(at(server), { token: access }), {})
      assert.deepEqual(server.journal.logins[0]?.fedAuth, login.fedAuth, kind.name)
    }
  })
}

test('the first token of Kerberos has the mechanism that each client wraps it in', async () => {
  const keytab = await kdc.keytab(SPN)
  const acceptor = { sspi: { acceptor: () => gssAcceptor(keytab) } }
  const KRB5 = '2a864886f712010202'
  const SPNEGO = '2b0601050502'
  const mechanismOf = (server: TdsServer): string | undefined => {
    const head = server.journal.logins[0]?.sspiHead.toString('hex') ?? ''
    return [KRB5, SPNEGO].find((oid) => head.includes(oid))
  }
  const environment = { ...kdc.environment, KRB5CCNAME: cache }
  Object.assign(process.env, environment)
  for (const [gss_mechanism, oid] of [
    ['krb5', KRB5],
    ['spnego', SPNEGO],
  ]) {
    const server = await start(acceptor)
    await byUs(server, { kind: 'gss', identity: 'alice', issuedAt: Date.now() }, { gss_mechanism, mssql_spn: SPN })
    assert.equal(mechanismOf(server), oid, gss_mechanism)
  }
  for (const [name, oid] of [
    ['jdbc', KRB5],
    ['odbc', KRB5],
    ['go', SPNEGO],
    ['sqlclient', SPNEGO],
  ]) {
    const kind = CLIENTS.find((one) => one.name === name)
    assert.ok(kind)
    const server = await start({ sspi: { acceptor: async () => gssAcceptor(await kdc.keytab(spn)) } })
    const spn = await serviceOf(kind, server)
    const login = { spn, cache, config: kdc.environment['KRB5_CONFIG'] ?? '' }
    await using client = new Client(kind, environment)
    assert.deepEqual(await client.connect(at(server), login), {})
    assert.equal(mechanismOf(server), oid, name)
  }
})

test('the first message of NTLM has the flags of each client', async () => {
  const account = { domain: 'CORP', user: 'etl', ntHash: Buffer.from('8846f7eaee8fb117ad06bdd830b7586c', 'hex') }
  const acceptor = { sspi: { acceptor: () => ntlmAcceptor(account, { anyTime: true }) } }
  const flagsOf = (server: TdsServer) => server.journal.logins[0]?.sspiHead.readUInt32LE(12).toString(16)
  const ours = await start(acceptor)
  const credential = { kind: 'ntlm', identity: 'etl', user: 'etl', domain: 'CORP', issuedAt: Date.now() } as const
  await byUs(ours, { ...credential, password: new Secret('password') }, {})
  const seen: Record<string, string | undefined> = { poolsmith: flagsOf(ours) }
  for (const kind of CLIENTS) {
    const login = { domain: 'CORP', user: 'etl', password: 'password' }
    if (kind.address({ port: 1, encrypt: 'true' }, login) === undefined) continue
    const server = await start(acceptor)
    await using client = new Client(kind)
    assert.deepEqual(await client.connect(at(server), login), {})
    seen[kind.name] = flagsOf(server)
  }
  // MS-NLMP 2.2.2.5. JDBC leaves it to the server to name NTLM; JDBC and Go name domain and workstation.
  assert.deepEqual(seen, { poolsmith: '888205', jdbc: '88b005', go: '8b201' })
})
