/** A new key for a principal: what the KDC is asked for it. */

import { PoolsmithError } from '../errors.ts'
import type { Secret } from '../secret.ts'
import { kdcCalls } from './call-queue.ts'
import { realmIn } from './facts.ts'
import { askKdc } from './kdc/ask.ts'
import type { KeyChangeAnswer, NewKeys } from './native/krb5-new-key.ts'
import { passwordBytes } from './pending-key.ts'
import { gaveUp, stayAlive } from './waiting.ts'

export interface KeyOwner {
  /** In full. */
  readonly principal: string
  readonly signal: AbortSignal
}

/** The errors of a key, or a password, that is not the principal's. */
const REFUSED: readonly string[] = ['KEYTAB_REFUSED', 'CREDENTIAL_REFUSED']

/** Whether the KDC issues a ticket for it. @throws PoolsmithError where the KDC does not say */
export async function isKeyAccepted(owner: KeyOwner, key: { readonly keytab: string } | Secret): Promise<boolean> {
  const { principal } = owner
  const ask = (given: { readonly keytab: string } | { readonly password: Uint8Array }) =>
    askKdc('obtain', { principal, key: given, cache: 'MEMORY:', into: undefined })
  try {
    await asked(owner, () => ('keytab' in key ? ask(key) : withPassword(key, (password) => ask({ password }))))
    return true
  } catch (error) {
    if (error instanceof PoolsmithError && REFUSED.includes(error.code)) return false
    // An expired key may still be changed.
    if (error instanceof PoolsmithError && error.code === 'LOGIN_PASSWORD_CHANGE') return true
    throw error
  }
}

/** Sets a password by the key of a keytab (RFC 3244). @throws PoolsmithError */
export function changeKey(owner: KeyOwner, keytab: string, next: Secret): Promise<KeyChangeAnswer> {
  const { principal } = owner
  return asked(owner, () => withPassword(next, (bytes) => askKdc('changeKey', { principal, keytab, next: bytes })))
}

/** The keys that the KDC has for a password. @throws PoolsmithError */
export function keysOf(owner: KeyOwner, given: Secret): Promise<NewKeys> {
  const { principal } = owner
  return asked(owner, () => withPassword(given, (password) => askKdc('keysOf', { principal, password })))
}

/** The bytes of the password live as long as the question. */
async function withPassword<T>(password: Secret, ask: (bytes: Uint8Array) => Promise<T>): Promise<T> {
  const bytes = passwordBytes(password)
  try {
    return await ask(bytes)
  } finally {
    bytes.fill(0)
  }
}

async function asked<T>({ principal, signal }: KeyOwner, ask: () => Promise<T>): Promise<T> {
  using _ = stayAlive()
  const info = { purpose: `a new key of ${principal}`, realm: realmIn(principal) ?? '' }
  return await kdcCalls.run(info, ask, {
    signal,
    aborted: (reason, state) => gaveUp(reason, state, info, { principal }),
  })
}
