import { statSync } from 'node:fs'
import { cachePath } from '../cache-file.ts'
import { type KerberosFacts, kerberosError } from '../errors.ts'
import { codeOf } from '../status.ts'
import { type Krb5Functions, krb5Functions, type RawCreds } from './krb5-functions.ts'
import { Operation } from './krb5-operation.ts'
import { callAsync, loadKerberosLibraries, type Out, type Pointer } from './load.ts'

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

export interface KeytabEntry {
  readonly principal: string
  /** The key's version. */
  readonly kvno: number
  readonly encryptionType: string
  /** Milliseconds since the epoch; 0 when the keytab does not say. */
  readonly writtenAt: number
}

export interface ObtainOptions {
  readonly principal: string
  readonly keytab: string
  /** The cache that the ticket is meant for, for messages: `into` may stand in its place for a moment. */
  readonly cache: string
  /** Default: what krb5.conf and the KDC give. */
  readonly lifetimeSeconds?: number | undefined
  readonly renewableSeconds?: number | undefined
  readonly forwardable?: boolean | undefined
}

const TICKET_FLAG_RENEWABLE = 0x00800000
const CC_END = -1765328242
const KT_END = -1765328202
const KT_NOTFOUND = -1765328203

let loading: Promise<Krb5Functions> | undefined

export function loadKrb5(): Promise<Krb5Functions> {
  loading ??= loadKerberosLibraries().then(krb5Functions)
  loading.catch(() => {
    loading = undefined
  })
  return loading
}

/**
 * Reads a cache: whose it is, and which tickets are in it. No network. Without `cache` it is the one that krb5
 * would take by default; in a collection (DIR, KCM, KEYRING), named or not, the member that belongs to `principal`.
 */
export function readCache(
  functions: Krb5Functions,
  wanted: { readonly cache?: string | undefined; readonly principal?: string | undefined },
): CacheContents {
  using operation = new Operation(functions, wanted)
  const { context } = operation
  const cache = findCache(operation, wanted)
  const name = operation.fullName(cache)
  const facts = { ...wanted, cache: name }
  assertCanBeRead(name, facts)
  const principal = operation.nameOf(operation.ownerOf(cache, 'read-cache', facts))

  const clockOffsetMillis = clockOffset(operation)
  const tickets: CachedTicket[] = []
  const cursor: Out<Pointer | null> = [null]
  operation.check('read-cache', functions.ccStartSeqGet(context, cache, cursor), facts)
  operation.defer(() => functions.ccEndSeqGet(context, cache, cursor))
  for (;;) {
    const bytes = Buffer.alloc(functions.sizes.creds)
    const code = functions.ccNextCred(context, cache, cursor, bytes)
    if (code === CC_END) break
    operation.check('read-cache', code, facts)
    const raw = functions.decodeCreds(bytes)
    const server = operation.nameOf(raw.server)
    // Entries of this realm are krb5's own notes, not tickets.
    if (!server.endsWith('@X-CACHECONF:')) tickets.push(ticketOf(operation, raw, server, clockOffsetMillis))
    functions.freeCredContents(context, bytes)
  }
  return { cache: name, principal, tickets, clockOffsetMillis }
}

/** krb5 would wait without limit for the writer of a pipe, which any user may put into a folder such as /tmp. */
function assertCanBeRead(cache: string, facts: KerberosFacts): void {
  const path = cachePath(cache)
  const stats = path === undefined ? undefined : statSync(path, { throwIfNoEntry: false })
  if (stats === undefined || stats.isFile() || stats.isDirectory()) return
  throw kerberosError('TICKET_CACHE_CORRUPT', facts, { more: 'It is not a regular file.' })
}

function ticketOf(operation: Operation, raw: RawCreds, server: string, clockOffsetMillis: number): CachedTicket {
  const renewable = (raw.ticket_flags & TICKET_FLAG_RENEWABLE) !== 0
  const local = (seconds: number): number => seconds * 1000 - clockOffsetMillis
  return {
    server,
    startsAt: local(raw.starttime === 0 ? raw.authtime : raw.starttime),
    expiresAt: local(raw.endtime),
    encryptionType: operation.encryptionType(raw.keyblock.enctype),
    ...(renewable ? { renewableUntil: local(raw.renew_till) } : {}),
  }
}

/** Opening a cache tells the context how far the KDC's clock is ahead; krb5 then corrects its own. */
function clockOffset(operation: Operation): number {
  const corrected: Out<number> = [0]
  operation.check('read-cache', operation.functions.timeOfDay(operation.context, corrected), {})
  const offset = corrected[0] * 1000 - Math.floor(Date.now() / 1000) * 1000
  // Between the two readings a second may have begun.
  return Math.abs(offset) <= 1000 ? 0 : offset
}

/** The kinds of caches of which one name may stand for several. */
const COLLECTION = /^(DIR|KCM|KEYRING|API):/

function findCache(
  operation: Operation,
  wanted: { readonly cache?: string | undefined; readonly principal?: string | undefined },
): Pointer {
  const { functions, context } = operation
  const named = wanted.cache
  if (wanted.principal !== undefined && (named === undefined || COLLECTION.test(named))) {
    const principal = operation.principal(wanted.principal, wanted)
    const out: Out<Pointer | null> = [null]
    // krb5 looks through the collection that its default belongs to: in this context alone it is the one that was named.
    if (named !== undefined) operation.check('read-cache', functions.ccSetDefaultName(context, named), wanted)
    if (functions.ccCacheMatch(context, principal, out) === 0 && out[0] !== null) {
      const match = out[0]
      operation.defer(() => functions.ccClose(context, match))
      return match
    }
  }
  if (named !== undefined) return operation.cache(named, 'read-cache', wanted)
  const cache = operation.make('acquire', wanted, (made) => functions.ccDefault(context, made))
  operation.defer(() => functions.ccClose(context, cache))
  return cache
}

/** The full name of the cache that {@link readCache} would read, whether it is there or not. */
export function cacheName(
  functions: Krb5Functions,
  wanted: { readonly cache?: string | undefined; readonly principal?: string | undefined },
): string {
  using operation = new Operation(functions, wanted)
  return operation.fullName(findCache(operation, wanted))
}

/** `alice` with the default realm behind it; a principal in full is normalised. */
export function fullPrincipal(functions: Krb5Functions, principal: string): string {
  using operation = new Operation(functions, { principal })
  return operation.nameOf(operation.principal(principal, { principal }))
}

/** Copies all tickets of a cache into another, which is emptied for them. */
export function copyCache(functions: Krb5Functions, from: string, into: string): void {
  const facts = { cache: from }
  using operation = new Operation(functions, facts)
  const source = operation.cache(from, 'read-cache', facts)
  const target = operation.cache(into, 'write-cache', facts)
  const owner = operation.ownerOf(source, 'read-cache', facts)
  operation.check('write-cache', functions.ccInitialize(operation.context, target, owner), facts)
  operation.check('read-cache', functions.ccCopyCreds(operation.context, source, target), facts)
}

export function destroyCache(functions: Krb5Functions, cache: string): void {
  using operation = new Operation(functions, { cache })
  const pointer = operation.make('read-cache', { cache }, (out) => functions.ccResolve(operation.context, cache, out))
  // krb5_cc_destroy frees the handle as well, whatever it returns.
  operation.check('read-cache', functions.ccDestroy(operation.context, pointer), { cache })
}

/** The keytab that krb5 would take: for a client (default_client_keytab_name), or KRB5_KTNAME and default_keytab_name. */
export function defaultKeytabs(functions: Krb5Functions): { readonly client: string; readonly general: string } {
  using operation = new Operation(functions, {})
  const nameOf = (open: (context: Pointer, out: Out<Pointer | null>) => number): string => {
    const keytab = operation.make('read-keytab', {}, (out) => open(operation.context, out))
    operation.defer(() => functions.ktClose(operation.context, keytab))
    const name = Buffer.alloc(1024)
    operation.check('read-keytab', functions.ktGetName(operation.context, keytab, name, name.length), {})
    return name.toString('utf8', 0, name.indexOf(0))
  }
  return { client: nameOf(functions.ktClientDefault), general: nameOf(functions.ktDefault) }
}

export function readKeytab(functions: Krb5Functions, keytab: string): KeytabEntry[] {
  const facts = { keytab }
  using operation = new Operation(functions, facts)
  const pointer = operation.keytab(keytab, facts)
  const cursor: Out<Pointer | null> = [null]
  operation.check('read-keytab', functions.ktStartSeqGet(operation.context, pointer, cursor), facts)
  operation.defer(() => functions.ktEndSeqGet(operation.context, pointer, cursor))
  const entries: KeytabEntry[] = []
  for (;;) {
    const bytes = Buffer.alloc(functions.sizes.keytabEntry)
    const code = functions.ktNextEntry(operation.context, pointer, bytes, cursor)
    if (code === KT_END) return entries
    operation.check('read-keytab', code, facts)
    const raw = functions.decodeKeytabEntry(bytes)
    entries.push({
      principal: operation.nameOf(raw.principal),
      kvno: raw.vno,
      encryptionType: operation.encryptionType(raw.key.enctype),
      writtenAt: raw.timestamp * 1000,
    })
    functions.freeKeytabEntryContents(operation.context, bytes)
  }
}

export function principalsIn(functions: Krb5Functions, keytab: string): string[] {
  return [...new Set(readKeytab(functions, keytab).map((entry) => entry.principal))]
}

/**
 * Gets a first ticket by a keytab and stores it in `into`, which is emptied for it. Asks the KDC, so the call runs
 * on libuv's pool; hold a place in the queue around it.
 */
export async function obtainTicket(functions: Krb5Functions, options: ObtainOptions, into: string): Promise<void> {
  const { principal, keytab, cache } = options
  const facts = { principal, keytab, cache }
  using operation = new Operation(functions, facts)
  const { context } = operation
  const client = operation.principal(principal, facts)
  const keys = operation.keytab(keytab, facts)
  const request = operation.make('obtain', facts, (out) => functions.optAlloc(context, out))
  operation.defer(() => functions.optFree(context, request))
  if (options.lifetimeSeconds !== undefined) functions.optSetTktLife(request, options.lifetimeSeconds)
  if (options.renewableSeconds !== undefined) functions.optSetRenewLife(request, options.renewableSeconds)
  if (options.forwardable !== undefined) functions.optSetForwardable(request, options.forwardable ? 1 : 0)

  const creds = Buffer.alloc(functions.sizes.creds)
  const code = await callAsync(functions.getInitCredsKeytab, context, creds, client, keys, 0, null, request)
  operation.check('obtain', code, { ...facts, ...keytabFacts(functions, code, facts) })
  operation.defer(() => functions.freeCredContents(context, creds))
  store(operation, into, client, creds, facts)
}

/** What the keytab has instead of the key that is missing, or is not the present one. */
function keytabFacts(
  functions: Krb5Functions,
  code: number,
  { keytab, principal }: Pick<ObtainOptions, 'keytab' | 'principal'>,
): KerberosFacts {
  if (code === KT_NOTFOUND) return { keytabPrincipals: principalsIn(functions, keytab) }
  if (codeOf({ call: 'obtain', minor: code, text: '' }) !== 'KEYTAB_REFUSED') return {}
  const name = fullPrincipal(functions, principal)
  const own = readKeytab(functions, keytab).filter((entry) => entry.principal === name)
  return { kvno: Math.max(...own.map(({ kvno }) => kvno)) }
}

/** Renews the ticket of one cache (RFC 4120 2.3) into another, or the same. As {@link obtainTicket} else. */
export async function renewTicket(functions: Krb5Functions, from: string, into: string): Promise<void> {
  const facts: KerberosFacts = { cache: from }
  using operation = new Operation(functions, facts)
  const { context } = operation
  const source = operation.cache(from, 'read-cache', facts)
  const client = operation.ownerOf(source, 'read-cache', facts)
  const owned = { ...facts, principal: operation.nameOf(client) }
  const creds = Buffer.alloc(functions.sizes.creds)
  const code = await callAsync(functions.getRenewedCreds, context, creds, client, source, null)
  operation.check('renew', code, owned)
  operation.defer(() => functions.freeCredContents(context, creds))
  store(operation, into, client, creds, owned)
}

function store(operation: Operation, into: string, client: Pointer, creds: Uint8Array, facts: KerberosFacts): void {
  const { functions, context } = operation
  const target = operation.cache(into, 'write-cache', facts)
  operation.check('write-cache', functions.ccInitialize(context, target, client), facts)
  operation.check('write-cache', functions.ccStoreCred(context, target, creds), facts)
}

/** Adds to the facts which KDCs krb5.conf names for the realm. */
export function withKdcs(functions: Krb5Functions, facts: KerberosFacts): KerberosFacts {
  using operation = new Operation(functions, facts)
  return operation.withKdcs(facts)
}

/** What krb5.conf says under each path, as its own text; the first value where there are several. */
export function configuredValues(
  functions: Krb5Functions,
  paths: readonly (readonly string[])[],
): (string | undefined)[] {
  using operation = new Operation(functions, {})
  return paths.map((path) => operation.configured(...path)?.[0])
}
