import { isPlausiblePath } from '../plausible-path.ts'

/** RFC 1035, section 2.3.4. */
const LONGEST_HOST = 253
const LONGEST_LABEL = 63

/** For `h1,h2` in a form that has no list here. */
export const SEVERAL_HOSTS =
  'names several hosts, which this form cannot have; write an object with host: "a,b", or the name that leads to the primary (a listener, a load balancer)'

/**
 * The problem of a host name, an address or the folder of a Unix socket, if any. It does not repeat the host: a text that
 * holds more than a host may hold a password or a key.
 */
export function hostProblem(host: string): string | undefined {
  if (host.includes('://') || host.includes('@')) {
    return 'expected a host alone; login, password, port and database have keys of their own'
  }
  if (host.startsWith('/')) return isPlausiblePath(host) ? undefined : 'expected the folder of a Unix socket'
  if (host.includes(',')) return SEVERAL_HOSTS
  if (host.includes(';')) return 'a host name holds no ";"'
  if (/[\s\p{Cc}]/u.test(host)) return 'a host name holds no spaces or control characters'
  if (/^[^:]+:\d+$/.test(host)) return 'holds a port; write it into port'
  if (host.length > LONGEST_HOST || host.split('.').some(({ length }) => length > LONGEST_LABEL)) {
    return `a host name holds at most ${LONGEST_HOST} characters, and at most ${LONGEST_LABEL} between two dots`
  }
  return undefined
}
