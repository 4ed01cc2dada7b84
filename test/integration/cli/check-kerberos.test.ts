/** `poolsmith check` on a Kerberos connection: what it shows when all is well, and where each classic failure leads. */

import assert from 'node:assert/strict'
import { chmod, readFile } from 'node:fs/promises'
import { after, before, test } from 'node:test'
import { PHASE_EXIT_CODES } from '../../../src/cli/exit-codes.ts'
import { type CliOptions, type CliRun, runCli } from '../../support/cli.ts'
import { startKdc } from '../../support/kdc.ts'
import { type KerberosPostgres, startKerberosPostgres } from '../../support/kerberos-postgres.ts'

let realm: KerberosPostgres
let cache: string

before(async () => {
  realm = await startKerberosPostgres({
    roles: ['alice', 'bob', 'carol'],
    rolePassword: 'secret',
    hba: ['host all alice 127.0.0.1/32 gss include_realm=0', 'hostnogssenc all carol 127.0.0.1/32 scram-sha-256'],
  })
  cache = await realm.ticket('alice', 'check')
})
after(() => realm[Symbol.asyncDispose]())

interface Target {
  readonly user?: string
  readonly host?: string
  readonly extra?: Readonly<Record<string, string>>
  readonly cache?: string
}

function check(target: Target = {}, words: readonly string[] = [], options: CliOptions = {}): Promise<CliRun> {
  const { user, host = 'localhost', extra } = target
  const address: Record<string, string> = host.startsWith('%2F') ? {} : { hostaddr: '127.0.0.1' }
  const parameters = new URLSearchParams({ auth_method: 'kerberos', ...address, ...extra })
  const login = user === undefined ? '' : `${user}@`
  const uri = `postgres://${login}${host}:${realm.server.port}/postgres?${parameters}`
  const environment = { ...realm.kdc.environment, KRB5CCNAME: target.cache ?? cache }
  return runCli(['check', uri, ...words], { environment, ...options })
}

test('check shows ticket, service, names, KDC, clock and the view of the server', async () => {
  const { code, stdout, stderr } = await check()
  assert.equal(code, 0, stdout + stderr)
  assert.equal(stderr, '')
  const expected = [
    /encryption +Kerberos \(GSSAPI\)/,
    /time +.*gss [\d.]+ m?s, login [\d.]+ m?s/,
    /realm +TEST\.REALM/,
    /ticket +alice@TEST\.REALM in FILE:\S+check, aes256-cts\S*, until 20/,
    /service +postgres@localhost, that is postgres\/localhost@TEST\.REALM/,
    /names +localhost is 127\.0\.0\.1 .*; krb5 takes the host as it is/,
    new RegExp(`kdc +127\\.0\\.0\\.1:${realm.kdc.port}: UDP answers in [\\d.]+ ms, TCP answers in [\\d.]+ ms`),
    /clock +the same as the KDC/,
    /server sees +alice@TEST\.REALM, proved by Kerberos; encrypted by it/,
  ]
  for (const pattern of expected) assert.match(stdout, pattern)
})

test('a ticket that login and password obtain is shown, and a password that the KDC refused is not sent again', async () => {
  const { kdc } = realm
  await kdc.addPrincipal('carol', { password: 'good', arguments: ['+requires_preauth'] })
  const uri = (password: string): string =>
    `postgres://carol:${password}@localhost:${realm.server.port}/postgres?auth_method=kerberos&gssencmode=disable`
  const environment = kdc.environment
  // The line of pg_hba.conf for carol asks for a password: the ticket itself is good.
  const right = JSON.parse((await runCli(['check', uri('good'), '--json'], { environment })).stdout)
  assert.equal(right.error.details.kerberos.ticket.principal, 'carol@TEST.REALM')
  const refusals = async (): Promise<number> =>
    (await readFile(kdc.path('kdc.log'), 'utf8'))
      .split('\n')
      .filter((line) => /carol.*PREAUTH_FAILED|PREAUTH_FAILED.*carol/.test(line)).length
  const { stdout } = await runCli(['check', uri('wr0ngest'), '--json'], { environment })
  const { error } = JSON.parse(stdout)
  assert.equal(error.code, 'CREDENTIAL_REFUSED')
  assert.deepEqual(
    error.details.kerberos.problems.map(({ code }: { code: string }) => code),
    ['CREDENTIAL_REFUSED'],
  )
  assert.ok(!stdout.includes('wr0ngest'))
  assert.equal(await refusals(), 1)
})

test('--json has the same facts, with the entries of the keytab and the types that the KDC accepts', async () => {
  const keytab = realm.keytab
  const { code, stdout } = await check({ extra: { keytab, principal: 'alice' } }, ['--json'])
  assert.equal(code, 0, stdout)
  const { kerberos, encryption, authentication } = JSON.parse(stdout)
  assert.deepEqual(encryption, { kind: 'gss' })
  assert.equal(authentication, 'gss')
  assert.equal(kerberos.ticket.principal, 'alice@TEST.REALM')
  assert.match(kerberos.ticket.expiresAt, /^20.*Z$/)
  assert.deepEqual(kerberos.server, { authenticated: true, principal: 'alice@TEST.REALM', encrypted: true })
  assert.ok(Math.abs(kerberos.clockOffsetMillis) < 2000)
  assert.deepEqual(kerberos.problems, [])
  const types = kerberos.keytab.entries.map((entry: Record<string, unknown>) => [entry.encryptionType, entry.accepted])
  assert.deepEqual(types, [
    ['aes256-cts-hmac-sha1-96', true],
    ['aes128-cts-hmac-sha1-96', true],
  ])
})

test('a keytab with encryption types that the realm no longer accepts is reported as that', async () => {
  const { kdc } = realm
  await kdc.addPrincipal('strong', { arguments: ['-e', 'aes256-cts:normal'] })
  const keytab = await kdc.keytab('strong')
  await kdc.kadmin('cpw -e aes128-cts:normal -randkey strong')
  const { code, stderr } = await check({ extra: { keytab, principal: 'strong' } })
  assert.equal(code, PHASE_EXIT_CODES.credential)
  assert.match(
    stderr,
    /keytab +strong@TEST\.REALM, kvno 1, aes256-cts-hmac-sha1-96, a type that the KDC does not accept/,
  )
  assert.match(stderr, /ENCRYPTION_TYPE_REFUSED +The KDC accepts none of the encryption types/)
})

test('--trace shows the steps of the library', async () => {
  const fresh = await realm.ticket('alice', 'traced')
  const { code, stdout } = await check({ cache: fresh }, ['--trace'])
  assert.equal(code, 0)
  assert.match(stdout, /trace\n(.*\n)*? {2}Getting credentials alice@TEST\.REALM -> postgres\/localhost@/)
  assert.match(stdout, new RegExp(`127\\.0\\.0\\.1:${realm.kdc.port}`))
  assert.doesNotMatch(stdout, /\[\d+\] \d+\.\d+:/)
  const { kerberos } = JSON.parse((await check({ cache: fresh }, ['--trace', '--json'])).stdout)
  assert.ok(kerberos.trace.length > 3)
})

test('without a ticket the hint names the command that obtains one', async () => {
  const { code, stderr } = await check({ cache: 'FILE:/nonexistent' })
  assert.equal(code, PHASE_EXIT_CODES.credential)
  assert.match(stderr, /ticket +none that can be used/)
  assert.match(stderr, /\(TICKET_MISSING\)/)
  assert.match(stderr, /what to do +Obtain one with `kinit -c FILE:\/nonexistent`/)
})

test('an unknown server is reported with the principal that was asked for and its other names', async () => {
  const { code, stderr } = await check({ host: '127.0.0.1' })
  assert.equal(code, PHASE_EXIT_CODES.gss)
  assert.match(stderr, /service +postgres@127\.0\.0\.1: no ticket for it/)
  assert.match(stderr, /HOST_NAME +The host is an address/)
  assert.match(stderr, /\(SPN_UNKNOWN\)/)
  assert.match(stderr, /what to do +Use the host name in the server/)
  const { error } = JSON.parse((await check({ host: '127.0.0.1' }, ['--json'])).stdout)
  assert.equal(error.code, 'SPN_UNKNOWN')
  assert.equal(error.details.kerberos.service.asked, 'postgres@127.0.0.1')
})

test('a server without a gss line is reported with the line that pg_hba.conf lacks', async () => {
  const missing = await check({ user: 'bob' })
  assert.equal(missing.code, PHASE_EXIT_CODES.login)
  assert.match(missing.stderr, /\(LOGIN_NOT_ADMITTED\)/)
  assert.match(missing.stderr, /`host\w* DATABASE bob ADDRESS gss include_realm=0`/)
  const asked = await check({ user: 'carol' })
  assert.equal(asked.code, PHASE_EXIT_CODES.login)
  assert.match(asked.stderr, /\(AUTH_METHOD_UNSUPPORTED\)/)
  assert.match(asked.stderr, /Set the method to gss/)
})

test('a file that may not be read is reported with the uid and the command to look closer', async () => {
  const file = (await realm.ticket('alice', 'locked')).replace('FILE:', '')
  await chmod(file, 0)
  const { code, stderr } = await check({ cache: `FILE:${file}` }, [], { unprivileged: true })
  assert.equal(code, PHASE_EXIT_CODES.credential, stderr)
  assert.match(stderr, /\(TICKET_CACHE_UNREADABLE\)/)
  assert.match(stderr, new RegExp(`This process \\(uid \\d+\\) may not read the ticket cache FILE:${file}`))
  assert.match(stderr, /what to do +Run `ls -ln \S+locked`/)
})

test('over a Unix socket no service ticket is checked, and a failure is reported once', async () => {
  const { stdout, stderr } = await check({ host: '%2Fnonexistent' })
  assert.match(stdout + stderr, /ticket +alice@TEST\.REALM/)
  assert.doesNotMatch(stdout + stderr, /service|SPN_UNKNOWN/)
  const { error } = JSON.parse(
    (await check({ extra: { principal: 'alice', keytab: '/nonexistent' } }, ['--json'])).stdout,
  )
  assert.deepEqual(
    error.details.kerberos.problems.map(({ code }: { code: string }) => code),
    ['KEYTAB_MISSING'],
  )
})

/** Node's answer for a package that is not installed. */
const WITHOUT_KOFFI = `import { registerHooks } from 'node:module'
registerHooks({
  resolve(name, context, next) {
    if (name !== 'koffi') return next(name, context)
    throw Object.assign(new Error("Cannot find package 'koffi' imported from here"), { code: 'ERR_MODULE_NOT_FOUND' })
  },
})`

test('a login by password works without the package, and its check does not mention Kerberos', async () => {
  const options = { NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(WITHOUT_KOFFI)}` }
  const login = async (gssencmode: string): Promise<CliRun> => {
    const uri = `postgres://carol:secret@localhost:${realm.server.port}/postgres?hostaddr=127.0.0.1&gssencmode=${gssencmode}`
    return runCli(['check', uri, '--json'], { environment: { ...realm.kdc.environment, ...options } })
  }
  const preferred = await login('prefer')
  assert.equal(preferred.code, 0, preferred.stdout)
  const { kerberos, notices } = JSON.parse(preferred.stdout)
  assert.equal(kerberos.problems[0].code, 'PACKAGE_MISSING')
  assert.match(JSON.stringify(notices), /GSSAPI encryption was given up .*koffi/)
  const disabled = await login('disable')
  assert.equal(disabled.code, 0, disabled.stdout)
  assert.equal(JSON.parse(disabled.stdout).kerberos, undefined)
})

test('a KDC that cannot be reached, and one with a wrong clock, are reported', async () => {
  await realm.kdc.stop()
  const away = await check()
  await realm.kdc.start()
  assert.match(away.stdout, /KDC_UNREACHABLE +The KDC 127\.0\.0\.1:\d+ does not answer: refused by UDP, refused by TCP/)
  await using wrong = await startKdc({ realm: 'WRONG.CLOCK', clockOffsetSeconds: 600 })
  await wrong.addPrincipal('alice')
  const keytab = await wrong.keytab('alice')
  const uri = `postgres://localhost:${realm.server.port}/postgres?auth_method=kerberos&principal=alice&keytab=${keytab}`
  const { kerberos } = JSON.parse((await runCli(['check', uri, '--json'], { environment: wrong.environment })).stdout)
    .error.details
  assert.ok(Math.abs(kerberos.clockOffsetMillis - 600_000) < 5000, `${kerberos.clockOffsetMillis}`)
  assert.ok(kerberos.problems.some(({ code }: { code: string }) => code === 'CLOCK_SKEW'))
})
