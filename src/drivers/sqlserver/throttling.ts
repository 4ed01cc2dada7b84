import { pause } from '../../abort.ts'
import { PoolsmithError } from '../../errors.ts'

const FIRST_PAUSE_MILLIS = 200
const LONGEST_PAUSE_MILLIS = 5000

export interface Patience {
  readonly signal: AbortSignal
  /** How much time is left, in milliseconds; `Infinity` for no limit. */
  readonly left: () => number
  /** From 0 to 1, for jitter. Default `Math.random`. */
  readonly random?: () => number
}

/**
 * Tries again, with growing pauses, while a server says that it is busy, moving or waking up (Azure SQL). A database
 * that is down is not such a server. When the time runs out, in a pause or in another attempt, the server's own error is
 * thrown, since it says why.
 */
export async function patiently<T>(open: () => Promise<T>, patience: Patience): Promise<T> {
  const { signal, left, random = Math.random } = patience
  let throttled: PoolsmithError | undefined
  for (let pauses = 0; ; pauses++) {
    try {
      return await open()
    } catch (error) {
      if (!(error instanceof PoolsmithError) || error.code !== 'SERVER_THROTTLED') {
        throw signal.aborted && throttled !== undefined ? throttled : error
      }
      throttled = error
      const millis = Math.min(LONGEST_PAUSE_MILLIS, FIRST_PAUSE_MILLIS * 2 ** pauses) * (0.75 + 0.25 * random())
      if (millis >= left() || signal.aborted) throw error
      try {
        await pause(millis, { signal })
      } catch {
        throw error
      }
    }
  }
}
