/** Several places of one database, tried in libpq's order and by its rules for going on to the next one. */

import { onAbort, orAbort, TimeLimit } from '../../abort.ts'
import type { Credential } from '../../credentials/credential.ts'
import { type ErrorCode, PoolsmithError } from '../../errors.ts'
import { connectTimeout } from '../connect-timeout.ts'
import { Reachability } from '../network/reachability.ts'
import { terminateMessage } from './messages.ts'
import { openSession } from './session.ts'
import type { Attempt, Session, SessionPlan } from './session-plan.ts'
import { misfitError, type SessionTarget } from './session-target.ts'
import { shuffled } from './shuffled.ts'

/** How long a place that failed, or has another role, is tried after the others. */
const REMEMBERED_MILLIS = 10_000

/** cannot_connect_now: the server is starting, stopping, or not yet consistent. */
const CANNOT_CONNECT_NOW = '57P03'

/** How long a server that is left may take to close the connection. */
const GOODBYE_MILLIS = 1000

interface Failure {
  readonly plan: SessionPlan
  readonly error: unknown
}

/** The places of one record, and what earlier sessions have found there. */
export class Places {
  readonly all: readonly SessionPlan[]
  readonly #target: SessionTarget
  readonly #shuffles: boolean
  readonly #known: Reachability<SessionPlan>

  /** @param all at least one */
  constructor(all: readonly SessionPlan[]) {
    this.all = all
    const { target_session_attrs: target, load_balance_hosts: balance } = this.first.options
    this.#target = target
    this.#shuffles = balance === 'random'
    this.#known = new Reachability({ key: showPlace, rememberedMillis: REMEMBERED_MILLIS })
  }

  get first(): SessionPlan {
    return this.all[0] as SessionPlan
  }

  /**
   * Opens a session at the first place that accepts it and fits `target_session_attrs`. The next one is tried where a
   * place cannot be reached, does not answer in time, is starting or stopping, or has another role. Any other failure
   * ends the attempt: a refused password is not tried elsewhere.
   */
  async open(credential: Credential, attempt: Attempt): Promise<Session> {
    const failures: Failure[] = []
    let places = this.#known.sort(this.#shuffles ? shuffled(this.all) : this.all)
    if (this.#target === 'prefer-standby') {
      const session = await this.#openAt(places, 'standby', credential, attempt, failures)
      if (session !== undefined) return session
      // Those that could not be reached a moment ago are not tried again.
      const unlike = failures.filter(({ error }) => isMisfit(error)).map(({ plan }) => plan)
      places = places.filter((place) => unlike.includes(place))
      const any = await this.#openAt(places, 'any', credential, attempt, failures)
      if (any !== undefined) return any
    } else {
      const session = await this.#openAt(places, this.#target, credential, attempt, failures)
      if (session !== undefined) return session
    }
    throw joined(failures, mostTelling(failures))
  }

  async #openAt(
    places: readonly SessionPlan[],
    target: SessionTarget,
    credential: Credential,
    attempt: Attempt,
    failures: Failure[],
  ): Promise<Session | undefined> {
    for (const [index, plan] of places.entries()) {
      attempt.signal.throwIfAborted()
      try {
        const session = await withinShare(places.length - index, plan, attempt, (limited) =>
          openSession(plan, credentialFor(credential, plan), { ...limited, target }),
        )
        const { misfit } = session.login
        if (misfit === undefined) {
          this.#known.answered(plan)
          return session
        }
        leave(session)
        throw misfitError(showPlace(plan), target, misfit)
      } catch (error) {
        if (attempt.signal.aborted) throw error
        failures.push({ plan, error })
        if (!goesOn(error)) throw joined(failures, error)
        this.#known.failed(plan)
      }
    }
    return undefined
  }
}

/** `db1.example.com:5432` */
function showPlace({ host, port }: SessionPlan): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** Each place may use its share of the time that is left, so that the last one has its chance too. */
async function withinShare(
  placesLeft: number,
  plan: SessionPlan,
  attempt: Attempt,
  open: (attempt: Attempt) => Promise<Session>,
): Promise<Session> {
  const { signal, deadline } = attempt
  if (deadline === undefined || placesLeft === 1) return open(attempt)
  const now = performance.now()
  const millis = Math.max(1, (deadline - now) / placesLeft)
  const share = new AbortController()
  const end = (): void => {
    share.abort(
      connectTimeout({
        host: plan.host,
        phase: attempt.phase(),
        seconds: millis / 1000,
        limitSeconds: plan.options.connect_timeout,
        proxy: plan.tunnel?.proxy,
        mayBePooler: true,
      }),
    )
  }
  using _limit = new TimeLimit(millis, end)
  using _abort = onAbort(signal, () => share.abort(signal.reason))
  return await orAbort(open({ ...attempt, signal: share.signal, deadline: now + millis }), share.signal, leave)
}

/** The token for this place, where the issuer makes one for each. */
function credentialFor(credential: Credential, { host, port }: SessionPlan): Credential {
  const token = credential.kind === 'token' ? credential.tokens?.[`${host}:${port}`] : undefined
  return credential.kind === 'token' && token !== undefined ? { ...credential, token } : credential
}

/** Whether the next place is tried after this failure, as libpq does. */
function goesOn(error: unknown): boolean {
  if (!(error instanceof PoolsmithError)) return false
  if (error.phase === 'dns' || error.phase === 'connect') return true
  return (
    error.code === 'CONNECT_TIMEOUT' ||
    error.code === 'PROXY_TARGET_UNREACHABLE' ||
    isMisfit(error) ||
    error.details.sqlstate === CANNOT_CONNECT_NOW
  )
}

function isMisfit(error: unknown): boolean {
  return error instanceof PoolsmithError && error.code === 'SERVER_ROLE_MISMATCH'
}

/** Says goodbye to a session that is of no use. */
function leave({ transport, socket }: Session): void {
  transport.stream.end(terminateMessage())
  transport.stream.resume()
  socket.unref()
  socket.setTimeout(GOODBYE_MILLIS, () => socket.destroy())
}

/** A failure that passes by waiting speaks for all; else the last one does. */
function mostTelling(failures: readonly Failure[]): unknown {
  const ofCode = (code: ErrorCode): Failure | undefined =>
    failures.findLast(({ error }) => error instanceof PoolsmithError && error.code === code)
  return (ofCode('SERVER_NOT_READY') ?? ofCode('SERVER_ROLE_MISMATCH') ?? failures.at(-1))?.error
}

/** The error that speaks for all, with what each place has said. */
function joined(failures: readonly Failure[], spokesman: unknown): unknown {
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
