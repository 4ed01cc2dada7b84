import { pause as pauseUnder } from '../abort.ts'
import { PoolsmithError } from '../errors.ts'

/**
 * Waits for the next look at a ticket, or the next attempt.
 *
 * @param background true: the pause does not keep the process alive
 * @throws the signal's reason when it is a PoolsmithError, else ABORTED
 */
export async function pause(millis: number, signal: AbortSignal | undefined, background: boolean): Promise<void> {
  try {
    await pauseUnder(millis, { signal, background })
  } catch (reason) {
    if (reason instanceof PoolsmithError) throw reason
    throw new PoolsmithError('Waiting for a Kerberos ticket was aborted.', {
      code: 'ABORTED',
      phase: 'credential',
      cause: reason,
    })
  }
}
