/** How a session that has left the pool is closed. */

import { within } from '../abort.ts'
import type { Driver } from '../drivers/driver.ts'
import { PoolsmithError } from '../errors.ts'
import type { CloseReason } from '../events.ts'
import type { Session } from './session.ts'

/** How long a session may take to say goodbye before its socket is cut, and the server to hear of that. */
const GOODBYE_MILLIS = 1000
/** How long a statement may take to end after a cancel request on behalf of a caller. */
export const CANCEL_LIMIT_MILLIS = 5000
/** Closed for one of these, a session is past listening: no goodbye. */
const DEAF: ReadonlySet<CloseReason> = new Set(['broken', 'ping-failed', 'reset-failed', 'drain-timeout'])

/** Cuts a session, and has the server end the statement that it runs, where that is possible. Never rejects. */
export async function cut<Raw extends object>(
  driver: Driver<Raw>,
  raw: Raw,
  limitMillis = GOODBYE_MILLIS,
): Promise<void> {
  if (driver.kill === undefined) driver.abort(raw)
  // The session is gone even where its statement cannot be ended.
  else await driver.kill(raw, AbortSignal.timeout(limitMillis)).catch(() => undefined)
}

/** Closes a session, with a goodbye if the server may still listen. Never rejects. */
export async function sayGoodbye<Raw extends object>(session: Session<Raw>, driver: Driver<Raw>): Promise<void> {
  const { raw, condemned } = session
  const reason = condemned === 'drain-timeout' ? cutOff() : undefined
  try {
    // A hook that hangs in a statement makes a reset fail.
    const mayRun = condemned === 'drain-timeout' || (condemned === 'reset-failed' && !driver.isBroken(raw))
    if (mayRun && driver.kill !== undefined) {
      await within(driver.kill(raw, AbortSignal.timeout(GOODBYE_MILLIS), reason), GOODBYE_MILLIS)
      return
    }
    if (condemned !== undefined && !DEAF.has(condemned)) {
      await within(driver.close(raw), GOODBYE_MILLIS)
      return
    }
  } catch {
    // The server does not listen, or not in time.
  }
  driver.abort(raw, reason)
}

/** Why a statement was cut off at the end of its pool; it stands behind `has ended:`. */
function cutOff(): PoolsmithError {
  return new PoolsmithError('the pool was destroyed, and drain_timeout passed', {
    code: 'POOL_CLOSED',
    phase: 'pool',
    hint: 'End the callers before destroy(), or raise drain_timeout.',
  })
}
