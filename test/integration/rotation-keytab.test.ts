/** A keytab whose key is changed while a pool logs in to PostgreSQL with it, on MIT's KDC and its kadmind. */

import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { copyFile, readFile, stat } from 'node:fs/promises'
import { after, before, test } from 'node:test'
import { readKeytab } from '../../src/kerberos/keytab-file.ts'
import { besideKeytab } from '../../src/kerberos/pending-key.ts'
import { refreshTicket } from '../../src/kerberos/refresh-ticket.ts'
import { rotateKeytab } from '../../src/rotation/index.ts'
import { type Kadmind, startKadmind } from '../support/kadmind.ts'
import { type KerberosPostgres, startKerberosPostgres } from '../support/kerberos-postgres.ts'
import { killAt } from '../support/rotation/kill-at.ts'
import { load } from '../support/rotation/load.ts'

const stores = { environment: {} }
const STEPS = ['read', 'login', 'pending', 'alter', 'keys', 'verify', 'promote'] as const

let realm: KerberosPostgres
let kadmind: Kadmind

before(async () => {
  realm = await startKerberosPostgres({
    hba: ['host all all 127.0.0.1/32 gss include_realm=1 map=any'],
    principals: { etl: { maxLife: '20 seconds' } },
    roles: ['etl'],
  })
  kadmind = await startKadmind(realm.kdc, ['boss'])
})
after(async () => {
  await kadmind?.stop()
  await realm?.[Symbol.asyncDispose]()
})

/** A record whose keytab belongs to one principal. */
async function prepare(name: string) {
  const { kdc, server } = realm
  const keytab = await kdc.keytab(name)
  const record = {
    type: 'postgres',
    host: 'localhost',
    port: server.port,
    database: 'postgres',
    login: name,
    extra: { auth_method: 'kerberos', principal: name, keytab, min_ticket_lifetime: 5, sslmode: 'disable' },
  } as const
  let caches = 0
  const accepts = (path: string): Promise<boolean> =>
    refreshTicket({
      by: 'keytab',
      principal: name,
      keytab: path,
      cache: `FILE:${kdc.path(`${name}-${caches++}`)}`,
    }).then(
      () => true,
      () => false,
    )
  const versions = async (path = keytab): Promise<number[]> => [
    ...new Set(readKeytab(await readFile(path)).map(({ kvno }) => kvno)),
  ]
  return { keytab, record, accepts, versions }
}

test('a rotation that is killed at any step is finished by the same call, and no statement fails', {
  timeout: 300_000,
}, async () => {
  const { keytab, record, accepts, versions } = await prepare('etl')
  await using stack = new AsyncDisposableStack()
  const callers = await load(record)
  stack.defer(callers.stop)
  await callers.reopened()
  const { pending, next } = besideKeytab(keytab)
  let newest = Math.max(...(await versions()))
  for (const step of STEPS) {
    await killAt(step, 'keytab', record, { stores })
    // The KDC has the new key, and the keytab the old one.
    if (step === 'keys') await callers.refreshed()
    await callers.reopened()
    const isPending = !['read', 'login', 'pending'].includes(step)
    assert.equal(existsSync(pending), isPending, step)
    // A copy has nothing beside it.
    const copy = `${keytab}.copy`
    await copyFile(keytab, copy)
    assert.equal(await accepts(copy), !['keys', 'verify', 'promote'].includes(step), step)
    assert.equal(await accepts(keytab), true, step)

    const { resumed, kvno, principal } = await rotateKeytab(record, { stores })
    assert.deepEqual(
      { resumed, kvno, principal },
      { resumed: isPending, kvno: newest + 1, principal: 'etl@TEST.REALM' },
    )
    newest = kvno
    assert.deepEqual([existsSync(pending), existsSync(next)], [false, false])
    assert.equal((await stat(keytab)).mode & 0o777, 0o600)
    await copyFile(keytab, copy)
    assert.equal(await accepts(copy), true)
  }
  await callers.refreshed()
  await callers.reopened()
  assert.ok((await callers.end()) > 0)
})

test('a principal of which the KDC tells no version gets the next one', { timeout: 60_000 }, async () => {
  const { kdc } = realm
  await kdc.addPrincipal('silent', { arguments: ['-allow_svr', '+requires_preauth'] })
  const { keytab, record, accepts, versions } = await prepare('silent')
  const before = await versions()
  const { kvno } = await rotateKeytab(record, { stores })
  assert.deepEqual(await versions(), [...before, kvno])
  assert.equal(kvno, Math.max(...before) + 1)
  await copyFile(keytab, `${keytab}.copy`)
  assert.equal(await accepts(`${keytab}.copy`), true)
})

test('a service accepts tickets of its old key until no ticket can need it, and then the old key is removed', {
  timeout: 60_000,
}, async () => {
  const { kdc } = realm
  await kdc.addPrincipal('HTTP/old')
  const { record, versions } = await prepare('HTTP/old')
  const [first = 0] = await versions()
  await rotateKeytab(record, { stores })
  assert.deepEqual((await rotateKeytab(record, { stores, onlyClean: true })).versions, [first, first + 1])
  const { versions: left, kvno } = await rotateKeytab(record, { stores, onlyClean: true, keepOldSeconds: 0 })
  assert.deepEqual([left, kvno, await versions()], [[first + 1], first + 1, [first + 1]])
  assert.deepEqual((await rotateKeytab(record, { stores, keepOldSeconds: 0 })).versions, [first + 2])
})

test('the keys of other principals in the keytab stay as they are', { timeout: 60_000 }, async () => {
  const { kdc } = realm
  await kdc.addPrincipal('one')
  await kdc.addPrincipal('two')
  const { record } = await prepare('one')
  const keytab = await kdc.keytab('one', 'two')
  const others = async (): Promise<Buffer[]> =>
    readKeytab(await readFile(keytab)).flatMap(({ principal, bytes }) =>
      principal === 'two@TEST.REALM' ? [bytes] : [],
    )
  const before = await others()
  assert.equal(before.length, 2)
  await rotateKeytab({ ...record, extra: { ...record.extra, keytab } }, { stores })
  assert.deepEqual(await others(), before)
})
