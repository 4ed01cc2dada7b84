import type { Credential, CredentialSource } from '../credentials/credential.ts'
import type { Driver } from '../drivers/driver.ts'
import type { Whereabouts } from '../drivers/whereabouts.ts'
import type { PoolsmithError } from '../errors.ts'
import type { Emit } from '../events.ts'
import type { Place } from '../hosts/place.ts'
import { inBackground } from '../tracing.ts'
import { asksToWait, type Hanging, isTimeLimit, NotTried } from './failures.ts'
import { Opener } from './opener.ts'
import type { Policy } from './options.ts'
import { Pacer } from './pacer.ts'
import type { Prepare } from './prepare.ts'
import type { Session } from './session.ts'
import type { Sessions } from './sessions.ts'
import type { Waiters } from './waiters.ts'

/** The part of a time limit that a caller must have waited for, to be told that it was exceeded. */
const NEARLY_ALL = 0.9

export interface SupplyConfig<Raw extends object> {
  readonly driver: Driver<Raw>
  readonly where: Whereabouts | undefined
  readonly source: CredentialSource
  readonly policy: Policy
  readonly sessions: Sessions<Raw>
  readonly waiters: Waiters<Raw>
  readonly now: () => number
  readonly prepare: Prepare<Raw>
  readonly random: () => number
  readonly emit: Emit
  readonly isSuspended: () => boolean
  /** It is time to serve the waiting callers and to open what is missing. */
  readonly pump: () => void
}

/**
 * Opens what the waiting callers and `pool_min_idle` lack, and decides which callers are told of a failure:
 *
 * - A server that is full, starting or busy asks to be tried again: no caller is told before `pool_timeout`.
 * - While a session is on its way to the callers, a transient failure is not told, and any other only to the caller
 *   that has waited for longest. On its way are sessions that are being checked, attempts that began before the first
 *   failure, and live sessions that were taken a moment ago.
 * - Else the failure is told at once to all waiting callers. A time limit is told to those that have waited for it: an
 *   attempt that hangs belongs to the callers that were there when it began.
 */
export class Supply<Raw extends object> {
  readonly #config: SupplyConfig<Raw>
  readonly #opener: Opener<Raw>
  readonly #pacer: Pacer
  #failed = 0
  #ended = false

  constructor(config: SupplyConfig<Raw>) {
    this.#config = config
    const { driver, where, source, prepare, policy, waiters, now, random, pump } = config
    const { timeoutMillis, recycleMillis } = policy
    const isAwaited = (): boolean => waiters.size > 0
    const limits = { limitMillis: timeoutMillis, recycleMillis }
    this.#opener = new Opener({ driver, where, source, prepare, ...limits, now, random, isAwaited })
    this.#pacer = new Pacer({ now, random, wake: pump, probeMillis: timeoutMillis / 4 })
  }

  /** Attempts under way. */
  get inFlight(): number {
    return this.#opener.inFlight
  }

  /** The attempt that has been under way for longest. */
  get oldest(): Hanging | undefined {
    return this.#opener.oldest
  }

  /** The failure of the last attempt, when none has succeeded since. */
  get failure(): PoolsmithError | undefined {
    return this.#pacer.failure
  }

  /** Attempts that have failed since the pool was built. */
  get failed(): number {
    return this.#failed
  }

  /** Opens one session; called by the shelf. */
  open(): Promise<Session<Raw>> {
    return this.#opener.open(this.#config.sessions.generation, this.#pacer.failure === undefined)
  }

  /** Opens one that serves no caller of the pool. */
  openApart(at?: Place): Promise<Session<Raw>> {
    return inBackground(() => this.#opener.open(this.#config.sessions.generation, false, at))
  }

  /** Begins the attempts that are missing, as far as there is room and the pacer allows. */
  fill(): void {
    const { policy, sessions, waiters, source, now, isSuspended } = this.#config
    const { shelf, checking, size } = sessions
    const wanted = isSuspended() ? 0 : Math.max(0, waiters.size - checking)
    const spare = Math.min(policy.minIdle - shelf.numFree(), policy.size - size - wanted)
    const missing = wanted + Math.max(0, spare) - shelf.numPendingCreates()
    // Only an attempt can serve the callers while no session is on its way to them.
    const isUrgent = (): boolean => wanted > 0 && checking + sessions.returning(now()) === 0
    for (let count = 0; count < missing && shelf.hasRoom; count++) {
      if (!this.#pacer.mayStart(this.#opener.inFlight, canBeLocked(source.current()), isUrgent)) return
      this.#start()
    }
    if (this.#opener.inFlight === 0) this.#pacer.rested()
  }

  #start(): void {
    const { sessions, now } = this.#config
    const startedAt = now()
    this.#pacer.started()
    inBackground(() => sessions.shelf.open()).then(
      () => {
        this.#pacer.succeeded()
        // Besides serving the callers: what was invalidated or retired while it was being opened is closed at once.
        sessions.sweep()
      },
      (error: PoolsmithError | NotTried) => this.#onFailure(error, startedAt),
    )
  }

  #onFailure(error: PoolsmithError | NotTried, startedAt: number): void {
    const { isSuspended, emit, pump } = this.#config
    if (error instanceof NotTried) this.#pacer.failed(error.refusal)
    else {
      this.#failed++
      if (this.#ended) return
      this.#pacer.failed(error)
      emit('connection:failed', { error, phase: error.phase })
      if (!isSuspended()) this.#tell(error, startedAt)
    }
    pump()
  }

  #tell(error: PoolsmithError, startedAt: number): void {
    if (asksToWait(error)) return
    const { sessions, waiters, now } = this.#config
    const at = now()
    if (sessions.checking + this.#opener.promising + sessions.returning(at) > 0) {
      if (!error.transient) waiters.first?.reject(error)
      return
    }
    const since = isTimeLimit(error) ? at - NEARLY_ALL * (at - startedAt) : at
    waiters.rejectSince(since, error)
  }

  /** Aborts the attempts under way; nothing is opened or told any more. */
  end(error: PoolsmithError): void {
    this.#ended = true
    this.#pacer.close()
    this.#opener.end(error)
  }
}

/** Servers count wrong passwords and lock the account. */
function canBeLocked(credential: Credential | undefined): boolean {
  return credential === undefined || credential.kind === 'password' || credential.kind === 'ntlm'
}
