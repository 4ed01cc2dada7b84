/** How a session that has left the pool is closed. */

import { within } from '../abort.ts'
import type { Driver } from '../drivers/driver.ts'
import type { CloseReason } from '../events.ts'
import type { Session } from './session.ts'

/** How long a session may take to say goodbye before its socket is cut, and the server to hear of that. */
const GOODBYE_MILLIS = 1000
/** Closed for one of these, a session is past listening: no goodbye. */
const DEAF: ReadonlySet<CloseReason> = new Set(['broken', 'ping-failed', 'reset-failed', 'drain-timeout'])

/** Closes a session, with a goodbye if the server may still listen. Never rejects. */
export async function sayGoodbye<Raw extends object>(session: Session<Raw>, driver: Driver<Raw>): Promise<void> {
  const { raw, condemned } = session
  try {
    if (condemned === 'drain-timeout' && driver.kill !== undefined) {
      await within(driver.kill(raw, AbortSignal.timeout(GOODBYE_MILLIS)), GOODBYE_MILLIS)
      return
    }
    if (condemned !== undefined && !DEAF.has(condemned)) {
      await within(driver.close(raw), GOODBYE_MILLIS)
      return
    }
  } catch {
    // The server does not listen, or not in time.
  }
  driver.abort(raw)
}
