/** Tickets that are obtained by the login and password of a connection, for both databases, from MIT's KDC. */

import assert from 'node:assert/strict'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import type { GssCredential } from '../../src/credentials/credential.ts'
import { PoolsmithError } from '../../src/errors.ts'
import { createEngine } from '../../src/index.ts'
import { Secret } from '../../src/secret.ts'
import { kerberos } from '../../src/strategies/kerberos.ts'
import { temporaryFolder } from '../support/folder.ts'
import { gssAcceptor } from '../support/gss-acceptor.ts'
import { type KerberosPostgres, startKerberosPostgres } from '../support/kerberos-postgres.ts'
import { createPki } from '../support/pki.ts'
import { startPostgres } from '../support/postgres.ts'
import { startTdsServer } from '../support/tds/server.ts'
import { build, problemPaths } from '../unit/strategies/context.ts'

const PASSWORD = 'Gr0sse-Frage ü/7'
const WRONG = 'falsch-geraten'

let realm: KerberosPostgres
const environment = process.env as Record<string, string>

before(async () => {
  realm = await startKerberosPostgres({
    hba: ['hostgssenc all all 127.0.0.1/32 gss include_realm=0'],
    roles: ['alice', 'etl'],
  })
  const { kdc } = realm
  // kadmin.local takes its queries as words, so that a password with a space goes in by a file of the keys.
  await kdc.kadmin(`cpw -pw "${PASSWORD}" alice@${kdc.realm}`)
  await kdc.addPrincipal('etl', { password: `"${PASSWORD}"`, arguments: ['+requires_preauth'] })
})
after(() => realm[Symbol.asyncDispose]())

const record = (login: string, password = PASSWORD, extra: Record<string, unknown> = {}) => ({
  type: 'postgres' as const,
  host: 'localhost',
  port: realm.server.port,
  login,
  password,
  database: 'postgres',
  extra: { auth_method: 'kerberos', gssencmode: 'require', ...extra },
})

async function failureOf(work: Promise<unknown>): Promise<PoolsmithError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof PoolsmithError, String(error))
  return error
}

function sourceOf(t: TestContext, login: string, password: string | undefined, extra: Record<string, unknown> = {}) {
  const secret = password === undefined ? {} : { password: new Secret(password) }
  return build(kerberos, { login, ...secret }, extra, { environment }).then((built) => {
    t.after(() => built.source.close())
    return built
  })
}

for (const login of ['etl', 'etl@TEST.REALM', 'alice']) {
  test(`PostgreSQL: ${login} logs in by the password, without kinit and without a file`, async () => {
    await using db = await createEngine(record(login))
    const { rows } = await db.raw(
      'select current_user as name, principal, encrypted from pg_stat_gssapi where pid = pg_backend_pid()',
    )
    const name = login.replace(/@.*/, '')
    assert.deepEqual(rows, [{ name, principal: `${name}@TEST.REALM`, encrypted: true }])
    assert.deepEqual(
      (await readdir(realm.kdc.folder)).filter((file) => file.startsWith('krb5cc')),
      [],
    )
  })
}

test('PostgreSQL: with principal the login is the database user', async () => {
  await realm.server.setHba(['hostgssenc all all 127.0.0.1/32 gss map=any'])
  await using db = await createEngine(record('etl', PASSWORD, { principal: 'alice' }))
  const { rows } = await db.raw(
    'select current_user as name, principal from pg_stat_gssapi where pid = pg_backend_pid()',
  )
  assert.deepEqual(rows, [{ name: 'etl', principal: 'alice@TEST.REALM' }])
})

test('SQL Server: the login and password of the record obtain the ticket', async (t) => {
  const folder = await temporaryFolder()
  t.after(() => folder[Symbol.asyncDispose]())
  const pki = await createPki()
  const caFile = join(folder.path, 'ca.pem')
  await writeFile(caFile, pki.ca)
  let keytab = ''
  const postgres = await startPostgres()
  t.after(() => postgres[Symbol.asyncDispose]())
  const server = await startTdsServer({
    postgres,
    tls: await pki.issue({ commonName: 'localhost', dns: ['localhost'] }),
    sspi: { acceptor: () => gssAcceptor(keytab) },
  })
  t.after(() => server[Symbol.asyncDispose]())
  const service = `MSSQLSvc/localhost:${server.port}`
  await realm.kdc.addPrincipal(service)
  keytab = await realm.kdc.keytab(service)
  await using db = await createEngine({
    type: 'mssql',
    host: 'localhost',
    port: server.port,
    login: 'etl@TEST.REALM',
    password: PASSWORD,
    database: 'master',
    extra: { auth_method: 'kerberos', ca_file: caFile },
  })
  const session = await db.pool.use((raw) => db.pool.infoOf(raw))
  assert.deepEqual([session?.user, session?.authentication], ['etl@TEST.REALM', 'kerberos'])
})

test('a new ticket is obtained in the background when the old one nears its end', async (t) => {
  const { kdc } = realm
  await kdc.addPrincipal('brief', { password: 'b', maxLife: '4 seconds' })
  const { source } = await sourceOf(t, 'brief', 'b', { min_ticket_lifetime: 0 })
  const first = (await source.get()) as GssCredential
  let current: GssCredential | undefined = first
  const deadline = Date.now() + 30_000
  while ((current?.expiresAt ?? 0) <= (first.expiresAt ?? 0)) {
    assert.ok(Date.now() < deadline, 'there was never another ticket')
    await sleep(50)
    current = source.current() as GssCredential | undefined
  }
  assert.equal(current?.cache, first.cache)
})

test('a ticket is replaced before less than min_ticket_lifetime is left', async (t) => {
  await realm.kdc.addPrincipal('minute', { password: 'm', maxLife: '60 seconds' })
  const { source } = await sourceOf(t, 'minute', 'm', { min_ticket_lifetime: 40 })
  const { issuedAt, expiresAt = 0 } = await source.get()
  assert.equal(expiresAt - issuedAt, 20_000)
})

/** Kinds of refusals: the principal, and how kadmin makes it so. */
const REFUSALS: readonly (readonly [name: string, kadmin: readonly string[], code: string, message: RegExp])[] = [
  ['right', [], 'CREDENTIAL_REFUSED', /does not accept the password of right@TEST\.REALM/],
  ['proof', ['+requires_preauth'], 'CREDENTIAL_REFUSED', /does not accept the password of proof@TEST\.REALM/],
  ['over', ['-pwexpire yesterday'], 'LOGIN_PASSWORD_CHANGE', /password of over@TEST\.REALM has expired/],
  ['fresh', ['+needchange'], 'LOGIN_PASSWORD_CHANGE', /password of fresh@TEST\.REALM/],
  ['locked', ['-allow_tix'], 'PRINCIPAL_REFUSED', /refuses locked@TEST\.REALM \(.*revoked/],
  ['gone', ['-expire yesterday'], 'PRINCIPAL_REFUSED', /refuses gone@TEST\.REALM \(.*expired/],
  ['card', ['+requires_hwauth', '+requires_preauth'], 'PREAUTH_UNSUPPORTED', /asks card@TEST\.REALM for a proof/],
]

for (const [name, flags, code, message] of REFUSALS) {
  test(`the reason of a refusal is told: ${flags.join(' ') || 'a wrong password'}`, async (t) => {
    const { kdc } = realm
    await kdc.addPrincipal(name, { password: 'good', arguments: flags })
    const { source } = await sourceOf(t, name, code === 'CREDENTIAL_REFUSED' ? WRONG : 'good')
    const error = await failureOf(source.get())
    assert.deepEqual([error.code, error.phase, error.transient], [code, 'credential', false])
    assert.match(error.message, message)
    assert.ok(error.hint)
    assert.ok(!`${inspect(error, { depth: 9, showHidden: true })}${JSON.stringify(error)}`.includes(WRONG))
  })
}

test('a principal that does not exist is told', async (t) => {
  const { source } = await sourceOf(t, 'nobody', 'x')
  const error = await failureOf(source.get())
  assert.equal(error.code, 'PRINCIPAL_UNKNOWN')
  assert.match(error.message, /nobody@TEST\.REALM/)
})

test('a wrong password is sent once, however often callers try, and a new one in the file at once', async (t) => {
  const { kdc } = realm
  const file = kdc.path('carol.password')
  await kdc.addPrincipal('carol', { password: 'good', arguments: ['+requires_preauth'] })
  await writeFile(file, WRONG)
  const refusals = async (): Promise<number> => {
    const log = await readFile(kdc.path('kdc.log'), 'utf8')
    return log.split('\n').filter((line) => line.includes('PREAUTH_FAILED') && line.includes('carol')).length
  }
  const { source } = await sourceOf(t, 'carol', undefined, { password_file: file })
  const error = await failureOf(source.get())
  assert.equal(error.code, 'CREDENTIAL_REFUSED')
  assert.match(error.hint ?? '', /sent again after 120 s/)
  // MIT's library asks a second time, as kinit does, where the realm has another KDC.
  const sent = await refusals()
  assert.ok(sent >= 1)
  for (let times = 0; times < 2; times++) {
    // The source gives its last failure to those who ask within a second.
    await sleep(1100)
    assert.equal((await failureOf(source.get())).message, error.message)
  }
  assert.equal(await refusals(), sent)
  await writeFile(file, 'good\n')
  await sleep(1100)
  assert.equal((await source.get()).identity, 'carol@TEST.REALM')
})

test('the password is in no argument and no variable of the process that asks the KDC', async (t) => {
  const { kdc } = realm
  const { source } = await sourceOf(t, 'etl', PASSWORD)
  await source.get()
  const children: string[] = []
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
    if (Number(stat.split(') ')[1]?.split(' ')[1]) !== process.pid) continue
    const facts = await Promise.all(
      ['cmdline', 'environ'].map((file) => readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => '')),
    )
    children.push(facts.join('\n'))
  }
  assert.ok(
    children.some((facts) => /kdc\/process\.[tj]s/.test(facts)),
    'no process asks the KDC',
  )
  assert.ok(children.every((facts) => !facts.includes(PASSWORD)))
  assert.ok(!(await readFile(kdc.path('kdc.log'), 'utf8')).includes(PASSWORD))
})

test('a password and another way to the ticket contradict each other', async () => {
  const problems = (extra: Record<string, unknown>, login: string | undefined = 'etl') =>
    problemPaths(build(kerberos, { login, password: new Secret('x') }, extra, { environment }))
  assert.deepEqual(await problems({ keytab: '/x.keytab' }), ['extra.keytab'])
  assert.deepEqual(await problems({ ccache: '/tmp/cc' }), ['extra.ccache'])
  assert.deepEqual(await problems({ password_file: '/x.password' }), ['extra.password_file'])
  assert.deepEqual(await problems({}, 'CORP\\etl'), ['login'])
  assert.deepEqual(await problems({ principal: 'etl@CORP.TEST' }, 'CORP\\etl'), [])
  assert.deepEqual(await problemPaths(build(kerberos, { password: new Secret('x') }, {}, { environment })), ['login'])
})
