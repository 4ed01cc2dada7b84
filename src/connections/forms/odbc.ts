/** ODBC's connection string, `Driver={ODBC Driver 18 for SQL Server};Server=db;UID=etl;PWD=…`, as Microsoft's driver reads it. */

import type { ConfigProblem } from '../../errors.ts'
import { closing, type DelimitedPair, scanOdbc } from './delimited.ts'
import { type FormReading, type TextForm, unreadable } from './form.ts'
import { sqlServerReading, type Words } from './sqlserver-parts.ts'

export const ODBC: Words = {
  program: 'ODBC',
  unknown: 'drops without a word',
  twice: ['ODBC takes the first of two values', 'ADO.NET the last'],
  parts: { server: 'host', addr: 'host', address: 'host', database: 'database', uid: 'login', pwd: 'password' },
}

/** ADO.NET's names of options, which Microsoft's ODBC driver drops. */
const NOT_ODBC =
  /^(integrated security|application name|connect(ion)? timeout|command timeout|timeout|packet size|workstation id|trust server certificate|multi subnet failover|application intent|host name in certificate)$/i

const BEGINS_WITH_DRIVER = /(^|;)\s*(driver|dsn|filedsn)\s*=/i

export const odbc: TextForm = {
  recognises: (text) => /^[\s;]*[A-Za-z][\w ]*=/.test(text) && BEGINS_WITH_DRIVER.test(withoutBraces(text)),
  read: readOdbc,
}

/** The text with the content of braces left out, where a password may hold anything. */
function withoutBraces(text: string): string {
  const pieces: string[] = []
  let at = 0
  for (let open = text.indexOf('={'); open !== -1; open = text.indexOf('={', at)) {
    const end = closing(text, open + 2, '}')
    if (end === -1) break
    pieces.push(text.slice(at, open + 1))
    at = end + 1
  }
  pieces.push(text.slice(at))
  return pieces.join('')
}

export function readOdbc(text: string): FormReading {
  const pairs = scanOdbc(text)
  if (typeof pairs === 'string') return unreadable(pairs)
  const reading = sqlServerReading(
    pairs.filter(({ key }) => !/^driver$/i.test(key)).map(({ key, value }) => [key, value]),
    ODBC,
  )
  return { ...reading, problems: [...pairs.flatMap(problemOf), ...reading.problems] }
}

function problemOf({ key, value }: DelimitedPair): ConfigProblem[] {
  if (/^(dsn|filedsn)$/i.test(key)) return [{ path: 'extra.dsn', message: DSN }]
  if (/^driver$/i.test(key)) return driverProblem(value)
  return droppedByOdbc(key)
}

/** The problem of an option that is written under its name in ADO.NET. */
export function droppedByOdbc(key: string): ConfigProblem[] {
  if (!NOT_ODBC.test(key)) return []
  return [{ path: 'extra', message: `${key} is dropped by ODBC without a word; write ODBC's name of the option` }]
}

export const DSN = 'names a data source of this machine, which is not read; write its server and options here'

/** Whether a driver is one for SQL Server, whose options are known. */
export function driverProblem(driver: string): ConfigProblem[] {
  if (/sql server|msodbcsql/i.test(driver)) return []
  const message = /postgres|psql/i.test(driver)
    ? 'is a driver for PostgreSQL; write a URI such as postgres://login:password@host:5432/database'
    : 'expected a driver of Microsoft for SQL Server, such as ODBC Driver 18 for SQL Server'
  return [{ path: 'extra.driver', message }]
}
