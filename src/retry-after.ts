/** The longest wait that a server's Retry-After is followed for, in milliseconds. */
const MAX_MILLIS = 5 * 60_000

/** The wait that a Retry-After header asks for (RFC 9110, 10.2.3: seconds or a date), in milliseconds. */
export function retryAfterMillis(header: string | undefined, now = Date.now()): number | undefined {
  if (header === undefined || header.trim() === '') return undefined
  const seconds = Number(header)
  const wait = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(header) - now
  return Number.isFinite(wait) && wait > 0 ? Math.min(wait, MAX_MILLIS) : undefined
}
