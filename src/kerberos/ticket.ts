import { type ErrorCode, PoolsmithError } from '../errors.ts'
import { fileBehind } from './cache-file.ts'
import { checkNames } from './checked-names.ts'
import { kerberosError } from './errors.ts'
import { type KerberosFacts, realmIn } from './facts.ts'
import { openKrb5 } from './kcm-daemon.ts'
import { lookAgain } from './look-again.ts'
import type { Krb5 } from './native/krb5.ts'
import type { CacheContents, CachedTicket } from './native/krb5-cache.ts'

/** The ticket-granting ticket of a cache. Times in milliseconds since the epoch, by this machine's clock. */
export interface TicketInfo {
  /** The cache's name in full; a collection's member rather than the collection. */
  readonly cache: string
  readonly principal: string
  readonly startsAt: number
  readonly expiresAt: number
  /** Absent when it cannot be renewed. */
  readonly renewableUntil?: number
  readonly encryptionType: string
  /** How far the KDC's clock was ahead of this machine's when the ticket was issued, in milliseconds; mostly 0. */
  readonly clockOffsetMillis: number
}

/** The ticket that {@link verifyTicket} asks about. */
export interface TicketRequest {
  /** The client principal; a name without a realm is of the default realm. Default: the principal of the cache. */
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
 * TICKET_NOT_YET_VALID; PACKAGE_MISSING, GSS_LIBRARY_MISSING; CONFIG_INVALID for a cache whose name can be none
 *
 * @example
 * const { principal, expiresAt } = await verifyTicket({ minimumLifetimeSeconds: 600 })
 */
export async function verifyTicket(request: TicketRequest = {}): Promise<TicketInfo> {
  checkNames({ cache: request.cache })
  return lookAgain(request.cache, async () => {
    using krb5 = await openKrb5(request.cache)
    return checkTicket(krb5, inFull(krb5, request))
  })
}

/** The request with its principal in full. Everything below this door takes principals in full only. */
export function inFull<T extends { readonly principal?: string | undefined }>(krb5: Krb5, request: T): T {
  return request.principal === undefined ? request : { ...request, principal: krb5.principal(request.principal) }
}

/** {@link verifyTicket} in an open context. */
export function checkTicket(krb5: Krb5, request: TicketRequest): TicketInfo {
  const ticket = ticketIn(contentsOf(krb5, request))
  assertGood(ticket, request)
  return ticket
}

/** @throws TICKET_PRINCIPAL_MISMATCH, TICKET_EXPIRED, TICKET_EXPIRES_SOON, TICKET_NOT_YET_VALID */
export function assertGood(ticket: TicketInfo, request: TicketRequest, now = Date.now()): void {
  const { principal, minimumLifetimeSeconds = 0 } = request
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
}

function contentsOf(krb5: Krb5, request: TicketRequest): CacheContents {
  try {
    return krb5.read(request)
  } catch (error) {
    if (!(error instanceof PoolsmithError)) throw error
    const cache = typeof error.details.cache === 'string' ? error.details.cache : undefined
    const facts = { cache, principal: request.principal }
    // krb5 reports its own choice and a cache that was named in the same way; the advice differs.
    if (error.code === 'TICKET_CACHE_MISSING' && request.cache === undefined) {
      throw kerberosError('TICKET_MISSING', facts, { cause: error })
    }
    if (error.code === 'TICKET_CACHE_EMPTY' && cache !== undefined && fileBehind(cache)?.isDirectory() === true) {
      const more = 'It is a directory, which a container gets where the file to be mounted is missing.'
      throw kerberosError('TICKET_CACHE_CORRUPT', facts, { cause: error, more })
    }
    throw error
  }
}

/** The principal of a cache, also when its ticket has expired; undefined when it cannot be read. */
export function ownerOf(krb5: Krb5, cache: string): string | undefined {
  try {
    return krb5.read({ cache }).principal
  } catch (error) {
    if (error instanceof PoolsmithError) return undefined
    throw error
  }
}

/** A cache of another principal is neither replaced nor destroyed. @throws TICKET_PRINCIPAL_MISMATCH */
export function assertOwnedBy(krb5: Krb5, cache: string, principal: string): void {
  const owner = ownerOf(krb5, cache)
  if (owner !== undefined && owner !== principal) {
    throw kerberosError('TICKET_PRINCIPAL_MISMATCH', { cache, principal, owner })
  }
}

/** The ticket-granting ticket of a cache. @throws TICKET_CACHE_EMPTY */
export function ticketIn(contents: CacheContents): TicketInfo {
  const { cache, principal, tickets, clockOffsetMillis } = contents
  const realm = realmIn(principal) ?? ''
  const longest = (candidates: readonly CachedTicket[]): CachedTicket | undefined =>
    candidates.reduce<CachedTicket | undefined>(
      (best, ticket) => (best === undefined || ticket.expiresAt > best.expiresAt ? ticket : best),
      undefined,
    )
  const granting = tickets.filter((ticket) => ticket.server === `krbtgt/${realm}@${realm}`)
  // A cache can hold service tickets alone (kinit -S).
  const ticket = longest(granting) ?? longest(tickets)
  if (ticket === undefined) throw kerberosError('TICKET_CACHE_EMPTY', { cache, principal })
  const { server: _, ...times } = ticket
  return { cache, principal, ...times, clockOffsetMillis }
}

/** The errors that a new ticket mends. A cache of another principal is not replaced. */
const MENDABLE: ReadonlySet<ErrorCode> = new Set([
  'TICKET_MISSING',
  'TICKET_CACHE_MISSING',
  'TICKET_CACHE_EMPTY',
  'TICKET_CACHE_CORRUPT',
  'TICKET_EXPIRED',
  'TICKET_EXPIRES_SOON',
])

/** Whether a new ticket in the same cache would mend the error. */
export function isMendable(error: unknown): boolean {
  return error instanceof PoolsmithError && MENDABLE.has(error.code)
}
