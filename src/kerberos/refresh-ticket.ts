import { performance } from 'node:perf_hooks'
import { PoolsmithError } from '../errors.ts'
import { cachePath, replaceCacheFile } from './cache-file.ts'
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
import { checkTicket, type TicketInfo } from './ticket.ts'
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

/** Refreshes in flight in this process, by cache: however many want one, the KDC is asked once. */
const inFlight = new Map<string, Promise<RefreshedTicket>>()

/**
 * Puts a new ticket into a cache, without kinit. A file is replaced whole, under a lock between all updaters.
 * One that gives up leaves at once; the refresh itself runs on and serves the next.
 */
export async function refreshTicket(options: RefreshOptions): Promise<RefreshedTicket> {
  const functions = await krb5ToRead(options.cache)
  const cache = cacheName(functions, options)
  const { principal, keytab } = whoAndBy(functions, cache, options)
  const key = `${options.by} ${cache} ${principal} ${keytab ?? ''}`
  let refresh = inFlight.get(key)
  if (refresh === undefined) {
    refresh = locked(cache, principal, options, async () => {
      const before = options.unless === undefined ? undefined : presentTicket(functions, cache, principal)
      if (before !== undefined && options.unless?.(before)) return { ...before, fresh: false }
      await replace(functions, cache, principal, keytab, options)
      return { ...checkTicket(functions, { cache, principal }), fresh: true }
    }).finally(() => inFlight.delete(key))
    inFlight.set(key, refresh)
  }
  return patience(refresh, options.signal, { principal, cache, keytab }, functions)
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
  const owner = presentTicket(functions, cache, undefined)?.principal
  return { principal: owner ?? onlyPrincipal(functions, keytab), keytab }
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
function presentTicket(functions: Krb5Functions, cache: string, principal: string | undefined): TicketInfo | undefined {
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
  work: () => Promise<T>,
): Promise<T> {
  const path = cachePath(cache)
  if (path === undefined) return work()
  const limit = options.lockTimeoutMillis ?? 60_000
  let lock: FileLock | undefined
  try {
    lock = await FileLock.acquire(`${path}.lock`, limit)
  } catch (cause) {
    if (cause instanceof PoolsmithError) throw cause
    const more = cause instanceof Error ? `${cause.message}.` : undefined
    throw kerberosError('TICKET_CACHE_NOT_WRITABLE', { cache, principal }, { cause, ...(more && { more }) })
  }
  if (lock === undefined) {
    throw kerberosError('TICKET_CACHE_LOCKED', { cache, principal }, { more: `We waited ${limit / 1000} s.` })
  }
  await using _ = lock
  return await work()
}

async function replace(
  functions: Krb5Functions,
  cache: string,
  principal: string,
  keytab: string | undefined,
  options: RefreshOptions,
): Promise<void> {
  const write = (into: string): Promise<void> =>
    kdcCalls.run(
      { purpose: `a ticket of ${principal}`, realm: realmIn(principal) ?? '' },
      () =>
        keytab === undefined
          ? renewTicket(functions, cache, into)
          : obtainTicket(functions, { ...options, principal, keytab, cache }, into),
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
  signal: AbortSignal | undefined,
  facts: KerberosFacts,
  functions: Krb5Functions,
): Promise<T> {
  if (signal === undefined) return work
  const since = performance.now()
  return new Promise<T>((resolve, reject) => {
    const giveUp = (): void => {
      const state = { running: true, waitedMillis: performance.now() - since, ahead: [] }
      const info = { purpose: `a new ticket of ${facts.principal}`, realm: '' }
      reject(gaveUp(signal, state, info, withKdcs(functions, facts)))
    }
    if (signal.aborted) giveUp()
    signal.addEventListener('abort', giveUp, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', giveUp))
  })
}
