/** The pool's own errors: each says what was waited for, how long, and what to do. */

import { LimitExceeded } from '../abort.ts'
import { errorText, isError } from '../any-error.ts'
import { showWhereabouts, type Whereabouts } from '../drivers/whereabouts.ts'
import { type ErrorCode, type Phase, PoolsmithError } from '../errors.ts'
import type { CloseReason } from '../events.ts'
import { printable } from '../printable.ts'

const ASKS_TO_WAIT: ReadonlySet<ErrorCode> = new Set([
  'SERVER_FULL',
  'SERVER_NOT_READY',
  'SERVER_ROLE_MISMATCH',
  'SERVER_THROTTLED',
])
const TIME_LIMITS: ReadonlySet<ErrorCode> = new Set(['CONNECT_TIMEOUT', 'CREDENTIAL_TIMEOUT'])
const REFUSALS: ReadonlySet<ErrorCode> = new Set(['LOGIN_REFUSED', 'LOGIN_ROLE_UNUSABLE', 'LOGIN_PASSWORD_CHANGE'])

/** The server is full, starting or busy, and a later attempt may succeed. */
export function asksToWait(error: PoolsmithError): boolean {
  return ASKS_TO_WAIT.has(error.code)
}

/** Nothing answered within a time limit. */
export function isTimeLimit(error: PoolsmithError): boolean {
  return TIME_LIMITS.has(error.code)
}

/** The server refused the account: more of the same may lock it. */
export function isRefusal(error: PoolsmithError): boolean {
  return REFUSALS.has(error.code)
}

/** A login that was not tried, because the server has refused the same credential before. */
export class NotTried extends Error {
  override readonly name = 'NotTried'
  readonly refusal: PoolsmithError

  constructor(refusal: PoolsmithError) {
    super(refusal.message)
    this.refusal = refusal
  }
}

/** How full the pool is, for messages and details. */
export interface Occupancy {
  readonly max: number
  readonly inUse: number
  readonly idle: number
  readonly opening: number
  /** Being pinged or reset. */
  readonly checking: number
  readonly waiting: number
}

/** One connection in use, for `details.longestHeld`. */
export interface Holder {
  readonly id: number
  readonly heldMillis: number
}

/** An attempt as far as an error speaks of it. */
export interface Hanging {
  readonly phase: Phase
  readonly phaseMillis: number
  /** How long it has been under way, and how much of it the event loop stood still. */
  readonly millis: number
  readonly stalledMillis: number
  /** Why the last try to fetch a credential failed, while it is tried again. */
  readonly credentialFailure?: PoolsmithError | undefined
}

const PHASE_WORDS: Readonly<Partial<Record<Phase, string>>> = {
  credential: 'waiting for the credential from its issuer',
  dns: 'waiting for the name server',
  connect: 'waiting for the TCP connection',
  proxy: 'waiting for the proxy',
  tls: 'waiting in the TLS handshake',
  gss: 'waiting in the GSSAPI exchange',
  login: 'waiting for the server to answer the login',
  query: 'waiting for session_init and the hook onSession',
}

const PHASE_HINTS: Readonly<Partial<Record<Phase, string>>> = {
  credential: 'Check that the token endpoint, KDC or secret store is reachable from here.',
  dns: 'Check the host name and the name servers of this machine.',
  connect: 'Check host and port, and that no firewall drops the packets silently.',
  proxy: 'Check that the proxy is reachable and answers.',
  tls: 'Something accepts connections there but does not speak: check the port, and whether the server is frozen.',
  gss: 'Check that the KDC and the server answer.',
  login:
    'The server accepts connections but does not answer: it may be frozen, starting or overloaded, or a pooler full or paused.',
  query: 'Check what the SQL or the hook waits for: a lock, a statement without an answer, a promise without an end.',
}

/** The error of an attempt to connect that hangs. */
export function hangingError(attempt: Hanging, limitMillis: number, where: Whereabouts | undefined): PoolsmithError {
  const { phase, phaseMillis, credentialFailure: failure } = attempt
  const details = { ...where, limitMillis, phaseMillis: Math.round(phaseMillis) }
  if (phase === 'credential' && failure !== undefined) {
    const message = `${noConnection(where, limitMillis)}: ${failure.message}`
    return failure.with({ message, phase, details, cause: failure })
  }
  const words = PHASE_WORDS[phase] ?? `in the phase ${phase}`
  return new PoolsmithError(
    `${noConnection(where, limitMillis)}: the attempt has been ${words} for ${seconds(phaseMillis)}.`,
    {
      code: phase === 'credential' ? 'CREDENTIAL_TIMEOUT' : 'CONNECT_TIMEOUT',
      phase,
      transient: true,
      details,
      hint: PHASE_HINTS[phase],
    },
  )
}

export interface TimeoutFacts {
  readonly timeoutMillis: number
  readonly suspended: boolean
  readonly occupancy: Occupancy
  readonly longestHeld: readonly Holder[]
  /** How long fewer than all connections have been in use. */
  readonly spareMillis: number
  /** How much later than `timeoutMillis` the event loop came to it. */
  readonly lateMillis: number
  /** The attempt under way for longest, if any. */
  readonly attempt: Hanging | undefined
  /** The failure of the last attempt, when none has succeeded since. */
  readonly failure: PoolsmithError | undefined
  readonly where: Whereabouts | undefined
}

/** Why an acquire was not answered within `pool_timeout`: what took up most of the wait. */
export function acquireTimeoutError(facts: TimeoutFacts): PoolsmithError {
  const { timeoutMillis, occupancy, longestHeld, spareMillis, attempt, failure, where } = facts
  const details = { ...where, timeoutMillis, ...occupancy, longestHeld }
  if (facts.suspended) {
    return new PoolsmithError(`The pool${show(' of', where)} stayed suspended for ${limit(timeoutMillis)}.`, {
      code: 'POOL_SUSPENDED',
      phase: 'pool',
      hint: 'Call resume(), or find out why it was not called.',
      transient: true,
      details,
    })
  }
  const most = timeoutMillis / 2
  const stalledMillis = Math.round(Math.max(facts.lateMillis, attempt?.stalledMillis ?? 0))
  if (stalledMillis >= most) {
    return new PoolsmithError(
      `${noConnection(where, timeoutMillis)}: the event loop of this process stood still for ${seconds(stalledMillis)} and could take no answer.`,
      {
        code: 'EVENT_LOOP_STALLED',
        phase: 'pool',
        hint: 'Find what blocks the event loop (node --cpu-prof, perf_hooks.monitorEventLoopDelay) and move it into a worker.',
        transient: true,
        details: { ...details, stalledMillis },
      },
    )
  }
  // A caller that waited for a full pool is told of that, whatever happened at the end of the wait.
  const hadRoom = spareMillis >= most
  const hanging = attempt !== undefined && (failure === undefined || isTimeLimit(failure))
  if (hadRoom && failure !== undefined && !hanging) {
    const { inUse, max } = occupancy
    const others =
      inUse === 0
        ? ''
        : `${inUse} of ${max} connections ${inUse === 1 ? 'is' : 'are'} in use, and no more can be opened: `
    // The driver's failures name the place themselves.
    const place = failure.details.host === undefined ? where : undefined
    const message = `${noConnection(place, timeoutMillis)}: ${others}${failure.message}`
    return failure.with({ message, cause: failure, details })
  }
  if (hadRoom && attempt !== undefined) return hangingError(attempt, timeoutMillis, where).with({ details })
  return exhaustedError(facts, details)
}

function exhaustedError(facts: TimeoutFacts, details: Readonly<Record<string, unknown>>): PoolsmithError {
  const { max, inUse, checking, waiting } = facts.occupancy
  const [longest] = facts.longestHeld
  const checked = checking === 0 ? '' : `, ${checking} ${checking === 1 ? 'is' : 'are'} being checked`
  const held = longest === undefined ? '' : `; the longest use has lasted ${seconds(longest.heldMillis)}`
  return new PoolsmithError(
    `No connection${show(' to', facts.where)} became free within ${limit(facts.timeoutMillis)}: ${inUse} of ${max} connections ${inUse === 1 ? 'is' : 'are'} in use${checked}, ${waiting} ${waiting === 1 ? 'caller is' : 'callers are'} waiting${held}.`,
    {
      code: 'POOL_EXHAUSTED',
      phase: 'pool',
      hint: 'A transaction that asks the pool for a second connection waits for itself: run every statement of it on trx. Otherwise release connections sooner, set leak_detection_threshold to find one that is never released, or raise pool_size or max_overflow.',
      transient: true,
      details,
    },
  )
}

export function closedError(where: Whereabouts | undefined): PoolsmithError {
  return new PoolsmithError(`The pool${show(' of', where)} is closed.`, {
    details: { ...where },
    code: 'POOL_CLOSED',
    phase: 'pool',
    hint: 'destroy() was called: build a new engine, or destroy this one later.',
  })
}

export function abortedError(signal: AbortSignal, where: Whereabouts | undefined): PoolsmithError {
  return new PoolsmithError(`The caller aborted its wait for a connection${show(' to', where)}.`, {
    details: { ...where },
    code: 'ABORTED',
    phase: 'pool',
    cause: signal.reason,
  })
}

/** The error of a statement, or of work on a session, that its caller has aborted. */
export function statementAborted(signal: AbortSignal, where: Whereabouts | undefined): PoolsmithError {
  return new PoolsmithError(`The caller aborted the statement${show(' on', where)}.`, {
    code: 'ABORTED',
    phase: 'query',
    details: { ...where },
    cause: signal.reason,
  })
}

/** A session that ended before it could be handed out. */
export function endedAtLoginError(reason: Error | undefined): PoolsmithError {
  const words = reason === undefined ? '.' : `: ${printable(reason.message)}`
  return new PoolsmithError(`The server closed the session right after the login${words}`, {
    code: 'CONNECTION_CLOSED',
    phase: 'login',
    transient: true,
    hint: "Look into the server's log; a server that is being stopped does this.",
    cause: reason,
  })
}

const CLOSED_FOR: Readonly<Partial<Record<CloseReason, string>>> = {
  broken: 'has ended',
  'ping-failed': 'did not stand a check',
  'reset-failed': 'could not be cleaned up for the next caller',
}

/** The reason for closing a session that failed: the server's last words, the socket's error, or a time limit. */
export function closeCause(
  reason: CloseReason,
  error: unknown,
  where: Whereabouts | undefined,
): PoolsmithError | undefined {
  const what = CLOSED_FOR[reason]
  if (what === undefined) return undefined
  const why =
    error instanceof LimitExceeded
      ? ': no answer within pool_ping_timeout'
      : isError(error)
        ? `: ${printable(error.message)}`
        : ''
  return new PoolsmithError(`The session${show(' with', where)} ${what}${why}`, {
    code: 'CONNECTION_LOST',
    phase: 'pool',
    transient: true,
    details: { ...where },
    cause: error,
  })
}

/** Makes a PoolsmithError of what a third-party driver or source throws. */
export function asPoolsmithError(error: unknown, phase: Phase): PoolsmithError {
  if (error instanceof PoolsmithError) return error
  return new PoolsmithError(`The connection could not be opened: ${errorText(error)}`, {
    code: 'CONNECT_FAILED',
    phase,
    cause: error,
  })
}

function noConnection(where: Whereabouts | undefined, limitMillis: number): string {
  return `No connection${show(' to', where)} within ${limit(limitMillis)}`
}

function show(link: string, where: Whereabouts | undefined): string {
  return where === undefined ? '' : `${link} ${showWhereabouts(where)}`
}

function limit(millis: number): string {
  return `${seconds(millis)} (pool_timeout)`
}

function seconds(millis: number): string {
  return millis < 1000 ? `${Math.round(millis)} ms` : `${Number((millis / 1000).toFixed(1))} s`
}
