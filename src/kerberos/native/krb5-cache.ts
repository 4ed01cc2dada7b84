import { isWaitedFor } from '../cache-file.ts'
import { kerberosError } from '../errors.ts'
import type { KerberosFacts } from '../facts.ts'
import type { RawCreds } from './krb5-functions.ts'
import type { Operation } from './krb5-operation.ts'
import type { Out, Pointer } from './load.ts'

/** One ticket of a cache. Times in milliseconds since the epoch, by this machine's clock. */
export interface CachedTicket {
  /** `krbtgt/EXAMPLE.COM@EXAMPLE.COM`, or a service's principal. */
  readonly server: string
  readonly startsAt: number
  readonly expiresAt: number
  /** Absent when it cannot be renewed. */
  readonly renewableUntil?: number
  readonly encryptionType: string
}

export interface CacheContents {
  /** The name in full, as in `FILE:/tmp/krb5cc_1000`; a collection's member rather than the collection. */
  readonly cache: string
  readonly principal: string
  readonly tickets: readonly CachedTicket[]
  /** How far the KDC's clock was ahead of this machine's when the ticket came (`kdc_timesync`), in milliseconds. */
  readonly clockOffsetMillis: number
}

export interface CacheChoice {
  /** Default: the cache that krb5 would take. */
  readonly cache?: string | undefined
  /** In a collection (DIR, KCM, KEYRING), named or not, the member that belongs to this principal. */
  readonly principal?: string | undefined
}

const TICKET_FLAG_RENEWABLE = 0x00800000
const CC_END = -1765328242

/** The kinds of caches of which one name may stand for several. */
const COLLECTION = /^(DIR|KCM|KEYRING|API):/

export function findCache(operation: Operation, { cache: named, principal: name }: CacheChoice): Pointer {
  const { functions, context } = operation
  const facts = { cache: named, principal: name }
  if (name !== undefined && (named === undefined || COLLECTION.test(named))) {
    const principal = operation.principal(name, facts)
    const out: Out<Pointer | null> = [null]
    // krb5 looks through the collection of its default cache: for this moment the named one is that.
    if (named !== undefined) {
      operation.check('read-cache', functions.ccSetDefaultName(context, named), facts)
      operation.defer(() => functions.ccSetDefaultName(context, null))
    }
    if (functions.ccCacheMatch(context, principal, out) === 0 && out[0] !== null) {
      const match = out[0]
      operation.defer(() => functions.ccClose(context, match))
      return match
    }
  }
  if (named !== undefined) return operation.cache(named, 'read-cache', facts)
  const cache = operation.make('acquire', facts, (made) => functions.ccDefault(context, made))
  operation.defer(() => functions.ccClose(context, cache))
  return cache
}

export function contentsOf(operation: Operation, choice: CacheChoice): CacheContents {
  const { functions, context } = operation
  const cache = findCache(operation, choice)
  const name = operation.fullName(cache)
  const facts = { principal: choice.principal, cache: name }
  assertCanBeRead(name)
  const principal = operation.nameOf(operation.ownerOf(cache, 'read-cache', facts))

  const clockOffsetMillis = operation.clockOffset()
  const tickets: CachedTicket[] = []
  const cursor: Out<Pointer | null> = [null]
  operation.check('read-cache', functions.ccStartSeqGet(context, cache, cursor), facts)
  operation.defer(() => functions.ccEndSeqGet(context, cache, cursor))
  for (;;) {
    const bytes = Buffer.alloc(functions.sizes.creds)
    const code = functions.ccNextCred(context, cache, cursor, bytes)
    if (code === CC_END) break
    operation.check('read-cache', code, facts)
    const ticket = ticketOf(operation, functions.decodeCreds(bytes), clockOffsetMillis)
    // Entries of this realm are krb5's own notes, not tickets.
    if (!ticket.server.endsWith('@X-CACHECONF:')) tickets.push(ticket)
    functions.freeCredContents(context, bytes)
  }
  return { cache: name, principal, tickets, clockOffsetMillis }
}

/** @throws TICKET_CACHE_CORRUPT for a file that krb5 would wait for */
export function assertCanBeRead(cache: string): void {
  if (isWaitedFor(cache)) throw kerberosError('TICKET_CACHE_CORRUPT', { cache }, { more: 'It is not a regular file.' })
}

export function ticketOf(operation: Operation, raw: RawCreds, clockOffsetMillis: number): CachedTicket {
  const renewable = (raw.ticket_flags & TICKET_FLAG_RENEWABLE) !== 0
  const local = (seconds: number): number => seconds * 1000 - clockOffsetMillis
  return {
    server: operation.nameOf(raw.server),
    startsAt: local(raw.starttime === 0 ? raw.authtime : raw.starttime),
    expiresAt: local(raw.endtime),
    encryptionType: operation.encryptionType(raw.keyblock.enctype),
    ...(renewable ? { renewableUntil: local(raw.renew_till) } : {}),
  }
}

/** Puts the one ticket of `creds` into a cache, which is emptied first. */
export function storeTicket(
  operation: Operation,
  into: string,
  client: Pointer,
  creds: Uint8Array,
  facts: KerberosFacts,
): void {
  const { functions, context } = operation
  const target = operation.cache(into, 'write-cache', facts)
  operation.check('write-cache', functions.ccInitialize(context, target, client), facts)
  operation.check('write-cache', functions.ccStoreCred(context, target, creds), facts)
}

/** Copies all tickets of a cache into another, which is emptied first. */
export function copyTickets(operation: Operation, from: string, into: string): void {
  const { functions, context } = operation
  const facts = { cache: from }
  const source = operation.cache(from, 'read-cache', facts)
  const target = operation.cache(into, 'write-cache', facts)
  const owner = operation.ownerOf(source, 'read-cache', facts)
  operation.check('write-cache', functions.ccInitialize(context, target, owner), facts)
  operation.check('read-cache', functions.ccCopyCreds(context, source, target), facts)
}
