/** knex's own options, as a program that used bare knex gives them: honoured, or refused with what to write instead. */

import type { Knex } from 'knex'
import { childPath } from '../../connections/fields.ts'
import { ConfigError, type ConfigProblem } from '../../errors.ts'

/**
 * Gives a value and the type of tedious that it is bound with, as in knex; undefined leaves the choice to the dialect.
 *
 * @example
 * (value) => (typeof value === 'string' ? { value, type: TYPES.VarChar } : undefined)
 */
export type MapBinding = (value: unknown) => { readonly value: unknown; readonly type: unknown } | undefined

/** knex's options, but for those whose work is poolsmith's. */
export interface KnexOptions
  extends Omit<Knex.Config, 'client' | 'connection' | 'connectionPool' | 'pool' | 'searchPath' | 'version'> {
  readonly connection?: { readonly options?: { readonly mapBinding?: MapBinding } }
}

/** Options whose work is poolsmith's. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  client: 'is chosen by the type of the connection; leave it out',
  pool: 'is not read; write pool_size, max_overflow, pool_min_idle and pool_timeout beside knex, and onSession for afterCreate',
  connectionPool: 'is made by createEngine; leave it out',
  searchPath: 'is not read; write extra: { options: "-c search_path=..." }',
}

/** knex's connection settings and tedious' options that have another place. */
const SETTINGS: Readonly<Record<string, string>> = {
  host: 'host',
  server: 'host',
  port: 'port',
  user: 'login',
  userName: 'login',
  password: 'password',
  database: 'database',
  domain: 'login, as DOMAIN\\user, and auth_method=ntlm',
  encrypt: 'extra.encrypt',
  ssl: 'extra.sslmode',
  trustServerCertificate: 'extra.trust_server_certificate',
  connectionTimeout: 'extra.connect_timeout, in seconds',
  connectTimeout: 'extra.connect_timeout, in seconds',
  requestTimeout: 'extra.request_timeout, in seconds',
  appName: 'extra.application_name',
  application_name: 'extra.application_name',
  workstationId: 'extra.workstation_id',
  instanceName: 'extra.instance_name',
  packetSize: 'extra.packet_size',
  readOnlyIntent: 'extra.application_intent',
  multiSubnetFailover: 'extra.multi_subnet_failover',
  language: 'extra.language',
  useUTC: 'extra.use_utc',
  lowerCaseGuids: 'extra.lower_case_guids',
}

export interface ReadKnexOptions {
  /** For knex. */
  readonly config: Readonly<Record<string, unknown>>
  readonly mapBinding: MapBinding | undefined
  /** `acquireConnectionTimeout`, in seconds. */
  readonly poolTimeout: number | undefined
}

/**
 * @param poolTimeout `pool_timeout` of the same call, in seconds
 * @throws ConfigError with all problems
 */
export function readKnexOptions(options: KnexOptions = {}, poolTimeout: unknown): ReadKnexOptions {
  const problems: ConfigProblem[] = []
  const { connection, acquireConnectionTimeout: millis, ...config } = options as Readonly<Record<string, unknown>>
  for (const [key, message] of Object.entries(ELSEWHERE)) {
    if (config[key] !== undefined) problems.push({ path: `knex.${key}`, message })
  }
  if (millis !== undefined && !(typeof millis === 'number' && millis > 0)) {
    problems.push({ path: 'knex.acquireConnectionTimeout', message: 'expected a positive number of milliseconds' })
  } else if (millis !== undefined && poolTimeout !== undefined && Number(poolTimeout) * 1000 !== millis) {
    problems.push({ path: 'knex.acquireConnectionTimeout', message: 'says the same as pool_timeout; keep one of them' })
  }
  const mapBinding = readConnection(connection, problems)
  if (problems.length > 0) throw new ConfigError(problems, { subject: 'The second argument' })
  return { config, mapBinding, poolTimeout: typeof millis === 'number' ? millis / 1000 : undefined }
}

function readConnection(connection: unknown, problems: ConfigProblem[]): MapBinding | undefined {
  if (connection === undefined) return undefined
  const { options, ...settings } = recordOf(connection, 'knex.connection', problems)
  refuseAll(settings, 'knex.connection', problems)
  const { mapBinding, ...rest } = options === undefined ? {} : recordOf(options, 'knex.connection.options', problems)
  refuseAll(rest, 'knex.connection.options', problems)
  if (mapBinding === undefined || typeof mapBinding === 'function') return mapBinding as MapBinding | undefined
  problems.push({ path: 'knex.connection.options.mapBinding', message: 'expected a function' })
  return undefined
}

function recordOf(value: unknown, path: string, problems: ConfigProblem[]): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null) return value as Readonly<Record<string, unknown>>
  problems.push({ path, message: 'expected an object; the connection itself is the first argument' })
  return {}
}

function refuseAll(settings: Readonly<Record<string, unknown>>, parent: string, problems: ConfigProblem[]): void {
  for (const key of Object.keys(settings)) {
    const place = Object.hasOwn(SETTINGS, key) ? SETTINGS[key] : undefined
    const message =
      place === undefined ? 'is not read here' : `is not read here; write it into the connection: ${place}`
    problems.push({ path: childPath(parent, key), message })
  }
}
