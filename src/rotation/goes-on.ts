import { PoolsmithError } from '../errors.ts'

/** @throws PoolsmithError ABORTED once the signal has aborted */
export function assertGoesOn(signal: AbortSignal): void {
  if (!signal.aborted) return
  throw new PoolsmithError('The work on credentials was aborted.', {
    code: 'ABORTED',
    phase: 'credential',
    cause: signal.reason,
  })
}
