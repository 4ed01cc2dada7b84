import { isIPv6 } from 'node:net'
import { hostProblem } from './host-name.ts'

export interface ServerAddress {
  readonly host: string
  readonly port?: number
  readonly instance?: string
}

const LOCAL = new Set(['.', '(local)'])
const MAIN_INSTANCE = 'MSSQLSERVER'
const FORM = 'expected host, host,port or host\\instance'

/**
 * Reads `tcp:db.example.com\SALES,1433`, `(local)`, `.`, as Microsoft's drivers write a server; the port wins over the
 * instance, as it does there. Returns a text that says what is wrong, since a password must not be sent to a server that was only guessed.
 */
export function serverAddress(text: string): ServerAddress | string {
  const given = text.trim()
  if (/^(np|lpc|admin):|^\\\\|^\(localdb\)/i.test(given)) return 'names a server that is not reached by TCP'
  const parts = /^(?:tcp:)?\s*([^\\,\s]+)\s*(?:\\\s*([^\\,]+?)\s*)?(?:,\s*(\d+)\s*)?$/i.exec(given)
  if (parts === null) return FORM
  const [, address = '', instance, port] = parts
  const bare = /^\[(.+)\]$/.exec(address)?.[1] ?? address
  if (bare.includes(':') && !isIPv6(bare)) return `${FORM}; the port stands behind a comma`
  const wrong = hostProblem(bare)
  if (wrong !== undefined) return wrong
  if (port !== undefined && !isPort(port)) return `expected a port from 1 to 65535 behind the comma, got ${port}`
  return {
    host: LOCAL.has(bare.toLowerCase()) ? 'localhost' : bare,
    ...(port === undefined ? {} : { port: Number(port) }),
    ...(instance === undefined || instance.toUpperCase() === MAIN_INSTANCE || port !== undefined ? {} : { instance }),
  }
}

/** Whether a host is written in more than a host's name. */
export function looksLikeServer(host: string): boolean {
  return /[\\,]|^(tcp|np|lpc|admin):/i.test(host) || LOCAL.has(host.toLowerCase())
}

export function isPort(text: string): boolean {
  return /^\d{1,5}$/.test(text) && Number(text) > 0 && Number(text) < 65_536
}
