import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { copyFile, readFile, stat } from 'node:fs/promises'
import type { ConnectionInput } from '../../../src/index.ts'
import { readKeytab } from '../../../src/kerberos/keytab-file.ts'
import { besideKeytab } from '../../../src/kerberos/pending-key.ts'
import { refreshTicket } from '../../../src/kerberos/refresh-ticket.ts'
import { rotateKeytab } from '../../../src/rotation/index.ts'
import type { Kdc } from '../kdc.ts'
import { killAt } from './kill-at.ts'
import { load } from './load.ts'

const stores = { environment: {} }
const STEPS = ['read', 'login', 'pending', 'alter', 'keys', 'verify', 'promote'] as const

export async function keyVersions(keytab: string): Promise<number[]> {
  return [...new Set(readKeytab(await readFile(keytab)).map(({ kvno }) => kvno))]
}

let caches = 0
/** Whether a ticket is obtained with the keytab, and with what stands beside it. */
export function isAccepted(kdc: Kdc, principal: string, keytab: string): Promise<boolean> {
  const cache = `FILE:${kdc.path(`tried-${caches++}`)}`
  return refreshTicket({ by: 'keytab', principal, keytab, cache }).then(
    () => true,
    () => false,
  )
}

/** Kills a rotation at each step, while ten callers log in with the keytab, and finishes it by the same call. */
export async function killKeytabAtEachStep(
  kdc: Kdc,
  record: ConnectionInput & object,
  { principal, keytab }: { readonly principal: string; readonly keytab: string },
): Promise<void> {
  await using stack = new AsyncDisposableStack()
  const callers = await load(record)
  stack.defer(callers.stop)
  await callers.reopened()
  const { pending, next } = besideKeytab(keytab)
  let newest = Math.max(...(await keyVersions(keytab)))
  // A copy has nothing beside it.
  const copy = `${keytab}.copy`
  for (const step of STEPS) {
    await killAt(step, 'keytab', record, { stores })
    // The KDC has the new key, and the keytab the old one.
    if (step === 'keys') await callers.refreshed()
    await callers.reopened()
    const isPending = !['read', 'login', 'pending'].includes(step)
    assert.equal(existsSync(pending), isPending, step)
    await copyFile(keytab, copy)
    assert.equal(await isAccepted(kdc, principal, copy), !['keys', 'verify', 'promote'].includes(step), step)
    assert.equal(await isAccepted(kdc, principal, keytab), true, step)

    const { resumed, kvno, principal: full } = await rotateKeytab(record, { stores })
    const expected = { resumed: isPending, kvno: newest + 1, full: `${principal}@${kdc.realm}` }
    assert.deepEqual({ resumed, kvno, full }, expected)
    newest = kvno
    assert.deepEqual([existsSync(pending), existsSync(next)], [false, false])
    assert.equal((await stat(keytab)).mode & 0o777, 0o600)
    await copyFile(keytab, copy)
    assert.equal(await isAccepted(kdc, principal, copy), true)
  }
  await callers.refreshed()
  await callers.reopened()
  assert.ok((await callers.end()) > 0)
}
