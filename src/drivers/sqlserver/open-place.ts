/** The places of a SQL Server record: the time limit of each, and the failures after which the next one is tried. */

import { TimeLimit } from '../../abort.ts'
import type { Credential } from '../../credentials/credential.ts'
import type { Phase, PoolsmithError } from '../../errors.ts'
import { Place, sharedPlace } from '../../hosts/place.ts'
import { connectTimeout } from '../connect-timeout.ts'
import { systemLookup } from '../network/socket.ts'
import { type Attempt, Places } from '../places.ts'
import type { SessionTarget } from '../session-target.ts'
import { roleOf } from './greeting.ts'
import { isMoving } from './server-error.ts'
import { openSession, type Session, type SessionPlan } from './session.ts'
import { patiently } from './throttling.ts'

/**
 * Cannot open the database: it may be a mirror, or not there yet; 978 and 979: the replica is for others. Microsoft's
 * SqlClient too stops at a refused login alone.
 */
const NOT_HERE: ReadonlySet<unknown> = new Set([911, 978, 979, 4060])

/**
 * @param all at least one, with the same options
 * @param asksRole whether a session that may be opened anywhere asks for the role of its server
 */
export function sqlServerPlaces(
  all: readonly SessionPlan[],
  asksRole: () => boolean,
): Places<SessionPlan, Session & Fitting> {
  const { target_session_attrs: target = 'any', load_balance_hosts: balance } = all[0]?.options ?? {}
  return new Places(all, {
    target,
    shuffles: balance === 'random',
    open: async (plan, credential, attempt) => {
      const asks = asksRole() || attempt.at !== undefined
      const session = await openWithin(plan, credential, attempt, { asksRole: asks, isAlone: all.length === 1 })
      return { ...session, misfit: misfitOf(attempt.target ?? 'any', session.connection.greeting.readOnly) }
    },
    misfitOf: ({ misfit }) => misfit,
    serverOf: ({ connection, address, wasRouted }) => ({
      address,
      role: wasRouted ? undefined : roleOf(connection.greeting.readOnly),
    }),
    knownAs,
    leave: ({ connection }) => connection.close(),
    goesOn,
    timeout: timeoutError,
  })
}

/** The role is a database's. A resolver of its own, as in tests, leads to other servers. */
function knownAs(plan: SessionPlan): Place {
  const { port, database, lookup, route } = plan
  const host = plan.instance === undefined ? plan.host : `${plan.host}\\${plan.instance}`
  if (lookup !== systemLookup) return new Place({ host, port })
  const proxy = port === undefined ? undefined : route?.(plan.host, port)?.proxy
  return sharedPlace({ host, port }, 'microsoft.sql_server', database?.toLowerCase(), proxy)
}

interface Fitting {
  /** The difference of the database from what was asked for; undefined where it fits. */
  readonly misfit: string | undefined
}

interface Circumstances {
  readonly asksRole: boolean
  /** Whether there is no other place. */
  readonly isAlone: boolean
}

/** Opens a session at one place, within `connect_timeout`. */
async function openWithin(
  plan: SessionPlan,
  credential: Credential,
  attempt: Attempt,
  { asksRole, isAlone }: Circumstances,
): Promise<Session> {
  const { connect_timeout: seconds } = plan.options
  const limit = new AbortController()
  const timeout = (millis: number): PoolsmithError => timeoutError(plan, attempt.phase(), millis / 1000)
  using _ = seconds === 0 ? undefined : new TimeLimit(seconds * 1000, () => limit.abort(timeout(seconds * 1000)))
  const signal = AbortSignal.any([attempt.signal, limit.signal])
  const endsAt = seconds === 0 ? Number.POSITIVE_INFINITY : performance.now() + seconds * 1000
  const deadline = Math.min(endsAt, attempt.deadline ?? Number.POSITIVE_INFINITY)
  const open = (): Promise<Session> =>
    openSession(plan, credential, { ...attempt, signal, deadline, asksRole, timeout })
  // Among several, one that is busy or moving is not waited for.
  const session = await (isAlone ? patiently(open, { signal, left: () => deadline - performance.now() }) : open())
  if (!signal.aborted) return session
  session.connection.close()
  throw signal.reason
}

/** Whether the next place is tried: the server is not ready, is moving, or does not have the database open. */
function goesOn({ code, details }: PoolsmithError): boolean {
  const { number } = details
  return (
    code === 'SERVER_NOT_READY' ||
    code === 'CONNECTION_CLOSED' ||
    NOT_HERE.has(number) ||
    (typeof number === 'number' && isMoving(number))
  )
}

/** The difference of a database from the target in words; undefined where it fits. */
function misfitOf(target: SessionTarget, readOnly: boolean | undefined): string | undefined {
  if (target === 'any') return undefined
  const wanted = target !== 'read-write' && target !== 'primary'
  if (readOnly === undefined) return 'does not say whether the database can be written'
  return readOnly === wanted ? undefined : `has the database ${readOnly ? 'read-only' : 'open for writing'}`
}

function timeoutError({ host, port, options, route }: SessionPlan, phase: Phase, seconds: number): PoolsmithError {
  return connectTimeout({
    host,
    phase,
    seconds,
    limitSeconds: options.connect_timeout,
    proxy: phase === 'proxy' && port !== undefined ? route?.(host, port)?.proxy : undefined,
    isInstance: port === undefined,
  })
}
