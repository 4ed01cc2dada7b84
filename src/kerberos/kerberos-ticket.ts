import { rm } from 'node:fs/promises'
import { PoolsmithError } from '../errors.ts'
import { cacheFileError, cachePath, ownFile } from './cache-file.ts'
import { kerberosError } from './errors.ts'
import { FileLock } from './file-lock.ts'
import { krb5ToRead } from './kcm-daemon.ts'
import { forgetSeen } from './look-again.ts'
import { cacheName, destroyCache, loadKrb5, readKeytab } from './native/krb5.ts'
import { pause } from './pause.ts'
import { chooseKeytab, type RefreshOptions, refreshTicket, type TicketSource } from './refresh-ticket.ts'
import { assertNobodyElses, isMendable, type TicketInfo, verifyTicket } from './ticket.ts'
import {
  DEFAULT_RENEWAL,
  DEFAULT_RETRY,
  nextLook,
  type RenewalPolicy,
  type RetryPolicy,
  renewalDueAt,
  retryWait,
} from './ticket-schedule.ts'

/**
 * How several processes keep one cache from being ruined.
 * - `lock`: each process updates the same cache, one at a time, and not when another just did.
 * - `elected`: one process updates, the others watch, and one of them takes over when it dies.
 * - `process`: each process has a cache of its own, named by its process id, which ends with it.
 */
export type TicketUpdater = 'lock' | 'elected' | 'process'

/** What {@link KerberosTicket} tells its `onEvent`. */
export type TicketEvent =
  | { readonly kind: 'acquired' | 'renewed'; readonly ticket: TicketInfo }
  /** Another updater put a new ticket there. */
  | { readonly kind: 'found'; readonly ticket: TicketInfo }
  | {
      readonly kind: 'failed'
      readonly error: PoolsmithError
      readonly attempt: number
      /** Absent when it is not tried again before the next look. */
      readonly retryInMillis: number | undefined
    }
  | { readonly kind: 'elected' }

/** How {@link KerberosTicket} obtains a ticket, where it keeps it, and when it replaces it. */
export interface KerberosTicketOptions extends TicketSource {
  /** Default `lock`. */
  readonly updater?: TicketUpdater
  readonly retry?: Partial<RetryPolicy>
  readonly renewal?: Partial<RenewalPolicy>
  /** `true` renews the old ticket even where there is a keytab, which is then the second choice. Default false. */
  readonly preferRenewal?: boolean
  readonly onEvent?: (event: TicketEvent) => void
  /** Default `process.env`. */
  readonly environment?: Readonly<Record<string, string | undefined>>
}

/** What is known about a ticket that is kept good. */
export interface TicketStatus {
  readonly ticket: TicketInfo | undefined
  /** Why there is none to use. */
  readonly error: PoolsmithError | undefined
  /** Milliseconds since the epoch. */
  readonly renewalDueAt: number | undefined
}

/** How long the end of a cache of the process' own waits for who still writes into it, in milliseconds. */
const LAST_WRITE_MILLIS = 1000

/** How often a process that was not elected looks whether the elected one has died, in milliseconds. */
const ELECTION_POLL_MILLIS = 1000

/**
 * Keeps a Kerberos ticket alive: gets it by keytab, renews it in time, tries again when the KDC is away, and never
 * leaves a broken cache behind.
 *
 * @example
 * await using ticket = new KerberosTicket({ principal: 'etl@EXAMPLE.COM', keytab: '/etc/etl.keytab' })
 * await ticket.start()      // there is a good ticket now, and it is renewed in the background from here on
 */
export class KerberosTicket implements AsyncDisposable {
  readonly #options: KerberosTicketOptions
  readonly #retry: RetryPolicy
  readonly #renewal: RenewalPolicy
  readonly #updater: TicketUpdater
  readonly #closing = new AbortController()
  #cache: string | undefined
  #leadership: FileLock | undefined
  #starting: Promise<TicketInfo> | undefined
  #running: Promise<void> | undefined

  constructor(options: KerberosTicketOptions = {}) {
    this.#options = options
    this.#retry = { ...DEFAULT_RETRY, ...options.retry }
    this.#renewal = { ...DEFAULT_RENEWAL, ...options.renewal }
    this.#updater = options.updater ?? 'lock'
  }

  /** The full name of the cache that it keeps. */
  async cache(): Promise<string> {
    this.#cache ??= await this.#chooseCache()
    return this.#cache
  }

  /** What is in the cache now. No network. Rejects only when the library itself is missing. */
  async status(): Promise<TicketStatus> {
    await loadKrb5()
    try {
      // krb5's own choice is not named here, so that "there is no ticket" does not read as "wrong cache".
      const chosen = this.#named === undefined && this.#updater !== 'process' ? undefined : await this.cache()
      const ticket = await verifyTicket({ cache: chosen, principal: this.#options.principal })
      return { ticket, error: undefined, renewalDueAt: renewalDueAt(ticket, this.#renewal) }
    } catch (error) {
      if (!(error instanceof PoolsmithError)) throw error
      return { ticket: undefined, error, renewalDueAt: undefined }
    }
  }

  /** A new ticket by keytab, now. Tries again while the KDC is away. */
  acquire(signal?: AbortSignal): Promise<TicketInfo> {
    return this.#persist('acquired', { by: 'keytab' }, signal)
  }

  /** The present ticket renewed, now. Tries again while the KDC is away. */
  renew(signal?: AbortSignal): Promise<TicketInfo> {
    return this.#persist('renewed', { by: 'renew' }, signal)
  }

  /**
   * A good ticket that is not yet due for renewal: the present one, or one that was just got or renewed.
   * While the present one is still good, a failure to renew it is an event and no error.
   */
  async ensure(signal?: AbortSignal): Promise<TicketInfo> {
    const status = await this.status()
    if (status.ticket !== undefined && !this.#isDue(status.ticket)) return status.ticket
    try {
      return await this.#update(status, signal)
    } catch (error) {
      const { ticket: left } = await this.status()
      if (left === undefined || !(error instanceof PoolsmithError) || error.code === 'ABORTED') throw error
      return left
    }
  }

  /** Makes sure of a ticket and keeps it from then on, until {@link close}. */
  async start(signal?: AbortSignal): Promise<TicketInfo> {
    if (this.#running !== undefined) throw new Error('This KerberosTicket was started already')
    const both = AbortSignal.any([this.#closing.signal, ...(signal === undefined ? [] : [signal])])
    this.#starting = this.#first(both)
    const ticket = await this.#starting
    this.#running = this.#keep(ticket, this.#closing.signal)
    return ticket
  }

  /** Stops the renewal. A cache of the process' own is destroyed; any other stays for those who use it. */
  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return
    this.#closing.abort(new PoolsmithError('The ticket manager was closed.', { code: 'ABORTED', phase: 'credential' }))
    // What a start that is under way still takes is given back, too.
    await this.#starting?.catch(() => undefined)
    await this.#running
    await this.#leadership?.[Symbol.asyncDispose]()
    if (this.#updater === 'process' && this.#cache !== undefined) await this.#destroyOwn(this.#cache)
  }

  /** A ticket that is being written is waited for; one that the KDC has not given yet will not be written. */
  async #destroyOwn(cache: string): Promise<void> {
    const path = cachePath(cache)
    // Where the lock cannot be had the cache is not written either.
    const lock = path === undefined ? undefined : FileLock.acquire(`${path}.lock`, LAST_WRITE_MILLIS)
    await using _ = await lock?.catch(() => undefined)
    await this.destroy()
  }

  /**
   * Removes the cache with its tickets. One that is not there is no error, one of another principal than ours is.
   */
  async destroy(): Promise<void> {
    const cache = await this.cache()
    const { principal } = this.#options
    const path = cachePath(cache)
    // krb5 overwrites the file with zeros, through a link too.
    if (path !== undefined) await ownFile(path).catch((error) => Promise.reject(cacheFileError(error, cache)))
    const functions = await krb5ToRead(cache)
    if (principal !== undefined) assertNobodyElses(functions, cache, principal)
    try {
      forgetSeen(cache)
      destroyCache(functions, cache)
    } catch (error) {
      if (!(error instanceof PoolsmithError) || error.code !== 'TICKET_CACHE_MISSING') throw error
    }
    if (path !== undefined && this.#updater === 'process') await rm(`${path}.lock`, { force: true })
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #chooseCache(): Promise<string> {
    const cache = cacheName(await krb5ToRead(this.#named), { cache: this.#named, principal: this.#options.principal })
    return this.#updater === 'process' ? `${cache}_${process.pid}` : cache
  }

  /** The cache that was named, by an option or the environment; otherwise krb5 chooses. */
  get #named(): string | undefined {
    return this.#options.cache ?? ((this.#options.environment ?? process.env).KRB5CCNAME || undefined)
  }

  /** The first ticket: by us when we may, else whatever the elected updater provides. */
  async #first(signal: AbortSignal): Promise<TicketInfo> {
    if (this.#updater !== 'elected') return this.ensure(signal)
    for (;;) {
      if (await this.#lead()) return this.ensure(signal)
      const { ticket } = await this.status()
      if (ticket !== undefined) return ticket
      await pause(ELECTION_POLL_MILLIS, signal, false)
    }
  }

  async #keep(first: TicketInfo, signal: AbortSignal): Promise<void> {
    let known = first
    let wait = nextLook(known, this.#renewal, Date.now())
    while (!signal.aborted) {
      try {
        await pause(this.#isWatching() ? Math.min(wait, ELECTION_POLL_MILLIS) : wait, signal, true)
        known = await this.#look(known, signal)
        // A ticket that is still due could not be renewed: the next look is not before the longest wait is over.
        wait = this.#isDue(known) ? this.#pauseAfterFailure() : nextLook(known, this.#renewal, Date.now())
      } catch (error) {
        if (!(error instanceof PoolsmithError)) this.#warn(error)
        wait = this.#pauseAfterFailure()
      }
    }
  }

  async #look(known: TicketInfo, signal: AbortSignal): Promise<TicketInfo> {
    if (this.#updater !== 'elected' || (await this.#lead())) return await this.ensure(signal)
    const { ticket } = await this.status()
    if (ticket !== undefined && ticket.expiresAt !== known.expiresAt) this.#emit({ kind: 'found', ticket })
    return ticket ?? known
  }

  #isWatching(): boolean {
    return this.#updater === 'elected' && this.#leadership === undefined
  }

  #pauseAfterFailure(): number {
    return Math.min(this.#renewal.intervalMillis, this.#retry.longestWaitMillis)
  }

  /** Whether this process is the elected one; becomes it when the place is free. */
  async #lead(): Promise<boolean> {
    if (this.#leadership !== undefined) return true
    const cache = await this.cache()
    const path = cachePath(cache)
    if (path === undefined) {
      throw new PoolsmithError(`An updater can be elected for a cache in a file, not for ${cache}.`, {
        code: 'CONFIG_INVALID',
        phase: 'config',
        hint: 'Use a FILE cache, or the updater `lock`.',
      })
    }
    try {
      this.#leadership = await FileLock.try(`${path}.leader`)
    } catch (cause) {
      throw cacheFileError(cause, cache)
    }
    if (this.#leadership === undefined) return false
    this.#emit({ kind: 'elected' })
    return true
  }

  #isDue(ticket: TicketInfo): boolean {
    return renewalDueAt(ticket, this.#renewal) <= Date.now()
  }

  /** Renewal where it is asked for or the only way, else a new ticket by keytab. */
  async #update({ ticket, error }: TicketStatus, signal: AbortSignal | undefined): Promise<TicketInfo> {
    if (error !== undefined && !isMendable(error)) throw this.#failed(error)
    const unless = (found: TicketInfo): boolean => !this.#isDue(found)
    const hasKeytab = await this.#hasKeytab()
    const renewable = ticket?.renewableUntil !== undefined && ticket.renewableUntil > ticket.expiresAt
    if (renewable && (!hasKeytab || this.#options.preferRenewal === true)) {
      try {
        return await this.#persist('renewed', { by: 'renew', unless }, signal)
      } catch (failure) {
        if (!hasKeytab || !(failure instanceof PoolsmithError) || failure.code === 'ABORTED') throw failure
      }
    }
    if (hasKeytab) return await this.#persist('acquired', { by: 'keytab', unless }, signal)
    // Nothing here can get a ticket: say what is wrong with the one that is there, or is not.
    throw this.#failed(error ?? kerberosError('TICKET_NOT_RENEWABLE', { ...ticket }))
  }

  #failed(error: PoolsmithError): PoolsmithError {
    this.#emit({ kind: 'failed', error, attempt: 1, retryInMillis: undefined })
    return error
  }

  /** A keytab that was named counts even when it is missing: that is an error to tell. krb5's default must be there. */
  async #hasKeytab(): Promise<boolean> {
    const { keytab, environment = process.env } = this.#options
    if (keytab !== undefined || environment.KRB5_KTNAME) return true
    const functions = await loadKrb5()
    try {
      return readKeytab(functions, chooseKeytab(functions, { environment })).length > 0
    } catch (error) {
      if (error instanceof PoolsmithError) return false
      throw error
    }
  }

  async #persist(
    kind: 'acquired' | 'renewed',
    how: Pick<RefreshOptions, 'by' | 'unless'>,
    signal: AbortSignal | undefined,
  ): Promise<TicketInfo> {
    const cache = await this.cache()
    for (let attempt = 1; ; attempt++) {
      try {
        const { fresh, ...ticket } = await refreshTicket({
          environment: process.env,
          ...this.#options,
          ...how,
          cache,
          signal,
          ...(this.#updater === 'process' ? { discard: this.#closing.signal } : {}),
        })
        this.#emit({ kind: fresh ? kind : 'found', ticket })
        return ticket
      } catch (error) {
        if (!(error instanceof PoolsmithError) || error.code === 'ABORTED' || signal?.aborted) throw error
        const wait = error.transient ? retryWait(attempt, this.#retry) : undefined
        this.#emit({ kind: 'failed', error, attempt, retryInMillis: wait })
        if (wait === undefined) throw error
        await pause(wait, signal, signal === this.#closing.signal)
      }
    }
  }

  #emit(event: TicketEvent): void {
    try {
      this.#options.onEvent?.(event)
    } catch (error) {
      this.#warn(error)
    }
  }

  #warn(error: unknown): void {
    process.emitWarning(error instanceof Error ? error : String(error), 'PoolsmithWarning')
  }
}
