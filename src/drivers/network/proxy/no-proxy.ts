import { BlockList, isIP } from 'node:net'

/**
 * Whether a list of exceptions (`NO_PROXY`) names a host: curl's rules, and ports besides.
 *
 * - The whole list `*` names every host.
 * - Entries are separated by commas or blanks. A name stands for itself and every name below it; a leading dot and a
 *   trailing one change nothing, nor does the case.
 * - An IP address in the list, or a network as `10.0.0.0/8`, names a host that is given as an address. No name is
 *   resolved for it.
 * - `name:5432`, `[::1]:5432`: this port alone.
 */
export function isExcepted(list: string, host: string, port: number): boolean {
  if (list === '*') return true
  const name = withoutDot(host.toLowerCase())
  return list
    .toLowerCase()
    .split(/[\s,]+/)
    .some((entry) => entry !== '' && matches(entry, name, port))
}

function matches(entry: string, name: string, port: number): boolean {
  const { pattern, only } = splitPort(entry)
  if (only !== undefined && only !== port) return false
  if (isIP(name) !== 0) return inNetwork(pattern, name)
  const domain = withoutDot(pattern.replace(/^\./, ''))
  return domain !== '' && (name === domain || name.endsWith(`.${domain}`))
}

function splitPort(entry: string): { pattern: string; only?: number } {
  const match = /^(?:\[([^\]]*)\]|([^:]*))(?::(\d{1,5}))?$/.exec(entry)
  // An IPv6 address without brackets has colons, and no port.
  if (match === null) return { pattern: entry }
  const [, bracketed, plain = '', port] = match
  const pattern = bracketed ?? plain
  return port === undefined ? { pattern } : { pattern, only: Number(port) }
}

function inNetwork(pattern: string, address: string): boolean {
  const [network = '', bits, ...rest] = pattern.split('/')
  const version = isIP(network)
  if (version === 0 || version !== isIP(address) || rest.length > 0) return false
  const width = version === 4 ? 32 : 128
  // curl takes /0 for the whole address.
  const prefix = bits === undefined ? width : /^\d{1,3}$/.test(bits) ? Number(bits) || width : Number.NaN
  if (!(prefix <= width)) return false
  const list = new BlockList()
  list.addSubnet(network, prefix, version === 4 ? 'ipv4' : 'ipv6')
  return list.check(address, version === 4 ? 'ipv4' : 'ipv6')
}

function withoutDot(name: string): string {
  return name.endsWith('.') ? name.slice(0, -1) : name
}
