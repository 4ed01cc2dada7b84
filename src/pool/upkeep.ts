/** When sessions are due to be closed, checked or reported: the arithmetic of the pool's sweep, without its timer. */

import type { CloseReason, Emit } from '../events.ts'
import { callerLines } from './call-site.ts'
import type { Policy } from './options.ts'
import { FRESH_MILLIS, type Session } from './session.ts'

const LONGEST_PERIOD_MILLIS = 500
const SHORTEST_PERIOD_MILLIS = 10

/** The shortest time between two sweeps, so that what is due at about the same time is done together. */
export function sweepPeriodMillis({ idleMillis, keepaliveMillis, leakMillis }: Policy): number {
  const quarter = Math.min(idleMillis, keepaliveMillis, leakMillis) / 4
  return Math.min(LONGEST_PERIOD_MILLIS, Math.max(SHORTEST_PERIOD_MILLIS, quarter))
}

/**
 * Why an idle session that is otherwise good is closed.
 *
 * @param total open sessions, this one included
 * @param idle idle sessions, this one included
 */
export function surplus(
  session: Session<object>,
  now: number,
  policy: Policy,
  total: number,
  idle: number,
): CloseReason | undefined {
  const unused = now - session.usedAt
  if (total > policy.size && unused >= FRESH_MILLIS) return 'overflow'
  if (idle > policy.minIdle && unused >= policy.idleMillis) return 'idle'
  return undefined
}

/**
 * When an idle session is next due for one of these, if it stays idle: to be closed for its age, its credential, its
 * disuse, or to be sent a keepalive. `Infinity`: never.
 *
 * @param total open sessions, this one included
 * @param idle idle sessions, this one included
 */
export function idleDueAt(session: Session<object>, now: number, policy: Policy, total: number, idle: number): number {
  const { expiresAt } = session.credential
  const expires = policy.retireOn === 'expiry' && expiresAt !== undefined
  return Math.min(
    session.recycleAt,
    session.provenAt + policy.keepaliveMillis,
    total > policy.size ? session.usedAt + FRESH_MILLIS : Number.POSITIVE_INFINITY,
    idle > policy.minIdle ? session.usedAt + policy.idleMillis : Number.POSITIVE_INFINITY,
    expires ? now + Math.max(0, expiresAt - Date.now()) : Number.POSITIVE_INFINITY,
  )
}

/** When a session in use is next due to be reported as a leak. */
export function leakDueAt(session: Session<object>, { leakMillis }: Policy): number {
  return session.busy && !session.leakReported ? session.acquiredAt + leakMillis : Number.POSITIVE_INFINITY
}

/** Whether a keepalive is due: the last answer of the server is older than `pool_keepalive`. */
export function keepaliveDue(session: Session<object>, now: number, policy: Policy): boolean {
  return now - session.provenAt >= policy.keepaliveMillis
}

/** Raises `connection:leaked` once for each acquire that lasts longer than the threshold. */
export function reportLeaks(
  sessions: Iterable<Session<object>>,
  now: number,
  { leakMillis }: Policy,
  emit: Emit,
): void {
  if (leakMillis === Number.POSITIVE_INFINITY) return
  for (const session of sessions) {
    const heldMillis = now - session.acquiredAt
    if (!session.busy || session.leakReported || heldMillis < leakMillis) continue
    session.leakReported = true
    emit('connection:leaked', { id: session.id, heldMillis, stack: callerLines(session.acquireSite) })
  }
}
