/** Reads any accepted form of a connection into the one checked, frozen record that all other code uses. */

import { isIPv6 } from 'node:net'
import { ConfigError, type ConfigProblem } from '../errors.ts'
import type { Secret } from '../secret.ts'
import type { Connection, Dialect } from './connection.ts'
import { frozenSecret, readExtra } from './extra.ts'
import { readForm } from './forms/forms.ts'
import { type HostList, isHostList, readHostList } from './host-list.ts'
import { hostProblem } from './host-name.ts'
import { parseFields } from './parse-fields.ts'
import { idProblem, RECORD, TYPES, unknownPart } from './record.ts'

/** A connection as an object: in our words, in Airflow's (`conn_type`, `schema`, ...), or already parsed. */
export interface ConnectionObject {
  readonly id?: string | null
  readonly conn_id?: string | null
  /** `postgres` (also `postgresql`) or `mssql` (also `sqlserver`). */
  readonly type?: string | null
  readonly conn_type?: string | null
  /** A host name, an address, a list of them such as `db1,db2`, or the path of the folder that holds a Unix socket. */
  readonly host?: string | null
  /** With a list of hosts: one for all, or `5432,5433`. */
  readonly port?: number | string | null
  readonly login?: string | null
  readonly password?: string | Secret | null
  readonly database?: string | null
  /** Airflow's word for `database`. */
  readonly schema?: string | null
  readonly description?: string | null
  /** Airflow's teams: without effect here. */
  readonly team_name?: string | null
  /** The whole connection as a URI, as Airflow has it, in place of the other parts. */
  readonly uri?: string | Secret | null
  /** Options as an object or as JSON text. */
  readonly extra?: string | Readonly<Record<string, unknown>> | null
  readonly extra_dejson?: Readonly<Record<string, unknown>> | null
}

/** An object, or a text in one of the forms of docs/connections.md: a URI, a connection string, JSON. */
export type ConnectionInput = string | ConnectionObject

export interface ParseConnectionOptions {
  /** The id under which a store knows the connection. */
  readonly id?: string
  /** How errors name the connection. Default `The connection`. */
  readonly subject?: string
}

/** The result of reading an input: the connection, or its problems and the parts that could be read. */
export interface ReadConnection {
  /** Undefined when there is any problem. */
  readonly connection: Connection | undefined
  /** The parts that the options depend on, so that their problems can be found too; undefined without a type. */
  readonly part: Pick<Connection, 'type' | 'extra'> | undefined
  readonly problems: readonly ConfigProblem[]
  /** Warnings for the author of the connection: keys that were left out, each with the reason. */
  readonly notes: readonly ConfigProblem[]
  /** Whether an option that is unknown here is an error, as it is in the program that the form belongs to. */
  readonly closed: boolean
  /** How errors name the connection. */
  readonly subject: string
}

/**
 * Reads a connection in any of its forms: an object (ours or Airflow's), a URI, JSON text, or the connection string of
 * another program. The result is deeply frozen, and it shows no secret however it is printed.
 *
 * @throws ConfigError (`CONFIG_INVALID`) with all problems, each with its path; it never shows a secret
 *
 * @example
 * parseConnection('postgres://svc_etl@db.example.com:5432/analytics?auth_method=iam&region=eu-west-1')
 * parseConnection({ type: 'postgres', host: 'db', login: 'etl', password, extra: { sslmode: 'verify-full' } })
 * parseConnection('{"conn_type": "mssql", "host": "sql.example.com", "extra": {"auth_method": "kerberos"}}')
 */
export function parseConnection(input: ConnectionInput, options: ParseConnectionOptions = {}): Connection {
  return connectionOf(readConnection(input, options))
}

/** @throws ConfigError with all problems */
export function connectionOf({ connection, problems, subject }: ReadConnection): Connection {
  if (connection === undefined) throw new ConfigError(problems, { subject })
  return connection
}

/** As {@link parseConnection}, with the problems beside what could be read in place of an error. */
export function readConnection(input: unknown, options: ParseConnectionOptions = {}): ReadConnection {
  const { record, problems: problemsOfForm, notes = [], closed = false } = readForm(input)
  const parsed = parseFields(RECORD, record, { path: '', strict: true, elsewhere: unknownPart })
  const { extra, problems: problemsOfExtra } = readExtra(parsed.values.extra)
  const problems = [...problemsOfForm, ...parsed.problems, ...parsed.warnings, ...problemsOfExtra]
  const wrong = (path: string, message: string | undefined): void => {
    if (message !== undefined) problems.push({ path, message })
  }

  const { type, login, database, description } = parsed.values
  const given = parsed.values.host?.trim() || undefined
  const { host, port, problems: problemsOfHost } = readHosts(given, parsed.values.port, type)
  problems.push(...problemsOfHost)
  const password = parsed.values.password?.reveal() === '' ? undefined : parsed.values.password
  const id = options.id ?? parsed.values.id
  if (id !== undefined) wrong('id', idProblem(id))
  if (options.id !== undefined && parsed.values.id !== undefined && parsed.values.id !== options.id) {
    wrong('id', 'differs from the id under which the connection is stored')
  }
  if (type === undefined && !problems.some(({ path }) => ['', 'type', 'conn_type', 'engine', 'uri'].includes(path))) {
    wrong('type', `missing; expected one of ${Object.keys(TYPES).join(', ')}`)
  }
  const { subject = 'The connection' } = options
  const about = { problems, notes, closed, subject }
  if (type === undefined) return { connection: undefined, part: undefined, ...about }
  const part = { type, extra }
  if (problems.length > 0) return { connection: undefined, part, ...about }
  const connection = Object.freeze({
    ...(id === undefined ? {} : { id }),
    type,
    ...(host === undefined ? {} : { host }),
    ...(port === undefined ? {} : { port }),
    ...(login === undefined ? {} : { login }),
    ...(password === undefined ? {} : { password: frozenSecret(password) }),
    ...(database === undefined ? {} : { database }),
    ...(description === undefined ? {} : { description }),
    extra,
  })
  return { connection, part, ...about }
}

function readHosts(
  text: string | undefined,
  port: number | string | undefined,
  type: Dialect | undefined,
): Omit<HostList, 'host'> & { readonly host: string | undefined } {
  if (text !== undefined && type !== undefined && isHostList(text)) return readHostList(text, port, type)
  const host = unbracketed(text)
  const problem = host === undefined ? undefined : hostProblem(host)
  const problems = problem === undefined ? [] : [{ path: 'host', message: problem }]
  if (typeof port !== 'string') return { host, port, problems }
  const message = `names ${port.split(',').length} ports for one host; write one`
  return { host, port: undefined, problems: [...problems, { path: 'port', message }] }
}

function unbracketed(host: string | undefined): string | undefined {
  const inner = host?.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : undefined
  return inner !== undefined && isIPv6(inner) ? inner : host
}
