import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmod, chown, copyFile, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ErrorCode } from '../../src/errors.ts'
import { ensureTicket, openCredential } from '../../src/kerberos/ensure-ticket.ts'
import { FileLock } from '../../src/kerberos/file-lock.ts'
import { TASKS } from '../../src/kerberos/kdc/tasks.ts'
import { loadGssApi } from '../../src/kerberos/load-gss-api.ts'
import { Krb5, loadKrb5Functions } from '../../src/kerberos/native/krb5.ts'
import { refreshTicket } from '../../src/kerberos/refresh-ticket.ts'
import { verifyTicket } from '../../src/kerberos/ticket.ts'
import { startKdc } from '../support/kdc.ts'
import { ALICE, failure, fresh, isRoot, kdc, keytab } from '../support/ticket-realm.ts'
import { unprivileged } from '../support/unprivileged.ts'

test('a ticket is obtained from a keytab without kinit, and klist reads it', async () => {
  const { path, cache } = fresh()
  const ticket = await ensureTicket({ principal: ALICE, keytab, cache })
  assert.equal(ticket.principal, ALICE)
  assert.equal(ticket.cache, cache)
  assert.ok(ticket.expiresAt - Date.now() > 23 * 3_600_000)
  assert.match(await kdc.klist(cache), /Default principal: alice@TEST\.REALM[\s\S]*krbtgt\/TEST\.REALM@TEST\.REALM/)
  assert.equal((await stat(path)).mode & 0o777, 0o600)
  // A good one is left alone.
  assert.equal((await ensureTicket({ principal: ALICE, keytab, cache })).expiresAt, ticket.expiresAt)
})

test('a ticket has the lifetimes that were asked for, and is renewed', async () => {
  const { cache } = fresh()
  const ticket = await refreshTicket({ by: 'keytab', keytab, cache, lifetimeSeconds: 600, renewableSeconds: 7200 })
  assert.equal(ticket.principal, ALICE)
  assert.ok(Math.abs(ticket.expiresAt - ticket.startsAt - 600_000) <= 2000)
  assert.ok(Math.abs((ticket.renewableUntil ?? 0) - ticket.startsAt - 7_200_000) <= 2000)
  await sleep(1100)
  const renewed = await refreshTicket({ by: 'renew', cache })
  assert.ok(renewed.expiresAt > ticket.expiresAt)
  assert.equal(renewed.renewableUntil, ticket.renewableUntil)
})

test('a ticket that cannot be renewed is TICKET_NOT_RENEWABLE', async () => {
  const { cache } = fresh()
  using krb5 = await Krb5.open()
  await refreshTicket({ by: 'keytab', keytab, cache })
  if ((await verifyTicket({ cache })).renewableUntil === undefined) {
    await failure('TICKET_NOT_RENEWABLE', refreshTicket({ by: 'renew', cache }))
  }
  await failure('TICKET_CACHE_MISSING', refreshTicket({ by: 'renew', cache: fresh().cache }))
  krb5.destroy(cache)
  await failure('TICKET_CACHE_MISSING', verifyTicket({ cache }))
})

test('an expired ticket is named with principal, cache and time, and replaced from a keytab', async () => {
  const { cache } = fresh()
  const short = await kdc.keytab('shortlived')
  const policy = { principal: 'shortlived@TEST.REALM', cache }
  const ticket = await ensureTicket({ ...policy, keytab: short })
  assert.equal((await verifyTicket(policy)).expiresAt, ticket.expiresAt)
  await failure('TICKET_EXPIRES_SOON', verifyTicket({ ...policy, minimumLifetimeSeconds: 60 }))
  await sleep(ticket.expiresAt - Date.now() + 100)
  const error = await failure('TICKET_EXPIRED', verifyTicket(policy))
  assert.match(error.message, /shortlived@TEST\.REALM in FILE:.*cc\d+ expired at 20\d\d-/)
  assert.match(error.hint ?? '', /kinit -c FILE:.* shortlived@TEST\.REALM/)
  const next = await ensureTicket({ ...policy, keytab: short })
  assert.ok(next.expiresAt > ticket.expiresAt)
  await failure('TICKET_EXPIRES_SOON', ensureTicket({ ...policy, keytab: short, minimumLifetimeSeconds: 60 }))
})

test('keytabs that cannot be used have different errors', async () => {
  const { cache } = fresh()
  const get = (options: { principal?: string; keytab: string }): Promise<unknown> =>
    ensureTicket({ principal: ALICE, ...options, cache })
  await failure('KEYTAB_MISSING', get({ keytab: kdc.path('none.keytab') }))
  await writeFile(kdc.path('text.keytab'), 'BQIAAABRAAEAC1RFU1QuUkVBTE0=')
  await failure('KEYTAB_CORRUPT', get({ keytab: kdc.path('text.keytab') }))
  await writeFile(kdc.path('empty.keytab'), '')
  await failure('KEYTAB_CORRUPT', get({ keytab: kdc.path('empty.keytab') }))
  const without = await failure('KEYTAB_WITHOUT_PRINCIPAL', get({ keytab, principal: 'bob@TEST.REALM' }))
  assert.match(without.message, /bob@TEST\.REALM; it holds alice@TEST\.REALM/)
  await failure('KEYTAB_WITHOUT_PRINCIPAL', get({ keytab, principal: 'alice@WRONG.REALM' }))
  const both = await kdc.keytab('alice', 'bob')
  const ambiguous = await failure('CONFIG_INVALID', refreshTicket({ by: 'keytab', keytab: both, cache }))
  assert.match(ambiguous.message, /alice@TEST\.REALM, bob@TEST\.REALM/)

  await kdc.addPrincipal('changing')
  const old = await kdc.keytab('changing')
  await kdc.changeKeys('changing')
  const refused = await failure('KEYTAB_REFUSED', get({ keytab: old, principal: 'changing@TEST.REALM' }))
  assert.equal(refused.transient, false)
  await kdc.kadmin('modprinc -allow_tix changing@TEST.REALM')
  const locked = await kdc.keytab('changing')
  await failure('PRINCIPAL_REFUSED', get({ keytab: locked, principal: 'changing@TEST.REALM' }))
  await kdc.deletePrincipal('changing')
  await failure('PRINCIPAL_UNKNOWN', get({ keytab: locked, principal: 'changing@TEST.REALM' }))
  await failure('TICKET_CACHE_MISSING', verifyTicket({ cache }))
})

test('a realm without a KDC in krb5.conf is REALM_UNKNOWN', async () => {
  const elsewhere = await startKdc({ realm: 'ELSE.WHERE' })
  try {
    await elsewhere.addPrincipal('dave')
    const daves = await elsewhere.keytab('dave')
    const { cache } = fresh()
    const error = await failure('REALM_UNKNOWN', ensureTicket({ principal: 'dave@ELSE.WHERE', keytab: daves, cache }))
    assert.match(error.message, /ELSE\.WHERE/)
  } finally {
    await elsewhere[Symbol.asyncDispose]()
  }
})

test('caches that are empty, cut short or damaged have errors of their own, and are replaced from a keytab', async () => {
  const { path, cache } = fresh()
  await ensureTicket({ keytab, principal: ALICE, cache })
  const whole = await readFile(path)
  const bad: readonly (readonly [Buffer, ErrorCode])[] = [
    [Buffer.alloc(0), 'TICKET_CACHE_EMPTY'],
    [whole.subarray(0, 30), 'TICKET_CACHE_EMPTY'],
    [whole.subarray(0, 200), 'TICKET_CACHE_EMPTY'],
    [Buffer.from('no cache at all'), 'TICKET_CACHE_CORRUPT'],
  ]
  for (const [content, code] of bad) {
    await writeFile(path, content)
    await failure(code, verifyTicket({ cache }))
    assert.equal((await ensureTicket({ keytab, principal: ALICE, cache })).principal, ALICE)
  }
})

test('a cache that had a ticket and is missing is looked at again for a second', async () => {
  const { path, cache } = fresh()
  await ensureTicket({ principal: ALICE, keytab, cache })
  const gss = await loadGssApi()
  const looks: Readonly<Record<string, () => Promise<unknown>>> = {
    'the check of a ticket': () => ensureTicket({ cache }),
    'a login': async () => {
      using opened = await openCredential(gss, { cache })
      return opened.ticket
    },
  }
  for (const [name, look] of Object.entries(looks)) {
    const gaps: Readonly<Record<string, () => Promise<void>>> = {
      removed: () => rename(path, `${path}.old`),
      'written in part': async () => {
        await rename(path, `${path}.old`)
        await writeFile(path, '')
      },
    }
    for (const [kind, gap] of Object.entries(gaps)) {
      // Seen once, in this process.
      await look()
      await gap()
      const looking = look()
      looking.catch(() => undefined)
      await sleep(20)
      await rename(`${path}.old`, path)
      await assert.doesNotReject(looking, `${name}, ${kind}`)
    }
  }
  await rm(path)
  const begin = performance.now()
  await failure('TICKET_CACHE_MISSING', ensureTicket({ cache }))
  assert.ok(performance.now() - begin >= 1000)
  // A cache that stays away does not hold up every login.
  const again = performance.now()
  await failure('TICKET_CACHE_MISSING', ensureTicket({ cache }))
  assert.ok(performance.now() - again < 1000)
})

test('a cache of another principal is neither used nor overwritten', async () => {
  const { cache } = fresh()
  const bobs = await kdc.keytab('bob')
  await ensureTicket({ principal: 'bob', keytab: bobs, cache })
  const error = await failure('TICKET_PRINCIPAL_MISMATCH', verifyTicket({ principal: ALICE, cache }))
  assert.match(error.message, /belongs to bob@TEST\.REALM, not to alice@TEST\.REALM/)
  await failure('TICKET_PRINCIPAL_MISMATCH', ensureTicket({ principal: ALICE, keytab, cache }))
  await failure('TICKET_PRINCIPAL_MISMATCH', refreshTicket({ by: 'keytab', principal: ALICE, keytab, cache }))
  assert.equal((await verifyTicket({ cache })).principal, 'bob@TEST.REALM')
})

test('the principal of an expired ticket is known: a keytab of several needs no principal', async () => {
  const { cache } = fresh()
  const several = await kdc.keytab('alice', 'shortlived')
  const before = await refreshTicket({ by: 'keytab', principal: 'shortlived', keytab: several, cache })
  await sleep(Math.max(0, before.expiresAt - Date.now()) + 100)
  assert.equal((await refreshTicket({ by: 'keytab', keytab: several, cache })).principal, 'shortlived@TEST.REALM')
})

test('a lock that another process holds is TICKET_CACHE_LOCKED, and no longer waited for once all callers have left', async () => {
  const { path, cache } = fresh()
  const lock = await FileLock.try(`${path}.lock`)
  assert.ok(lock)
  const policy = { principal: ALICE, keytab, cache }
  const error = await failure('TICKET_CACHE_LOCKED', ensureTicket(policy, { signal: AbortSignal.timeout(300) }))
  assert.match(`${error.message} ${error.hint}`, /We waited 0\.\d s[\s\S]*fuser .*\.lock/)
  const leaving = new AbortController()
  const left = failure('ABORTED', ensureTicket(policy, { signal: leaving.signal }))
  leaving.abort()
  await left
  await sleep(200)
  await lock[Symbol.asyncDispose]()
  await sleep(300)
  await failure('TICKET_CACHE_MISSING', verifyTicket({ cache }))
  assert.equal((await ensureTicket(policy)).principal, ALICE)
})

test('a refresh opens one krb5 context here, and one in the process that asks the KDC', async (t) => {
  const functions = await loadKrb5Functions()
  const opened = t.mock.method(functions, 'initContext')
  const freed = t.mock.method(functions, 'freeContext')
  const { cache } = fresh()
  await kdc.addPrincipal('renewing', { password: 'r' })
  await kdc.kinit('renewing', `${cache}-renewing`, { password: 'r', renewable: '1d' })
  const policy = { principal: 'alice', keytab, cache }
  const refreshes: Readonly<Record<string, () => Promise<unknown>>> = {
    'a first ticket': () => ensureTicket(policy),
    'a good ticket': () => ensureTicket(policy),
    'a new ticket': () => refreshTicket({ by: 'keytab', ...policy }),
    'a renewed ticket': () => refreshTicket({ by: 'renew', cache: `${cache}-renewing` }),
    'a ticket that is looked at': () => verifyTicket({ cache, principal: 'alice' }),
  }
  for (const [name, refresh] of Object.entries(refreshes)) {
    opened.mock.resetCalls()
    freed.mock.resetCalls()
    await refresh()
    assert.deepEqual([name, opened.mock.callCount(), freed.mock.callCount()], [name, 1, 1])
  }
  // The same tasks as in the other process.
  for (const [name, task] of Object.entries({
    obtain: () => TASKS.obtain({ principal: ALICE, key: { keytab }, cache, into: cache }),
    renew: () => TASKS.renew({ cache: `${cache}-renewing`, packed: undefined, into: cache }),
  })) {
    opened.mock.resetCalls()
    await task()
    assert.deepEqual([name, opened.mock.callCount()], [name, 1])
  }
})

test('for thirty callers at once the KDC is asked once', async () => {
  const { cache } = fresh()
  const log = async (): Promise<number> =>
    (await readFile(kdc.path('kdc.log'), 'utf8')).split('\n').filter((line) => /AS_REQ.*ISSUE.*alice/.test(line)).length
  const before = await log()
  const tickets = await Promise.all(Array.from({ length: 30 }, () => ensureTicket({ principal: ALICE, keytab, cache })))
  assert.equal(new Set(tickets.map((ticket) => ticket.expiresAt)).size, 1)
  assert.equal((await log()) - before, 1)
})

test('a folder that does not exist is TICKET_CACHE_NOT_WRITABLE', async () => {
  const policy = { principal: ALICE, keytab }
  await failure('TICKET_CACHE_NOT_WRITABLE', ensureTicket({ ...policy, cache: `FILE:${kdc.path('no/such/cc')}` }))
})

/** Runs a program for which the modes of files hold. */
function output(program: string): string {
  const module = (path: string): string => JSON.stringify(new URL(`../../src/kerberos/${path}`, import.meta.url).href)
  const prelude = `
    const { verifyTicket } = await import(${module('ticket.ts')})
    const { ensureTicket, openCredential } = await import(${module('ensure-ticket.ts')})
    const { loadGssApi } = await import(${module('load-gss-api.ts')})
    const tell = (error) => console.log(error.code, error.message)
  `
  const [command = '', ...args] = unprivileged([process.execPath, '--input-type=module', '-e', prelude + program])
  const { stdout, stderr } = spawnSync(command, args, { encoding: 'utf8' })
  assert.equal(stderr, '')
  return stdout
}

test('a cache and a keytab that this process may not read have errors of their own', async () => {
  const { path, cache } = fresh()
  await ensureTicket({ principal: ALICE, keytab, cache })
  const secret = kdc.path('secret.keytab')
  await copyFile(keytab, secret)
  await Promise.all([chmod(secret, 0), chmod(path, 0)])
  const request = JSON.stringify({ cache, principal: ALICE })
  assert.match(output(`await verifyTicket(${request}).catch(tell)`), /^TICKET_CACHE_UNREADABLE .*\(uid \d+\)/)
  const other = JSON.stringify({ cache: `MEMORY:x`, principal: ALICE, keytab: secret })
  assert.match(output(`await ensureTicket(${other}).catch(tell)`), /^KEYTAB_UNREADABLE .*\(uid \d+\)/)
})

test('a cache that may only be read serves logins, and is TICKET_CACHE_NOT_WRITABLE when it must be replaced', async (t) => {
  const folder = kdc.path('closed')
  await mkdir(folder)
  const path = join(folder, 'cc')
  const cache = `FILE:${path}`
  await ensureTicket({ principal: ALICE, keytab, cache })
  await chmod(path, 0o444)
  await chmod(folder, 0o555)
  t.after(() => chmod(folder, 0o755))
  const before = await readFile(path)
  const policy = JSON.stringify({ cache, principal: ALICE })
  const told = output(`
    const gss = await loadGssApi()
    const opened = await openCredential(gss, ${policy})
    const target = { service: 'postgres', host: 'localhost' }
    const context = gss.initContext({ target, flags: [], credential: opened.handle })
    console.log((await context.step()).token.length > 100)
    const longer = { ...${policy}, keytab: ${JSON.stringify(keytab)}, minimumLifetimeSeconds: 1e6 }
    await ensureTicket(longer).catch(tell)
  `)
  assert.match(told, /^true\nTICKET_CACHE_NOT_WRITABLE /)
  assert.deepEqual(await readFile(path), before)
})

test("root may use another user's cache, and does not replace it", { skip: !isRoot }, async () => {
  const { path, cache } = fresh()
  await ensureTicket({ principal: ALICE, keytab, cache })
  await chown(path, 65_534, 65_534)
  assert.equal((await verifyTicket({ cache })).principal, ALICE)
  await failure('TICKET_CACHE_NOT_TRUSTED', refreshTicket({ by: 'keytab', keytab, cache }))
})

test('the entries of a keytab can be read', async () => {
  using krb5 = await Krb5.open()
  const entries = krb5.keytab(keytab)
  assert.deepEqual([...new Set(entries.map((entry) => entry.principal))], [ALICE])
  assert.ok(entries.every((entry) => entry.kvno === 1 && /^aes/.test(entry.encryptionType)))
})

test('ten thousand verifications leave nothing behind', async () => {
  const { cache } = fresh()
  await ensureTicket({ principal: ALICE, keytab, cache })
  for (let index = 0; index < 2000; index++) await verifyTicket({ cache, principal: ALICE })
  const files = (await readdir('/proc/self/fd')).length
  const before = process.memoryUsage.rss()
  for (let index = 0; index < 10_000; index++) await verifyTicket({ cache, principal: ALICE })
  assert.equal((await readdir('/proc/self/fd')).length, files)
  assert.ok((process.memoryUsage.rss() - before) / 2 ** 20 < 30)
  await rm(cache.slice('FILE:'.length))
})
