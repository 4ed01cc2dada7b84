/** SQL Server through the engine, from records alone: every strategy, and Microsoft's spellings of the extras. */

import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import { PoolsmithError } from '../../src/errors.ts'
import type { EventName } from '../../src/events.ts'
import { createEngine, type EngineOptions } from '../../src/index.ts'
import { temporaryFolder } from '../support/folder.ts'
import { gssAcceptor } from '../support/gss-acceptor.ts'
import { startKdc } from '../support/kdc.ts'
import { startOpenIdProvider } from '../support/openid-provider.ts'
import { createPki } from '../support/pki.ts'
import { startPostgres } from '../support/postgres.ts'
import { type NtlmRules, type NtlmSeen, ntlmAcceptor } from '../support/tds/ntlm-acceptor.ts'
import type { SspiAcceptor, SspiLogin, TdsServerOptions } from '../support/tds/options.ts'
import { startTdsServer, type TdsServer } from '../support/tds/server.ts'

const resources = new AsyncDisposableStack()
after(() => resources.disposeAsync())
const folder = resources.use(await temporaryFolder())
const postgres = resources.use(await startPostgres())
const pki = await createPki()
const certificate = await pki.issue({ commonName: 'localhost', dns: ['localhost'] })
const caFile = join(folder.path, 'ca.pem')
await writeFile(caFile, pki.ca)
const SECRET = 'a-secret-that-nobody-may-see'

const start = (options: Partial<TdsServerOptions> = {}): Promise<TdsServer> =>
  startTdsServer({ postgres, tls: certificate, logins: { sa: SECRET }, ...options })

/** One statement over an engine made from a record with these extras; `told` has the events' texts. */
async function askBy(
  record: { readonly login?: string; readonly password?: string; readonly host?: string; readonly port?: number },
  extra: Readonly<Record<string, unknown>>,
  options: EngineOptions = {},
) {
  const told: { name: EventName; payload: object }[] = []
  const names = ['config:warning', 'security:warning'] as const
  await using db = await createEngine(
    { type: 'mssql', database: 'master', ...record, extra: { ca_file: caFile, ...extra } },
    {
      ...options,
      on: Object.fromEntries(names.map((name) => [name, (payload: object) => told.push({ name, payload })])),
    },
  )
  const info = await db.pool.use((raw) => db.pool.infoOf(raw))
  const [row] = await db.raw('select suser_sname() as who')
  assert.ok(!inspect(db, { depth: 12, showHidden: true }).includes(SECRET))
  return { info, who: row.who as string, strategy: db.strategy, told }
}

async function failure(work: Promise<unknown>): Promise<PoolsmithError> {
  try {
    await work
  } catch (error) {
    if (error instanceof PoolsmithError) return error
    throw error
  }
  throw new assert.AssertionError({ message: 'It succeeded.' })
}

describe('sql_auth', () => {
  test('is the default with a login, also under the name password and with the password in a file', async () => {
    await using server = await start()
    const at = { host: 'localhost', port: server.port, login: 'sa' }
    const file = join(folder.path, 'password')
    await writeFile(file, `${SECRET}\n`, { mode: 0o600 })
    const found = [
      await askBy({ ...at, password: SECRET }, {}),
      await askBy({ ...at, password: SECRET }, { auth_method: 'password' }),
      await askBy(at, { auth_method: 'sql_auth', password_file: file }),
    ]
    for (const { strategy, who, info } of found) {
      assert.deepEqual([strategy, who], ['sql_auth', 'sa'])
      assert.deepEqual([info?.encryption.kind, info?.encryption.verified], ['tls', 'hostname'])
    }
  })

  test("by Microsoft's spellings alone; keys that only ODBC knows are ignored, with a warning", async () => {
    await using server = await start()
    const { who, told } = await askBy(
      {},
      {
        driver: '{ODBC Driver 18 for SQL Server}',
        Server: `tcp:localhost,${server.port}`,
        UID: 'sa',
        PWD: SECRET,
        Encrypt: 'Mandatory',
        TrustServerCertificate: 'yes',
        ca_file: undefined,
        ApplicationIntent: 'ReadOnly',
        'Application Name': 'etl',
        MARS_Connection: 'no',
      },
    )
    assert.equal(who, 'sa')
    const [login] = server.journal.logins
    assert.deepEqual([login?.readOnlyIntent, login?.applicationName], [true, 'etl'])
    const paths = told
      .filter(({ name }) => name === 'config:warning')
      .map(({ payload }) => Reflect.get(payload, 'path'))
    assert.deepEqual(paths, ['extra.driver', 'extra.MARS_Connection'])
    const codes = told
      .filter(({ name }) => name === 'security:warning')
      .map(({ payload }) => Reflect.get(payload, 'code'))
    assert.deepEqual(codes, ['SERVER_NOT_VERIFIED'])
  })

  test("prefers the caller's options to the extras, in any spelling", async () => {
    await using server = await start()
    const at = { host: 'localhost', port: server.port, login: 'sa', password: SECRET }
    await askBy(at, { Encrypt: 'strict', app: 'theirs' }, { extra: { encrypt: 'true', 'Application Name': 'ours' } })
    assert.equal(server.journal.logins[0]?.applicationName, 'ours')
    // They come before the record itself too.
    const other = { host: 'nowhere.invalid', login: 'nobody', password: 'x' }
    const own = { Server: `tcp:localhost,${server.port}`, UID: 'sa', PWD: SECRET }
    assert.equal((await askBy(other, {}, { extra: own })).who, 'sa')
  })

  test('reports every problem of the extras at once', async () => {
    const error = await failure(
      createEngine({
        type: 'mssql',
        login: 'sa',
        extra: { Encrypt: 'perhaps', Authentication: 'Interactive', pool_size: 0 },
      }),
    )
    assert.equal(error.code, 'CONFIG_INVALID')
    for (const path of ['extra.encrypt', 'extra.Authentication', 'extra.pool_size'])
      assert.ok(error.message.includes(path))
  })
})

describe('azure_ad', () => {
  test('sends a token that the server verifies, from our own extras and from ADO’s', async () => {
    await using provider = await startOpenIdProvider({ app: { secret: SECRET } })
    const tokens = { keys: provider.keys, issuer: provider.issuer, audience: 'https://database.windows.net' }
    await using server = await start({ tokens, fedAuthRequired: true })
    const at = { host: 'localhost', port: server.port }
    const tenant = {
      tenant_id: provider.tenant,
      authority_host: provider.authorityHost,
      disable_instance_discovery: true,
    }
    const ours = await askBy(at, { auth_method: 'azure_ad', client_id: 'app', client_secret: SECRET, ...tenant })
    const theirs = await askBy(
      { ...at, login: 'app', password: SECRET },
      { Authentication: 'ActiveDirectoryServicePrincipal', ...tenant },
    )
    for (const { strategy, who, info } of [ours, theirs]) {
      assert.deepEqual([strategy, who, info?.authentication], ['azure_ad', 'app', 'token'])
      assert.ok((info?.credentialExpiresAt ?? 0) > Date.now())
    }
    assert.deepEqual(
      server.journal.logins.map((login) => [login.authentication, login.fedAuthEcho]),
      [
        ['fedauth', true],
        ['fedauth', true],
      ],
    )
    assert.equal(provider.requests[0]?.form.get('scope')?.split(' ')[0], 'https://database.windows.net/.default')
    const exposed = await failure(
      askBy(at, { auth_method: 'azure_ad', client_id: 'app', client_secret: SECRET, ...tenant, encrypt: 'false' }),
    )
    assert.equal(exposed.code, 'TLS_NEEDED')
  })

  test('under an unknown Authentication is an error, not a guess', async () => {
    const error = await failure(
      createEngine({ type: 'mssql', host: 'x', extra: { Authentication: 'ActiveDirectoryTelepathy' } }),
    )
    assert.equal(error.code, 'CONFIG_INVALID')
    assert.match(error.message, /ActiveDirectoryServicePrincipal/)
  })

  test('fetches one token for two hundred waiting callers, renews it ahead, and logs in with the new one', async () => {
    await using provider = await startOpenIdProvider({ app: { secret: SECRET } })
    const tokens = { keys: provider.keys, issuer: provider.issuer, audience: 'https://database.windows.net' }
    await using server = await start({ tokens, fedAuthRequired: true })
    provider.answer = { kind: 'token', lifeSeconds: 5 }
    const extra = {
      auth_method: 'azure_ad',
      ca_file: caFile,
      client_id: 'app',
      client_secret: SECRET,
      tenant_id: provider.tenant,
      authority_host: provider.authorityHost,
      disable_instance_discovery: true,
    }
    await using db = await createEngine(
      { type: 'mssql', host: 'localhost', port: server.port, database: 'master', extra },
      { pool_size: 3, max_overflow: 0, retire_on: 'rotation' },
    )
    await Promise.all(Array.from({ length: 200 }, () => db.raw('select 1 as one')))
    assert.equal(provider.requests.length, 1)
    assert.ok(server.journal.logins.length <= 3)
    const rotated = Promise.withResolvers<void>()
    db.pool.on('credential:refreshed', () => rotated.resolve())
    await rotated.promise
    const before = server.journal.logins.length
    await sleep(5000)
    // The first token has expired by now, so new logins use a newer one, which the server has verified.
    assert.deepEqual(await db.raw('select suser_sname() as who'), [{ who: 'app' }])
    assert.ok(server.journal.logins.length > before)
    assert.ok(server.journal.logins.every(({ accepted }) => accepted))
  })
})

describe('kerberos', () => {
  test('is the default without a login, and under Trusted_Connection; the SPN is reported', async () => {
    await using kdc = await startKdc()
    Object.assign(process.env, kdc.environment)
    await kdc.addPrincipal('alice', { password: 'pw' })
    const ccache = `FILE:${kdc.path('alice')}`
    await kdc.kinit('alice', ccache, { password: 'pw' })
    let keytab = ''
    await using server = await start({ sspi: { acceptor: () => gssAcceptor(keytab) } })
    const service = `MSSQLSvc/localhost:${server.port}`
    await kdc.addPrincipal(service)
    keytab = await kdc.keytab(service)
    const at = { host: 'localhost', port: server.port }
    for (const extra of [{}, { Trusted_Connection: 'yes' }, { auth_method: 'kerberos', gss_mechanism: 'spnego' }]) {
      const { strategy, who, info } = await askBy(at, { ccache, ...extra })
      assert.deepEqual([strategy, who], ['kerberos', `alice@${kdc.realm}`])
      assert.deepEqual(info?.kerberos, {
        principal: `alice@${kdc.realm}`,
        server: `${service}@${kdc.realm}`,
        delegated: false,
      })
    }
    assert.ok(server.journal.logins.every((login) => !login.sspiHead.includes('NTLMSSP')))
    // Without a ticket there is no login: nothing else is tried in its place.
    const none = await failure(askBy(at, { ccache: `FILE:${kdc.path('nothing')}` }))
    assert.equal(none.code, 'TICKET_CACHE_MISSING')
    assert.equal(server.journal.logins.length, 3)
  })
})

describe('ntlm', () => {
  /** MD4 of the password `password`. */
  const account = { domain: 'CORP', user: 'etl', ntHash: Buffer.from('8846f7eaee8fb117ad06bdd830b7586c', 'hex') }
  const login = { host: 'localhost', login: 'CORP\\etl', password: 'password' }

  /** Logs in once, to a double whose acceptor has these rules; returns the login at the acceptor. */
  async function seenBy(rules: NtlmRules, extra: object = {}): Promise<NtlmSeen> {
    let seen: NtlmSeen | undefined
    const onAccepted = (what: NtlmSeen): void => {
      seen = what
    }
    await using server = await start({ sspi: { acceptor: () => ntlmAcceptor(account, { ...rules, onAccepted }) } })
    await askBy({ ...login, port: server.port }, { auth_method: 'ntlm', ...extra })
    assert.ok(seen)
    return seen
  }

  test('is used only where auth_method names it, and only over an encrypted connection', async () => {
    await using server = await start({ sspi: { acceptor: () => ntlmAcceptor(account) } })
    const at = { ...login, port: server.port }
    const { who, strategy, info } = await askBy(at, { auth_method: 'ntlm' })
    assert.deepEqual([strategy, who, info?.authentication], ['ntlm', 'CORP\\etl', 'ntlm'])
    assert.equal(info?.serverVersion, '16.0.1000')
    const wrong = await failure(askBy({ ...at, password: 'wrong' }, { auth_method: 'ntlm' }))
    assert.deepEqual([wrong.code, wrong.phase, wrong.details.number], ['LOGIN_REFUSED', 'login', 18452])
    const exposed = await failure(askBy(at, { auth_method: 'ntlm', encrypt: 'false' }))
    assert.equal(exposed.code, 'TLS_NEEDED')
    // A Windows account under sql_auth is refused before anything is sent.
    const before = server.journal.logins.length
    const sql = await failure(askBy(at, {}))
    assert.deepEqual([sql.code, sql.phase], ['CONFIG_INVALID', 'config'])
    assert.match(sql.message, /auth_method=ntlm/)
    assert.equal(server.journal.logins.length, before)
  })

  test('an acceptor that checks NTLMv2 alone accepts it, with a MIC and an empty LM response', async () => {
    const seen = await seenBy({})
    assert.deepEqual([seen.hasMic, seen.lmResponse.equals(Buffer.alloc(24))], [true, true])
  })

  test("a server that sends no time gets the client's time, and no MIC", async () => {
    assert.equal((await seenBy({ withoutTimestamp: true })).hasMic, false)
  })

  test('a server whose clock is an hour ahead gets its own time back', async () => {
    assert.equal((await seenBy({ clockOffsetMillis: 3_600_000 })).hasMic, true)
  })

  test('a server that sends no time, and refuses one that is an hour off, is told with the clock as a reason', async () => {
    const rules = { clockOffsetMillis: 3_600_000, withoutTimestamp: true }
    await using server = await start({ sspi: { acceptor: () => ntlmAcceptor(account, rules) } })
    const error = await failure(askBy({ ...login, port: server.port }, { auth_method: 'ntlm' }))
    assert.deepEqual([error.code, error.phase, error.details.number], ['LOGIN_REFUSED', 'login', 18452])
    assert.match(error.hint ?? '', /the clock of this machine/)
  })

  test('the target name is the SPN of the server, or mssql_spn', async () => {
    assert.match((await seenBy({})).targetName ?? '', /^MSSQLSvc\/localhost:\d+$/)
    const targetNames = ['MSSQLSvc/db.corp.example:1433']
    assert.equal((await seenBy({ targetNames }, { mssql_spn: targetNames[0] })).targetName, targetNames[0])
  })

  for (const [encrypt, options] of [
    ['true', {}],
    ['strict', { encryption: 'strict' }],
  ] as const) {
    test(`encrypt=${encrypt}: a server with Extended Protection accepts a login only with a channel binding`, async () => {
      const acceptor = ({ channelBindings }: SspiLogin): SspiAcceptor => ntlmAcceptor(account, { channelBindings })
      await using server = await start({ sspi: { acceptor }, ...options })
      const at = { ...login, port: server.port }
      const { who } = await askBy(at, { auth_method: 'ntlm', encrypt })
      assert.equal(who, 'CORP\\etl')
      const bare = await failure(askBy(at, { auth_method: 'ntlm', encrypt, extended_protection: 'false' }))
      assert.equal(bare.code, 'LOGIN_REFUSED')
    })
  }

  test('a challenge for LM or NTLMv1, or a damaged one, is refused by name', async () => {
    const withoutTargetInfo = (right: Buffer): Buffer => {
      right.writeUInt32LE((right.readUInt32LE(20) & ~0x0080_0000) >>> 0, 20)
      return right
    }
    for (const [challenge, reason] of [
      [withoutTargetInfo, /asks for LM or NTLMv1/],
      [(right: Buffer) => right.subarray(0, -3), /longer than the message/],
      [() => Buffer.from('NTLMSSP'), /is not a CHALLENGE_MESSAGE/],
    ] as const) {
      await using server = await start({ sspi: { acceptor: () => ntlmAcceptor(account, { challenge }) } })
      const error = await failure(askBy({ ...login, port: server.port }, { auth_method: 'ntlm' }))
      assert.deepEqual([error.code, error.phase], ['NTLM_CHALLENGE_REFUSED', 'login'])
      assert.match(error.message, reason)
    }
  })

  test('a server that accepts the login without a challenge is refused', async () => {
    const acceptor = (): SspiAcceptor => ({ step: async () => ({ principal: 'CORP\\etl' }), close: () => undefined })
    await using server = await start({ sspi: { acceptor } })
    const error = await failure(askBy({ ...login, port: server.port }, { auth_method: 'ntlm' }))
    assert.equal(error.code, 'SERVER_NOT_GENUINE')
  })
})
