/**
 * All that can be wrong with a ticket, a cache, a keytab, a realm or a name, as somebody meets it who opens a pool: each
 * is an error of its own that says whose ticket, which cache, service, realm and KDC it is about and what mends it, comes
 * within the limit, and leaves nothing open.
 */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { type ErrorCode, PoolsmithError } from '../../src/errors.ts'
import { createEngine } from '../../src/index.ts'
import { callsInFlight } from '../../src/kerberos/native/load.ts'
import { enterRealm, startKdc } from '../support/kdc.ts'
import { type KerberosPostgres, startKerberosPostgres } from '../support/kerberos-postgres.ts'
import { type Middle, startMiddle } from '../support/middle.ts'

const execute = promisify(execFile)
let realm: KerberosPostgres
let middle: Middle
const files = { alice: '', bob: '', old: '' }
const ALICE = 'alice@TEST.REALM'

before(async () => {
  realm = await startKerberosPostgres({
    roles: ['alice', 'bob'],
    principals: { bob: {}, brief: { maxLife: '1 second' } },
    hba: ['host all all 127.0.0.1/32 gss include_realm=0'],
  })
  middle = await startMiddle(realm.server.port)
  const { kdc } = realm
  await realm.ticket('brief', 'expired')
  await realm.ticket('alice', 'good')
  await kdc.addPrincipal('old')
  files.alice = await kdc.keytab('alice')
  files.bob = await kdc.keytab('bob')
  files.old = await kdc.keytab('old')
  await kdc.changeKeys('old')
  const whole = await readFile(kdc.path('good'))
  await writeFile(kdc.path('empty'), '')
  await writeFile(kdc.path('cut'), whole.subarray(0, 200))
  await writeFile(kdc.path('corrupt'), 'no ticket cache at all')
  await writeFile(kdc.path('text.keytab'), 'BQIAAABRAAEAC1RFU1QuUkVBTE0=')
  await mkdir(kdc.path('folder'))
  await sleep(2000)
})
after(async () => {
  await middle[Symbol.asyncDispose]()
  await realm[Symbol.asyncDispose]()
})

interface Given {
  /** Default: the one before the realm's server. */
  readonly middle?: Middle
  readonly host?: string
  readonly extra?: Readonly<Record<string, unknown>>
}

function engine({ host = 'localhost', middle: to = middle, extra }: Given) {
  return createEngine(
    {
      conn_type: 'postgres',
      host,
      port: to.port,
      schema: 'postgres',
      extra: { auth_method: 'kerberos', gssencmode: 'require', hostaddr: '127.0.0.1', connect_timeout: 5, ...extra },
    },
    { pool_size: 2, pool_timeout: 10 },
  )
}

/** The error of a pool for its first caller, with the words that it must have; and nothing stays behind. */
async function isTold(given: Given, code: ErrorCode, ...facts: readonly string[]): Promise<void> {
  const openFiles = async (): Promise<number> => (await readdir('/proc/self/fd')).length
  const before = await openFiles()
  const begin = performance.now()
  const db = await engine(given)
  try {
    await db.raw('select 1')
    assert.fail('it connected')
  } catch (error) {
    assert.ok(error instanceof PoolsmithError, String(error))
    assert.equal(error.code, code, error.message)
    const told = `${error.message} ${error.hint}`
    for (const fact of facts) assert.ok(told.includes(fact), `${fact} is not told: ${told}`)
    assert.ok(performance.now() - begin < 6000, 'within the limit')
  } finally {
    await db.destroy()
  }
  // The process that asks the KDC is kept for a while, over one channel.
  const allowed = before + 1
  for (let waited = 0; (await openFiles()) > allowed && waited < 3000; waited += 20) await sleep(20)
  assert.ok((await openFiles()) <= allowed, 'files are left open')
  assert.equal(middle.open(), 0)
  assert.equal(callsInFlight(), 0)
}

const file = (name: string): string => `FILE:${realm.kdc.path(name)}`
const kdcAddress = (): string => `127.0.0.1:${realm.kdc.port}`

test('without a ticket in the default cache the error names the cache and kinit', async () => {
  await isTold({}, 'TICKET_MISSING', file('krb5cc_default'), 'kinit')
})

const CACHES: readonly (readonly [what: string, name: string, code: ErrorCode])[] = [
  ['that is not there', 'none', 'TICKET_CACHE_MISSING'],
  ['that is empty', 'empty', 'TICKET_CACHE_EMPTY'],
  ['that is cut short', 'cut', 'TICKET_CACHE_EMPTY'],
  ['that is something else', 'corrupt', 'TICKET_CACHE_CORRUPT'],
  ['that is a directory', 'folder', 'TICKET_CACHE_CORRUPT'],
]

for (const [what, name, code] of CACHES) {
  test(`a cache ${what}`, async () => {
    await isTold({ extra: { ccache: file(name) } }, code, file(name), `kinit -c ${file(name)}`)
  })
}

test('a directory in place of a cache or keytab is reported as a directory', async () => {
  await isTold({ extra: { ccache: file('folder') } }, 'TICKET_CACHE_CORRUPT', 'It is a directory')
  const extra = { principal: 'alice', keytab: realm.kdc.path('folder') }
  await isTold({ extra }, 'KEYTAB_CORRUPT', realm.kdc.path('folder'), 'directory')
})

test('a pipe in place of a cache or keytab is refused and not waited for', async () => {
  const pipe = realm.kdc.path('pipe')
  await execute('mkfifo', [pipe])
  const told = 'It is not a regular file'
  await isTold({ extra: { ccache: `FILE:${pipe}` } }, 'TICKET_CACHE_CORRUPT', told)
  await isTold({ extra: { keytab: pipe } }, 'KEYTAB_CORRUPT', told)
  await isTold({ extra: { principal: 'alice', keytab: pipe } }, 'KEYTAB_CORRUPT', told)
})

test('a cache of an unknown type and a cache without its daemon have errors of their own', async () => {
  await isTold({ extra: { ccache: 'PIGEON:1' } }, 'TICKET_CACHE_TYPE_UNKNOWN', 'PIGEON:1', 'KEYRING')
  await isTold({ extra: { ccache: 'KCM:' } }, 'TICKET_CACHE_DAEMON_MISSING', 'KCM:', 'systemctl start sssd-kcm.socket')
})

test('a cache of another principal is refused, also when it becomes one under the pool', async () => {
  const extra = { ccache: file('good'), principal: 'bob' }
  const facts = [ALICE, 'bob@TEST.REALM', file('good'), `kinit -c ${file('good')}_bob bob@TEST.REALM`]
  await isTold({ extra }, 'TICKET_PRINCIPAL_MISMATCH', ...facts)

  const ccache = await realm.ticket('alice', 'changing')
  await using db = await engine({ extra: { ccache } })
  await db.raw('select 1')
  await realm.ticket('bob', 'changing')
  db.pool.invalidate()
  await assert.rejects(db.raw('select 1'), (error: unknown) => {
    assert.ok(error instanceof PoolsmithError)
    assert.equal(error.code, 'TICKET_PRINCIPAL_MISMATCH')
    assert.match(error.message, /belongs to bob@TEST\.REALM, not to alice@TEST\.REALM/)
    return true
  })
})

test('a ticket that has expired and one that expires soon are refused', async () => {
  const who = 'brief@TEST.REALM'
  const over = { ccache: file('expired') }
  await isTold({ extra: over }, 'TICKET_EXPIRED', who, file('expired'), `kinit -c ${file('expired')} ${who}`, ' at 20')
  const soon = { ccache: file('good'), min_ticket_lifetime: 200_000 }
  await isTold({ extra: soon }, 'TICKET_EXPIRES_SOON', ALICE, file('good'), '200000 s', `kinit -c ${file('good')}`)
})

test('a wrong realm of the ticket, the keytab or the service is named', async () => {
  const { alice: keytab } = files
  const wrong = 'alice@WRONG.REALM'
  await isTold({ extra: { ccache: file('good'), principal: wrong } }, 'TICKET_PRINCIPAL_MISMATCH', ALICE, wrong)
  await isTold({ extra: { keytab, principal: wrong } }, 'KEYTAB_WITHOUT_PRINCIPAL', keytab, wrong, `holds ${ALICE}`)
  const krbspn = 'postgres/localhost@WRONG.REALM'
  await isTold({ extra: { ccache: file('good'), krbspn } }, 'SPN_UNKNOWN', krbspn)
})

test('a malformed name of the client or the server is PRINCIPAL_MALFORMED', async () => {
  const told = ['is not written as a principal', 'service/host@REALM']
  await isTold({ extra: { ccache: file('good'), principal: 'a@b@c' } }, 'PRINCIPAL_MALFORMED', 'a@b@c', ...told)
  const krbspn = 'postgres/localhost@a@b'
  await isTold({ extra: { ccache: file('good'), krbspn } }, 'PRINCIPAL_MALFORMED', krbspn, ...told)
})

test('a realm without a KDC in krb5.conf is REALM_UNKNOWN', async (t) => {
  await writeFile(realm.kdc.path('bare.conf'), '[libdefaults]\n  dns_lookup_kdc = false\n  rdns = false\n')
  const ccache = await realm.ticket('alice', 'unused')
  process.env.KRB5_CONFIG = realm.kdc.path('bare.conf')
  t.after(() => enterRealm(realm.kdc))
  const facts = ['TEST.REALM', '[realms]', '_kerberos._udp.TEST.REALM']
  await isTold({ extra: { ccache, krbspn: 'postgres/localhost@TEST.REALM' } }, 'REALM_UNKNOWN', ...facts)
  await isTold({ extra: { keytab: files.alice, principal: ALICE } }, 'REALM_UNKNOWN', ...facts)
})

test('a keytab that is missing, damaged, without the principal or with an old key has an error of its own', async () => {
  const none = realm.kdc.path('none.keytab')
  await isTold({ extra: { keytab: none, principal: 'alice' } }, 'KEYTAB_MISSING', none, 'mounted')
  const text = realm.kdc.path('text.keytab')
  await isTold({ extra: { keytab: text, principal: 'alice' } }, 'KEYTAB_CORRUPT', text, `klist -k ${text}`)
  const { bob, old } = files
  const missing = [bob, ALICE, 'it holds bob@TEST.REALM']
  await isTold({ extra: { keytab: bob, principal: 'alice' } }, 'KEYTAB_WITHOUT_PRINCIPAL', ...missing)
  const facts = ['old@TEST.REALM', old, 'KDC of TEST.REALM', 'kvno 1', `klist -kt ${old}`]
  await isTold({ extra: { keytab: old, principal: 'old' } }, 'KEYTAB_REFUSED', ...facts)
})

test('an address in place of the host, and a wrong service name, are SPN_UNKNOWN', async () => {
  const extra = { ccache: file('good') }
  const facts = ['database of TEST.REALM', `kvno -c ${file('good')} postgres/127.0.0.1@TEST.REALM`]
  await isTold({ host: '127.0.0.1', extra }, 'SPN_UNKNOWN', ...facts)
  await isTold({ extra: { ...extra, krbsrvname: 'pgsql' } }, 'SPN_UNKNOWN', 'pgsql/localhost@TEST.REALM', 'krbsrvname')
})

test('a stopped KDC is named with the realm, the principal and a command to look closer', async () => {
  const ccache = await realm.ticket('alice', 'stopped')
  await realm.kdc.stop()
  try {
    const facts = [
      'KDC of TEST.REALM',
      kdcAddress(),
      `KRB5_TRACE=/dev/stderr kvno -c ${ccache} postgres/localhost@TEST.REALM`,
    ]
    await isTold({ extra: { ccache } }, 'KDC_UNREACHABLE', ...facts)
  } finally {
    await realm.kdc.start()
  }
})

test('clocks that differ by ten minutes are CLOCK_SKEW', async (t) => {
  for (const clockOffsetSeconds of [600, -600]) {
    await using kdc = await startKdc({ realm: 'WRONG.CLOCK', clockOffsetSeconds })
    await kdc.addPrincipal('alice')
    const keytab = await kdc.keytab('alice')
    await kdc.configure(['kdc_timesync = 0'])
    enterRealm(kdc)
    t.after(() => enterRealm(realm.kdc))
    const facts = ['WRONG.CLOCK', `127.0.0.1:${kdc.port}`, 'timedatectl']
    await isTold({ extra: { keytab, principal: 'alice' } }, 'CLOCK_SKEW', ...facts)
  }
})

test('a server whose clock is ten minutes off is named in place of the KDC', async (t) => {
  const { stdout: library } = await execute('faketime', ['-f', '+0', 'printenv', 'LD_PRELOAD'])
  for (const offset of ['+600s', '-600s']) {
    await using wrong = await startKerberosPostgres({
      hba: ['host all all 127.0.0.1/32 gss include_realm=0'],
      environment: { LD_PRELOAD: library.trim(), FAKETIME: offset, FAKETIME_DONT_FAKE_MONOTONIC: '1' },
    })
    t.after(() => enterRealm(realm.kdc))
    await using to = await startMiddle(wrong.server.port)
    const extra = { keytab: wrong.keytab, principal: 'alice' }
    const facts = ['clock of the server postgres@localhost', ALICE, 'timedatectl']
    await isTold({ middle: to, extra: { ...extra, gssencmode: 'disable' } }, 'CLOCK_SKEW', ...facts)
    // Where the encryption is set up the server hangs up without a word.
    await isTold({ middle: to, extra }, 'GSS_SERVER_REFUSED', 'clock is wrong', ALICE)
  }
})

test('a role that the principal may not use is refused with both names', async () => {
  await using db = await createEngine({
    conn_type: 'postgres',
    host: 'localhost',
    port: middle.port,
    login: 'bob',
    schema: 'postgres',
    extra: { auth_method: 'kerberos', hostaddr: '127.0.0.1', ccache: file('good') },
  })
  await assert.rejects(db.raw('select 1'), (error: unknown) => {
    assert.ok(error instanceof PoolsmithError)
    assert.equal(error.code, 'LOGIN_REFUSED')
    assert.match(error.hint ?? '', /the principal alice@TEST\.REALM, .* as bob\. .*pg_ident\.conf/)
    return true
  })
})
