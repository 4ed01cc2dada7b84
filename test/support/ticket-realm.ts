/** A realm whose principals obtain tickets, for the tests of tickets and their caches. */

import assert from 'node:assert/strict'
import { chmod } from 'node:fs/promises'
import { after } from 'node:test'
import { type ErrorCode, PoolsmithError } from '../../src/errors.ts'
import { enterRealm, startKdc } from './kdc.ts'

export const ALICE = 'alice@TEST.REALM'
export const isRoot = process.getuid?.() === 0

/** The realm of this test file; krb5 of this process uses it from here on. */
export const kdc = await startKdc()
after(() => kdc[Symbol.asyncDispose]())
enterRealm(kdc)
await chmod(kdc.folder, 0o755)
await kdc.addPrincipal('alice')
await kdc.addPrincipal('bob')
await kdc.addPrincipal('shortlived', { maxLife: '3 seconds', maxRenewLife: '5 seconds' })
await kdc.addPrincipal('postgres/localhost')
/** alice's */
export const keytab = await kdc.keytab('alice')

let caches = 0
/** A cache's file that nobody else uses. */
export function fresh(): { path: string; cache: string } {
  caches++
  const path = kdc.path(`cc${caches}`)
  return { path, cache: `FILE:${path}` }
}

export async function failure(code: ErrorCode, work: Promise<unknown>): Promise<PoolsmithError> {
  try {
    await work
  } catch (error) {
    assert.ok(error instanceof PoolsmithError, String(error))
    assert.equal(error.code, code, error.message)
    return error
  }
  throw new Error(`no ${code}`)
}
