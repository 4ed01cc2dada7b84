import { setTimeout as sleep } from 'node:timers/promises'
import { PoolsmithError } from '../errors.ts'

/**
 * Waits. A pause of the background does not keep the process alive.
 *
 * @throws the signal's reason where it is one of our errors, else ABORTED
 */
export async function pause(millis: number, signal: AbortSignal | undefined, background: boolean): Promise<void> {
  try {
    await sleep(millis, undefined, { ref: !background, ...(signal === undefined ? {} : { signal }) })
  } catch (cause) {
    const reason: unknown = signal?.reason
    if (reason instanceof PoolsmithError) throw reason
    throw new PoolsmithError('Waiting for a Kerberos ticket was aborted.', {
      code: 'ABORTED',
      phase: 'credential',
      cause: reason ?? cause,
    })
  }
}
