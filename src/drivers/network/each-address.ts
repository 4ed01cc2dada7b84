import { onAbort, TimeLimit } from '../../abort.ts'
import { PoolsmithError } from '../../errors.ts'
import type { Dialer } from './dialer.ts'

export interface AddressLimits {
  readonly signal: AbortSignal
  /** How long the login at one address may take, in milliseconds (`connect_timeout`). Undefined: no limit. */
  readonly limitMillis: number | undefined
  /** The error of an address that has used up its limit. */
  readonly timeout: (limitMillis: number) => PoolsmithError
}

/**
 * Opens something at the first address of a host that answers: where one cannot be reached, or accepts the connection
 * and does not answer within its limit, the next one is tried. An address that has accepted gets at most its share of
 * the time until the dialer's deadline, so that the last address has its chance too.
 *
 * @param open connects by the dialer, under the signal
 */
export async function eachAddress<T>(
  dialer: Dialer,
  limits: AddressLimits,
  open: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const { signal } = limits
  for (;;) {
    try {
      return await withinShare(dialer, limits, open)
    } catch (error) {
      const unanswered =
        error instanceof PoolsmithError && (error.phase === 'connect' || error.code === 'CONNECT_TIMEOUT')
      if (!unanswered || signal.aborted || !dialer.giveUp(error)) throw error
    }
  }
}

async function withinShare<T>(
  dialer: Dialer,
  { signal, limitMillis = Number.POSITIVE_INFINITY, timeout }: AddressLimits,
  open: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted()
  const limit = new AbortController()
  let clock: TimeLimit | undefined
  const arm = (millis: number, laterMillis = 0): void => {
    clock?.[Symbol.dispose]()
    if (millis === Number.POSITIVE_INFINITY) return
    clock = new TimeLimit(millis + laterMillis, () => limit.abort(timeout(millis)))
  }
  // The attempts to connect overlap: the last one begins so much later.
  arm(limitMillis, (dialer.left - 1) * dialer.delayMillis)
  dialer.onConnect = () => arm(Math.min(limitMillis, shareOf(dialer)))
  using _ = onAbort(signal, () => limit.abort(signal.reason))
  try {
    return await open(limit.signal)
  } finally {
    clock?.[Symbol.dispose]()
  }
}

/** The share of the remaining time that an address gets, in milliseconds, when others come after it. */
function shareOf({ deadline, left }: Dialer): number {
  if (deadline === undefined || left <= 1) return Number.POSITIVE_INFINITY
  return Math.max(0, deadline - performance.now()) / left
}
