/** From any accepted form of a connection to the one checked, frozen record that everything else works with. */

import { isIPv6 } from 'node:net'
import { ConfigError, type ConfigProblem } from '../errors.ts'
import { Secret } from '../secret.ts'
import { readAirflowUri } from './airflow-uri.ts'
import type { Connection, Dialect } from './connection.ts'
import { frozenSecret, readExtra } from './extra.ts'
import { type Field, FieldMismatch, integer, nearest, parseFields, secret, text, textProblem } from './fields.ts'
import { hostProblem } from './host-name.ts'
import { LONGEST_RECORD, MOST_PARTS, tooLong } from './limits.ts'

/** A connection as an object: in our words, in Airflow's (`conn_type`, `schema`, ...), or already parsed. */
export interface ConnectionObject {
  readonly id?: string | null
  readonly conn_id?: string | null
  /** `postgres` (also `postgresql`) or `mssql` (also `sqlserver`). */
  readonly type?: string | null
  readonly conn_type?: string | null
  /** A host name, an address, or the path of the folder that holds a Unix socket. */
  readonly host?: string | null
  readonly port?: number | string | null
  readonly login?: string | null
  readonly password?: string | Secret | null
  readonly database?: string | null
  /** Airflow's word for `database`. */
  readonly schema?: string | null
  readonly description?: string | null
  /** Options as an object or as JSON text. */
  readonly extra?: string | Readonly<Record<string, unknown>> | null
  readonly extra_dejson?: Readonly<Record<string, unknown>> | null
}

/** An object, a URI, or JSON text. */
export type ConnectionInput = string | ConnectionObject

export interface ParseConnectionOptions {
  /** The id under which a store knows the connection. */
  readonly id?: string
  /** How errors name the connection. Default `The connection`. */
  readonly subject?: string
}

const TYPES: Readonly<Record<string, Dialect>> = {
  postgres: 'postgres',
  postgresql: 'postgres',
  mssql: 'mssql',
  sqlserver: 'mssql',
}

const typeField: Field<Dialect | undefined> = {
  type: Object.keys(TYPES).join(' | '),
  description: 'The kind of database.',
  default: undefined,
  aliases: ['conn_type'],
  secret: false,
  parse(value) {
    const known = Object.keys(TYPES)
    const given = typeof value === 'string' ? value.trim().toLowerCase().replaceAll('-', '_') : undefined
    if (given !== undefined && Object.hasOwn(TYPES, given)) return TYPES[given]
    // SQLAlchemy's way to name a driver along with the type: postgresql+psycopg2.
    const base = given?.split('+')[0]
    const near = base === undefined ? undefined : Object.hasOwn(TYPES, base) ? base : nearest(base, known)
    throw new FieldMismatch(`expected one of ${known.join(', ')}`, value, near)
  },
}

/** Passed through: `readExtra` reports each problem in it with a path of its own. */
const extraField: Field<unknown> = {
  type: 'object',
  description: 'Options of the database, the pool and the login.',
  default: undefined,
  aliases: ['extra_dejson'],
  secret: true,
  parse: (value) => value,
}

const RECORD = {
  id: text({ description: 'The id under which a store knows the connection.', aliases: ['conn_id'] }),
  type: typeField,
  host: text({ description: 'Host name, address, or folder of a Unix socket.' }),
  port: integer({ description: 'TCP port.', min: 1, max: 65_535 }),
  login: text({ description: 'The user to log in as.' }),
  password: secret({ description: 'The password, where the strategy needs one.' }),
  database: text({ description: 'The database.', aliases: ['schema'] }),
  description: text({ description: 'A note for people.' }),
  extra: extraField,
}

/** What other tools call the same thing. */
const OTHER_NAMES: Readonly<Record<string, string>> = {
  user: 'login',
  username: 'login',
  uid: 'login',
  pwd: 'password',
  db: 'database',
  dbname: 'database',
  hostname: 'host',
  server: 'host',
  dialect: 'type',
  options: 'extra',
}

const ID = /^[\p{L}\p{N}_#!()\-.:/\\]{1,250}$/u

/** What is wrong with a connection id, by Airflow's rule for ids. Does not repeat the id, which may be anything. */
export function idProblem(id: string): string | undefined {
  return ID.test(id) ? undefined : 'expected 1 to 250 letters, digits and the signs _ # ! ( ) - . : / \\'
}

/**
 * Reads a connection in any of its forms: an object (ours or Airflow's), an Airflow URI, or JSON text. The result is
 * frozen all through, and no way to print it shows a secret.
 *
 * @throws ConfigError (`CONFIG_INVALID`) with everything that is wrong, each with its path; never with a secret
 *
 * @example
 * parseConnection('postgres://svc_etl@db.example.com:5432/analytics?auth_method=iam&region=eu-west-1')
 * parseConnection({ type: 'postgres', host: 'db', login: 'etl', password, extra: { sslmode: 'verify-full' } })
 * parseConnection('{"conn_type": "mssql", "host": "sql.example.com", "extra": {"auth_method": "kerberos"}}')
 */
export function parseConnection(input: ConnectionInput, options: ParseConnectionOptions = {}): Connection {
  const { record, problems: problemsOfForm } = readForm(input)
  const parsed = parseFields(RECORD, record, { path: '', strict: true, elsewhere: elsewhereSentence })
  const { type, port, extra: givenExtra } = parsed.values
  const { extra, problems: problemsOfExtra } = readExtra(givenExtra)
  const problems = [...problemsOfForm, ...parsed.problems, ...parsed.warnings, ...problemsOfExtra]
  const wrong = (path: string, message: string | undefined): void => {
    if (message !== undefined) problems.push({ path, message })
  }

  const host = unbracketed(parsed.values.host)
  const password = parsed.values.password?.reveal() === '' ? undefined : parsed.values.password
  const id = options.id ?? parsed.values.id
  const { login, database, description } = parsed.values
  for (const [path, value] of Object.entries({ host, login, password: password?.reveal(), database, description })) {
    if (value !== undefined) wrong(path, textProblem(value))
  }
  if (host !== undefined) wrong('host', hostProblem(host))
  if (id !== undefined) wrong('id', idProblem(id))
  if (options.id !== undefined && parsed.values.id !== undefined && parsed.values.id !== options.id) {
    wrong('id', 'differs from the id under which the connection is stored')
  }
  if (type === undefined && !problems.some(({ path }) => path === '' || path === 'type' || path === 'conn_type')) {
    wrong('type', `missing; expected one of ${Object.keys(TYPES).join(', ')}`)
  }
  if (problems.length > 0 || type === undefined) {
    const { subject = 'The connection' } = options
    const error = new ConfigError(problems, { subject })
    if (type !== undefined) readable.set(error, { type, extra, subject })
    throw error
  }
  return Object.freeze({
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
}

/** What could be read of a connection that is wrong. */
interface ReadablePart extends Pick<Connection, 'type' | 'extra'> {
  /** How errors name the connection. */
  readonly subject: string
}

const readable = new WeakMap<ConfigError, ReadablePart>()

/** What could be read of the connection that an error of {@link parseConnection} is about: to look for more in it. */
export function readablePartOf(error: ConfigError): ReadablePart | undefined {
  return readable.get(error)
}

interface Form {
  readonly record: Readonly<Record<string, unknown>>
  readonly problems: readonly ConfigProblem[]
}

function readForm(input: unknown): Form {
  const failed = (message: string): Form => ({ record: {}, problems: [{ path: '', message }] })
  if (typeof input === 'string') {
    if (input.length > LONGEST_RECORD) return failed(`it ${tooLong(LONGEST_RECORD)}`)
    const given = input.trim()
    if (given === '') return failed('it is empty')
    if (!given.startsWith('{')) return readAirflowUri(given)
    try {
      return { record: JSON.parse(given) as Record<string, unknown>, problems: [] }
    } catch {
      // The parser's message quotes the text, and the text may hold secrets.
      return failed('it begins with { but is not valid JSON')
    }
  }
  if (typeof input !== 'object' || input === null || Array.isArray(input) || input instanceof Secret) {
    return failed('expected an object, a URI or JSON text')
  }
  if (Object.keys(input).length > MOST_PARTS)
    return failed(`it has more than ${MOST_PARTS} parts; options belong under extra`)
  return { record: input as Record<string, unknown>, problems: [] }
}

function elsewhereSentence(key: string): string | undefined {
  const name = key.toLowerCase()
  if (Object.hasOwn(OTHER_NAMES, name)) return `unknown key; did you mean ${OTHER_NAMES[name]}?`
  return nearest(key, Object.keys(RECORD).concat('conn_id', 'conn_type', 'schema', 'extra_dejson')) === undefined
    ? 'unknown key; options of the database, the pool and the login belong under extra'
    : undefined
}

function unbracketed(host: string | undefined): string | undefined {
  const inner = host?.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : undefined
  return inner !== undefined && isIPv6(inner) ? inner : host
}
