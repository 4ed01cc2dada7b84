import { PoolsmithError } from '../errors.ts'

/** The wait that the issuer itself asked for (Retry-After), in milliseconds. */
export function askedWait(error: PoolsmithError): number {
  const { retryAfterMillis } = error.details
  return typeof retryAfterMillis === 'number' ? retryAfterMillis : 0
}

export function closedError(): PoolsmithError {
  return new PoolsmithError('The source of credentials is closed.', { code: 'ABORTED', phase: 'credential' })
}

export function timeoutError(limit: number): PoolsmithError {
  return new PoolsmithError(`The credential was not there after ${limit / 1000} s.`, {
    code: 'CREDENTIAL_TIMEOUT',
    phase: 'credential',
    transient: true,
    hint: 'Check that the issuer of the credential answers: the token endpoint, the metadata service, the file system.',
  })
}

export function overError(identity: string, expiresAt: number, now: number): PoolsmithError {
  const [end, here] = [expiresAt, now].map((at) => new Date(at).toISOString())
  return new PoolsmithError(`The credential of ${identity} was already over when it arrived.`, {
    code: 'CREDENTIAL_EXPIRED',
    phase: 'credential',
    hint: `It ended at ${end}, and the clock here says ${here}: check the clock, or renew it.`,
    details: { expiresAt },
  })
}

/** The error of a caller that aborted: its own reason if that is one of our errors, and why the wait had no result. */
export function abortError(reason: unknown, last: PoolsmithError | undefined): PoolsmithError {
  if (reason instanceof PoolsmithError) return reason
  const why = last === undefined ? '' : `; the last try failed: ${last.message}`
  return new PoolsmithError(`The wait for a credential was aborted${why}`, {
    code: 'ABORTED',
    phase: 'credential',
    cause: reason,
    ...(last?.hint === undefined ? {} : { hint: last.hint }),
  })
}
