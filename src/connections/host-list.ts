/**
 * Several hosts of one database, as libpq has them: `host=a,b` with `port=5432,5433` (PostgreSQL documentation,
 * "Specifying Multiple Hosts"); a connection of SQL Server can have them too. A connection keeps them as one text, `a,b`,
 * or `a:5432,b:5433` where the ports differ.
 */

import { isIPv6 } from 'node:net'
import type { ConfigProblem } from '../errors.ts'
import type { Connection, Dialect } from './connection.ts'
import { hostProblem } from './host-name.ts'

const DEFAULT_PORTS: Readonly<Record<Dialect, number>> = { postgres: 5432, mssql: 1433 }

/** One server of a connection. */
export interface HostAndPort {
  /** Undefined: the default of the database. */
  readonly host: string | undefined
  readonly port: number | undefined
}

/** Whether a host is a list of them. */
export function isHostList(host: string | undefined): boolean {
  return host?.includes(',') === true
}

/** The servers of a connection in their order: one, or those of its list. */
export function hostsOf({ host, port }: Pick<Connection, 'host' | 'port'>): readonly HostAndPort[] {
  if (host === undefined || !isHostList(host)) return [{ host, port }]
  return host.split(',').map((text) => {
    const one = splitPort(text)
    return { host: one.host, port: one.port === undefined ? port : Number(one.port) }
  })
}

export interface HostList {
  readonly host: string
  readonly port: number | undefined
  readonly problems: readonly ConfigProblem[]
}

/**
 * Reads a list of hosts, with one port for all or one for each. No message repeats a part of it.
 *
 * @param port a number, or a list as text (`5432,5433`), where an empty place stands for the default of the database
 */
export function readHostList(text: string, port: number | string | undefined, type: Dialect): HostList {
  const problems: ConfigProblem[] = []
  const hosts = text.split(',').map((one) => splitPort(one.trim()))
  for (const [index, { host }] of hosts.entries()) {
    const problem = problemInList(host, index, type)
    if (problem !== undefined) problems.push({ path: 'host', message: `${ordinal(index)} of the list: ${problem}` })
  }
  const within = hosts.some((host) => host.port !== undefined)
  if (within && port !== undefined) {
    problems.push({ path: 'port', message: 'stands behind the hosts of the list too; keep one of them' })
  }
  const given = within ? hosts.map((host) => host.port ?? '') : String(port ?? '').split(',')
  if (given.length > 1 && given.length !== hosts.length) {
    problems.push({
      path: 'port',
      message: `names ${given.length} ports for ${hosts.length} hosts; write one for all, or one for each host`,
    })
  }
  const ports = given.map((one) => portOf(one, type, problems))
  const first = ports[0]
  if (ports.every((one) => one === first)) {
    const isDefault = given.every((one) => one.trim() === '')
    return { host: hosts.map(({ host }) => host).join(','), port: isDefault ? undefined : first, problems }
  }
  const written = hosts.map(({ host }, index) => `${isIPv6(host) ? `[${host}]` : host}:${ports[index]}`)
  return { host: written.join(','), port: undefined, problems }
}

function portOf(text: string, type: Dialect, problems: ConfigProblem[]): number {
  const plain = text.trim()
  if (plain === '') return DEFAULT_PORTS[type]
  const port = /^\d{1,5}$/.test(plain) ? Number(plain) : 0
  if (port < 1 || port > 65_535) problems.push({ path: 'port', message: 'expected ports from 1 to 65535' })
  return port
}

function problemInList(host: string, index: number, type: Dialect): string | undefined {
  if (host === '') return 'is empty; write localhost where it is meant'
  if (type === 'mssql' && index > 0 && /^\d+$/.test(host)) {
    return 'is a number: a port behind a comma, as ADO.NET has it, belongs into port'
  }
  if (host.includes('\\')) return 'holds an instance; write instance_name, which holds for all hosts, or the ports'
  if (host.startsWith('/')) return 'is the folder of a Unix socket, which stands alone; write localhost'
  return hostProblem(host)
}

/** `db:5432`, `[::1]:5432`; a bare IPv6 address has no port. */
function splitPort(text: string): { readonly host: string; readonly port: string | undefined } {
  const [, bracketed, behind] = /^\[([^[\]]*)\](?::(\d+))?$/.exec(text) ?? []
  if (bracketed !== undefined && isIPv6(bracketed)) return { host: bracketed, port: behind }
  const [, name, port] = /^([^:/[\]]*):(\d+)$/.exec(text) ?? []
  return name === undefined ? { host: text, port: undefined } : { host: name, port }
}

function ordinal(index: number): string {
  return ['the first', 'the second', 'the third'][index] ?? `the ${index + 1}th`
}
