import { PoolsmithError } from '../errors.ts'
import type { GssApi, GssCredentialHandle, GssMechanism } from './gss-api.ts'
import { krb5ToRead } from './kcm-daemon.ts'
import { loadGssApi } from './load-gss-api.ts'
import { lookAgain } from './look-again.ts'
import { copyCache, loadKrb5 } from './native/krb5.ts'
import type { Krb5Functions } from './native/krb5-functions.ts'
import { refreshTicket } from './refresh-ticket.ts'
import { checkTicket, isMendable, type TicketInfo, type TicketRequest } from './ticket.ts'

export interface TicketPolicy extends TicketRequest {
  /** With a keytab a ticket that is missing, over, or too near its end is replaced instead of being an error. */
  readonly keytab?: string | undefined
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
export async function ensureTicket(policy: TicketPolicy, options: EnsureOptions = {}): Promise<TicketInfo> {
  if (process.platform === 'win32') {
    using opened = await openLogonCredential(await loadGssApi(), policy, options)
    return opened.ticket
  }
  const { cache, keytab } = policy
  return keytab === undefined
    ? lookAgain(cache, () => presentTicket(policy, options), options.signal)
    : presentTicket(policy, options)
}

async function presentTicket(policy: TicketPolicy, options: EnsureOptions): Promise<TicketInfo> {
  const { keytab, principal, cache } = policy
  const functions = await krb5ToRead(cache)
  if (keytab === undefined) return checkTicket(functions, policy)
  const good = (ticket: TicketInfo): boolean => {
    const left = ticket.expiresAt - Date.now()
    return left >= (ticket.expiresAt - ticket.startsAt) * (options.refreshBelow ?? 0)
  }
  try {
    const ticket = checkTicket(functions, policy)
    if (good(ticket)) return ticket
  } catch (error) {
    if (!isMendable(error)) throw error
  }
  const { minimumLifetimeSeconds = 0 } = policy
  await refreshTicket({
    by: 'keytab',
    keytab,
    principal,
    cache,
    signal: options.signal,
    unless: (ticket) => good(ticket) && ticket.expiresAt - Date.now() >= minimumLifetimeSeconds * 1000,
  })
  return checkTicket(functions, policy)
}

/** Stands where a cache's name would: Windows' logon session. */
const LOGON_CACHE = 'SSPI'

export interface OpenedCredential extends Disposable {
  readonly handle: GssCredentialHandle
  readonly ticket: TicketInfo
}

/**
 * What a driver does first for each new connection: makes sure of the ticket and acquires it as a GSS credential.
 * Dispose of it once the security context stands.
 */
export async function openCredential(
  gss: GssApi,
  policy: TicketPolicy,
  options: EnsureOptions & { readonly mechanism?: GssMechanism } = {},
): Promise<OpenedCredential> {
  const { signal, mechanism } = options
  if (gss.provider === 'sspi') return openLogonCredential(gss, policy, options)
  const open = async () => {
    const ticket = await presentTicket(policy, options)
    const handle = await gss.acquireCredential({
      principal: ticket.principal,
      cache: await reachableCache(ticket),
      mechanism,
      signal,
    })
    return { cache: ticket.cache, handle, ticket, [Symbol.dispose]: () => handle[Symbol.dispose]() }
  }
  return policy.keytab === undefined ? lookAgain(policy.cache, open, signal) : open()
}

/**
 * Linux gives each thread its own view of the process and thread keyrings, and a persistent one is reached through the
 * former; GSS calls run on other threads than this. What such a cache holds is copied to where all of them see it. The
 * copy stays while it is the same ticket, and with it the service tickets that krb5 has put there.
 */
async function reachableCache(ticket: TicketInfo): Promise<string> {
  if (!/^KEYRING:(process|thread|persistent):/.test(ticket.cache)) return ticket.cache
  const functions = await loadKrb5()
  const copy = `MEMORY:poolsmith-${ticket.cache}`
  if (!holds(functions, copy, ticket)) copyCache(functions, ticket.cache, copy)
  return copy
}

function holds(functions: Krb5Functions, cache: string, { principal, startsAt, expiresAt }: TicketInfo): boolean {
  try {
    const found = checkTicket(functions, { cache })
    return found.principal === principal && found.startsAt === startsAt && found.expiresAt === expiresAt
  } catch (error) {
    if (error instanceof PoolsmithError) return false
    throw error
  }
}

/** On Windows the system keeps the ticket, and tells little about it. NOT TESTED. */
async function openLogonCredential(
  gss: GssApi,
  policy: TicketPolicy,
  options: EnsureOptions & { readonly mechanism?: GssMechanism },
): Promise<OpenedCredential> {
  const { signal, mechanism } = options
  const handle = await gss.acquireCredential({
    ...(policy.cache === undefined || policy.cache === LOGON_CACHE ? {} : { cache: policy.cache }),
    ...(policy.keytab === undefined ? {} : { keytab: policy.keytab }),
    ...(mechanism === undefined ? {} : { mechanism }),
    ...(signal === undefined ? {} : { signal }),
  })
  const { principal, lifetimeSeconds } = await handle.inquire()
  const now = Date.now()
  const ticket = {
    cache: LOGON_CACHE,
    principal,
    startsAt: now,
    expiresAt: now + lifetimeSeconds * 1000,
    encryptionType: 'unknown',
    clockOffsetMillis: 0,
  }
  return { handle, ticket, [Symbol.dispose]: () => handle[Symbol.dispose]() }
}
