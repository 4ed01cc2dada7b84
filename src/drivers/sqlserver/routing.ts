/** Whether a server may send our login on to another one (MS-TDS 2.2.7.9, ENVCHANGE 20). */

import { isIP } from 'node:net'
import { PoolsmithError } from '../../errors.ts'
import { printable } from '../../printable.ts'
import type { SqlServerOptions } from './options.ts'

/** More than a host's name can have (RFC 1035). */
const LONGEST_NAME = 255
/** As in Microsoft's SqlClient. */
const MOST_REDIRECTIONS = 10

/** @throws PoolsmithError REDIRECTED_TOO_OFTEN */
export function assertFewRedirections(redirections: number, host: string): void {
  if (redirections <= MOST_REDIRECTIONS) return
  throw new PoolsmithError(`${host} sent the login on, and so did ${MOST_REDIRECTIONS} servers after it.`, {
    code: 'REDIRECTED_TOO_OFTEN',
    phase: 'login',
    hint: "Look at the servers' read-only routing lists; one of them may name a server that names it.",
    details: { host },
  })
}

/**
 * Checks the server that we are sent on to.
 *
 * @param host the server of the connection record
 * @throws PoolsmithError ROUTING_REFUSED
 */
export function assertRoute(
  server: string,
  port: number,
  host: string,
  allowed: SqlServerOptions['server_routing'],
): void {
  const isName =
    server !== '' && server.length <= LONGEST_NAME && !/[\s/@]/.test(server) && printable(server) === server
  if (!isName || port === 0) throw refused('names no host and port')
  if (allowed === 'none') throw refused('and server_routing=none')
  if (allowed === 'domain' && !isInDomain(server, host))
    throw refused(`outside of its domain, and server_routing=domain`)

  function refused(why: string): PoolsmithError {
    const target = printable(`${server}:${port}`, LONGEST_NAME)
    return new PoolsmithError(`${host} sent the login on to ${target}, ${why}.`, {
      code: 'ROUTING_REFUSED',
      phase: 'login',
      hint: 'Connect to that server itself if you trust it, or allow more with server_routing.',
      details: { host, target },
    })
  }
}

/**
 * Whether a name lies in the domain of a host: behind the first label of the host's name, where at least two labels are
 * left. A host without a domain has those without one beside it, an address only itself.
 */
export function isInDomain(server: string, host: string): boolean {
  const [name, own] = [canonical(server), canonical(host)]
  if (name === own) return true
  if (isIP(own) !== 0 || isIP(name) !== 0) return false
  const labels = own.split('.')
  if (labels.length === 1) return !name.includes('.')
  const domain = labels.length === 2 ? own : labels.slice(1).join('.')
  return name === domain || name.endsWith(`.${domain}`)
}

/** `db.example.com.` is `db.example.com`, written so that no resolver adds a domain of its own. */
export function withoutFinalDot(name: string): string {
  return name.endsWith('.') ? name.slice(0, -1) : name
}

function canonical(name: string): string {
  return withoutFinalDot(name).toLowerCase()
}
