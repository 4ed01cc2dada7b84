/** The metadata of one service's keys, as the index holds it: hashes and times, and no key. */

import { inSentence, PoolsmithError } from '../../errors.ts'

/** `pending`: valid, and on its way to the callers. `current`: the one that callers send. `retiring`: valid until it expires. */
type State = 'pending' | 'current' | 'retiring'

/** Times as ISO 8601. */
export interface Entry {
  readonly version: number
  /** SHA-256 of the key, in hex. */
  readonly hash: string
  readonly state: State
  readonly created: string
  readonly rotateAfter: string
  readonly expires?: string | undefined
  readonly revoked?: string | undefined
}

export type Entries = readonly Entry[]

/** The metadata of a key. It holds no key. Times in milliseconds since the epoch. */
export interface ApiKeyInfo {
  readonly service: string
  readonly version: number
  /** `current`: callers send it. `retiring`: valid until `expiresAt`. `pending`: valid, and on its way to the callers. */
  readonly state: 'pending' | 'current' | 'retiring' | 'expired' | 'revoked'
  readonly createdAt: number
  /** When it is to be replaced. */
  readonly rotateAfter: number
  readonly expiresAt?: number | undefined
  /** SHA-256 of the key, in hex. */
  readonly hash: string
}

/** The entries that are kept of those that are no longer valid. */
const MOST_INVALID = 10

export function isValid({ expires, revoked }: Entry, now: number): boolean {
  return revoked === undefined && (expires === undefined || Date.parse(expires) > now)
}

/** The key that is on its way to the callers, if a rotation has begun and not ended. */
export function pendingIn(entries: Entries, now: number): Entry | undefined {
  return entries.findLast((entry) => entry.state === 'pending' && isValid(entry, now))
}

export function currentIn(entries: Entries, now: number): Entry | undefined {
  return entries.find((entry) => entry.state === 'current' && isValid(entry, now))
}

export function withNew(entries: Entries, entry: Omit<Entry, 'version'>): Entries {
  return [...entries, { ...entry, version: Math.max(0, ...entries.map(({ version }) => version)) + 1 }]
}

/**
 * A key becomes the current one. The one before stays valid for the grace period; a pending one that was never published
 * goes.
 */
export function promoted(entries: Entries, version: number, now: number, graceMillis: number): Entries {
  const end = now + graceMillis
  const changed = entries.flatMap((entry): Entry[] => {
    if (entry.version === version) return [{ ...entry, state: 'current' }]
    if (entry.state === 'pending') return []
    if (entry.state === 'retiring' || !isValid(entry, now)) return [entry]
    const expires = entry.expires === undefined ? end : Math.min(end, Date.parse(entry.expires))
    return [{ ...entry, state: 'retiring', expires: new Date(expires).toISOString() }]
  })
  return pruned(changed, now)
}

export function revoked(entries: Entries, version: number | undefined, now: number): Entries {
  const at = new Date(now).toISOString()
  return entries.map((entry) =>
    (version === undefined || entry.version === version) && isValid(entry, now) ? { ...entry, revoked: at } : entry,
  )
}

function pruned(entries: Entries, now: number): Entries {
  const invalid = entries.filter((entry) => !isValid(entry, now))
  const dropped = new Set(invalid.slice(0, Math.max(0, invalid.length - MOST_INVALID)))
  return entries.filter((entry) => !dropped.has(entry))
}

/** @throws PoolsmithError SECRET_UNUSABLE */
export function readEntries(text: string, place: string, service: string): Entries {
  try {
    const { keys } = JSON.parse(text) as { readonly keys: unknown }
    if (Array.isArray(keys) && keys.every(isEntry)) return keys
  } catch {
    // The text is not shown: it may be a key that was put in the wrong place.
  }
  throw new PoolsmithError(`The field ${service} of ${inSentence(place)} does not describe API keys.`, {
    code: 'SECRET_UNUSABLE',
    phase: 'credential',
    hint: 'Name the place that poolsmith api-keys has written, or remove the field.',
  })
}

function isEntry(value: unknown): value is Entry {
  if (typeof value !== 'object' || value === null) return false
  const { version, hash, state, created, rotateAfter, expires, revoked } = value as Record<string, unknown>
  const isTime = (time: unknown): boolean => typeof time === 'string' && !Number.isNaN(Date.parse(time))
  return (
    Number.isSafeInteger(version) &&
    typeof hash === 'string' &&
    /^[0-9a-f]{64}$/.test(hash) &&
    (state === 'pending' || state === 'current' || state === 'retiring') &&
    isTime(created) &&
    isTime(rotateAfter) &&
    [expires, revoked].every((time) => time === undefined || isTime(time))
  )
}

export function writeEntries(keys: Entries): string {
  return JSON.stringify({ keys })
}

export function infoOf(service: string, entry: Entry, now: number): ApiKeyInfo {
  const { version, hash, created, rotateAfter, expires } = entry
  const state = entry.revoked !== undefined ? 'revoked' : isValid(entry, now) ? entry.state : 'expired'
  const expiresAt = expires === undefined ? undefined : Date.parse(expires)
  const [createdAt, rotateAt] = [Date.parse(created), Date.parse(rotateAfter)]
  return Object.freeze({ service, version, state, createdAt, rotateAfter: rotateAt, expiresAt, hash })
}
