/** The pool's own errors: each says what was waited for, how long, and what to do. */

import { type Phase, PoolsmithError } from '../errors.ts'
import { printable } from '../printable.ts'

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
}

const PHASE_HINTS: Readonly<Partial<Record<Phase, string>>> = {
  credential: 'Check that the token endpoint, KDC or secret store is reachable from here.',
  dns: 'Check the host name and the name servers of this machine.',
  connect: 'Check host and port, and that no firewall drops the packets silently.',
  proxy: 'Check that the proxy is reachable and answers.',
  tls: 'Something accepts connections there but does not speak: check the port, and whether the server is frozen.',
  gss: 'Check that the KDC and the server answer.',
  login: 'The server accepts connections but does not answer: it may be frozen, starting, or overloaded.',
}

/** An attempt to connect that does not get on. */
export function hangingError(attempt: Hanging, limitMillis: number): PoolsmithError {
  const { phase, phaseMillis, credentialFailure: failure } = attempt
  if (phase === 'credential' && failure !== undefined) {
    const { code, hint, transient, details } = failure
    return new PoolsmithError(`No connection within ${seconds(limitMillis)} (pool_timeout): ${failure.message}`, {
      code,
      phase,
      transient,
      details: { ...details, limitMillis, phaseMillis: Math.round(phaseMillis) },
      cause: failure,
      ...(hint === undefined ? {} : { hint }),
    })
  }
  const words = PHASE_WORDS[phase] ?? `in the phase ${phase}`
  return new PoolsmithError(
    `No connection within ${seconds(limitMillis)} (pool_timeout): the attempt has been ${words} for ${seconds(phaseMillis)}.`,
    {
      code: phase === 'credential' ? 'CREDENTIAL_TIMEOUT' : 'CONNECT_TIMEOUT',
      phase,
      transient: true,
      details: { limitMillis, phaseMillis: Math.round(phaseMillis) },
      ...(PHASE_HINTS[phase] === undefined ? {} : { hint: PHASE_HINTS[phase] }),
    },
  )
}

export interface TimeoutFacts {
  readonly timeoutMillis: number
  readonly suspended: boolean
  readonly occupancy: Occupancy
  readonly longestHeld: readonly Holder[]
  /** The attempt under way for longest, if any. */
  readonly attempt: Hanging | undefined
  /** The failure of the last attempt, when none has succeeded since. */
  readonly failure: PoolsmithError | undefined
}

/** Why an acquire was not answered within `pool_timeout`. */
export function acquireTimeoutError(facts: TimeoutFacts): PoolsmithError {
  const { timeoutMillis, occupancy, longestHeld, attempt, failure } = facts
  const details = { timeoutMillis, ...occupancy, longestHeld }
  if (facts.suspended) {
    return new PoolsmithError(`The pool stayed suspended for ${seconds(timeoutMillis)} (pool_timeout).`, {
      code: 'POOL_SUSPENDED',
      phase: 'pool',
      hint: 'Call resume(), or find out why it was not called.',
      transient: true,
      details,
    })
  }
  // Neither of these two can be while the pool is full: either needs room for one more.
  if (failure !== undefined) {
    return new PoolsmithError(
      `No connection became free within ${seconds(timeoutMillis)} (pool_timeout); ${occupancy.inUse} of ${occupancy.max} are in use, and no more can be opened: ${failure.message}`,
      {
        code: failure.code,
        phase: failure.phase,
        transient: failure.transient,
        cause: failure,
        details,
        ...(failure.hint === undefined ? {} : { hint: failure.hint }),
      },
    )
  }
  if (attempt !== undefined) {
    const hanging = hangingError(attempt, timeoutMillis)
    return new PoolsmithError(hanging.message, {
      code: hanging.code,
      phase: hanging.phase,
      transient: true,
      details: { ...hanging.details, ...details },
      ...(hanging.hint === undefined ? {} : { hint: hanging.hint }),
    })
  }
  const [longest] = longestHeld
  const held = longest === undefined ? '' : `, one of them for ${seconds(longest.heldMillis)}`
  const checking = occupancy.checking === 0 ? '' : `, ${occupancy.checking} being checked or reset`
  return new PoolsmithError(
    `No connection became free within ${seconds(timeoutMillis)} (pool_timeout): all ${occupancy.max} are in use (${occupancy.inUse} handed out${held}${checking}), and ${occupancy.waiting} wait.`,
    {
      code: 'POOL_EXHAUSTED',
      phase: 'pool',
      hint: 'Release connections sooner, set leak_detection_threshold to find one that is never released, or raise pool_size or max_overflow.',
      transient: true,
      details,
    },
  )
}

export function closedError(): PoolsmithError {
  return new PoolsmithError('The pool is closed.', {
    code: 'POOL_CLOSED',
    phase: 'pool',
    hint: 'destroy() was called: build a new engine, or destroy this one later.',
  })
}

export function abortedError(signal: AbortSignal): PoolsmithError {
  return new PoolsmithError('The acquire was aborted by its caller.', {
    code: 'ABORTED',
    phase: 'pool',
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

/** Dresses what a driver or source of somebody else's throws. */
export function asPoolsmithError(error: unknown, phase: Phase): PoolsmithError {
  if (error instanceof PoolsmithError) return error
  return new PoolsmithError(
    `The connection could not be opened: ${error instanceof Error ? error.message : String(error)}`,
    { code: 'CONNECT_FAILED', phase, cause: error },
  )
}

function seconds(millis: number): string {
  return millis < 1000 ? `${Math.round(millis)} ms` : `${Number((millis / 1000).toFixed(1))} s`
}
