import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { PoolsmithError } from '../../src/errors.ts'
import { diagnose } from '../../src/kerberos/diagnose.ts'
import { ensureTicket, openCredential } from '../../src/kerberos/ensure-ticket.ts'
import { loadGssApi } from '../../src/kerberos/load-gss-api.ts'
import { Krb5 } from '../../src/kerberos/native/krb5.ts'
import { refreshTicket } from '../../src/kerberos/refresh-ticket.ts'
import { verifyTicket } from '../../src/kerberos/ticket.ts'
import { startKcm } from '../support/kcm.ts'
import { enterRealm } from '../support/kdc.ts'
import { ALICE, failure, fresh, kdc, keytab } from '../support/ticket-realm.ts'

const KINDS: Readonly<Record<string, () => Promise<string>>> = {
  FILE: async () => fresh().cache,
  'a plain path': async () => fresh().path,
  DIR: async () => {
    const { path } = fresh()
    await mkdir(path, { mode: 0o700 })
    return `DIR:${path}`
  },
  'KEYRING:process': async () => `KEYRING:process:${randomUUID()}`,
  'KEYRING:session': async () => `KEYRING:session:${randomUUID()}`,
  'KEYRING:persistent': async () => `KEYRING:persistent:${process.getuid?.()}:${randomUUID()}`,
  MEMORY: async () => `MEMORY:${randomUUID()}`,
}

/** Whether MIT's own kinit can use a keyring of this kind here. */
async function keyringsWork(kind: string): Promise<boolean> {
  const probe = await KINDS[kind]?.()
  if (probe === undefined) return false
  return kdc.kinit('alice', probe, { keytab }).then(
    () => true,
    () => false,
  )
}

async function gotVerifiedUsedAndRefreshed(cache: string): Promise<void> {
  await failure('TICKET_CACHE_MISSING', verifyTicket({ cache }))
  const policy = { principal: ALICE, keytab, cache }
  const ticket = await ensureTicket(policy)
  assert.equal((await verifyTicket({ principal: ALICE, cache })).expiresAt, ticket.expiresAt)
  const gss = await loadGssApi()
  using opened = await openCredential(gss, policy)
  using context = gss.initContext({
    target: { service: 'postgres', host: 'localhost' },
    flags: [],
    credential: opened.handle,
  })
  assert.ok((await context.step()).token)
  const { service, problems } = await diagnose({
    target: { service: 'postgres', host: 'localhost' },
    principal: ALICE,
    cache,
    signal: AbortSignal.timeout(10_000),
  })
  assert.deepEqual([service?.principal, problems], ['postgres/localhost@TEST.REALM', []])
  await sleep(1100)
  assert.ok((await refreshTicket({ by: 'keytab', ...policy })).expiresAt > ticket.expiresAt)
  using krb5 = await Krb5.open()
  krb5.destroy(ticket.cache)
}

for (const [kind, make] of Object.entries(KINDS)) {
  test(`${kind}: obtained, verified, used and refreshed`, async () => {
    const cache = await make()
    if (cache.startsWith('KEYRING:') && !(await keyringsWork(kind))) {
      // Some containers forbid keyrings: then it is an error of ours and no crash.
      await assert.rejects(ensureTicket({ principal: ALICE, keytab, cache }), PoolsmithError)
      return
    }
    await gotVerifiedUsedAndRefreshed(cache)
  })
}

test('KCM: obtained, verified, used and refreshed, also as the default cache', async (t) => {
  await using kcm = await startKcm(kdc.path('kcm.socket'))
  t.after(async () => {
    await kdc.configure([])
    enterRealm(kdc)
  })
  await kdc.configure([`kcm_socket = ${kcm.socket}`])
  await gotVerifiedUsedAndRefreshed('KCM:alices')
  const policy = { principal: ALICE, keytab, cache: 'KCM:alices' }
  await ensureTicket(policy)
  assert.match(await kdc.klist('KCM:alices'), /Default principal: alice@TEST\.REALM/)
  process.env.KRB5CCNAME = 'KCM:'
  assert.equal((await verifyTicket({ principal: ALICE })).cache, 'KCM:alices')

  // krb5 would wait for it for ever, and everything else in the process with it.
  kcm.freeze()
  let ticks = 0
  const ticking = setInterval(() => ticks++, 50)
  const silent = /does not answer\. It was silent for \d s/
  for (const cache of ['KCM:alices', undefined]) {
    const error = await failure('TICKET_CACHE_DAEMON_MISSING', verifyTicket({ cache }))
    assert.match(error.message, silent)
  }
  clearInterval(ticking)
  assert.ok(ticks > 20, `${ticks}`)
  kcm.thaw()
  assert.equal((await verifyTicket({ cache: 'KCM:alices' })).principal, ALICE)
})

test('KCM without its daemon and an unknown type have errors of their own', async () => {
  await failure('TICKET_CACHE_DAEMON_MISSING', verifyTicket({ cache: 'KCM:' }))
  await failure('TICKET_CACHE_TYPE_UNKNOWN', verifyTicket({ cache: 'SMOKE:signal' }))
})

test('without a named cache KRB5CCNAME and krb5.conf choose it', async (t) => {
  t.after(() => enterRealm(kdc))
  const nothing = await failure('TICKET_MISSING', verifyTicket())
  assert.match(nothing.message, /krb5cc_default/)
  const { cache } = fresh()
  await ensureTicket({ principal: ALICE, keytab, cache })
  process.env.KRB5CCNAME = cache
  assert.equal((await verifyTicket()).cache, cache)
})

test('of a collection the cache of the principal is taken', async (t) => {
  t.after(() => enterRealm(kdc))
  const { path } = fresh()
  await mkdir(path, { mode: 0o700 })
  await refreshTicket({ by: 'keytab', keytab, principal: ALICE, cache: `DIR::${path}/tktalice` })
  const bobs = await kdc.keytab('bob')
  await refreshTicket({ by: 'keytab', keytab: bobs, principal: 'bob', cache: `DIR::${path}/tktbob` })
  const named = `DIR:${path}`
  for (const cache of [named, undefined]) {
    if (cache === undefined) process.env.KRB5CCNAME = named
    assert.equal((await verifyTicket({ principal: 'bob', cache })).cache, `DIR::${path}/tktbob`)
    assert.equal((await verifyTicket({ principal: ALICE, cache })).cache, `DIR::${path}/tktalice`)
  }
  // A third gets a cache of its own, and takes no place of the others.
  await writeFile(join(path, 'primary'), 'tktalice\n')
  const stranger = { principal: 'shortlived', cache: named }
  const own = await kdc.keytab('shortlived')
  assert.match((await refreshTicket({ by: 'keytab', keytab: own, ...stranger })).cache, /\/tkt[0-9a-f]+$/)
  await failure(
    'TICKET_PRINCIPAL_MISMATCH',
    refreshTicket({ by: 'keytab', keytab: own, ...stranger, cache: `DIR::${path}/tktbob` }),
  )
})
