import { rm } from 'node:fs/promises'
import { isError } from '../any-error.ts'
import { PoolsmithError } from '../errors.ts'
import { ownFile } from '../private-file.ts'
import { unobserved } from '../tracing.ts'
import { cacheFileError } from './cache-file.ts'
import { besideCache, cachePath } from './cache-name.ts'
import { checkNames } from './checked-names.ts'
import { cacheFor } from './collection.ts'
import { kerberosError } from './errors.ts'
import { FileLock } from './file-lock.ts'
import { openKrb5 } from './kcm-daemon.ts'
import { forgetSeen } from './look-again.ts'
import { Krb5, loadKrb5Functions } from './native/krb5.ts'
import { pause } from './pause.ts'
import { chooseKeytab, type RefreshOptions, refreshTicket } from './refresh-ticket.ts'
import { assertOwnedBy, inFull, isMendable, type TicketInfo, verifyTicket } from './ticket.ts'
import {
  DEFAULT_RENEWAL,
  DEFAULT_RETRY,
  isWorthRenewing,
  nextLook,
  type RenewalPolicy,
  type RetryPolicy,
  renewalDueAt,
  retryWait,
} from './ticket-schedule.ts'
import type { KerberosTicketOptions, TicketEvent, TicketStatus, TicketUpdater } from './ticket-updater.ts'

/** How long the end of a process' own cache waits until a ticket that arrives is written, in milliseconds. */
const LAST_WRITE_MILLIS = 1000

/** How often the processes that were not elected look whether the elected one has died, in milliseconds. */
const ELECTION_POLL_MILLIS = 1000

/**
 * Keeps a Kerberos ticket good: obtains it from a keytab, renews it in time, tries again while the KDC cannot be reached,
 * and never leaves a damaged cache behind.
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
  #restoreName: (() => void) | undefined

  /** @throws ConfigError for names of files that can be none */
  constructor(options: KerberosTicketOptions = {}) {
    checkNames(options)
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

  /** The ticket in the cache now. No network. Rejects only when the library itself is missing. */
  async status(): Promise<TicketStatus> {
    await loadKrb5Functions()
    try {
      // krb5's own choice is left without a name, so that the error is TICKET_MISSING and its hint fits.
      const chosen = this.#named === undefined && this.#updater !== 'process' ? undefined : await this.cache()
      const ticket = await verifyTicket({ cache: chosen, principal: this.#options.principal })
      return { ticket, error: undefined, renewalDueAt: renewalDueAt(ticket, this.#renewal) }
    } catch (error) {
      if (!(error instanceof PoolsmithError)) throw error
      return { ticket: undefined, error, renewalDueAt: undefined }
    }
  }

  /** Obtains a new ticket from the keytab, now. Tries again while the KDC cannot be reached. */
  acquire(signal?: AbortSignal): Promise<TicketInfo> {
    return this.#persist('acquired', { by: 'keytab' }, signal)
  }

  /** Renews the present ticket, now. Tries again while the KDC cannot be reached. */
  renew(signal?: AbortSignal): Promise<TicketInfo> {
    return this.#persist('renewed', { by: 'renew' }, signal)
  }

  /**
   * A good ticket that is not yet due for renewal: the present one, or one that was just obtained or renewed.
   * While the present one is good, a failure to renew it is an event and not an error.
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

  /**
   * Makes sure of a good ticket, and keeps it good until {@link close}. With the updater `process`, KRB5CCNAME of this
   * process names its own cache until then, so that other libraries and child processes find it.
   */
  async start(signal?: AbortSignal): Promise<TicketInfo> {
    if (this.#closing.signal.aborted) {
      throw new PoolsmithError('This KerberosTicket was closed, and cannot be started again.', {
        code: 'ABORTED',
        phase: 'credential',
        hint: 'Make a new KerberosTicket with the same options.',
      })
    }
    if (this.#running !== undefined) throw new Error('This KerberosTicket was started already')
    const closing = this.#closing.signal
    this.#starting = this.#first(signal === undefined ? closing : AbortSignal.any([closing, signal]))
    const ticket = await this.#starting
    if (this.#updater === 'process') this.#nameCache(await this.cache())
    this.#running = unobserved(() => this.#keep(ticket, this.#closing.signal))
    return ticket
  }

  /** Stops the renewal. A process' own cache is destroyed; any other stays for the programs that use it. */
  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return
    this.#closing.abort(new PoolsmithError('The KerberosTicket was closed.', { code: 'ABORTED', phase: 'credential' }))
    // A start that is under way may still become the elected updater, which is given back below.
    await this.#starting?.catch(() => undefined)
    await this.#running
    await this.#leadership?.[Symbol.asyncDispose]()
    this.#restoreName?.()
    if (this.#updater === 'process' && this.#cache !== undefined) await this.#destroyOwn(this.#cache)
  }

  #nameCache(cache: string): void {
    const { environment = process.env } = this.#options
    if (environment !== process.env) return
    const { KRB5CCNAME: before } = environment
    process.env.KRB5CCNAME = cache
    this.#restoreName = () => {
      // Someone else may have set it meanwhile.
      if (process.env.KRB5CCNAME !== cache) return
      if (before === undefined) delete process.env.KRB5CCNAME
      else process.env.KRB5CCNAME = before
    }
  }

  /** Waits for a ticket that is being written; one that the KDC has not issued yet is not written any more. */
  async #destroyOwn(cache: string): Promise<void> {
    const path = besideCache(cache, 'lock')
    const lock = path === undefined ? undefined : FileLock.acquire(path, LAST_WRITE_MILLIS)
    // If the lock cannot be made, the cache is not written either.
    await using _ = await lock?.catch(() => undefined)
    await this.destroy()
  }

  /**
   * Removes the cache with its tickets, if there is one.
   *
   * @throws TICKET_PRINCIPAL_MISMATCH for a cache of another principal, TICKET_CACHE_NOT_TRUSTED
   */
  async destroy(): Promise<void> {
    const cache = await this.cache()
    const { principal } = this.#options
    const path = cachePath(cache)
    // krb5 overwrites the file with zeros, through a link too.
    if (path !== undefined) await ownFile(path).catch((error) => Promise.reject(cacheFileError(error, cache)))
    using krb5 = await openKrb5(cache)
    if (principal !== undefined) assertOwnedBy(krb5, cache, krb5.principal(principal))
    try {
      forgetSeen(cache)
      krb5.destroy(cache)
    } catch (error) {
      if (!(error instanceof PoolsmithError) || error.code !== 'TICKET_CACHE_MISSING') throw error
    }
    const lock = besideCache(cache, 'lock')
    if (lock !== undefined && this.#updater === 'process') await rm(lock, { force: true })
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #chooseCache(): Promise<string> {
    using krb5 = await openKrb5(this.#named)
    const cache = cacheFor(krb5, inFull(krb5, { cache: this.#named, principal: this.#options.principal }))
    return this.#updater === 'process' ? `${cache}_${process.pid}` : cache
  }

  /** The cache that an option or the environment names; undefined leaves the choice to krb5. */
  get #named(): string | undefined {
    return this.#options.cache ?? ((this.#options.environment ?? process.env).KRB5CCNAME || undefined)
  }

  /** The first ticket: from this updater, or from the elected one. */
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
        // A ticket that is still due could not be renewed; the next attempt comes after the longest wait.
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

  /** Whether this process is the elected updater; it becomes that when no other is. */
  async #lead(): Promise<boolean> {
    if (this.#leadership !== undefined) return true
    const cache = await this.cache()
    const path = besideCache(cache, 'leader')
    if (path === undefined) {
      throw new PoolsmithError(`The updater \`elected\` needs a cache in a file; ${cache} is none.`, {
        code: 'CONFIG_INVALID',
        phase: 'config',
        hint: 'Use a FILE cache, or the updater `lock`.',
      })
    }
    try {
      this.#leadership = await FileLock.try(path)
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

  /** Renews where that was asked for or there is no keytab; else obtains a new ticket from the keytab. */
  async #update({ ticket, error }: TicketStatus, signal: AbortSignal | undefined): Promise<TicketInfo> {
    if (error !== undefined && !isMendable(error)) throw this.#failed(error)
    const unless = (found: TicketInfo): boolean => !this.#isDue(found)
    const hasKeytab = await this.#hasKeytab()
    const isRenewable = ticket?.renewableUntil !== undefined && ticket.renewableUntil > ticket.expiresAt
    const isPreferred = this.#options.preferRenewal === true && isRenewable && isWorthRenewing(ticket, this.#renewal)
    if (isPreferred || (isRenewable && !hasKeytab)) {
      try {
        return await this.#persist('renewed', { by: 'renew', unless }, signal)
      } catch (failure) {
        if (!hasKeytab || !(failure instanceof PoolsmithError) || failure.code === 'ABORTED') throw failure
      }
    }
    if (hasKeytab) return await this.#persist('acquired', { by: 'keytab', unless }, signal)
    // Nothing here obtains a ticket: the error is about the present one, or the missing one.
    throw this.#failed(error ?? kerberosError('TICKET_NOT_RENEWABLE', { ...ticket }))
  }

  #failed(error: PoolsmithError): PoolsmithError {
    this.#emit({ kind: 'failed', error, attempt: 1, retryInMillis: undefined })
    return error
  }

  /** A keytab that is named counts even when it is missing, which is then the error. krb5's default must exist. */
  async #hasKeytab(): Promise<boolean> {
    const { keytab, environment = process.env } = this.#options
    if (keytab !== undefined || environment.KRB5_KTNAME) return true
    try {
      using krb5 = await Krb5.open()
      return krb5.keytab(chooseKeytab(krb5, { environment })).length > 0
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
          discard: this.#updater === 'process' ? this.#closing.signal : undefined,
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
    process.emitWarning(isError(error) ? error : String(error), 'PoolsmithWarning')
  }
}
