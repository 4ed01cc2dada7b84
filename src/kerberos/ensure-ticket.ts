import { PoolsmithError } from '../errors.ts'
import { cacheFor } from './collection.ts'
import type { GssApi, GssCredentialHandle, GssMechanism } from './gss-api.ts'
import { GSSPROXY, usesGssproxy } from './gssproxy.ts'
import { openKrb5 } from './kcm-daemon.ts'
import { loadGssApi } from './load-gss-api.ts'
import { lookAgain } from './look-again.ts'
import { isPrivate } from './native/cache-transfer.ts'
import { Krb5 } from './native/krb5.ts'
import { type PasswordOf, refreshIn } from './refresh-ticket.ts'
import { assertGood, checkTicket, inFull, isMendable, ownerOf, type TicketInfo, type TicketRequest } from './ticket.ts'

export interface TicketPolicy extends TicketRequest {
  /** With a keytab a ticket that is missing, expired, or too near its end is replaced instead of being an error. */
  readonly keytab?: string | undefined
  /** The same by the password of `principal`, which must be given then. */
  readonly password?: PasswordOf | undefined
}

export interface EnsuredTicket extends TicketInfo {
  /** The default client keytab, where it obtains the ticket. */
  readonly keytab?: string
}

export interface EnsureOptions {
  readonly signal?: AbortSignal | undefined
  /** Replaces also a good ticket of which less than this share of its life is left. Default 0. */
  readonly refreshBelow?: number
}

/**
 * A ticket to log in with: checked without network while it is good, and obtained from the keytab when it is not. A
 * cache that had a ticket and is missing is looked at again for a second, since it may just be replaced.
 *
 * @throws what {@link verifyTicket} throws; with a keytab also KEYTAB_…, PRINCIPAL_…, KDC_…, REALM_UNKNOWN, CLOCK_SKEW
 */
export async function ensureTicket(policy: TicketPolicy, options: EnsureOptions = {}): Promise<EnsuredTicket> {
  if (process.platform === 'win32') {
    using opened = await openLogonCredential(await loadGssApi(), policy, options)
    return opened.ticket
  }
  if (keptByGssproxy(policy)) {
    using opened = await openProxyCredential(await loadGssApi(), policy, options)
    return opened.ticket
  }
  const present = (): Promise<EnsuredTicket> => presentTicket(policy, options)
  return obtains(policy) ? present() : lookAgain(policy.cache, present, options.signal)
}

/** Whether a missing ticket is obtained here. */
function obtains({ keytab, password }: TicketPolicy): boolean {
  return keytab !== undefined || password !== undefined
}

async function presentTicket(policy: TicketPolicy, options: EnsureOptions): Promise<EnsuredTicket> {
  using krb5 = await openKrb5(policy.cache)
  const own = obtains(policy) ? undefined : ownKeytab(krb5, policy)
  const { keytab, password, ...wanted } = inFull(krb5, { ...policy, ...own })
  if (keytab === undefined && password === undefined) return checkTicket(krb5, wanted)
  const request = wanted.principal === undefined ? wanted : { ...wanted, cache: cacheFor(krb5, wanted) }
  const good = (ticket: TicketInfo): boolean => {
    const left = ticket.expiresAt - Date.now()
    return left >= (ticket.expiresAt - ticket.startsAt) * (options.refreshBelow ?? 0)
  }
  try {
    const ticket = checkTicket(krb5, request)
    if (good(ticket)) return { ...ticket, ...own }
  } catch (error) {
    if (!isMendable(error)) throw error
  }
  const { principal, cache, minimumLifetimeSeconds = 0 } = request
  const ticket = await refreshIn(krb5, {
    by: password === undefined ? 'keytab' : 'password',
    keytab,
    password,
    principal,
    cache,
    signal: options.signal,
    unless: (found) => good(found) && found.expiresAt - Date.now() >= minimumLifetimeSeconds * 1000,
  })
  assertGood(ticket, request)
  return { ...ticket, ...own }
}

/**
 * Where nothing is named, krb5's default client keytab (KRB5_CLIENT_KTNAME) obtains the ticket of the default cache, as
 * GSSAPI does for psql: of the principal of that cache, or else of the first one in the keytab.
 */
function ownKeytab(krb5: Krb5, policy: TicketPolicy): { keytab: string; principal: string } | undefined {
  if (policy.cache !== undefined) return undefined
  try {
    const keytab = krb5.defaultKeytabs().client
    const principals = krb5.keytab(keytab).map((entry) => entry.principal)
    const wanted = inFull(krb5, { principal: policy.principal }).principal
    const principal = wanted ?? ownerOf(krb5, krb5.cacheName({})) ?? principals[0]
    return principal !== undefined && principals.includes(principal) ? { keytab, principal } : undefined
  } catch (error) {
    if (error instanceof PoolsmithError) return undefined
    throw error
  }
}

/** Stands where a cache's name would: Windows' logon session. */
const LOGON_CACHE = 'SSPI'

export interface OpenedCredential extends Disposable {
  readonly handle: GssCredentialHandle
  readonly ticket: TicketInfo
}

/**
 * The first step of a driver for each new connection: makes sure of the ticket and acquires it as a GSS credential.
 * Dispose of the result once the security context stands.
 */
export async function openCredential(
  gss: GssApi,
  policy: TicketPolicy,
  options: EnsureOptions & { readonly mechanism?: GssMechanism } = {},
): Promise<OpenedCredential> {
  const { signal, mechanism } = options
  if (gss.provider === 'sspi') return openLogonCredential(gss, policy, options)
  if (keptByGssproxy(policy)) return openProxyCredential(gss, policy, options)
  const open = async () => {
    const ticket = await presentTicket(policy, options)
    const { principal } = ticket
    const handle = await gss.acquireCredential({ principal, cache: await reachableCache(ticket), mechanism, signal })
    return { cache: ticket.cache, handle, ticket, [Symbol.dispose]: () => handle[Symbol.dispose]() }
  }
  return obtains(policy) ? open() : lookAgain(policy.cache, open, signal)
}

/**
 * Linux gives each thread its own view of the process and thread keyrings, and a persistent one is reached through the
 * former; GSS calls run on other threads than this. The content of such a cache is copied to the memory that all of them
 * see. The copy stays while it is the same ticket, and with it the service tickets that krb5 has put there.
 */
async function reachableCache(ticket: TicketInfo): Promise<string> {
  const { cache } = ticket
  if (!isPrivate(cache) || cache.startsWith('MEMORY:')) return cache
  const copy = `MEMORY:poolsmith-${cache}`
  if (await holds(copy, ticket)) return copy
  using krb5 = await Krb5.open()
  krb5.copy(cache, copy)
  return copy
}

async function holds(cache: string, { principal, startsAt, expiresAt }: TicketInfo): Promise<boolean> {
  try {
    using krb5 = await Krb5.open()
    const found = checkTicket(krb5, { cache })
    return found.principal === principal && found.startsAt === startsAt && found.expiresAt === expiresAt
  } catch (error) {
    if (error instanceof PoolsmithError) return false
    throw error
  }
}

/** Removes a cache that serves one pool or one look alone. */
export async function forgetTickets(cache: string): Promise<void> {
  using krb5 = await Krb5.open()
  try {
    krb5.destroy(cache)
  } catch (error) {
    // It was never filled.
    if (!(error instanceof PoolsmithError)) throw error
  }
}

/** Whether nothing is named, and gssproxy has the credential. */
function keptByGssproxy(policy: TicketPolicy): boolean {
  return usesGssproxy() && !obtains(policy) && (policy.cache === undefined || policy.cache === GSSPROXY)
}

async function openProxyCredential(
  gss: GssApi,
  { principal: name }: TicketPolicy,
  { signal, mechanism }: EnsureOptions & { readonly mechanism?: GssMechanism },
): Promise<OpenedCredential> {
  const handle = await gss.acquireCredential({ principal: name, mechanism, signal })
  try {
    return await withTicket(handle, GSSPROXY)
  } catch (error) {
    handle[Symbol.dispose]()
    throw error
  }
}

/** A credential whose ticket only its keeper sees. */
async function withTicket(handle: GssCredentialHandle, cache: string): Promise<OpenedCredential> {
  const { principal, lifetimeSeconds } = await handle.inquire()
  const now = Date.now()
  const ticket = {
    cache,
    principal,
    startsAt: now,
    expiresAt: now + lifetimeSeconds * 1000,
    encryptionType: 'unknown',
    clockOffsetMillis: 0,
  }
  return { handle, ticket, [Symbol.dispose]: () => handle[Symbol.dispose]() }
}

/** On Windows the system keeps the ticket, and tells little about it. NOT TESTED. */
async function openLogonCredential(
  gss: GssApi,
  policy: TicketPolicy,
  options: EnsureOptions & { readonly mechanism?: GssMechanism },
): Promise<OpenedCredential> {
  const { signal, mechanism } = options
  const { cache = LOGON_CACHE } = policy
  if (cache !== LOGON_CACHE || obtains(policy)) {
    throw new PoolsmithError("On Windows the ticket is the logged-on user's: there are no caches and keytabs.", {
      code: 'CONFIG_INVALID',
      phase: 'config',
      hint: 'Leave out `ccache`, `keytab` and the password, and run the process as the user that should log in.',
    })
  }
  return await withTicket(await gss.acquireCredential({ mechanism, signal }), LOGON_CACHE)
}
