import { statSync } from 'node:fs'
import { type ErrorCode, PoolsmithError } from '../errors.ts'
import { cachePath } from './cache-file.ts'
import { type KerberosFacts, kerberosError, realmIn } from './errors.ts'
import { krb5ToRead } from './kcm-daemon.ts'
import { lookAgain } from './look-again.ts'
import { type CacheContents, type CachedTicket, fullPrincipal, readCache } from './native/krb5.ts'
import type { Krb5Functions } from './native/krb5-functions.ts'

/** The ticket that a cache stands on: its ticket-granting ticket. Times in milliseconds since the epoch, by this machine's clock. */
export interface TicketInfo {
  /** The cache's name in full; a collection's member rather than the collection. */
  readonly cache: string
  readonly principal: string
  readonly startsAt: number
  readonly expiresAt: number
  /** Absent when it cannot be renewed. */
  readonly renewableUntil?: number
  readonly encryptionType: string
  /** How far the KDC's clock was ahead of this machine's when the ticket came, in milliseconds; mostly 0. */
  readonly clockOffsetMillis: number
}

/** The ticket that {@link verifyTicket} asks about. */
export interface TicketRequest {
  /** Default: whoever the cache belongs to. */
  readonly principal?: string | undefined
  /** Default: the cache that krb5 takes (KRB5CCNAME, krb5.conf). */
  readonly cache?: string | undefined
  /** Seconds that must be left at least. Default 0: not expired is enough. */
  readonly minimumLifetimeSeconds?: number | undefined
}

/**
 * Looks whether there is a ticket to log in with: present, of the right principal, valid now, with enough time left.
 * No network, no child process. A cache in which this process has seen a ticket before, and which is missing, is looked
 * at again for a second, since it may just be replaced.
 *
 * @throws TICKET_MISSING, TICKET_CACHE_…, TICKET_PRINCIPAL_MISMATCH, TICKET_EXPIRED, TICKET_EXPIRES_SOON,
 * TICKET_NOT_YET_VALID; PACKAGE_MISSING, GSS_LIBRARY_MISSING
 */
export async function verifyTicket(request: TicketRequest = {}): Promise<TicketInfo> {
  return lookAgain(request.cache, async () => checkTicket(await krb5ToRead(request.cache), request))
}

/** {@link verifyTicket} once the library is loaded. */
export function checkTicket(functions: Krb5Functions, request: TicketRequest, now = Date.now()): TicketInfo {
  const principal = request.principal === undefined ? undefined : fullPrincipal(functions, request.principal)
  const ticket = ticketOf(contentsOf(functions, { principal, cache: request.cache }))
  const { minimumLifetimeSeconds = 0 } = request
  const facts: KerberosFacts = { principal: ticket.principal, cache: ticket.cache, expiresAt: ticket.expiresAt }
  if (principal !== undefined && principal !== ticket.principal) {
    throw kerberosError('TICKET_PRINCIPAL_MISMATCH', { ...facts, principal, owner: ticket.principal })
  }
  if (ticket.expiresAt <= now) throw kerberosError('TICKET_EXPIRED', facts)
  // The KDC's clock may be a little ahead of ours; krb5 allows five minutes.
  if (ticket.startsAt > now + 300_000) throw kerberosError('TICKET_NOT_YET_VALID', facts)
  if (ticket.expiresAt - now < minimumLifetimeSeconds * 1000) {
    throw kerberosError('TICKET_EXPIRES_SOON', { ...facts, minimumLifetimeSeconds })
  }
  return ticket
}

function contentsOf(functions: Krb5Functions, request: TicketRequest): CacheContents {
  try {
    return readCache(functions, request)
  } catch (error) {
    if (!(error instanceof PoolsmithError)) throw error
    const cache = typeof error.details.cache === 'string' ? error.details.cache : undefined
    const facts = { cache, principal: request.principal }
    // krb5 says the same about its own choice as about a cache that was named; the advice differs.
    if (error.code === 'TICKET_CACHE_MISSING' && request.cache === undefined) {
      throw kerberosError('TICKET_MISSING', facts, { cause: error })
    }
    if (error.code === 'TICKET_CACHE_EMPTY' && isFolder(cache)) {
      const more = 'It is a directory, which is what a container gets where the file to be mounted is missing.'
      throw kerberosError('TICKET_CACHE_CORRUPT', facts, { cause: error, more })
    }
    throw error
  }
}

/** Whose the cache is, also when its ticket is over; undefined where there is none that can be read. */
export function ownerOf(functions: Krb5Functions, cache: string): string | undefined {
  try {
    return readCache(functions, { cache }).principal
  } catch (error) {
    if (error instanceof PoolsmithError) return undefined
    throw error
  }
}

/** Before a cache is replaced or destroyed. @throws TICKET_PRINCIPAL_MISMATCH */
export function assertNobodyElses(functions: Krb5Functions, cache: string, name: string): void {
  const owner = ownerOf(functions, cache)
  const principal = fullPrincipal(functions, name)
  if (owner !== undefined && owner !== principal) {
    throw kerberosError('TICKET_PRINCIPAL_MISMATCH', { cache, principal, owner })
  }
}

function isFolder(cache: string | undefined): boolean {
  const path = cache === undefined ? undefined : cachePath(cache)
  return path !== undefined && statSync(path, { throwIfNoEntry: false })?.isDirectory() === true
}

function ticketOf(contents: CacheContents): TicketInfo {
  const { cache, principal, tickets, clockOffsetMillis } = contents
  const realm = realmIn(principal) ?? ''
  const longest = (candidates: readonly CachedTicket[]): CachedTicket | undefined =>
    candidates.reduce<CachedTicket | undefined>(
      (best, ticket) => (best === undefined || ticket.expiresAt > best.expiresAt ? ticket : best),
      undefined,
    )
  const granting = tickets.filter((ticket) => ticket.server === `krbtgt/${realm}@${realm}`)
  // A cache may hold service tickets alone (kinit -S); then they are what there is.
  const ticket = longest(granting) ?? longest(tickets)
  if (ticket === undefined) throw kerberosError('TICKET_CACHE_EMPTY', { cache, principal })
  const { server: _, ...times } = ticket
  return { cache, principal, ...times, clockOffsetMillis }
}

/** What a new ticket mends. Another principal's cache is not ours to overwrite. */
const MENDABLE: ReadonlySet<ErrorCode> = new Set([
  'TICKET_MISSING',
  'TICKET_CACHE_MISSING',
  'TICKET_CACHE_EMPTY',
  'TICKET_CACHE_CORRUPT',
  'TICKET_EXPIRED',
  'TICKET_EXPIRES_SOON',
])

/** Whether a new ticket in the same cache would mend what is wrong. */
export function isMendable(error: unknown): boolean {
  return error instanceof PoolsmithError && MENDABLE.has(error.code)
}
