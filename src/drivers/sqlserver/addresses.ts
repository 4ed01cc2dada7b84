/** The servers that a record of SQL Server names: its host or hosts, and the failover partner. */

import { serverAddress } from '../../connections/fields.ts'
import { hostsOf, isHostList } from '../../connections/host-list.ts'
import type { ConfigProblem } from '../../errors.ts'
import type { Whereabouts } from '../whereabouts.ts'
import type { SqlServerOptions, SqlServerTarget } from './options.ts'

const DEFAULT_PORT = 1433

/** One server. */
export interface Address {
  readonly host: string
  /** Undefined: to be asked of the Browser. */
  readonly port: number | undefined
  /** The named instance, where there is no port. */
  readonly instance: string | undefined
  /** The principal of the server, where the user names it. */
  readonly spn: string | undefined
}

type Named = Pick<SqlServerOptions, 'instance_name' | 'mssql_spn' | 'failover_partner' | 'failover_partner_spn'>

/** In the order to try them; at least one. */
export function addressesOf(target: SqlServerTarget, options: Named): readonly Address[] {
  const { instance_name, mssql_spn: spn } = options
  const own = hostsOf(target).map(({ host, port }) => {
    return addressOf({
      host: host === undefined || host === '' ? 'localhost' : host,
      port,
      instance: instance_name,
      spn,
    })
  })
  const partner = options.failover_partner === undefined ? undefined : serverAddress(options.failover_partner)
  if (typeof partner !== 'object') return own
  const { host, port, instance } = partner
  return [...own, addressOf({ host, port, instance, spn: options.failover_partner_spn })]
}

/** As in all of Microsoft's drivers, a port takes precedence over an instance. */
function addressOf({ port, instance, ...rest }: Address): Address {
  if (port !== undefined) return { ...rest, port, instance: undefined }
  return { ...rest, port: instance === undefined ? DEFAULT_PORT : undefined, instance }
}

/** `db:1433`, `db\SALES`: the same for the same server. */
function keyOf({ host, port, instance }: Address): string {
  return (port === undefined ? `${host}\\${instance}` : `${host}:${port}`).toLowerCase()
}

/** The place of the sessions: of the target, with the defaults of what it leaves out. */
export function sqlServerWhereabouts(
  target: SqlServerTarget,
  { instance_name: instance }: SqlServerOptions,
): Whereabouts {
  const host = target.host === undefined || target.host === '' ? 'localhost' : target.host
  // Several hosts with different ports name them.
  const isWhole = target.port === undefined && hostsOf({ host }).some(({ port }) => port !== undefined)
  const named = instance !== undefined && target.port === undefined && !isWhole
  return {
    system: 'microsoft.sql_server',
    host: named ? `${host}\\${instance}` : host,
    port: named || isWhole ? undefined : (target.port ?? DEFAULT_PORT),
    database: target.database === '' ? undefined : target.database,
  }
}

/** The problems of several servers, and of the options beside them. */
export function addressProblems(target: SqlServerTarget, options: SqlServerOptions): readonly ConfigProblem[] {
  const problems: ConfigProblem[] = []
  const say = (key: string, message: string): void => {
    problems.push({ path: `extra.${key}`, message })
  }
  const { failover_partner: partner } = options
  const isList = isHostList(target.host)
  if (isList && options.mssql_spn !== undefined) {
    say(
      'mssql_spn',
      'names one server, and host lists several; leave it out, so that each has its own, or list one host',
    )
  }
  if (partner === undefined) {
    if (options.failover_partner_spn !== undefined) say('failover_partner_spn', 'is of no use without failover_partner')
  } else {
    const address = serverAddress(partner)
    if (typeof address === 'string') say('failover_partner', address)
    else if (isList) say('failover_partner', 'stands beside a list of hosts; write the partner into the list')
    else if (options.multi_subnet_failover)
      say('failover_partner', 'cannot stand beside multi_subnet_failover, which is for availability groups')
    else if (options.application_intent === 'ReadOnly')
      say('failover_partner', 'cannot stand beside application_intent=ReadOnly: a mirror cannot be read')
    else if (target.database === undefined || target.database === '')
      say('failover_partner', 'needs a database, since it is a database that is mirrored')
  }
  const keys = addressesOf(target, options).map(keyOf)
  if (new Set(keys).size === keys.length) return problems
  const path = isList ? 'host' : 'extra.failover_partner'
  return [...problems, { path, message: 'names the same host and port twice; leave one of them out' }]
}
