/**
 * JDBC's URL of PostgreSQL, `jdbc:postgresql://db:5432/sales?user=etl&password=…`, as pgjdbc reads it
 * (`Driver.parseURL`; https://jdbc.postgresql.org/documentation/use/).
 */

import { isIPv6 } from 'node:net'
import type { ConfigProblem } from '../../errors.ts'
import { Secret } from '../../secret.ts'
import { childPath } from '../problem-path.ts'
import { type FormReading, type TextForm, unreadable } from './form.ts'
import { unquote } from './percent.ts'

const PREFIX = 'jdbc:postgresql:'

/** Properties that are options here under another name. */
const RENAMED: Readonly<Record<string, string>> = {
  ApplicationName: 'application_name',
  connectTimeout: 'connect_timeout',
  tcpKeepAlive: 'keepalives',
  gssEncMode: 'gssencmode',
  kerberosServerName: 'krbsrvname',
  channelBinding: 'channel_binding',
  sslNegotiation: 'sslnegotiation',
  requireAuth: 'require_auth',
}

/** Properties with the same name and meaning. */
const SAME = new Set('sslmode sslrootcert sslcert sslkey sslpassword options service'.split(' '))

/** `targetServerType` as `target_session_attrs`: to pgjdbc, a server whose transactions are read-only is a secondary. */
const TARGETS: Readonly<Record<string, string>> = {
  any: 'any',
  primary: 'read-write',
  master: 'read-write',
  secondary: 'read-only',
  slave: 'read-only',
  preferSecondary: 'prefer-standby',
  preferSlave: 'prefer-standby',
}

/** Properties that change nothing here. */
const UNUSED = new Set(
  [
    'adaptiveFetch adaptiveFetchMaximum adaptiveFetchMinimum allowEncodingChanges assumeMinServerVersion autosave',
    'binaryTransfer binaryTransferDisable binaryTransferEnable cancelSignalTimeout cleanupSavepoints convertBooleanToNumeric',
    'databaseMetadataCacheFields databaseMetadataCacheFieldsMiB defaultRowFetchSize disableColumnSanitiser',
    'escapeSyntaxCallMode groupStartupParameters gssResponseTimeout gsslib hideUnprivilegedObjects',
    'includeThreadId jaasApplicationName jaasLogin logServerErrorDetail logUnclosedConnections loggerFile',
    'loggerLevel loginTimeout maxResultBuffer maxSendBufferSize preferQueryMode prepareThreshold',
    'preparedStatementCacheQueries preparedStatementCacheSizeMiB queryTimeout quoteReturningIdentifiers',
    'reWriteBatchedInserts readOnlyMode receiveBufferSize sendBufferSize socketTimeout sslResponseTimeout',
    'sspiServiceClass stringtype tcpNoDelay unknownLength useSpnego',
  ]
    .join(' ')
    .split(' '),
)

export const jdbcPostgres: TextForm = {
  recognises: (text) => text.startsWith(PREFIX),
  read(text) {
    const rest = text.slice(PREFIX.length)
    const question = rest.indexOf('?')
    const place = placeOf(question === -1 ? rest : rest.slice(0, question))
    if (typeof place === 'string') return unreadable(place)
    const query = question === -1 ? '' : rest.slice(question + 1)
    const pairs: [string, string][] = []
    for (const piece of query.split('&').filter((part) => part !== '')) {
      const equals = piece.indexOf('=')
      const value = decode(equals === -1 ? '' : piece.slice(equals + 1))
      if (value === undefined) return unreadable(NO_ESCAPE)
      pairs.push([equals === -1 ? piece : piece.slice(0, equals), value])
    }
    return readingOf(place, pairs)
  },
}

const RECHECK = 'is not supported: a host that failed, or has another role, is tried after the others for 10 s; ignored'
const NO_ESCAPE = 'a % begins no escape; write it as %25'
const SLASH = 'expected jdbc:postgresql://host:port/database; pgjdbc needs the slash before the database'

type Place = Readonly<Record<'host' | 'port' | 'database', string | undefined>>

/** `//host:port/database` or `database`, or what is wrong. */
function placeOf(text: string): Place | string {
  if (!text.startsWith('//')) {
    const database = decode(text)
    if (database === undefined) return NO_ESCAPE
    return /^$|\//.test(text) ? SLASH : { host: undefined, port: undefined, database }
  }
  const slash = text.indexOf('/', 2)
  if (slash === -1) return SLASH
  const authority = text.slice(2, slash)
  const database = decode(text.slice(slash + 1))
  if (database === undefined) return NO_ESCAPE
  if (authority.includes('@')) return 'an @ stands before the host; pgjdbc takes the login as ?user=…&password=…'
  const servers = authority.split(',').map(serverOf)
  const wrong = servers.find((server) => typeof server === 'string')
  if (wrong !== undefined) return wrong
  const places = servers.filter((server) => typeof server !== 'string')
  const ports = places.map(({ port }) => port)
  return {
    host: places.map(({ host }) => host).join(','),
    // pgjdbc takes 5432 for each host without a port.
    port: ports.every((port) => port === undefined) ? undefined : ports.map((port) => port ?? '').join(','),
    database,
  }
}

/** `db:5432`, or what is wrong. */
function serverOf(text: string): Pick<Place, 'host' | 'port'> | string {
  const [, bracketed, name, port] = /^(?:\[([^[\]]*)\]|([^:[\]]*))(?::(\d*))?$/.exec(text) ?? []
  if (bracketed === undefined && name === undefined)
    return 'expected a host and a port in digits, as in //db:5432/sales'
  if (bracketed !== undefined && !isIPv6(bracketed)) return 'expected an IPv6 address in square brackets'
  if (port === '') return 'the port behind the colon is missing'
  return { host: bracketed ?? name, port }
}

function readingOf(place: Place, pairs: readonly (readonly [string, string])[]): FormReading {
  const problems: ConfigProblem[] = []
  const notes: ConfigProblem[] = []
  const { host, database, port } = place
  const record: Record<string, unknown> = {
    type: 'postgres',
    host,
    database,
    port: port === undefined ? undefined : new Secret(port),
  }
  const extra: Record<string, string> = {}
  const flags: string[] = []
  // Of a property that stands twice the last counts.
  for (const [key, value] of new Map(pairs)) {
    const path = childPath('extra', key)
    if (key === 'user') record['login'] = value
    else if (key === 'password') record['password'] = value
    else if (Object.hasOwn(RENAMED, key)) extra[RENAMED[key] as string] = value
    else if (SAME.has(key)) extra[key] = value
    else if (key === 'ssl') sslOf(value, extra, problems)
    else if (key === 'currentSchema') flags.push(`-c search_path=${value.replaceAll(/[\\\s]/g, '\\$&')}`)
    else if (key === 'targetServerType') {
      if (Object.hasOwn(TARGETS, value)) extra['target_session_attrs'] = TARGETS[value] as string
      else problems.push({ path, message: `expected ${Object.keys(TARGETS).join(', ')}` })
    } else if (key === 'loadBalanceHosts') {
      if (/^true$/i.test(value)) extra['load_balance_hosts'] = 'random'
      else notes.push({ path, message: 'is the default; ignored' })
    } else if (key === 'hostRecheckSeconds') notes.push({ path, message: RECHECK })
    else if (key === 'readOnly' && value === 'false') notes.push({ path, message: 'is the default; ignored' })
    else if (UNUSED.has(key)) notes.push({ path, message: 'has a meaning for pgjdbc only; ignored' })
    else if (/^(PGHOST|PGPORT|PGDBNAME)$/.test(key))
      problems.push({ path, message: 'write it before the question mark' })
    else extra[key] = value
  }
  if (flags.length > 0) extra['options'] = [extra['options'], ...flags].filter((part) => part !== undefined).join(' ')
  return { record: { ...record, extra }, problems, notes, closed: true }
}

/** pgjdbc's `ssl=true` is `verify-full`, unlike libpq's, and an `sslmode` takes precedence. */
function sslOf(value: string, extra: Record<string, string>, problems: ConfigProblem[]): void {
  if (/^(true|)$/i.test(value)) extra['sslmode'] ??= 'verify-full'
  else if (!/^false$/i.test(value)) problems.push({ path: 'extra.ssl', message: 'expected true or false' })
}

/** As Java's `URLDecoder`: `+` is a blank, also in the database; undefined for a `%` that begins no escape. */
function decode(text: string): string | undefined {
  return /%(?![0-9a-f]{2})/i.test(text) ? undefined : unquote(text.replaceAll('+', ' '))
}
