import { performance } from 'node:perf_hooks'
import { onAbort } from '../abort.ts'
import { PoolsmithError } from '../errors.ts'
import { ownFile } from '../private-file.ts'
import type { Secret } from '../secret.ts'
import { cacheFileError, replaceCacheFile } from './cache-file.ts'
import { besideCache, cachePath } from './cache-name.ts'
import { kdcCalls } from './call-queue.ts'
import { cacheFor } from './collection.ts'
import { kerberosError } from './errors.ts'
import { type KerberosFacts, realmIn } from './facts.ts'
import { FileLock } from './file-lock.ts'
import { openKrb5 } from './kcm-daemon.ts'
import { askKdc } from './kdc/ask.ts'
import type { NewTicket, Tasks } from './kdc/tasks.ts'
import { isPrivate, packCache, unpackCache } from './native/cache-transfer.ts'
import type { Krb5 } from './native/krb5.ts'
import type { CacheContents } from './native/krb5-cache.ts'
import { assertOwnedBy, checkTicket, inFull, ownerOf, type TicketInfo, ticketIn } from './ticket.ts'
import { gaveUp, stayAlive } from './waiting.ts'

export interface TicketSource {
  /** The client principal. Default: the principal of the cache, or the only one of the keytab. */
  readonly principal?: string | undefined
  /** Default: KRB5_KTNAME, then krb5's own choice (`default_client_keytab_name`, `default_keytab_name`). */
  readonly keytab?: string | undefined
  /** Default: krb5's own choice. */
  readonly cache?: string | undefined
  /** How long a new ticket should be valid, in seconds. Default: as krb5.conf and the KDC have it. */
  readonly lifetimeSeconds?: number | undefined
  /** How long it should be renewable, in seconds. Default: as krb5.conf and the KDC have it. */
  readonly renewableSeconds?: number | undefined
  readonly forwardable?: boolean | undefined
  /** A group (name or number) that may read the cache's file. Default: its owner only. */
  readonly group?: string | number | undefined
}

export interface RefreshOptions extends TicketSource {
  /** `keytab`: a new ticket from the keytab. `password`: by the password. `renew`: the present one renewed. */
  readonly by: 'keytab' | 'password' | 'renew'
  /** Called when the KDC is asked; the result is not kept. */
  readonly password?: PasswordOf | undefined
  /** Asked under the lock: true leaves the cache as it is, since another updater has just replaced the ticket. */
  readonly unless?: ((ticket: TicketInfo) => boolean) | undefined
  /** How long to wait for another updater, in milliseconds. Default 60,000. */
  readonly lockTimeoutMillis?: number | undefined
  readonly environment?: Readonly<Record<string, string | undefined>> | undefined
  readonly signal?: AbortSignal | undefined
  /** Once aborted, a ticket that arrives late is not written to the cache's file any more. */
  readonly discard?: AbortSignal | undefined
}

/** Gives the password of the client principal, as it is now. */
export type PasswordOf = () => Secret | Promise<Secret>

export interface RefreshedTicket extends TicketInfo {
  /** False when another updater had just replaced the ticket. */
  readonly fresh: boolean
}

type TicketRequest = Omit<Parameters<Tasks['obtain']>[0], 'key'>

/** A refresh, decided: which ticket goes where. */
interface Plan {
  /** The full name of the cache. */
  readonly cache: string
  readonly principal: string
  /** Undefined: the present ticket is renewed, or a new one is obtained by the password. */
  readonly keytab: string | undefined
}

/** The callers that wait for one refresh, and its own state. */
interface Party {
  waiting: number
  hasLock: boolean
  /** Aborted when the last caller has left. */
  readonly left: AbortController
}

interface Flight {
  readonly refresh: Promise<RefreshedTicket>
  readonly party: Party
}

/** The refreshes in flight in this process, by plan: however many callers want a ticket, the KDC is asked once. */
const inFlight = new Map<string, Flight>()

/**
 * Puts a new ticket into a cache, without kinit. A file is replaced whole, under a lock between all updaters. A cache of
 * another principal is not replaced.
 *
 * A caller that gives up leaves at once. When all have left, the lock and a turn to ask are no longer waited for; a KDC
 * that was asked already may still answer, and its ticket is kept for the next caller.
 */
export async function refreshTicket(options: RefreshOptions): Promise<RefreshedTicket> {
  using krb5 = await openKrb5(options.cache)
  return await refreshIn(krb5, inFull(krb5, options))
}

/** {@link refreshTicket} in an open context, with the principal in full. */
export async function refreshIn(krb5: Krb5, options: RefreshOptions): Promise<RefreshedTicket> {
  const plan = planOf(krb5, options)
  const key = JSON.stringify([options.by, plan.cache, plan.principal, plan.keytab])
  let flight = inFlight.get(key)
  // A refresh that all callers have left no longer waits for the lock.
  if (flight === undefined || (flight.party.left.signal.aborted && !flight.party.hasLock)) {
    const party: Party = { waiting: 0, hasLock: false, left: new AbortController() }
    const refresh = carryOut(krb5, plan, options, party).finally(() => {
      if (inFlight.get(key)?.party === party) inFlight.delete(key)
    })
    flight = { refresh, party }
    inFlight.set(key, flight)
  }
  return await waitFor(flight, options.signal, plan, krb5)
}

function planOf(krb5: Krb5, options: RefreshOptions): Plan {
  const cache = cacheFor(krb5, options)
  const keytab = options.by === 'keytab' ? chooseKeytab(krb5, options) : undefined
  if (options.principal !== undefined) return { cache, principal: options.principal, keytab }
  if (keytab === undefined) return { cache, principal: ownerToRenew(krb5, cache), keytab }
  const owner = ownerOf(krb5, cache)
  const principal = owner !== undefined && holds(krb5, keytab, owner) ? owner : onlyPrincipal(krb5, keytab)
  return { cache: cacheFor(krb5, { cache: options.cache, principal }), principal, keytab }
}

function ownerToRenew(krb5: Krb5, cache: string): string {
  try {
    return checkTicket(krb5, { cache }).principal
  } catch (error) {
    if (!(error instanceof PoolsmithError) || error.code !== 'TICKET_EXPIRED') throw error
    // The KDC decides, by its own clock.
    return String(error.details.principal)
  }
}

function holds(krb5: Krb5, keytab: string, principal: string): boolean {
  return krb5.keytab(keytab).some((entry) => entry.principal === principal)
}

function onlyPrincipal(krb5: Krb5, keytab: string): string {
  const principals = [...new Set(krb5.keytab(keytab).map((entry) => entry.principal))]
  const [first] = principals
  if (first !== undefined && principals.length === 1) return first
  throw new PoolsmithError(
    first === undefined ? `The keytab ${keytab} is empty.` : `The keytab ${keytab} holds ${principals.join(', ')}.`,
    { code: 'CONFIG_INVALID', phase: 'config', hint: 'Name the `principal` of the ticket.', details: { keytab } },
  )
}

/** The keytab that was named, or the one that krb5 would take for a client. */
export function chooseKeytab(krb5: Krb5, options: Pick<RefreshOptions, 'keytab' | 'environment'>): string {
  const given = options.keytab ?? options.environment?.KRB5_KTNAME
  if (given !== undefined && given !== '') return given
  const { client, general } = krb5.defaultKeytabs()
  try {
    krb5.keytab(client)
    return client
  } catch (error) {
    if (error instanceof PoolsmithError && error.code === 'KEYTAB_MISSING') return general
    if (error instanceof PoolsmithError) return client
    throw error
  }
}

/** The refresh itself: lock, look, ask, write. */
async function carryOut(krb5: Krb5, plan: Plan, options: RefreshOptions, party: Party): Promise<RefreshedTicket> {
  // The caller that began it may leave before the others.
  using _ = krb5.hold()
  await using _lock = await lockOf(plan, options, party)
  party.hasLock = true
  const present = options.unless === undefined ? undefined : presentTicket(krb5, plan)
  if (present !== undefined && options.unless?.(present)) return { ...present, fresh: false }
  assertOwnedBy(krb5, plan.cache, plan.principal)
  const contents = await writeNew(plan, options, party)
  return { ...ticketIn(contents), fresh: true }
}

async function lockOf(plan: Plan, options: RefreshOptions, party: Party): Promise<FileLock | undefined> {
  const { cache, principal } = plan
  const [path, lockPath] = [cachePath(cache), besideCache(cache, 'lock')]
  if (path === undefined || lockPath === undefined) return undefined
  const limit = options.lockTimeoutMillis ?? 60_000
  let lock: FileLock | undefined
  try {
    await ownFile(path)
    lock = await FileLock.acquire(lockPath, limit, { signal: party.left.signal })
  } catch (cause) {
    throw cacheFileError(cause, cache, principal)
  }
  if (lock === undefined) throw lockedError({ cache, principal }, limit)
  return lock
}

function lockedError(facts: KerberosFacts, waitedMillis: number, cause?: unknown): PoolsmithError {
  return kerberosError('TICKET_CACHE_LOCKED', facts, {
    cause,
    more: `We waited ${(waitedMillis / 1000).toFixed(1)} s.`,
  })
}

/** The cache's ticket if there is a good one; a refresh mends everything else. */
function presentTicket(krb5: Krb5, { cache, principal }: Plan): TicketInfo | undefined {
  try {
    return checkTicket(krb5, { cache, principal })
  } catch (error) {
    if (error instanceof PoolsmithError) return undefined
    throw error
  }
}

async function writeNew(plan: Plan, options: RefreshOptions, party: Party): Promise<CacheContents> {
  const { cache } = plan
  if (cachePath(cache) === undefined) return await request(plan, options, party, cache)
  return await replaceCacheFile(cache, options.group, async (into) => {
    const contents = await request(plan, options, party, into)
    options.discard?.throwIfAborted()
    return contents
  })
}

/** Asks the KDC, and has the new ticket written into a cache. */
function request(plan: Plan, options: RefreshOptions, party: Party, into: string): Promise<CacheContents> {
  const { principal, cache, keytab } = plan
  const info = { purpose: `a ticket of ${principal}`, realm: realmIn(principal) ?? '' }
  const start = async (): Promise<CacheContents> => {
    // It may have been half a minute until its turn came.
    if (party.waiting === 0) {
      throw kerberosError('KDC_TIMEOUT', { principal, cache }, { more: 'All callers have left.' })
    }
    const target = isPrivate(into) ? undefined : into
    const asked = { ...limitsOf(options), principal, cache, into: target }
    const { contents, packed } =
      options.by === 'password'
        ? await askByPassword(asked, options.password)
        : keytab === undefined
          ? await askKdc('renew', {
              cache,
              packed: isPrivate(cache) ? await packCache(cache) : undefined,
              into: target,
            })
          : await askByKeytab(asked, keytab)
    if (packed !== undefined) await unpackCache(packed, into)
    return contents
  }
  return kdcCalls.run(info, start, { signal: undefined, aborted: () => undefined })
}

/** While the keytab is rotated, the KDC may have the next key already. */
async function askByKeytab(request: TicketRequest, keytab: string): Promise<NewTicket> {
  const { keytabVersion, pendingKeys } = await import('./pending-key.ts')
  const before = await keytabVersion(keytab)
  try {
    return await askKdc('obtain', { ...request, key: { keytab } })
  } catch (error) {
    if (!(error instanceof PoolsmithError) || error.code !== 'KEYTAB_REFUSED') throw error
    for (const key of await pendingKeys(keytab, request.principal, before)) {
      const ticket = await askKdc('obtain', { ...request, key }).catch(() => undefined)
      if (ticket !== undefined) return ticket
    }
    throw error
  }
}

/** The bytes of the password live as long as the question. */
async function askByPassword(request: TicketRequest, passwordOf: PasswordOf | undefined): Promise<NewTicket> {
  if (passwordOf === undefined) throw new Error('There is no password')
  const password = Buffer.from(`${(await passwordOf()).reveal()}\0`)
  try {
    return await askKdc('obtain', { ...request, key: { password } })
  } finally {
    password.fill(0)
  }
}

function limitsOf({ lifetimeSeconds, renewableSeconds, forwardable }: RefreshOptions) {
  return { lifetimeSeconds, renewableSeconds, forwardable }
}

/** Waits as long as the caller's signal allows. */
function waitFor<T>(
  { refresh, party }: { readonly refresh: Promise<T>; readonly party: Party },
  signal: AbortSignal | undefined,
  facts: Plan,
  krb5: Krb5,
): Promise<T> {
  party.waiting++
  const alive = stayAlive()
  const since = performance.now()
  return new Promise<T>((resolve, reject) => {
    const listening = onAbort(signal, () => {
      alive[Symbol.dispose]()
      if (--party.waiting === 0) party.left.abort()
      if (signal === undefined) return
      const waitedMillis = performance.now() - since
      const info = { purpose: `a new ticket of ${facts.principal}`, realm: '' }
      const error = gaveUp(signal, { running: true, waitedMillis, ahead: [] }, info, krb5.withKdcs({ ...facts }))
      // Until the lock is held no KDC has been asked.
      const onLock = error.code === 'KDC_TIMEOUT' && !party.hasLock
      reject(onLock ? lockedError({ ...facts }, waitedMillis, error.cause) : error)
    })
    refresh.then(resolve, reject).finally(() => {
      listening[Symbol.dispose]()
      alive[Symbol.dispose]()
    })
  })
}
