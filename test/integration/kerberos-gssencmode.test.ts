/**
 * Every gssencmode against every sslmode, every kind of pg_hba.conf line and every state of the ticket, psql being the
 * oracle: what it can open we open, protected alike as the server sees it; what it cannot open we cannot. Where we are
 * stricter on purpose the case says so.
 */

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Credential } from '../../src/credentials/credential.ts'
import { PoolsmithError } from '../../src/errors.ts'
import { gssCredential, type KerberosPostgres, startKerberosPostgres } from '../support/kerberos-postgres.ts'
import { createPki } from '../support/pki.ts'
import { type PostgresServer, psql, startPostgres } from '../support/postgres.ts'
import { driverFor, openSession, passwordCredential } from '../support/postgres-driver.ts'

const GSS_MODES = ['disable', 'prefer', 'require'] as const
const PASSWORD = 'a p4ssword'
const WHO =
  "select gss_authenticated, coalesce(principal, ''), encrypted, ssl from pg_stat_gssapi join pg_stat_ssl using (pid) " +
  'where pid = pg_backend_pid()'

const lines = (role: string, ...parts: readonly (readonly [string, string])[]): readonly string[] =>
  parts.map(
    ([type, method]) =>
      `${type} all ${role} 127.0.0.1/32 ${method}${method === 'gss' ? ' include_realm=1 map=any' : ''}`,
  )

/** One role for each kind of line; `no_line` has no line at all. */
const ROLES: Readonly<Record<string, readonly string[]>> = {
  host_gss: lines('host_gss', ['host', 'gss']),
  host_scram: lines('host_scram', ['host', 'scram-sha-256']),
  host_trust: lines('host_trust', ['host', 'trust']),
  host_reject: lines('host_reject', ['host', 'reject']),
  enc_gss: lines('enc_gss', ['hostgssenc', 'gss']),
  enc_scram: lines('enc_scram', ['hostgssenc', 'scram-sha-256']),
  enc_trust: lines('enc_trust', ['hostgssenc', 'trust']),
  enc_reject: lines('enc_reject', ['hostgssenc', 'reject'], ['host', 'gss']),
  noenc_gss: lines('noenc_gss', ['hostnogssenc', 'gss']),
  noenc_scram: lines('noenc_scram', ['hostnogssenc', 'scram-sha-256']),
  noenc_reject: lines('noenc_reject', ['hostnogssenc', 'reject'], ['host', 'gss']),
  ssl_gss: lines('ssl_gss', ['hostssl', 'gss']),
  ssl_scram: lines('ssl_scram', ['hostssl', 'scram-sha-256']),
  nossl_gss: lines('nossl_gss', ['hostgssenc', 'reject'], ['hostnossl', 'gss']),
  plain_only: lines('plain_only', ['hostgssenc', 'reject'], ['hostssl', 'reject'], ['host', 'gss']),
  no_line: [],
}

interface Case {
  readonly role: string
  readonly extra: Readonly<Record<string, string>>
  readonly password?: string
  /** psql lets this pass; we refuse with this code. */
  readonly stricter?: (extra: Readonly<Record<string, string>>) => string | undefined
}

let realm: KerberosPostgres
const caches = { good: '', expired: '', missing: '' }

before(async () => {
  const pki = await createPki()
  realm = await startKerberosPostgres({
    hba: Object.values(ROLES).flat(),
    roles: Object.keys(ROLES),
    rolePassword: PASSWORD,
    principals: { brief: { maxLife: '2 seconds' } },
    tls: await pki.issue({ commonName: 'localhost', dns: ['localhost'] }),
  })
  caches.good = await realm.ticket('alice', 'good')
  caches.expired = await realm.ticket('brief', 'expired')
  caches.missing = `FILE:${realm.kdc.path('missing')}`
  await sleep(2100)
})
after(async () => {
  await realm?.[Symbol.asyncDispose]()
})

async function byPsql(one: Case, cache: string, port: number): Promise<string> {
  const words = Object.entries({ host: 'localhost', hostaddr: '127.0.0.1', ...one.extra })
  const dsn = words.map(([key, value]) => `${key}='${value}'`).join(' ')
  const answer = await psql(['-At', '-c', WHO, `${dsn} port=${port} user=${one.role} dbname=postgres`], {
    KRB5CCNAME: cache,
    ...(one.password === undefined ? {} : { PGPASSWORD: one.password }),
  })
  return answer.code === 0 ? answer.stdout.trim() : 'refused'
}

async function byUs(one: Case, credential: Credential, port: number): Promise<{ outcome: string; code?: string }> {
  const { driver, events } = driverFor(
    { host: 'localhost', port, login: one.role, database: 'postgres' },
    { ...one.extra, hostaddr: '127.0.0.1' },
  )
  try {
    await using session = await openSession(driver, credential)
    const { rows } = await session.client.query({ text: WHO, rowMode: 'array' })
    const [authenticated, principal, encrypted, ssl] = rows[0] ?? []
    const { encryption, kerberos, authentication } = driver.info(session.client)
    assert.equal(encryption.kind, encrypted ? 'gss' : ssl ? 'tls' : 'none')
    if (encrypted) {
      assert.equal(kerberos?.principal, 'alice@TEST.REALM')
      assert.equal(kerberos?.server, 'postgres/localhost@TEST.REALM')
    }
    if (authenticated && principal !== '') assert.equal(authentication, 'gss')
    // Encryption that was given up is told, and only then.
    const codes = events.flatMap(({ payload }) => ('code' in payload ? [payload.code] : []))
    const preferred = (one.extra.gssencmode ?? (credential.kind === 'gss' ? 'prefer' : 'disable')) === 'prefer'
    assert.deepEqual(
      codes.filter((code) => code === 'GSS_ENCRYPTION_GIVEN_UP'),
      preferred && !encrypted ? ['GSS_ENCRYPTION_GIVEN_UP'] : [],
    )
    const flag = (value: boolean): string => (value ? 't' : 'f')
    return { outcome: [flag(authenticated), principal, flag(encrypted), flag(ssl)].join('|') }
  } catch (error) {
    if (!(error instanceof PoolsmithError)) throw error
    assert.notEqual(error.hint, undefined, `${error.code} needs a hint`)
    return { outcome: 'refused', code: error.code }
  }
}

/** Runs the cases a few at a time and reports every difference at once. */
async function compare(
  cases: readonly Case[],
  cache: string,
  credentialOf: (one: Case) => Credential,
  port = realm.server.port,
): Promise<Map<string, number>> {
  const differences: string[] = []
  const outcomes = new Map<string, number>()
  const queue = [...cases]
  const worker = async (): Promise<void> => {
    for (let one = queue.shift(); one !== undefined; one = queue.shift()) {
      const [theirs, ours] = await Promise.all([byPsql(one, cache, port), byUs(one, credentialOf(one), port)])
      outcomes.set(ours.outcome, (outcomes.get(ours.outcome) ?? 0) + 1)
      if (theirs === ours.outcome) continue
      if (ours.code !== undefined && ours.code === one.stricter?.(one.extra)) continue
      differences.push(
        `${one.role} ${JSON.stringify(one.extra)}: psql ${theirs}, we ${ours.outcome} ${ours.code ?? ''}`,
      )
    }
  }
  await Promise.all(Array.from({ length: 4 }, worker))
  assert.deepEqual(differences, [])
  return outcomes
}

function product(
  gssModes: readonly string[],
  sslModes: readonly string[],
  more: Omit<Case, 'role' | 'extra'> = {},
): Case[] {
  return Object.keys(ROLES).flatMap((role) =>
    gssModes.flatMap((gssencmode) => sslModes.map((sslmode) => ({ role, extra: { gssencmode, sslmode }, ...more }))),
  )
}

test('with a good ticket every gssencmode, sslmode and line of pg_hba.conf has the outcome of psql', async () => {
  const cases = product(GSS_MODES, ['disable', 'allow', 'prefer', 'require'])
  const outcomes = await compare(cases, caches.good, ({ role }) => gssCredential(caches.good, role))
  const who = 'alice@TEST.REALM'
  for (const outcome of [`t|${who}|t|f`, `t|${who}|f|t`, `t|${who}|f|f`, 'refused']) {
    assert.ok((outcomes.get(outcome) ?? 0) > 5, `${outcome} must be among the outcomes`)
  }
})

test('without gssencmode a Kerberos login prefers encryption, as libpq does, also under verify-full', async () => {
  const cases = Object.keys(ROLES).flatMap((role): Case[] => [
    { role, extra: { sslmode: 'prefer' } },
    { role, extra: { sslmode: 'verify-full', sslrootcert: '/etc/ssl/certs/ca-certificates.crt' } },
  ])
  await compare(cases, caches.good, ({ role }) => gssCredential(caches.good, role))
})

test('without a good ticket a Kerberos login ends before anything is sent', async () => {
  for (const [state, code] of [
    ['expired', 'TICKET_EXPIRED'],
    ['missing', 'TICKET_CACHE_MISSING'],
  ] as const) {
    const cases = product(['prefer', 'require'], ['prefer'], { stricter: () => code })
    const principal = state === 'expired' ? 'brief@TEST.REALM' : 'alice@TEST.REALM'
    const outcomes = await compare(cases, caches[state], ({ role }) => gssCredential(caches[state], role, principal))
    assert.deepEqual([...outcomes.keys()], ['refused'])
  }
})

test('a password login under gssencmode is encrypted with the default ticket, in every state of it as in psql', async () => {
  for (const [state, cache] of Object.entries(caches)) {
    process.env.KRB5CCNAME = cache
    const cases = product(['prefer', 'require'], ['disable', 'prefer', 'require'], { password: PASSWORD })
    const outcomes = await compare(cases, cache, () => passwordCredential(PASSWORD))
    const encrypted = [...outcomes.keys()].some((outcome) => outcome.split('|')[2] === 't')
    assert.equal(encrypted, state === 'good')
  }
  delete process.env.KRB5CCNAME
})

test('a password without gssencmode never touches a ticket', async () => {
  process.env.KRB5CCNAME = caches.good
  // psql would answer a request for GSSAPI with whatever ticket lies about.
  const stricter = (): string => 'AUTH_METHOD_UNSUPPORTED'
  const cases = product(['disable'], ['disable', 'prefer'], { password: PASSWORD, stricter })
  const outcomes = await compare(cases, caches.good, () => passwordCredential(PASSWORD))
  for (const outcome of outcomes.keys()) assert.match(outcome, /^f|^refused/)
  delete process.env.KRB5CCNAME
})

test('with a wrong keytab on the server prefer falls back as psql does, and require fails', async () => {
  await realm.kdc.addPrincipal('other/service')
  const original = await realm.server.sql('show krb_server_keyfile')
  await realm.serveKeytab(await realm.kdc.keytab('other/service'))
  try {
    const cases = product(GSS_MODES, ['prefer'])
    const outcomes = await compare(cases, caches.good, ({ role }) => gssCredential(caches.good, role))
    assert.deepEqual([...outcomes.keys()].sort(), ['f||f|t', 'refused'])
    const refused = { role: 'enc_gss', extra: { gssencmode: 'require' } }
    assert.equal(
      (await byUs(refused, gssCredential(caches.good, 'enc_gss'), realm.server.port)).code,
      'GSS_SERVER_REFUSED',
    )
    const plain = { role: 'host_gss', extra: { gssencmode: 'disable' } }
    assert.equal(
      (await byUs(plain, gssCredential(caches.good, 'host_gss'), realm.server.port)).code,
      'GSS_SERVER_REFUSED',
    )
  } finally {
    await realm.serveKeytab(original)
  }
})

test('a server without GSSAPI encryption goes on over the same connection', async () => {
  const pki = await createPki()
  const tls = await pki.issue({ commonName: 'localhost' })
  await using server: PostgresServer = await startPostgres({
    tls,
    hba: ['host all host_trust 127.0.0.1/32 trust', 'hostssl all ssl_scram 127.0.0.1/32 scram-sha-256'],
  })
  for (const role of ['host_trust', 'ssl_scram']) await server.sql(`create role ${role} login password '${PASSWORD}'`)
  process.env.KRB5CCNAME = caches.good
  const all = GSS_MODES.flatMap((gssencmode) =>
    ['disable', 'prefer', 'require'].map((sslmode) => ({ gssencmode, sslmode })),
  )
  const cases = ['host_trust', 'ssl_scram'].flatMap((role) => all.map((extra) => ({ role, extra, password: PASSWORD })))
  await compare(cases, caches.good, () => passwordCredential(PASSWORD), server.port)
  delete process.env.KRB5CCNAME
  const required = { role: 'host_trust', extra: { gssencmode: 'require' } }
  assert.equal((await byUs(required, gssCredential(caches.good, 'x'), server.port)).code, 'GSS_NOT_OFFERED')
})
