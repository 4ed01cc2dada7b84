/** Several places of one database, tried in libpq's order and by its rules for going on to the next one. */

import { onAbort, orAbort, TimeLimit } from '../abort.ts'
import type { Credential } from '../credentials/credential.ts'
import { type ErrorCode, type Phase, PoolsmithError } from '../errors.ts'
import { Reachability } from './network/reachability.ts'
import { misfitError, type SessionTarget } from './session-target.ts'
import { shuffled } from './shuffled.ts'

/** How long a place that failed, or has another role, is tried after the others. */
const REMEMBERED_MILLIS = 10_000

export interface Place {
  readonly host: string
  /** Undefined for a named instance, whose port is asked for at each opening. */
  readonly port: number | undefined
  readonly instance?: string | undefined
}

/** Limit and progress of one attempt. */
export interface Attempt {
  readonly signal: AbortSignal
  /** Reports that a phase begins. */
  readonly enter: (phase: Phase) => void
  /** When the signal will end it, on the clock of performance.now(). */
  readonly deadline: number | undefined
  /** The current phase. */
  readonly phase: () => Phase
  /** The role that the server must have. Default: any. */
  readonly target?: SessionTarget
}

/** The parts of the search that differ between databases. */
export interface PlaceRules<P extends Place, S> {
  readonly target: SessionTarget
  /** Whether each opening tries the places in another order. */
  readonly shuffles: boolean
  open(place: P, credential: Credential, attempt: Attempt): Promise<S>
  /** The role of the session's server where it is not the one that the attempt asked for. */
  misfitOf(session: S): string | undefined
  /** Says goodbye to a session that is of no use. */
  leave(session: S): void
  /** Whether the next place is tried after this failure of a place that was reached and has answered. */
  goesOn(error: PoolsmithError): boolean
  /** The error of a place that has used up its share of the time. */
  timeout(place: P, phase: Phase, seconds: number): PoolsmithError
}

interface Failure<P> {
  readonly place: P
  readonly error: unknown
}

/** The places of one record, and what earlier sessions have found there. */
export class Places<P extends Place, S> {
  readonly #all: readonly P[]
  readonly #rules: PlaceRules<P, S>
  readonly #known = new Reachability<P>({ key: showPlace, rememberedMillis: REMEMBERED_MILLIS })

  /** @param all at least one */
  constructor(all: readonly P[], rules: PlaceRules<P, S>) {
    this.#all = all
    this.#rules = rules
  }

  /**
   * Opens a session at the first place that accepts it and fits `target_session_attrs`. The next one is tried where a
   * place cannot be reached, does not answer in time, is starting or stopping, or has another role. Any other failure
   * ends the attempt: a refused password is not tried elsewhere.
   */
  async open(credential: Credential, attempt: Attempt): Promise<S> {
    const { target, shuffles } = this.#rules
    const failures: Failure<P>[] = []
    let places = this.#known.sort(shuffles ? shuffled(this.#all) : this.#all)
    if (target === 'prefer-standby') {
      const session = await this.#openAt(places, 'standby', credential, attempt, failures)
      if (session !== undefined) return session
      // Those that could not be reached a moment ago are not tried again.
      const unlike = failures.filter(({ error }) => isMisfit(error)).map(({ place }) => place)
      places = places.filter((place) => unlike.includes(place))
      const any = await this.#openAt(places, 'any', credential, attempt, failures)
      if (any !== undefined) return any
    } else {
      const session = await this.#openAt(places, target, credential, attempt, failures)
      if (session !== undefined) return session
    }
    throw joined(failures, mostTelling(failures))
  }

  async #openAt(
    places: readonly P[],
    target: SessionTarget,
    credential: Credential,
    attempt: Attempt,
    failures: Failure<P>[],
  ): Promise<S | undefined> {
    const rules = this.#rules
    for (const [index, place] of places.entries()) {
      attempt.signal.throwIfAborted()
      try {
        const session = await this.#withinShare(places.length - index, place, attempt, (limited) =>
          rules.open(place, credentialFor(credential, place), { ...limited, target }),
        )
        const misfit = rules.misfitOf(session)
        if (misfit === undefined) {
          this.#known.answered(place)
          return session
        }
        rules.leave(session)
        throw misfitError(showPlace(place), target, misfit)
      } catch (error) {
        if (attempt.signal.aborted) throw error
        failures.push({ place, error })
        if (!goesOn(error, rules)) throw joined(failures, error)
        this.#known.failed(place)
      }
    }
    return undefined
  }

  /** Each place may use its share of the time that is left, so that the last one has its chance too. */
  async #withinShare(
    placesLeft: number,
    place: P,
    attempt: Attempt,
    open: (attempt: Attempt) => Promise<S>,
  ): Promise<S> {
    const { signal, deadline } = attempt
    if (deadline === undefined || placesLeft === 1) return open(attempt)
    const { timeout, leave } = this.#rules
    const now = performance.now()
    const millis = Math.max(1, (deadline - now) / placesLeft)
    const share = new AbortController()
    using _limit = new TimeLimit(millis, () => share.abort(timeout(place, attempt.phase(), millis / 1000)))
    using _abort = onAbort(signal, () => share.abort(signal.reason))
    return await orAbort(open({ ...attempt, signal: share.signal, deadline: now + millis }), share.signal, leave)
  }
}

/** `db1.example.com:5432`, `db1\SALES` */
function showPlace({ host, port, instance }: Place): string {
  if (port === undefined) return instance === undefined ? host : `${host}\\${instance}`
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** The token for this place, where the issuer makes one for each. */
function credentialFor(credential: Credential, { host, port }: Place): Credential {
  const token = credential.kind === 'token' ? credential.tokens?.[`${host}:${port}`] : undefined
  return credential.kind === 'token' && token !== undefined ? { ...credential, token } : credential
}

function goesOn<P extends Place, S>(error: unknown, rules: PlaceRules<P, S>): boolean {
  if (!(error instanceof PoolsmithError)) return false
  if (error.phase === 'dns' || error.phase === 'connect') return true
  return (
    error.code === 'CONNECT_TIMEOUT' ||
    error.code === 'PROXY_TARGET_UNREACHABLE' ||
    isMisfit(error) ||
    rules.goesOn(error)
  )
}

function isMisfit(error: unknown): boolean {
  return error instanceof PoolsmithError && error.code === 'SERVER_ROLE_MISMATCH'
}

/** A failure that passes by waiting speaks for all; else the last one does. */
function mostTelling<P>(failures: readonly Failure<P>[]): unknown {
  const ofCode = (code: ErrorCode): Failure<P> | undefined =>
    failures.findLast(({ error }) => error instanceof PoolsmithError && error.code === code)
  const waits = ofCode('SERVER_NOT_READY') ?? ofCode('SERVER_ROLE_MISMATCH') ?? ofCode('SERVER_THROTTLED')
  return (waits ?? failures.at(-1))?.error
}

/** The error that speaks for all, with what each place has said. */
function joined<P extends Place>(failures: readonly Failure<P>[], spokesman: unknown): unknown {
  if (!(spokesman instanceof PoolsmithError) || failures.length === 1) return spokesman
  const places = failures.map(({ place, error }) => {
    const { code, phase, message } =
      error instanceof PoolsmithError ? error : { code: undefined, phase: undefined, message: String(error) }
    return { place: showPlace(place), phase, code, message }
  })
  const words = places.map(({ place, phase, message }) => `${place} (${phase}): ${message}`)
  return spokesman.with({
    message: `Of several hosts none has given a session. ${words.join(' ')}`,
    transient: failures.some(({ error }) => error instanceof PoolsmithError && error.transient),
    details: { places },
  })
}
