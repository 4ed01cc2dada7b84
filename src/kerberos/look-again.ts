import { pause } from '../abort.ts'
import { type ErrorCode, PoolsmithError } from '../errors.ts'

/** How long a cache that has just had a ticket may be missing while it is replaced, in milliseconds. */
const GAP_MILLIS = 1000
const POLL_MILLIS = 20

/** The names of caches in which this process has seen a ticket; '' is krb5's own choice. */
const seen = new Set<string>()

/** The errors of a cache while kinit or a sidecar replaces it: removed, not written yet, or written in part. */
const GAP: ReadonlySet<ErrorCode> = new Set(['TICKET_MISSING', 'TICKET_CACHE_MISSING', 'TICKET_CACHE_EMPTY'])

/**
 * Looks into a cache; for up to a second again and again when it is missing and had a ticket before. A cache that stays
 * away is not waited for a second time.
 *
 * @param look reads the cache and returns its full name among the rest
 * @throws the errors of `look`
 */
export async function lookAgain<T extends { readonly cache: string }>(
  cache: string | undefined,
  look: () => T | Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  const name = cache ?? ''
  const end = performance.now() + GAP_MILLIS
  for (;;) {
    try {
      const found = await look()
      seen.add(name).add(found.cache)
      return found
    } catch (error) {
      const isGap = error instanceof PoolsmithError && GAP.has(error.code)
      if (!isGap || !seen.has(name) || signal?.aborted) throw error
      if (performance.now() >= end) {
        seen.delete(name)
        throw error
      }
      // The loop looks at the signal itself.
      await pause(POLL_MILLIS, { signal }).catch(() => undefined)
    }
  }
}

/** A cache that was destroyed on purpose is not waited for. */
export function forgetSeen(cache: string): void {
  seen.delete(cache)
  // It may have been krb5's own choice.
  seen.delete('')
}
