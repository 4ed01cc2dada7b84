/**
 * JDBC's URL of SQL Server, `jdbc:sqlserver://db:1433;databaseName=sales;user=etl;password=…`, as mssql-jdbc reads it
 * (`Util.parseUrl`). Nothing is percent-decoded; `{…}` encloses a value, with `}}` for a brace in it.
 */

import type { ConfigProblem } from '../../errors.ts'
import { closing } from './delimited.ts'
import {
  type FormReading,
  type Pair,
  type Readings,
  readDifferently,
  refused,
  type TextForm,
  unreadable,
} from './form.ts'
import { type Part, partIn, sqlServerReading, type Words } from './sqlserver-parts.ts'

const PREFIX = 'jdbc:sqlserver://'

const MSSQL_JDBC: Words = {
  program: 'mssql-jdbc',
  unknown: 'drops without a word',
  twice: ['mssql-jdbc takes the last of two values', 'Prisma the first'],
  parts: {
    server: 'host',
    servername: 'host',
    port: 'port',
    portnumber: 'port',
    instancename: 'instance',
    database: 'database',
    databasename: 'database',
    user: 'login',
    username: 'login',
    password: 'password',
  },
}

export const jdbcSqlServer: TextForm = {
  recognises: (text) => text.startsWith(PREFIX),
  read: (text) => readProperties(text.slice(PREFIX.length), MSSQL_JDBC, integratedLogin),
}

interface Translated {
  readonly pairs: readonly Pair[]
  readonly problems: readonly ConfigProblem[]
}

/**
 * Reads a server with properties behind it.
 *
 * @param translate properties that say something together
 */
export function readProperties(
  text: string,
  words: Words,
  translate: (pairs: readonly Pair[]) => Translated = (pairs) => ({ pairs, problems: [] }),
): FormReading {
  const parts = scanProperties(text, words)
  if (typeof parts === 'string') return unreadable(parts)
  const given = serverOf(parts.server)
  if (Array.isArray(given)) return refused('mssql', ...given)
  const translated = translate(parts.pairs)
  const reading = sqlServerReading(translated.pairs, words, given)
  return { ...reading, problems: [...parts.problems, ...translated.problems, ...reading.problems] }
}

/** The part before the first semicolon, `db\SALES:1433`, or its problem. */
function serverOf(server: string): Partial<Record<Part, string>> | ConfigProblem[] {
  if (server.includes('[')) {
    const readings: Readings = ['mssql-jdbc ends the host at the first colon', 'Prisma reads an IPv6 address']
    return [readDifferently('host', readings, 'write ://;serverName=ADDRESS;portNumber=PORT')]
  }
  const [, host = '', instance, port] = /^([^\\:]*)(?:\\([^:]*))?(?::(.*))?$/s.exec(server) ?? []
  const given: Partial<Record<Part, string>> = {}
  if (host.trim() !== '') given.host = host.trim()
  if (instance !== undefined) given.instance = instance.trim()
  if (port === undefined || port.trim() === '') return given
  if (!/^\d+$/.test(port.trim())) return [{ path: 'port', message: 'expected a whole number behind the colon' }]
  return { ...given, port: port.trim() }
}

interface Properties {
  readonly server: string
  readonly pairs: readonly Pair[]
  readonly problems: readonly ConfigProblem[]
}

/** The server and the properties behind it, or what is wrong with the text. */
function scanProperties(text: string, words: Words): Properties | string {
  const first = text.indexOf(';')
  const pairs: Pair[] = []
  const problems: ConfigProblem[] = []
  const server = first === -1 ? text : text.slice(0, first)
  let at = first === -1 ? text.length : first
  for (;;) {
    while (at < text.length && /[\s;]/.test(text[at] as string)) at++
    if (at === text.length) return { server, pairs, problems }
    const equals = text.indexOf('=', at)
    const key = text.slice(at, equals === -1 ? text.length : equals).trim()
    const which = `property ${pairs.length + 1}`
    if (equals === -1 || key.includes(';')) return `${which} has no "="`
    if (key === '') return `${which} has no name`
    at = equals + 1
    while (at < text.length && /\s/.test(text[at] as string)) at++
    if (text[at] === '{') {
      const end = closing(text, at + 1, '}')
      if (end === -1) return `the brace of ${which} is not closed`
      const inside = text.slice(at + 1, end)
      if (inside.includes('}}'))
        problems.push(readDifferently(partIn(words, key) ?? 'extra', BRACES, 'write an mssql:// URI'))
      pairs.push([key, inside.replaceAll('}}', '}')])
      at = end + 1
      while (at < text.length && /\s/.test(text[at] as string)) at++
      if (at < text.length && text[at] !== ';') return `text follows the brace of ${which}`
    } else {
      const semicolon = text.indexOf(';', at)
      const end = semicolon === -1 ? text.length : semicolon
      pairs.push([key, text.slice(at, end).trim()])
      at = end
    }
  }
}

const BRACES: Readings = ['mssql-jdbc reads }} in braces as one brace', 'Prisma as two']

/** `integratedSecurity` and `authenticationScheme` as a strategy. */
function integratedLogin(pairs: readonly Pair[]): Translated {
  const last = (name: string): string | undefined => pairs.findLast(([key]) => key.toLowerCase() === name)?.[1]
  const rest = pairs.filter(([key]) => !/^(integratedsecurity|authenticationscheme)$/i.test(key))
  const integrated = last('integratedsecurity')?.toLowerCase()
  const scheme = last('authenticationscheme') ?? 'NativeAuthentication'
  // Without integratedSecurity the scheme has no effect.
  if (integrated === undefined || integrated === 'false') return { pairs: rest, problems: [] }
  const wrong = (key: string, message: string) => ({ pairs: rest, problems: [{ path: `extra.${key}`, message }] })
  if (integrated !== 'true') return wrong('integratedSecurity', 'expected true or false')
  if (/^ntlm$/i.test(scheme)) return { pairs: [...rest, ['auth_method', 'ntlm']], problems: [] }
  if (!/^(javakerberos|nativeauthentication)$/i.test(scheme)) {
    return wrong('authenticationScheme', 'expected JavaKerberos, NativeAuthentication or NTLM')
  }
  if (last('user') !== undefined || last('password') !== undefined) {
    return wrong(
      'integratedSecurity',
      'obtains a ticket for the user by the password; write auth_method=kerberos and keytab=FILE',
    )
  }
  return { pairs: [...rest, ['auth_method', 'kerberos']], problems: [] }
}
