/**
 * The new key of a keytab while it is rotated (rotation/keytab-rotation.ts). The KDC has it before the keytab does, so a
 * ticket that the key in the keytab does not get is asked for with this one.
 */

import { stat } from 'node:fs/promises'
import { errorCode } from '../any-error.ts'
import { onlyThisUser, readTrusted } from '../private-file.ts'
import { Secret } from '../secret.ts'
import type { TicketKey } from './native/krb5-ticket.ts'

/** A keytab and the files beside it hold keys: only their owner may read them. */
export const KEY_FILE = { ...onlyThisUser(), forbiddenMode: 0o077, maxBytes: 1 << 20 } as const

/** The path of a keytab's file; undefined for other kinds, such as `MEMORY:`. */
export function keytabPath(name: string): string | undefined {
  const [, kind, path] = /^(?:([A-Z]+):)?(.*)$/s.exec(name) ?? []
  return kind === undefined || kind === 'FILE' || kind === 'WRFILE' ? path : undefined
}

/** The files of a rotation beside a keytab. */
export function besideKeytab(path: string) {
  return {
    /** The password that the KDC is to take. */
    pending: `${path}.pending`,
    /** The keytab that takes the place of this one. */
    next: `${path}.new`,
    lock: `${path}.lock`,
  }
}

export interface PendingPassword {
  readonly principal: string
  readonly password: Secret
}

/** Undefined where none is pending. @throws DistrustedFile, SyntaxError, the error of the file system */
export async function readPending(path: string): Promise<PendingPassword | undefined> {
  try {
    const text = await readTrusted(besideKeytab(path).pending, KEY_FILE)
    const { principal, password } = JSON.parse(text.toString()) as Readonly<Record<string, unknown>>
    if (typeof principal !== 'string' || typeof password !== 'string') throw new SyntaxError('It has another form')
    return { principal, password: new Secret(password) }
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

/** The text of the file that {@link readPending} reads. */
export function pendingText({ principal, password }: PendingPassword): string {
  return `${JSON.stringify({ principal, password: password.reveal() })}\n`
}

/** A password as krb5 takes it. The caller overwrites it. */
export function passwordBytes(password: Secret): Buffer {
  return Buffer.from(`${password.reveal()}\0`)
}

/**
 * The keys that may be tried for a principal after the KDC has refused that of its keytab, the likeliest first. Files that
 * cannot be read or trusted are left out: the refusal is the error then.
 *
 * @param before the {@link keytabVersion} whose key was refused
 */
export async function pendingKeys(keytab: string, principal: string, before: string): Promise<TicketKey[]> {
  const path = keytabPath(keytab)
  if (path === undefined) return []
  const pending = await readPending(path).catch(() => undefined)
  const { next } = besideKeytab(path)
  const hasNext = await readTrusted(next, KEY_FILE).then(
    () => true,
    () => false,
  )
  return [
    ...(pending?.principal === principal ? [{ password: passwordBytes(pending.password) }] : []),
    ...(hasNext ? [{ keytab: next }] : []),
    // A rotation may have ended meanwhile. The same key is not sent twice: domains count refusals, and lock accounts.
    ...((await keytabVersion(keytab)) === before ? [] : [{ keytab }]),
  ]
}

/** Another text after each replacement of the file. */
export async function keytabVersion(keytab: string): Promise<string> {
  return stat(keytabPath(keytab) ?? keytab).then(
    ({ ino, mtimeMs, size }) => `${ino} ${mtimeMs} ${size}`,
    () => '',
  )
}
