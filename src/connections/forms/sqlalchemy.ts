/**
 * SQLAlchemy's URLs with a driver, `postgresql+psycopg2://etl:…@db/sales` and
 * `mssql+pyodbc://etl:…@db/sales?driver=ODBC+Driver+18+for+SQL+Server`, by the rules of `sqlalchemy.engine.make_url`: a
 * database is not percent-decoded, and there is no fragment.
 */

import { isIPv6 } from 'node:net'
import type { ConfigProblem } from '../../errors.ts'
import { Secret } from '../../secret.ts'
import { SEVERAL_HOSTS } from '../host-name.ts'
import { adoNet } from './ado-net.ts'
import { type FormReading, type Readings, readDifferently, refused, type TextForm, unreadable } from './form.ts'
import { takeLibpqParts } from './libpq-query.ts'
import { DSN, driverProblem, odbc } from './odbc.ts'
import { readQuery, unquote } from './percent.ts'

const URL_FORM =
  /^(postgres(?:ql)?|mssql)\+(\w+):\/\/(?:([^:/]*)(?::([^@]*))?@)?(?:(?:\[([^/?]+)\]|([^/:?]+))?(?::([^/?]*))?)?(?:\/([^?]*))?(?:\?(.*))?$/s

/** Drivers of SQLAlchemy whose options are libpq's. */
const LIBPQ = new Set(['psycopg', 'psycopg2', 'psycopg2cffi', 'psycopg_async', 'pygresql'])
const OTHER_POSTGRES = new Set(['asyncpg', 'pg8000'])
const ODBC_DRIVERS = new Set(['pyodbc', 'aioodbc'])

export const sqlAlchemy: TextForm = {
  recognises: (text) => /^(postgres(ql)?|mssql)\+/i.test(text),
  read(text) {
    const match = URL_FORM.exec(text)
    if (match === null)
      return unreadable('expected a URL such as postgresql+psycopg2://login:password@host:5432/database')
    const [, dialect = '', driver = '', login, password, ipv6, name, port, database, query = ''] = match
    const problems: ConfigProblem[] = []
    if (ipv6 !== undefined && !isIPv6(ipv6))
      problems.push({ path: 'host', message: 'expected an IPv6 address in square brackets' })
    if (query.split('&').filter((pair) => pair.startsWith('host=')).length > 1)
      problems.push({ path: 'host', message: SEVERAL_HOSTS })
    if (name?.includes('@') || database?.includes('@')) return unreadable(AT)
    if (port !== undefined && !/^\d*$/.test(port)) problems.push({ path: 'port', message: 'expected a whole number' })
    if (database !== undefined && /%[0-9a-f]{2}/i.test(database)) {
      const readings: Readings = ['SQLAlchemy leaves a % in the database as it is', 'other programs decode it']
      problems.push(readDifferently('database', readings, 'write the database without %'))
    }
    const record = {
      type: dialect,
      host: ipv6 ?? name,
      port: port === undefined || !/^\d+$/.test(port) ? undefined : new Secret(port),
      login: login === undefined ? undefined : unquote(login),
      password: password === undefined ? undefined : unquote(password),
      database,
    }
    const reading = readingOf(driver, record, readQuery(query))
    return { ...reading, problems: [...problems, ...reading.problems] }
  },
}

const AT =
  'an @ stands behind the host, where none belongs; in a password, write @ : / ? # % as %40 %3A %2F %3F %23 %25'

function readingOf(driver: string, record: Record<string, unknown>, extra: Record<string, string>): FormReading {
  const isMssql = record['type'] === 'mssql'
  if (isMssql && ODBC_DRIVERS.has(driver)) return ofOdbc(record, extra)
  if (isMssql && driver === 'pymssql') {
    const { charset: _, ...options } = extra
    return { record: { ...record, extra: options }, problems: [], closed: true }
  }
  if (!isMssql && LIBPQ.has(driver)) {
    // They are handed to the driver by name, after the parts of the URL.
    const { parts, rest } = takeLibpqParts(extra)
    const port = parts.port === undefined ? {} : { port: new Secret(parts.port) }
    return { record: { ...record, ...parts, ...port, extra: rest }, problems: [], closed: true }
  }
  if (!isMssql && OTHER_POSTGRES.has(driver)) {
    // asyncpg's `ssl` takes the words of sslmode.
    const { ssl, ...options } = extra
    const mode = ssl === undefined ? {} : /^true$/i.test(ssl) ? { ssl } : { sslmode: ssl }
    return { record: { ...record, extra: { ...mode, ...options } }, problems: [], closed: true }
  }
  const known = isMssql ? [...ODBC_DRIVERS, 'pymssql'] : [...LIBPQ, ...OTHER_POSTGRES]
  return refused(isMssql ? 'mssql' : 'postgres', {
    path: 'type',
    message: `the driver behind the + is not one of ${known.join(', ')}`,
  })
}

/** The string that SQLAlchemy's pyodbc dialect hands to ODBC. */
function ofOdbc(record: Record<string, unknown>, query: Record<string, string>): FormReading {
  const { odbc_connect: whole, driver, Driver = driver, ...extra } = query
  if (whole !== undefined) {
    const others = [record['host'], record['login'], record['database'], ...Object.values(extra)]
    if (others.some((other) => other !== undefined && other !== '')) {
      return unreadable('odbc_connect stands for the whole connection; leave the rest of the URL out')
    }
    return odbc.recognises(whole) ? odbc.read(whole) : adoNet.read(whole)
  }
  if (Driver === undefined) {
    if (record['host'] !== undefined) return refused('mssql', { path: 'host', message: `without driver=… it ${DSN}` })
    return refused('mssql', { path: 'extra.driver', message: 'is missing' })
  }
  return { record: { ...record, extra }, problems: driverProblem(Driver), closed: true }
}
