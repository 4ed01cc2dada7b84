/** The open connections: which are free and which in use, whether they may stay, and how they are closed. */

import { LimitExceeded, within } from '../abort.ts'
import type { Credential } from '../credentials/credential.ts'
import type { Driver } from '../drivers/driver.ts'
import type { Whereabouts } from '../drivers/whereabouts.ts'
import type { CloseReason, Emit } from '../events.ts'
import { unobserved } from '../tracing.ts'
import { Alarm } from './alarm.ts'
import { closeCause, type Holder } from './failures.ts'
import { sayGoodbye } from './goodbye.ts'
import type { Policy } from './options.ts'
import { serverOf } from './place-stats.ts'
import type { Prepare } from './prepare.ts'
import { type Circumstances, FRESH_MILLIS, type Session, verdict } from './session.ts'
import { Shelf } from './shelf.ts'
import { idleDueAt, keepaliveDue, leakDueAt, reportLeaks, surplus, sweepPeriodMillis } from './upkeep.ts'

/** A session that has been in use for longer is not expected back: it may be held for good, as for a LISTEN. */
const COMING_BACK_MILLIS = 1000
/** As many as an error names. */
const HOLDERS_SHOWN = 5

export interface SessionsConfig<Raw extends object> {
  readonly driver: Driver<Raw>
  readonly where: Whereabouts | undefined
  readonly policy: Policy
  readonly now: () => number
  readonly prepare: Prepare<Raw>
  readonly emit: Emit
  /** Opens one; holds its own time limit. */
  readonly open: () => Promise<Session<Raw>>
  /** Gets every session that has passed its check: to hand it out, or to put it back on the shelf. */
  readonly deliver: (session: Session<Raw>, now: number) => void
  /** A session has left, or its check has ended: waiting callers may be served now. */
  readonly changed: () => void
}

export class Sessions<Raw extends object> {
  readonly #config: SessionsConfig<Raw>
  readonly #byRaw = new Map<Raw, Session<Raw>>()
  readonly #circumstances: { -readonly [Key in keyof Circumstances]: Circumstances[Key] }
  readonly shelf: Shelf<Session<Raw>>
  #busy = 0
  #spareSince = Number.NEGATIVE_INFINITY
  #checking = 0
  #ending = false
  #onQuiet: (() => void) | undefined
  readonly #alarm: Alarm
  readonly #counts = { opened: 0, closed: 0 }

  constructor(config: SessionsConfig<Raw>) {
    this.#config = config
    this.#alarm = new Alarm(config.now, () => this.sweep())
    this.#circumstances = { policy: config.policy, generation: 0, credential: undefined }
    this.shelf = new Shelf<Session<Raw>>({
      max: config.policy.max,
      create: async () => this.#add(await config.open()),
      destroy: (session) => sayGoodbye(session, config.driver),
    })
  }

  /** All that are open. */
  get size(): number {
    return this.#byRaw.size
  }

  /** Those in use. */
  get busy(): number {
    return this.#busy
  }

  /** For how long fewer than `max` sessions have been in use; 0 while all are. */
  spareMillis(now: number): number {
    return this.#busy === this.#config.policy.max ? 0 : now - this.#spareSince
  }

  /** Sessions in use that are expected back soon: alive, and taken a moment ago. */
  returning(now: number): number {
    let count = 0
    for (const session of this.#byRaw.values()) {
      const isLate = now - session.acquiredAt > COMING_BACK_MILLIS
      if (session.busy && !isLate && !this.#config.driver.isBroken(session.raw)) count++
    }
    return count
  }

  /** Those that are being pinged or reset; they will be free soon. */
  get checking(): number {
    return this.#checking
  }

  /** Since the pool was built. */
  get counts(): { readonly opened: number; readonly closed: number } {
    return this.#counts
  }

  /** Goes up with every {@link invalidate} of all connections. */
  get generation(): number {
    return this.#circumstances.generation
  }

  of(raw: Raw): Session<Raw> | undefined {
    return this.#byRaw.get(raw)
  }

  get all(): Session<Raw>[] {
    return [...this.#byRaw.values()]
  }

  /** Those in use for longest. */
  longestHeld(now: number): Holder[] {
    return this.all
      .filter((session) => session.busy)
      .sort((a, b) => a.acquiredAt - b.acquiredAt)
      .slice(0, HOLDERS_SHOWN)
      .map(({ id, acquiredAt }) => ({ id, heldMillis: Math.round(now - acquiredAt) }))
  }

  // ---- in use and back

  /** Takes the free session that was used last, where it needs no ping first; closes those that are not fit. */
  takeReady(now: number): Session<Raw> | undefined {
    const { shelf } = this
    for (let session = shelf.top; session !== undefined; session = shelf.top) {
      const reason = this.unfit(session, now)
      if (reason === undefined) return this.#pingDue(session, now) ? undefined : shelf.take()
      this.close(session, reason)
    }
    return undefined
  }

  #pingDue(session: Session<Raw>, now: number): boolean {
    const { policy, driver } = this.#config
    return (policy.prePing && now - session.provenAt > FRESH_MILLIS) || driver.mustPing?.(session.raw) === true
  }

  /** Pings the free session that was used last, for a waiting caller. False when none is free. */
  checkNext(): boolean {
    const session = this.shelf.take()
    if (session === undefined) return false
    void this.check(session, 'ping-failed')
    return true
  }

  lend(session: Session<Raw>, now: number, site: Error | undefined): void {
    session.busy = true
    session.acquiredAt = now
    session.acquireSite = site
    // Without a site, leak detection is off or the connection is meant to be held for long.
    session.leakReported = site === undefined
    this.#busy++
    const { policy } = this.#config
    this.#alarm.by(leakDueAt(session, policy))
    // Not at once: most sessions come back before another one could be opened.
    if (this.shelf.numFree() < policy.minIdle) this.#alarm.by(now + sweepPeriodMillis(policy))
  }

  takeBack(session: Session<Raw>, now: number): void {
    session.busy = false
    session.usedAt = now
    session.provenAt = now
    session.acquireSite = undefined
    this.#leave(now)
  }

  /** One session fewer is in use. */
  #leave(now: number): void {
    if (this.#busy-- === this.#config.policy.max) this.#spareSince = now
  }

  /** Puts a session back to the idle ones. */
  shelve(session: Session<Raw>, now: number): void {
    const { policy } = this.#config
    this.shelf.release(session)
    const idle = this.shelf.numFree()
    this.#alarm.by(idleDueAt(session, now, policy, this.size, idle))
    // With this one there are more than pool_min_idle: the one that is unused for longest may have been due before.
    const longest = this.shelf.bottom
    if (longest !== undefined && idle > policy.minIdle) this.#alarm.by(longest.usedAt + policy.idleMillis)
  }

  /** Why a session cannot be handed out or kept, as far as is known without a round trip. */
  unfit(session: Session<Raw>, now: number): CloseReason | undefined {
    if (this.#ending) return 'drained'
    if (this.#config.driver.isBroken(session.raw)) return 'broken'
    return verdict(session, now, this.#circumstances)
  }

  /** Pings a session for a waiting caller, or resets one that was returned. Other callers can be served until then. */
  check(session: Session<Raw>, onFailure: 'ping-failed' | 'reset-failed'): Promise<void> {
    return unobserved(() => this.#check(session, onFailure))
  }

  async #check(session: Session<Raw>, onFailure: 'ping-failed' | 'reset-failed'): Promise<void> {
    const { driver, policy, now: clock, deliver, changed } = this.#config
    const { resetMode, checkMillis } = policy
    const begunAt = clock()
    let failure: unknown
    this.#checking++
    try {
      const ping = onFailure === 'ping-failed' || resetMode === 'none'
      await within(ping ? driver.ping(session.raw) : this.#reset(session, resetMode), checkMillis)
    } catch (error) {
      failure = error ?? new Error('unknown')
    }
    this.#checking--
    // The end of the pool may have cut it during the check.
    if (session.closed) return
    const now = clock()
    if (failure === undefined) session.provenAt = now
    const reason = failure === undefined ? this.unfit(session, now) : onFailure
    if (reason === undefined) {
      deliver(session, now)
    } else {
      this.close(session, reason, failure)
      // A ping without an answer is about the network or the server, not about this session: callers must not wait for
      // the same on each session that has been idle for longer.
      const silent = failure instanceof LimitExceeded || now - begunAt > FRESH_MILLIS
      if (reason === 'ping-failed' && silent) {
        this.#closeIdle((other) => (other.provenAt <= session.provenAt ? reason : undefined), failure)
      }
    }
    changed()
  }

  async #reset(session: Session<Raw>, mode: 'rollback' | 'full'): Promise<void> {
    const { driver, prepare } = this.#config
    await driver.reset(session.raw, mode)
    if (mode === 'full') await prepare?.(session)
  }

  // ---- upkeep

  /** Condemns a connection, or all that are open or being opened, and closes those that are idle. */
  invalidate(raw: Raw | undefined): void {
    if (raw === undefined) {
      this.#circumstances.generation++
    } else {
      const session = this.#byRaw.get(raw)
      if (session !== undefined) session.condemned ??= 'invalidated'
    }
    this.sweep()
  }

  /** From now on sessions with another credential are retired. */
  rotate(credential: Credential): void {
    this.#circumstances.credential = credential
    this.sweep()
  }

  /** Looks over all sessions: closes, keeps alive, reports leaks. Comes again by itself when something is due. */
  sweep(): void {
    if (this.#ending) return
    const { policy, now: clock, emit, changed } = this.#config
    const now = clock()
    this.#closeIdle(
      (session) => this.unfit(session, now) ?? surplus(session, now, policy, this.size, this.shelf.numFree()),
    )
    for (const session of this.shelf.idle) {
      if (keepaliveDue(session, now, policy) && this.shelf.withdraw(session)) void this.check(session, 'ping-failed')
    }
    reportLeaks(this.#byRaw.values(), now, policy, emit)
    changed()
    this.#alarm.clear()
    // A listener of an event may have ended the pool.
    if (!this.#ending) this.#alarm.by(Math.max(this.#nextDue(now), now + sweepPeriodMillis(policy)))
  }

  #nextDue(now: number): number {
    const { policy } = this.#config
    const { idle } = this.shelf
    let at = Number.POSITIVE_INFINITY
    for (const session of idle) at = Math.min(at, idleDueAt(session, now, policy, this.size, idle.length))
    if (policy.leakMillis !== Number.POSITIVE_INFINITY) {
      for (const session of this.#byRaw.values()) at = Math.min(at, leakDueAt(session, policy))
    }
    return at
  }

  // ---- coming and going

  #add(session: Session<Raw>): Session<Raw> {
    const { id, raw, credential, openingMillis } = session
    this.#byRaw.set(raw, session)
    this.#counts.opened++
    const facts = { id, identity: credential.identity, durationMillis: openingMillis }
    this.#config.emit('connection:opened', { ...serverOf(raw, this.#config), ...facts })
    this.#config.driver.onEnd?.(raw, () => this.#ended(session))
    return session
  }

  /** The server or the network has ended a session: one that is idle is closed, one in use when it comes back. */
  #ended(session: Session<Raw>): void {
    if (this.#ending || session.closed) return
    this.#closeIdle((other) => (other === session ? 'broken' : undefined))
    this.#config.changed()
  }

  /** Closes every idle session that there is a reason for. A listener may take one while another is closed. */
  #closeIdle(reasonFor: (session: Session<Raw>) => CloseReason | undefined, failure?: unknown): void {
    for (const session of this.shelf.idle) {
      const reason = session.busy || session.closed ? undefined : reasonFor(session)
      if (reason !== undefined) this.close(session, reason, failure)
    }
  }

  /** Removes a session from the pool and closes it in the background. */
  close(session: Session<Raw>, reason: CloseReason, failure?: unknown): void {
    const now = this.#config.now()
    if (session.busy) this.#leave(now)
    session.busy = false
    session.closed = true
    session.condemned = reason
    this.#byRaw.delete(session.raw)
    this.#counts.closed++
    void this.shelf.discard(session)
    const { driver, where, emit } = this.#config
    const cause = closeCause(reason, driver.endedBy?.(session.raw) ?? failure, where)
    const { id, openedAt } = session
    emit('connection:closed', { ...serverOf(session.raw, this.#config), id, reason, ageMillis: now - openedAt, cause })
    if (this.#busy + this.#checking === 0) this.#onQuiet?.()
  }

  /** Closes idle sessions, waits for the others up to `drain_timeout`, cuts them; resolves when all are closed. */
  async end(): Promise<void> {
    this.#ending = true
    this.#alarm.clear()
    this.#closeIdle(() => 'drained')
    await this.#drained()
    for (const session of this.#byRaw.values()) this.close(session, 'drain-timeout')
    // Waits for the attempts and goodbyes; each has its limit.
    await this.shelf.destroy()
  }

  #drained(): Promise<void> {
    if (this.#busy + this.#checking === 0) return Promise.resolve()
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, this.#config.policy.drainMillis)
      this.#onQuiet = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}
