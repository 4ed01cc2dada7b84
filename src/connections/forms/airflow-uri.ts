/**
 * Airflow's URI form of a connection, read and written by Airflow's own rules
 * (https://airflow.apache.org/docs/apache-airflow/stable/howto/connection.html#uri-format).
 *
 * They are not those of WHATWG URLs: every part is percent-decoded, the host may be missing or may be a
 * percent-encoded path of a Unix socket, a lone `%` stands for itself, and options that are not all texts
 * travel as JSON under the one query key `__extra__`. So this file splits the URI itself, which also keeps
 * `new URL`'s errors, and the whole URI inside them, out of the way.
 */

import { isIPv6 } from 'node:net'
import type { ConfigProblem } from '../../errors.ts'
import { Secret } from '../../secret.ts'
import type { Connection } from '../connection.ts'
import { revealExtra } from '../extra.ts'
import { hostsOf } from '../host-list.ts'
import { SEVERAL_HOSTS } from '../host-name.ts'
import { type FormReading, type Readings, readDifferently, type TextForm, unreadable } from './form.ts'
import { LIBPQ_PARTS, plusProblems, takeLibpqParts } from './libpq-query.ts'
import { quote, readQuery, unquote, writeQuery } from './percent.ts'

const EXTRA_KEY = '__extra__'

const ENCODE_HINT = 'in a login or password, write @ : / ? # % as %40 %3A %2F %3F %23 %25'

export const airflowUri: TextForm = { recognises: (text) => text.includes('://'), read: readAirflowUri }

/** Splits a connection URI. No message repeats any part of it: with one character amiss, any part may be a password. */
function readAirflowUri(text: string): FormReading {
  // Python's urlsplit drops these wherever they stand.
  const uri = text.replaceAll(/[\t\r\n]/g, '')
  const match = /^([a-z][a-z0-9+.-]*):\/\/([^/?#]*)([^?#]*)(?:\?([^#]*))?(?:#(.*))?$/is.exec(uri)
  if (match === null) {
    return unreadable('expected a URI such as postgres://login:password@host:5432/database, or JSON')
  }
  const [, type = '', authority = '', path = '', query = '', fragment = ''] = match

  // Airflow reads on with parts of the password as host, database or option, and would show them as such.
  const at = path.includes('@')
    ? 'the path'
    : !authority.includes('@') && /^[^=&]*@/.test(query)
      ? 'the first key of the query'
      : fragment.includes('@')
        ? 'the fragment'
        : undefined
  if (at !== undefined)
    return unreadable(`an @ stands in ${at}, where none belongs; ${ENCODE_HINT} (in a database, too)`)
  if (path.startsWith('//') && authority.endsWith(':')) {
    const message = 'a protocol before the host means nothing to a database; write type://host'
    return { record: { type }, problems: [{ path: 'host', message }] }
  }

  const options = readQuery(query)
  const hasJson = Object.hasOwn(options, EXTRA_KEY)
  const forLibpq = isPostgres(type)
  const problems: ConfigProblem[] = forLibpq ? readByLibpq(authority, fragment) : []
  // Options as JSON take the place of the whole query.
  const { parts, rest } = forLibpq && !hasJson ? takeLibpqParts(options) : { parts: {}, rest: options }
  if (rest !== options) problems.push(...plusProblems(query))
  const place = authority.slice(authority.lastIndexOf('@') + 1)
  const isList = place.includes(',') && (forLibpq || /^mssql$/i.test(type))
  const location = isList ? splitHosts(place, forLibpq, problems) : splitHost(place, problems)
  const port = parts.port ?? location.port
  const portIsNumber = (isList || forLibpq ? /^[\d,]*$/ : /^\d*$/).test(port)
  if (!forLibpq && !isList && port.includes(',')) problems.push({ path: 'host', message: SEVERAL_HOSTS })
  else if (!portIsNumber) problems.push({ path: 'port', message: `expected a whole number; ${ENCODE_HINT}` })
  const userinfo = authority.slice(0, Math.max(0, authority.lastIndexOf('@')))
  const colon = userinfo.indexOf(':')
  return {
    record: {
      type,
      host: location.host,
      login: unquote(colon === -1 ? userinfo : userinfo.slice(0, colon)),
      password: colon === -1 ? undefined : unquote(userinfo.slice(colon + 1)),
      database: unquote(path.slice(1)),
      ...parts,
      // As a secret it is not repeated when it is out of range: a stray colon makes a password's end the port.
      port: port === '' || !portIsNumber ? undefined : new Secret(port),
      extra: hasJson ? options[EXTRA_KEY] : rest,
    },
    problems,
  }
}

function isPostgres(type: string): boolean {
  return /^postgres(ql)?$/i.test(type)
}

/** Where libpq, whose scheme it is too, would connect to another server or database. */
function readByLibpq(authority: string, fragment: string): ConfigProblem[] {
  const problems: ConfigProblem[] = []
  if (authority.indexOf('@') !== authority.lastIndexOf('@')) {
    const readings: Readings = ['libpq ends the password at the first @', 'Airflow and node-postgres at the last']
    problems.push(readDifferently('password', readings, 'write @ in a password as %40'))
  }
  if (fragment !== '') {
    const readings: Readings = ['libpq reads a # like any letter', 'Airflow and node-postgres leave out what follows']
    problems.push(readDifferently('database', readings, 'write # as %23'))
  }
  return problems
}

const PORT_OF_A_LIST: Readings = [
  'libpq takes a port behind the last host for that one',
  'Airflow for the port of all hosts',
]

/** `a:5432,b:5433`, each with a port of its own (PostgreSQL documentation, "Connection URIs"). */
function splitHosts(text: string, forLibpq: boolean, problems: ConfigProblem[]): { host: string; port: string } {
  const places = text.split(',').map((one) => splitHost(one, problems))
  const ports = places.map(({ port }) => port)
  const host = places.map((place) => place.host).join(',')
  if (ports.every((port) => port === '')) return { host, port: '' }
  const last = ports.at(-1) ?? ''
  if (!['', forLibpq ? '5432' : '1433'].includes(last) && ports.slice(0, -1).every((port) => port === '')) {
    problems.push(
      forLibpq
        ? readDifferently('port', PORT_OF_A_LIST, 'write a port behind each host')
        : { path: 'port', message: 'stands behind the last host of the list only; write a port behind each host' },
    )
  }
  return { host, port: ports.join(',') }
}

function splitHost(text: string, problems: ConfigProblem[]): { host: string; port: string } {
  if (text.includes('[') || text.includes(']')) {
    const match = /^\[([^[\]]*)\](?::(.*))?$/.exec(text)
    const address = unquote(lowerCaseBeforeEscape(match?.[1] ?? ''))
    if (match === null || !isIPv6(address)) {
      problems.push({ path: 'host', message: 'expected an IPv6 address in square brackets' })
      return { host: '', port: '' }
    }
    return { host: address, port: match[2] ?? '' }
  }
  const colon = text.indexOf(':')
  const name = colon === -1 ? text : text.slice(0, colon)
  const decoded = unquote(name)
  return {
    // A path keeps its letters; a name is lower-cased as Python does it, up to the first escape.
    host: decoded.includes('/') ? decoded : unquote(lowerCaseBeforeEscape(name)),
    port: colon === -1 ? '' : text.slice(colon + 1),
  }
}

function lowerCaseBeforeEscape(host: string): string {
  const percent = host.indexOf('%')
  return percent === -1 ? host.toLowerCase() : host.slice(0, percent).toLowerCase() + host.slice(percent)
}

/**
 * Writes a connection as an Airflow URI, which Airflow and `parseConnection` read back as the same connection.
 * **It reveals the password and every secret of the extras**: hand it to a store, never to a log
 * (`describeConnection` is for that). The URI form has no place for `id` and `description`. Airflow does not read a
 * list of hosts with ports, which is written as libpq has it.
 *
 * @example
 * toAirflowUri(parseConnection({ type: 'postgres', host: 'db', password: 'p@ss', extra: { sslmode: 'require' } }))
 * // 'postgres://:p%40ss@db/?sslmode=require'
 */
export function toAirflowUri(connection: Connection): string {
  const query = writeExtra(revealExtra(connection.extra), connection.type)
  const password = connection.password === undefined ? undefined : quote(connection.password.reveal())
  return `${writeLocation(connection, password)}${query}`
}

/** Everything before the query, with the password's text as given. */
export function writeLocation(connection: Connection, password: string | undefined): string {
  const { type, login, host = '', port, database, extra } = connection
  let userinfo = quote(login ?? '')
  if (password !== undefined) userinfo += `:${password}`
  if (userinfo !== '') userinfo += '@'
  // Without a host and a login, a bare ":5432" needs the @ before it to be read by all versions of Airflow.
  else if (host === '' && port !== undefined) userinfo = '@'
  const path = database === undefined ? '' : quote(database)
  const slash = path !== '' || Object.keys(extra).length > 0 ? '/' : ''
  // Of several hosts each has its port behind it.
  const places = hostsOf({ host, port }).map((one) => {
    return writeHost(one.host ?? '') + (one.port === undefined ? '' : `:${one.port}`)
  })
  return `${type}://${userinfo}${places.join(',')}${slash}${path}`
}

function writeHost(host: string): string {
  if (isIPv6(host) && !host.includes('%') && host === host.toLowerCase()) return `[${host}]`
  // Readers lower-case a host as far as its first escape: escaping the first capital letter keeps the rest.
  return quote(host).replace(
    /^([^%A-Z]*)([A-Z])/,
    (_, before: string, letter: string) => `${before}%${letter.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}

function writeExtra(extra: Readonly<Record<string, unknown>>, type: Connection['type']): string {
  const values = Object.entries(extra)
  if (values.length === 0) return ''
  const texts = values.filter((entry): entry is [string, string] => typeof entry[1] === 'string')
  const isTaken = (key: string): boolean => key === EXTRA_KEY || (isPostgres(type) && LIBPQ_PARTS.has(key))
  const plain = texts.length === values.length && !texts.some(([key]) => isTaken(key))
  return `?${writeQuery(plain ? Object.fromEntries(texts) : { [EXTRA_KEY]: JSON.stringify(extra) })}`
}
