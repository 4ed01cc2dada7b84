/** Keytabs and configurations that tickets cannot be obtained with, and where krb5 finds a keytab by itself. */

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { after, afterEach, before, test } from 'node:test'
import { PoolsmithError } from '../../src/errors.ts'
import { createEngine } from '../../src/index.ts'
import { ensureTicket } from '../../src/kerberos/ensure-ticket.ts'
import { KerberosTicket } from '../../src/kerberos/kerberos-ticket.ts'
import { refreshTicket } from '../../src/kerberos/refresh-ticket.ts'
import { verifyTicket } from '../../src/kerberos/ticket.ts'
import { startKcm } from '../support/kcm.ts'
import type { Kdc } from '../support/kdc.ts'
import { type KerberosPostgres, startKerberosPostgres } from '../support/kerberos-postgres.ts'
import { psql } from '../support/postgres.ts'

let realm: KerberosPostgres
let kdc: Kdc

before(async () => {
  realm = await startKerberosPostgres({
    hba: ['host all all 127.0.0.1/32 gss include_realm=0'],
    principals: { bob: {} },
    roles: ['alice', 'bob'],
  })
  kdc = realm.kdc
})
after(() => realm[Symbol.asyncDispose]())
afterEach(() => {
  delete process.env.KRB5_CLIENT_KTNAME
  delete process.env.KRB5CCNAME
})

async function refusal(work: Promise<unknown>): Promise<PoolsmithError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof PoolsmithError, String(error))
  return error
}

/** A keytab with a key of one type, whatever the KDC has. */
function keytabOf(principal: string, type: string): string {
  const file = kdc.path(`${principal}-${type}.keytab`)
  const input = `addent -password -p ${principal}@${kdc.realm} -k 1 -e ${type}\nx\nwkt ${file}\nquit\n`
  const { status } = spawnSync('ktutil', [], { input, env: { ...kdc.environment, PATH: process.env.PATH } })
  assert.equal(status, 0)
  return file
}

const into = (name: string): string => `FILE:${kdc.path(name)}`

test('a keytab with RC4 keys alone is reported with its types', async () => {
  await kdc.addPrincipal('aes', { password: 'x' })
  const keytab = keytabOf('aes', 'arcfour-hmac')
  const error = await refusal(refreshTicket({ by: 'keytab', keytab, principal: 'aes', cache: into('rc4') }))
  assert.equal(error.code, 'ENCRYPTION_TYPE_REFUSED')
  assert.match(error.message, /keytab \S+arcfour-hmac\.keytab for aes@TEST\.REALM: arcfour-hmac/)
  assert.match(error.hint ?? '', /^Export the keytab again with keys of aes256-cts/)
})

for (const proof of ['-requires_preauth', '+requires_preauth']) {
  test(`keytab, KDC and krb5.conf without a common encryption type are reported with the types: ${proof}`, async (t) => {
    const name = proof.startsWith('+') ? 'early' : 'late'
    await kdc.addPrincipal(name, { arguments: ['-e', 'aes128-cts:normal', proof] })
    const keytab = await kdc.keytab(name)
    await kdc.configure(['permitted_enctypes = aes256-cts'])
    t.after(() => kdc.configure([]))
    const error = await refusal(refreshTicket({ by: 'keytab', keytab, principal: name, cache: into(name) }))
    assert.equal(error.code, 'ENCRYPTION_TYPE_REFUSED')
    assert.match(error.message, new RegExp(`for ${name}@TEST\\.REALM: aes128-cts-hmac-sha1-96`))
  })
}

test('a keytab of a principal whose password has expired is reported as that', async () => {
  await kdc.addPrincipal('stale', { password: 'x', arguments: ['-pwexpire yesterday'] })
  const keytab = await kdc.keytab('stale')
  const error = await refusal(refreshTicket({ by: 'keytab', keytab, cache: into('stale') }))
  assert.equal(error.code, 'LOGIN_PASSWORD_CHANGE')
  assert.match(error.hint ?? '', /`kpasswd stale@TEST\.REALM`, then export the keytab again/)
})

for (const kind of ['include', 'includedir']) {
  test(`a file that krb5.conf names by ${kind} and that is missing is named`, async (t) => {
    const file = kdc.environment.KRB5_CONFIG ?? ''
    const before = await readFile(file, 'utf8')
    t.after(() => writeFile(file, before))
    await writeFile(file, `${kind} ${kdc.path('nowhere')}\n${before}`)
    const error = await refusal(verifyTicket())
    assert.equal(error.code, 'KRB5_CONFIG_INVALID')
    assert.ok(error.message.includes(`${file} has the line \`${kind} ${kdc.path('nowhere')}\``), error.message)
  })
}

test('a keytab adds a principal to a DIR collection, and leaves the others and the one in use', async () => {
  const folder = kdc.path('collection')
  await mkdir(folder)
  const collection = `DIR:${folder}`
  await kdc.kinit('bob', collection, { keytab: await kdc.keytab('bob') })
  const before = await verifyTicket({ cache: collection, principal: 'bob' })
  const keytab = await kdc.keytab('alice')
  const obtained = await refreshTicket({ by: 'keytab', keytab, cache: collection })
  assert.equal(obtained.principal, 'alice@TEST.REALM')
  // The same cache is found again, by each way to it.
  await using ticket = new KerberosTicket({ keytab, principal: 'alice', cache: collection })
  assert.equal((await ticket.ensure()).cache, obtained.cache)
  assert.equal((await ensureTicket({ keytab, principal: 'alice', cache: collection })).cache, obtained.cache)
  assert.deepEqual(await verifyTicket({ cache: collection, principal: 'bob' }), before)
  assert.equal((await verifyTicket({ cache: collection })).principal, 'bob@TEST.REALM')
  const environment = { ...kdc.environment, PATH: process.env.PATH, KRB5CCNAME: collection }
  const { stdout, stderr } = spawnSync('klist', ['-A'], { env: environment, encoding: 'utf8' })
  assert.deepEqual([...stdout.matchAll(/Default principal: (\w+)/g)].map(([, name]) => name).toSorted(), [
    'alice',
    'bob',
  ])
  assert.equal(stderr, '')
})

test('a first ticket of a DIR collection is obtained by KerberosTicket, and the cache of another is not replaced', async () => {
  const folder = kdc.path('first')
  await mkdir(folder)
  const keytab = await kdc.keytab('alice', 'bob')
  for (const principal of ['alice', 'bob']) {
    await using ticket = new KerberosTicket({ keytab, principal, cache: `DIR:${folder}` })
    assert.equal((await ticket.acquire()).principal, `${principal}@TEST.REALM`)
  }
  for (const principal of ['alice', 'bob']) {
    assert.equal((await verifyTicket({ cache: `DIR:${folder}`, principal })).principal, `${principal}@TEST.REALM`)
  }
  assert.equal((await readdir(folder)).filter((name) => name.startsWith('tkt')).length, 2)
})

test('a keytab adds a principal to the collection of a KCM daemon', async (t) => {
  const kcm = await startKcm(kdc.path('kcm.socket'))
  t.after(() => kcm[Symbol.asyncDispose]())
  await kdc.configure([`kcm_socket = ${kcm.socket}`])
  t.after(() => kdc.configure([]))
  await kdc.kinit('bob', 'KCM:', { keytab: await kdc.keytab('bob') })
  const keytab = await kdc.keytab('alice')
  const obtained = await refreshTicket({ by: 'keytab', keytab, cache: 'KCM:', principal: 'alice' })
  assert.match(obtained.cache, /^KCM:\d+:\w+$/)
  assert.equal((await verifyTicket({ cache: 'KCM:', principal: 'alice' })).cache, obtained.cache)
  assert.equal((await verifyTicket({ cache: 'KCM:', principal: 'bob' })).principal, 'bob@TEST.REALM')
})

test('KRB5_CLIENT_KTNAME obtains the ticket of the default cache, as for psql', async () => {
  const keytab = await kdc.keytab('alice')
  const user = 'select current_user as name'
  const place = `host=localhost port=${realm.server.port} dbname=postgres user=alice`
  const theirs = { ...kdc.environment, KRB5_CLIENT_KTNAME: keytab, KRB5CCNAME: into('psql') }
  const { stdout, stderr } = await psql(['-Atc', user, place], theirs)
  assert.equal(stdout, 'alice\n', stderr)

  process.env.KRB5_CLIENT_KTNAME = keytab
  process.env.KRB5CCNAME = into('client')
  await using db = await createEngine({
    type: 'postgres',
    host: 'localhost',
    port: realm.server.port,
    database: 'postgres',
    extra: { auth_method: 'kerberos' },
  })
  assert.deepEqual((await db.raw(user)).rows, [{ name: 'alice' }])
  assert.equal((await verifyTicket({ cache: into('client') })).principal, 'alice@TEST.REALM')
  // A later session finds no ticket, and obtains one again.
  await rm(kdc.path('client'))
  db.pool.invalidate()
  assert.deepEqual((await db.raw(user)).rows, [{ name: 'alice' }])
})

test('a ticket of another principal in the default cache is used, and the client keytab left alone', async () => {
  process.env.KRB5_CLIENT_KTNAME = await kdc.keytab('alice')
  process.env.KRB5CCNAME = into('bobs')
  await kdc.kinit('bob', into('bobs'), { keytab: await kdc.keytab('bob') })
  assert.equal((await ensureTicket({})).principal, 'bob@TEST.REALM')
  assert.equal((await refusal(ensureTicket({ principal: 'alice' }))).code, 'TICKET_PRINCIPAL_MISMATCH')
  // A cache that is named is kept by its own updater.
  assert.equal((await refusal(ensureTicket({ cache: into('absent') }))).code, 'TICKET_CACHE_MISSING')
})
