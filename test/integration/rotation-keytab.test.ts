/** A keytab whose key is changed while a pool logs in to PostgreSQL with it, on MIT's KDC and its kadmind. */

import assert from 'node:assert/strict'
import { copyFile, readFile } from 'node:fs/promises'
import { after, before, test } from 'node:test'
import { readKeytab } from '../../src/kerberos/keytab-file.ts'
import { rotateKeytab } from '../../src/rotation/index.ts'
import { type Kadmind, startKadmind } from '../support/kadmind.ts'
import { type KerberosPostgres, startKerberosPostgres } from '../support/kerberos-postgres.ts'
import { isAccepted, keyVersions, killKeytabAtEachStep } from '../support/rotation/killed-keytab.ts'

const stores = { environment: {} }

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
  const accepts = (path: string): Promise<boolean> => isAccepted(kdc, name, path)
  const versions = (): Promise<number[]> => keyVersions(keytab)
  return { keytab, record, accepts, versions }
}

test('a rotation that is killed at any step is finished by the same call, and no statement fails', {
  timeout: 300_000,
}, async () => {
  const { keytab, record } = await prepare('etl')
  await killKeytabAtEachStep(realm.kdc, record, { principal: 'etl', keytab })
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
