/** Makes a session ready for its users: the option `session_init`, and the hook `onSession`. */

import { nextPoll } from '../abort.ts'
import { errorText } from '../any-error.ts'
import type { Driver } from '../drivers/driver.ts'
import type { Whereabouts } from '../drivers/whereabouts.ts'
import { PoolsmithError } from '../errors.ts'
import { printable } from '../printable.ts'
import { unobserved } from '../tracing.ts'
import { connectionInfo, type Session } from './session.ts'
import type { SessionHook } from './types.ts'

export interface PreparationConfig<Raw extends object> {
  readonly driver: Driver<Raw>
  readonly where: Whereabouts | undefined
  readonly sessionInit: string | undefined
  readonly onSession: SessionHook<Raw> | undefined
  readonly now: () => number
}

/** Prepares one session; undefined when there is nothing to do. Rejects when the session must be closed. */
export type Prepare<Raw extends object> = ((session: Session<Raw>) => Promise<void>) | undefined

export async function prepareSession<Raw extends object>(
  session: Session<Raw>,
  { driver, where, sessionInit, onSession, now }: PreparationConfig<Raw>,
): Promise<void> {
  const { raw } = session
  let step = 'session_init'
  try {
    if (sessionInit !== undefined) await driver.run?.(raw, sessionInit)
    step = 'onSession'
    await onSession?.(raw, connectionInfo(session, driver.info(raw), now()))
    // The hook may have left a statement running, or a transaction open.
    if (!driver.isBroken(raw) && driver.needsReset(raw, 'rollback')) {
      await unobserved(() => driver.reset(raw, 'rollback'))
    }
  } catch (cause) {
    throw preparationError(step, cause, where)
  }
  // The end of the session may have arrived, but not been read.
  await nextPoll()
  if (driver.isBroken(raw)) throw preparationError(step, driver.endedBy?.(raw) ?? ENDED, where)
  driver.markClean?.(raw)
}

const ENDED = new Error('the session has ended')

function preparationError(step: string, cause: unknown, where: Whereabouts | undefined): PoolsmithError {
  const words = errorText(cause)
  return new PoolsmithError(`A new session was closed because ${step} failed: ${printable(words)}`, {
    code: 'SESSION_INIT_FAILED',
    phase: 'query',
    hint:
      step === 'onSession'
        ? 'Correct the hook, or catch its errors in it where a session can be used without it.'
        : 'Correct the SQL, or give the role the rights that it needs.',
    transient: (cause as { readonly transient?: unknown } | undefined)?.transient === true,
    details: { ...where, step },
    cause,
  })
}
