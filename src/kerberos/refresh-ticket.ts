import { performance } from 'node:perf_hooks'
import { PoolsmithError } from '../errors.ts'
import { cacheFileError, cachePath, ownFile, replaceCacheFile } from './cache-file.ts'
import { kdcCalls } from './call-queue.ts'
import { type KerberosFacts, kerberosError, realmIn } from './errors.ts'
import { FileLock } from './file-lock.ts'
import { krb5ToRead } from './kcm-daemon.ts'
import {
  cacheName,
  defaultKeytabs,
  fullPrincipal,
  obtainTicket,
  principalsIn,
  readKeytab,
  renewTicket,
  withKdcs,
} from './native/krb5.ts'
import type { Krb5Functions } from './native/krb5-functions.ts'
import { assertNobodyElses, checkTicket, ownerOf, type TicketInfo } from './ticket.ts'
import { gaveUp } from './waiting.ts'

export interface TicketSource {
  /** Default: the cache's owner, or the only principal of the keytab. */
  readonly principal?: string | undefined
  /** Default: KRB5_KTNAME, then krb5's own choice (`default_client_keytab_name`, `default_keytab_name`). */
  readonly keytab?: string | undefined
  /** Default: krb5's own choice. */
  readonly cache?: string | undefined
  /** How long the ticket should live, in seconds. Default: krb5.conf's and the KDC's. */
  readonly lifetimeSeconds?: number | undefined
  /** How long it should be renewable, in seconds. Default: krb5.conf's and the KDC's. */
  readonly renewableSeconds?: number | undefined
  readonly forwardable?: boolean | undefined
  /** A group (name or number) that may read the cache's file. Default: its owner only. */
  readonly group?: string | number | undefined
}

export interface RefreshOptions extends TicketSource {
  /** `keytab`: a new ticket by keytab. `renew`: the old one renewed. */
  readonly by: 'keytab' | 'renew'
  /** Looked at again under the lock: true leaves the cache as it is, since another updater was faster. */
  readonly unless?: ((ticket: TicketInfo) => boolean) | undefined
  /** How long to wait for another updater, in milliseconds. Default 60,000. */
  readonly lockTimeoutMillis?: number | undefined
  readonly environment?: Readonly<Record<string, string | undefined>> | undefined
  readonly signal?: AbortSignal | undefined
  /** Once aborted, a ticket that comes late is not put into the cache's file any more. */
  readonly discard?: AbortSignal | undefined
}

export interface RefreshedTicket extends TicketInfo {
  /** False when another updater had been faster. */
  readonly fresh: boolean
}

/** Who waits for a refresh, and what it waits for itself. */
interface Party {
  waiting: number
  hasLock: boolean
  /** Aborted when the last has left. */
  readonly left: AbortController
}

/** Refreshes in flight in this process, by cache: however many want one, the KDC is asked once. */
const inFlight = new Map<string, { readonly refresh: Promise<RefreshedTicket>; readonly party: Party }>()

/**
 * Puts a new ticket into a cache, without kinit. A file is replaced whole, under a lock between all updaters.
 * One that gives up leaves at once; when all have, the lock and a place in the queue are no longer waited for, but a KDC
 * that was asked is listened to, for the next. Another principal's cache is not overwritten.
 */
export async function refreshTicket(options: RefreshOptions): Promise<RefreshedTicket> {
  const functions = await krb5ToRead(options.cache)
  const cache = cacheName(functions, options)
  const { principal, keytab } = whoAndBy(functions, cache, options)
  const key = `${options.by} ${cache} ${principal} ${keytab ?? ''}`
  let flight = inFlight.get(key)
  // One that all have left does not wait for the lock any more.
  if (flight === undefined || (flight.party.left.signal.aborted && !flight.party.hasLock)) {
    const party: Party = { waiting: 0, hasLock: false, left: new AbortController() }
    const refresh = locked(cache, principal, options, party, async () => {
      const before = options.unless === undefined ? undefined : presentTicket(functions, cache, principal)
      if (before !== undefined && options.unless?.(before)) return { ...before, fresh: false }
      assertNobodyElses(functions, cache, principal)
      await replace(functions, cache, principal, keytab, options, party)
      return { ...checkTicket(functions, { cache, principal }), fresh: true }
    }).finally(() => {
      if (inFlight.get(key)?.party === party) inFlight.delete(key)
    })
    flight = { refresh, party }
    inFlight.set(key, flight)
  }
  return patience(flight.refresh, flight.party, options.signal, { principal, cache, keytab }, functions)
}

function whoAndBy(
  functions: Krb5Functions,
  cache: string,
  options: RefreshOptions,
): { readonly principal: string; readonly keytab: string | undefined } {
  const keytab = options.by === 'keytab' ? chooseKeytab(functions, options) : undefined
  const given = options.principal
  if (given !== undefined) return { principal: fullPrincipal(functions, given), keytab }
  if (keytab === undefined) return { principal: checkOwner(functions, cache), keytab }
  return { principal: ownerOf(functions, cache) ?? onlyPrincipal(functions, keytab), keytab }
}

function checkOwner(functions: Krb5Functions, cache: string): string {
  try {
    return checkTicket(functions, { cache }).principal
  } catch (error) {
    if (
      error instanceof PoolsmithError &&
      typeof error.details.principal === 'string' &&
      error.code === 'TICKET_EXPIRED'
    ) {
      return error.details.principal
    }
    throw error
  }
}

/** The cache's ticket if there is one that is good; anything wrong with it is what a refresh mends. */
function presentTicket(functions: Krb5Functions, cache: string, principal: string): TicketInfo | undefined {
  try {
    return checkTicket(functions, { cache, principal })
  } catch (error) {
    if (error instanceof PoolsmithError) return undefined
    throw error
  }
}

function onlyPrincipal(functions: Krb5Functions, keytab: string): string {
  const principals = principalsIn(functions, keytab)
  const [first] = principals
  if (first !== undefined && principals.length === 1) return first
  throw new PoolsmithError(
    first === undefined ? `The keytab ${keytab} is empty.` : `The keytab ${keytab} holds ${principals.join(', ')}.`,
    { code: 'CONFIG_INVALID', phase: 'config', hint: 'Say which `principal` the ticket is for.', details: { keytab } },
  )
}

/** The keytab that was given, or the one that krb5 would take for a client. */
export function chooseKeytab(
  functions: Krb5Functions,
  options: Pick<RefreshOptions, 'keytab' | 'environment'>,
): string {
  const given = options.keytab ?? options.environment?.KRB5_KTNAME
  if (given !== undefined && given !== '') return given
  const { client, general } = defaultKeytabs(functions)
  try {
    readKeytab(functions, client)
    return client
  } catch (error) {
    if (error instanceof PoolsmithError && error.code === 'KEYTAB_MISSING') return general
    if (error instanceof PoolsmithError) return client
    throw error
  }
}

async function locked<T>(
  cache: string,
  principal: string,
  options: RefreshOptions,
  party: Party,
  work: () => Promise<T>,
): Promise<T> {
  const path = cachePath(cache)
  party.hasLock = path === undefined
  if (path === undefined) return work()
  const limit = options.lockTimeoutMillis ?? 60_000
  let lock: FileLock | undefined
  try {
    await ownFile(path)
    lock = await FileLock.acquire(`${path}.lock`, limit, { signal: party.left.signal })
  } catch (cause) {
    throw cacheFileError(cause, cache, principal)
  }
  if (lock === undefined) {
    throw lockedError({ cache, principal }, limit)
  }
  await using _ = lock
  party.hasLock = true
  return await work()
}

function lockedError(facts: KerberosFacts, waitedMillis: number, cause?: unknown): PoolsmithError {
  return kerberosError('TICKET_CACHE_LOCKED', facts, {
    cause,
    more: `We waited ${(waitedMillis / 1000).toFixed(1)} s.`,
  })
}

async function replace(
  functions: Krb5Functions,
  cache: string,
  principal: string,
  keytab: string | undefined,
  options: RefreshOptions,
  party: Party,
): Promise<void> {
  const write = (into: string): Promise<void> =>
    kdcCalls.run(
      { purpose: `a ticket of ${principal}`, realm: realmIn(principal) ?? '' },
      async () => {
        // It may have been half a minute until its turn came.
        if (party.waiting === 0) throw kerberosError('KDC_TIMEOUT', { principal, cache }, { more: 'All have left.' })
        await (keytab === undefined
          ? renewTicket(functions, cache, into)
          : obtainTicket(functions, { ...options, principal, keytab, cache }, into))
      },
      { signal: undefined, aborted: () => undefined },
    )
  if (cachePath(cache) === undefined) {
    await write(cache)
    return
  }
  await replaceCacheFile(cache, options.group, async (into) => {
    await write(into)
    options.discard?.throwIfAborted()
  })
}

/** Waits as long as the caller's signal allows. */
function patience<T>(
  work: Promise<T>,
  party: Party,
  signal: AbortSignal | undefined,
  facts: KerberosFacts,
  functions: Krb5Functions,
): Promise<T> {
  party.waiting++
  if (signal === undefined) return work
  const since = performance.now()
  return new Promise<T>((resolve, reject) => {
    const giveUp = (): void => {
      const waitedMillis = performance.now() - since
      const info = { purpose: `a new ticket of ${facts.principal}`, realm: '' }
      const error = gaveUp(signal, { running: true, waitedMillis, ahead: [] }, info, withKdcs(functions, facts))
      // Nobody has asked the KDC yet: it is not to blame.
      const onLock = error.code === 'KDC_TIMEOUT' && !party.hasLock
      reject(onLock ? lockedError(facts, waitedMillis, error.cause) : error)
      if (--party.waiting === 0) party.left.abort()
    }
    if (signal.aborted) giveUp()
    signal.addEventListener('abort', giveUp, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', giveUp))
  })
}
