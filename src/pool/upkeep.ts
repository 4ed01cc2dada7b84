/** What is due for sessions as time passes: the arithmetic of the pool's sweep, apart from its timer. */

import type { CloseReason, Emit } from '../events.ts'
import type { Policy } from './options.ts'
import { FRESH_MILLIS, type Session } from './session.ts'

const LONGEST_PERIOD_MILLIS = 500
const SHORTEST_PERIOD_MILLIS = 10

/** How often to look: often enough that no limit is passed by more than a quarter of itself. */
export function sweepPeriodMillis({ idleMillis, keepaliveMillis, leakMillis }: Policy): number {
  const quarter = Math.min(idleMillis, keepaliveMillis, leakMillis) / 4
  return Math.min(LONGEST_PERIOD_MILLIS, Math.max(SHORTEST_PERIOD_MILLIS, quarter))
}

/**
 * Why an idle session that is otherwise good is not worth keeping.
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

/** Whether the server has not been heard of for so long that a keepalive is due. */
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
    emit('connection:leaked', { id: session.id, heldMillis, stack: session.acquireSite?.stack })
  }
}
