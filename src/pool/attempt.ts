/** One attempt to open a connection: credential, then the driver, and once more when the login was refused. */

import { nextPoll, onAbort, orAbort, pause, TimeLimit } from '../abort.ts'
import type { Credential, CredentialSource } from '../credentials/credential.ts'
import { sameSecret } from '../credentials/same-secret.ts'
import type { Driver } from '../drivers/driver.ts'
import { openingError, placed, traceOrigin, type Whereabouts } from '../drivers/whereabouts.ts'
import { type Phase, PoolsmithError } from '../errors.ts'
import type { Place, PlaceName } from '../hosts/place.ts'
import { type ConnectTrace, traced } from '../tracing.ts'
import { asPoolsmithError, endedAtLoginError, hangingError, NotTried } from './failures.ts'
import { cut } from './goodbye.ts'
import type { PhaseTracer } from './phase-tracer.ts'

/** Logins in one attempt, each with a credential that differs from the one before. */
const MAX_LOGINS = { password: 3, token: 2, certificate: 2, gss: 2, ntlm: 2 } as const
/** Fetches after a refusal that bring the refused secret again, and the pause before each: a rotation under way. */
const MAX_STALE_FETCHES = 3
const STALE_PAUSE_MILLIS = 100

export interface Opened<Raw extends object> {
  readonly raw: Raw
  readonly credential: Credential
  readonly credentialMillis: number
}

export interface AttemptConfig<Raw extends object> {
  readonly driver: Driver<Raw>
  readonly where: Whereabouts | undefined
  readonly source: CredentialSource
  /** For the whole attempt; the limit of one connect (`connect_timeout`) is the driver's own. */
  readonly limitMillis: number
  /** The refusal for which a login with this credential is not tried. */
  readonly refusalOf: (credential: Credential) => PoolsmithError | undefined
  /** The only place to open it at. Absent: the driver decides. */
  readonly at?: Place | undefined
}

/**
 * Opens one connection and answers within its limit whether the driver and the source heed their signal or not.
 * A connection that the driver opens too late is cut.
 */
export class Attempt<Raw extends object> {
  readonly #startedAt = performance.now()
  #phase: Phase = 'credential'
  #phaseSince = this.#startedAt
  #credential: Credential | undefined
  #credentialMillis = 0
  readonly #controller = new AbortController()
  readonly #config: AttemptConfig<Raw>
  #limit: TimeLimit | undefined
  #trace: ConnectTrace | undefined
  #tracer: PhaseTracer | undefined

  constructor(config: AttemptConfig<Raw>) {
    this.#config = config
  }

  /** The current phase. */
  get phase(): Phase {
    return this.#phase
  }

  /** How long the current phase has lasted. */
  get phaseMillis(): number {
    return performance.now() - this.#phaseSince
  }

  /** How long the event loop stood still since the attempt began. */
  get stalledMillis(): number {
    return this.#limit?.stalledMillis ?? 0
  }

  get credentialFailure(): PoolsmithError | undefined {
    return this.#config.source.failure
  }

  /** The credential of its last login. */
  get credential(): Credential | undefined {
    return this.#credential
  }

  /** How long it has been under way. */
  get millis(): number {
    return performance.now() - this.#startedAt
  }

  abort(error: PoolsmithError): void {
    this.#controller.abort(error)
  }

  /**
   * @param prepare makes a session of what was opened; within the same limit
   * @throws PoolsmithError, NotTried
   */
  run<T>(prepare: (opened: Opened<Raw>) => Promise<T>): Promise<T> {
    const { where } = this.#config
    const told = (): ConnectTrace => ({ ...traceOrigin(where), logins: 0 })
    return traced('connect', told, async (trace) => {
      this.#trace = trace
      if (trace !== undefined) this.#tracer = new (await import('./phase-tracer.ts')).PhaseTracer(trace)
      try {
        const result = await this.#run(prepare)
        this.#tracer?.end()
        return result
      } catch (error) {
        this.#tracer?.end({ error })
        throw error
      }
    })
  }

  async #run<T>(prepare: (opened: Opened<Raw>) => Promise<T>): Promise<T> {
    const { signal } = this.#controller
    const { where, limitMillis } = this.#config
    using limit = new TimeLimit(limitMillis, () => this.abort(hangingError(this, limitMillis, where)))
    this.#limit = limit
    try {
      return await this.#prepare(await this.#open(signal), prepare, signal)
    } catch (error) {
      // The reason of the abort says more than the driver, which only saw that it was to stop.
      if (signal.reason instanceof PoolsmithError) throw signal.reason
      throw error instanceof NotTried ? error : placed(asPoolsmithError(error, this.#phase), where)
    }
  }

  async #open(signal: AbortSignal): Promise<Opened<Raw>> {
    let credential = await this.#obtain(signal)
    const refusal = this.#config.refusalOf(credential)
    if (refusal !== undefined) throw new NotTried(refusal)
    for (let logins = 1; ; logins++) {
      try {
        const raw = await this.#login(credential, signal)
        const { place } = this.#config.driver.info(raw)
        if (this.#trace !== undefined && place !== undefined) this.#trace.place = place
        return { raw, credential, credentialMillis: this.#credentialMillis }
      } catch (error) {
        if (!(error instanceof PoolsmithError) || error.code !== 'LOGIN_REFUSED' || signal.aborted) throw error
        if (logins === MAX_LOGINS[credential.kind]) throw error
        const other = await this.#replace(credential, signal)
        if (other === undefined) throw error
        credential = other
      }
    }
  }

  async #prepare<T>(
    opened: Opened<Raw>,
    prepare: (opened: Opened<Raw>) => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
    const { driver } = this.#config
    const { raw } = opened
    this.#enter('query')
    try {
      const work = (): Promise<T> => prepare(opened)
      return await orAbort(this.#tracer === undefined ? work() : this.#tracer.within(work), signal)
    } catch (error) {
      // The answer to a statement that failed may not have been read to its end.
      if (!signal.aborted) await nextPoll()
      if (driver.isBroken(raw)) driver.abort(raw)
      else await cut(driver, raw)
      throw error
    }
  }

  /** A credential other than the refused one. The issuer may need a moment to know what the server knows already. */
  async #replace(refused: Credential, signal: AbortSignal): Promise<Credential | undefined> {
    let last = refused
    for (let fetches = 0; fetches < MAX_STALE_FETCHES; fetches++) {
      if (!this.#config.source.reject(last)) return undefined
      if (fetches > 0) await pause(STALE_PAUSE_MILLIS * 2 ** fetches, { signal, background: true })
      last = await this.#obtain(signal)
      if (!sameSecret(last, refused)) return last
    }
    return undefined
  }

  async #obtain(signal: AbortSignal): Promise<Credential> {
    const { source } = this.#config
    const ready = source.current()
    if (ready !== undefined) return ready
    this.#enter('credential')
    try {
      return await orAbort(source.get(signal), signal)
    } finally {
      this.#credentialMillis += this.phaseMillis
    }
  }

  #login(credential: Credential, signal: AbortSignal): Promise<Raw> {
    this.#credential = credential
    const trace = this.#trace
    if (trace !== undefined) {
      trace.credentialKind = credential.kind
      trace.identity = credential.identity
      trace.logins++
    }
    this.#enter('connect')
    return orAbort(this.#openAlive(credential, signal), signal, (late) => this.#config.driver.abort(late))
  }

  async #openAlive(credential: Credential, signal: AbortSignal): Promise<Raw> {
    const { driver, where, at } = this.#config
    const deadline = this.#startedAt + this.#config.limitMillis
    const raw = await driver.open(credential, {
      signal,
      enter: (phase, place) => this.#enter(phase, place),
      deadline,
      at,
    })
    // Cut at once when the attempt is aborted meanwhile, so that the pool's end does not resolve before its socket closes.
    using _ = onAbort(signal, () => driver.abort(raw))
    // The server may have ended the session in the packet that accepted the login.
    await nextPoll()
    if (!driver.isBroken(raw)) return raw
    driver.abort(raw)
    throw openingError(endedAtLoginError(driver.endedBy?.(raw)), where)
  }

  #enter(phase: Phase, place?: PlaceName): void {
    this.#phase = phase
    this.#phaseSince = performance.now()
    this.#tracer?.enter(phase, place)
  }
}
