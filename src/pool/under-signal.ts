/** Work on a session that a signal may abort, with the statement that the session is running. */

import { nextPoll, onAbort } from '../abort.ts'
import type { Driver } from '../drivers/driver.ts'
import type { Whereabouts } from '../drivers/whereabouts.ts'
import { LimitedSignal } from '../limited-signal.ts'
import { statementAborted } from './failures.ts'
import { CANCEL_LIMIT_MILLIS, cut } from './goodbye.ts'

export interface UnderSignal<Raw extends object> {
  readonly raw: Raw
  readonly driver: Driver<Raw>
  readonly where: Whereabouts | undefined
  readonly signal: AbortSignal
}

/**
 * Does work on a session until the signal aborts. Then the server is asked to end the running statement, and the work
 * has the chance to end with it. Work that goes on all the same is left behind, and its session cut.
 *
 * @returns the result of the work, also if it was complete when the signal aborted
 * @throws PoolsmithError ABORTED, whose cause is the signal's reason; without an abort, the error of the work
 */
export async function underSignal<Raw extends object, T>(
  work: () => Promise<T> | T,
  { raw, driver, where, signal }: UnderSignal<Raw>,
): Promise<T> {
  let settled = false
  const working = (async () => {
    if (signal.aborted) throw signal.reason
    return work()
  })()
  const { promise: aborted, resolve: abort } = Promise.withResolvers<void>()
  using _ = onAbort(signal, abort)
  const ended = working.then(
    () => {
      settled = true
    },
    () => {
      settled = true
    },
  )
  await Promise.race([ended, aborted])
  if (!settled) {
    const isQuiet = await quieten(driver, raw)
    // The end of the statement is told to the work, which ends or goes on.
    await nextPoll()
    if (!isQuiet || !settled) await cut(driver, raw, CANCEL_LIMIT_MILLIS)
  }
  if (signal.aborted && !(await succeeded(working, () => settled))) throw statementAborted(signal, where)
  return working
}

/** Whether the session runs nothing any more. */
async function quieten<Raw extends object>(driver: Driver<Raw>, raw: Raw): Promise<boolean> {
  using limit = new LimitedSignal(undefined, CANCEL_LIMIT_MILLIS)
  try {
    await driver.interrupt?.(raw, limit.signal)
    return driver.interrupt !== undefined
  } catch {
    return false
  }
}

async function succeeded(working: Promise<unknown>, settled: () => boolean): Promise<boolean> {
  if (!settled()) return false
  return working.then(
    () => true,
    () => false,
  )
}
