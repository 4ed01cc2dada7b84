/** Statements that are aborted while they run at the server. */

import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { PoolsmithError } from '../../src/errors.ts'
import type { Side } from './sides/side.ts'

export const REASON = new Error('the user has left')

/** The error of work that was aborted for {@link REASON}. */
export async function aborted(work: PromiseLike<unknown>): Promise<PoolsmithError> {
  const error = await work.then(
    () => assert.fail('it succeeded'),
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof PoolsmithError, String(error))
  assert.deepEqual([error.code, error.cause], ['ABORTED', REASON], error.stack)
  return error
}

/** A signal that aborts as soon as the server runs the side's slow statement. */
export function onceRunning(side: Side): AbortSignal {
  const controller = new AbortController()
  const watch = async (): Promise<void> => {
    while (!(await side.runsSlow())) await sleep(5)
    controller.abort(REASON)
  }
  watch().catch((error) => controller.abort(error))
  return controller.signal
}
