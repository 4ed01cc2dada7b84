/** Several places of one database, tried in libpq's order and by its rules for going on to the next one. */

import { onAbort, orAbort, TimeLimit } from '../abort.ts'
import type { Credential } from '../credentials/credential.ts'
import { type ErrorCode, type Phase, PoolsmithError } from '../errors.ts'
import type { PlaceRole } from '../events.ts'
import { type Place, type PlaceName, sharedPlace } from '../hosts/place.ts'
import { Reachability } from './network/reachability.ts'
import { misfitError, type SessionTarget } from './session-target.ts'
import { shuffled } from './shuffled.ts'

/** How long a place with another role is tried after the others. */
const REMEMBERED_MILLIS = 10_000

/** One place of a record, as a driver needs it to open a session there. */
export interface PlacePlan {
  readonly host: string
  /** Undefined for a named instance, whose port is asked for at each opening. */
  readonly port: number | undefined
  readonly instance?: string | undefined
}

/** Limit and progress of one attempt. */
export interface Attempt {
  readonly signal: AbortSignal
  /** Reports that a phase begins. */
  readonly enter: (phase: Phase, place?: PlaceName) => void
  /** When the signal will end it, on the clock of performance.now(). */
  readonly deadline: number | undefined
  /** The current phase. */
  readonly phase: () => Phase
  /** The role that the server must have. Default: any. */
  readonly target?: SessionTarget
  /** The only place to try, whatever its role. */
  readonly at?: Place | undefined
}

/** The parts of the search that differ between databases. */
export interface PlaceRules<P extends PlacePlan, S> {
  readonly target: SessionTarget
  /** Whether each opening tries the places in another order. */
  readonly shuffles: boolean
  open(place: P, credential: Credential, attempt: Attempt): Promise<S>
  /** The role of the session's server where it is not the one that the attempt asked for. */
  misfitOf(session: S): string | undefined
  /** The server of a session, as it was at the login. */
  serverOf?(session: S): { readonly address: string | undefined; readonly role: PlaceRole | undefined }
  /** Where the facts about a place are kept. Default: with its host and port, for all engines of the process. */
  knownAs?(plan: P): Place
  /** Says goodbye to a session that is of no use. */
  leave(session: S): void
  /** Whether the next place is tried after this failure of a place that was reached and has answered. */
  goesOn(error: PoolsmithError): boolean
  /** The error of a place that has used up its share of the time. */
  timeout(place: P, phase: Phase, seconds: number): PoolsmithError
}

/** A place with the facts that are known of it. */
interface Candidate<P> {
  readonly plan: P
  readonly place: Place
}

interface Failure<P> extends Candidate<P> {
  readonly error: unknown
}

/** The places of one record, and what earlier sessions have found there. */
export class Places<P extends PlacePlan, S> {
  readonly #all: readonly Candidate<P>[]
  readonly #rules: PlaceRules<P, S>
  readonly #misfits = new Reachability<Candidate<P>>({
    key: ({ plan }) => showPlace(plan),
    rememberedMillis: REMEMBERED_MILLIS,
  })
  /** The facts about each, in the order of the record. */
  readonly known: readonly Place[]

  /** @param all at least one */
  constructor(all: readonly P[], rules: PlaceRules<P, S>) {
    this.#all = all.map((plan) => ({ plan, place: rules.knownAs?.(plan) ?? sharedPlace(nameOf(plan)) }))
    this.#rules = rules
    this.known = this.#all.map(({ place }) => place)
  }

  /** See `rankOf` of the driver. */
  rankOf(place: Place): number {
    const { target, shuffles } = this.#rules
    const order = shuffles ? 0 : this.known.indexOf(place)
    if (target === 'any') return order
    if (target === 'prefer-standby') return order + (place.role === 'primary' ? this.known.length : 0)
    if (place.role === undefined) return Number.POSITIVE_INFINITY
    const forReaders = target === 'standby' || target === 'read-only'
    return forReaders === (place.role !== 'primary') ? order : Number.POSITIVE_INFINITY
  }

  /** The facts about the place of a plan. */
  of(plan: P): Place | undefined {
    return this.#all.find((one) => one.plan === plan)?.place
  }

  /**
   * Opens a session at the first place that accepts it and fits `target_session_attrs`. The next one is tried where a
   * place cannot be reached, does not answer in time, is starting or stopping, or has another role. Any other failure
   * ends the attempt: a refused password is not tried elsewhere.
   */
  async open(credential: Credential, attempt: Attempt): Promise<S> {
    const { at } = attempt
    const target = at === undefined ? this.#rules.target : 'any'
    const failures: Failure<P>[] = []
    let places = at === undefined ? this.#inOrder() : this.#all.filter(({ place }) => place === at)
    if (target === 'prefer-standby') {
      const session = await this.#openAt(places, 'standby', credential, attempt, failures)
      if (session !== undefined) return session
      // Those that could not be reached a moment ago are not tried again.
      const unlike = failures.filter(({ error }) => isMisfit(error)).map(({ plan }) => plan)
      places = places.filter(({ plan }) => unlike.includes(plan))
      const any = await this.#openAt(places, 'any', credential, attempt, failures)
      if (any !== undefined) return any
    } else {
      const session = await this.#openAt(places, target, credential, attempt, failures)
      if (session !== undefined) return session
    }
    throw joined(failures, mostTelling(failures))
  }

  /** The places to try: those with another role after the others, and those that could not be reached last. */
  #inOrder(): readonly Candidate<P>[] {
    if (this.#all.length === 1) return this.#all
    const places = this.#misfits.sort(this.#rules.shuffles ? shuffled(this.#all) : this.#all)
    const last = places.filter(({ place }) => place.comesLast())
    return [...places.filter((one) => !last.includes(one)), ...last]
  }

  async #openAt(
    places: readonly Candidate<P>[],
    target: SessionTarget,
    credential: Credential,
    attempt: Attempt,
    failures: Failure<P>[],
  ): Promise<S | undefined> {
    const rules = this.#rules
    for (const [index, candidate] of places.entries()) {
      const { plan, place } = candidate
      attempt.signal.throwIfAborted()
      try {
        const session = await this.#withinShare(places.length - index, candidate, attempt, (limited) =>
          rules.open(plan, credentialFor(credential, plan), {
            ...limited,
            target,
            enter: (phase) => attempt.enter(phase, place),
          }),
        )
        place.answered(rules.serverOf?.(session))
        const misfit = rules.misfitOf(session)
        if (misfit === undefined) {
          if (attempt.at === undefined || this.rankOf(place) < Number.POSITIVE_INFINITY) {
            this.#misfits.answered(candidate)
          }
          return session
        }
        rules.leave(session)
        throw misfitError(showPlace(plan), target, misfit)
      } catch (error) {
        if (attempt.signal.aborted) throw error
        failures.push({ ...candidate, error })
        if (!this.#noteFailure(candidate, error)) throw joined(failures, error)
      }
    }
    return undefined
  }

  /** @returns whether the next place is tried */
  #noteFailure(candidate: Candidate<P>, error: unknown): boolean {
    if (!(error instanceof PoolsmithError)) return false
    const { place } = candidate
    if (isMisfit(error)) this.#misfits.failed(candidate)
    else if (goesOn(error, this.#rules)) place.failed(error)
    else {
      place.refused(error)
      return false
    }
    return true
  }

  /** Each place may use its share of the time that is left, so that the last one has its chance too. */
  async #withinShare(
    placesLeft: number,
    { plan, place }: Candidate<P>,
    attempt: Attempt,
    open: (attempt: Attempt) => Promise<S>,
  ): Promise<S> {
    const { signal, deadline } = attempt
    if (placesLeft === 1) return open(attempt)
    const { timeout, leave } = this.#rules
    const share = new AbortController()
    using _place = place.attempt((error) => share.abort(error))
    using _abort = onAbort(signal, () => share.abort(signal.reason))
    if (deadline === undefined) return await orAbort(open({ ...attempt, signal: share.signal }), share.signal, leave)
    const now = performance.now()
    const millis = Math.max(1, (deadline - now) / placesLeft)
    using _limit = new TimeLimit(millis, () => share.abort(timeout(plan, attempt.phase(), millis / 1000)))
    return await orAbort(open({ ...attempt, signal: share.signal, deadline: now + millis }), share.signal, leave)
  }
}

/** The instance stands for its port. */
function nameOf({ host, port, instance }: PlacePlan): PlaceName {
  return { host: port === undefined && instance !== undefined ? `${host}\\${instance}` : host, port }
}

/** `db1.example.com:5432`, `db1\SALES` */
function showPlace(plan: PlacePlan): string {
  const { host, port } = nameOf(plan)
  if (port === undefined) return host
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** The token for this place, where the issuer makes one for each. */
function credentialFor(credential: Credential, { host, port }: PlacePlan): Credential {
  const token = credential.kind === 'token' ? credential.tokens?.[`${host}:${port}`] : undefined
  return credential.kind === 'token' && token !== undefined ? { ...credential, token } : credential
}

function goesOn<P extends PlacePlan, S>(error: PoolsmithError, rules: PlaceRules<P, S>): boolean {
  if (error.phase === 'dns' || error.phase === 'connect') return true
  return error.code === 'CONNECT_TIMEOUT' || error.code === 'PROXY_TARGET_UNREACHABLE' || rules.goesOn(error)
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
function joined<P extends PlacePlan>(failures: readonly Failure<P>[], spokesman: unknown): unknown {
  if (!(spokesman instanceof PoolsmithError) || failures.length === 1) return spokesman
  const places = failures.map(({ plan, error }) => {
    const { code, phase, message } =
      error instanceof PoolsmithError ? error : { code: undefined, phase: undefined, message: String(error) }
    return { place: showPlace(plan), phase, code, message }
  })
  const words = places.map(({ place, phase, message }) => `${place} (${phase}): ${message}`)
  return spokesman.with({
    message: `Of several hosts none has given a session. ${words.join(' ')}`,
    transient: failures.some(({ error }) => error instanceof PoolsmithError && error.transient),
    details: { places },
  })
}
