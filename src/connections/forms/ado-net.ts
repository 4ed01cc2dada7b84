/**
 * ADO.NET's connection string, `Server=db;Database=sales;User ID=etl;Password=…`, as SqlClient reads it. Where
 * go-mssqldb, node-mssql or ODBC read the same text as another server, database, user or password, it is refused.
 */

import type { ConfigProblem } from '../../errors.ts'
import { type DelimitedPair, scanAdoNet, scanOdbc } from './delimited.ts'
import { type FormReading, readDifferently, type TextForm, unreadable } from './form.ts'
import { ODBC } from './odbc.ts'
import { partIn, sqlServerReading, type Words } from './sqlserver-parts.ts'

const ADO_NET: Words = {
  program: 'SqlClient',
  unknown: 'refuses',
  twice: ['SqlClient takes the last of two values', 'ODBC the first'],
  parts: {
    server: 'host',
    'data source': 'host',
    addr: 'host',
    address: 'host',
    'network address': 'host',
    database: 'database',
    'initial catalog': 'database',
    'user id': 'login',
    uid: 'login',
    user: 'login',
    password: 'password',
    pwd: 'password',
  },
}

/** Keys that SqlClient knows and ODBC does not, so that a text with one of them is ADO.NET's. */
const ONLY_ADO_NET =
  /^(data source|network address|initial catalog|user id|user|password|integrated security|application name|connect(ion)? timeout|command timeout|timeout|packet size|workstation id|persist ?security ?info|multiple ?active ?result ?sets|pooling|(min|max) pool size|trust server certificate|multi subnet failover|application intent|host name in certificate|failover partner|current language)$/i

export const adoNet: TextForm = {
  recognises: (text) => /^[\s;]*[A-Za-z][\w ]*=/.test(text),
  read(text) {
    const ado = scanAdoNet(text)
    const pairs = typeof ado === 'string' ? [] : ado
    if (pairs.some(({ key }) => /^(host|username)$/i.test(key))) return unreadable(NPGSQL)
    const isCertain =
      typeof ado === 'string' ? NAMED_IN_TEXT.test(text) : pairs.some(({ key }) => ONLY_ADO_NET.test(key))
    const odbc = isCertain ? 'not asked' : scanOdbc(text)
    if (typeof odbc === 'string') return typeof ado === 'string' ? unreadable(ado) : readPairs(ado)
    if (typeof ado === 'string') {
      return odbc.some(({ value }) => /^["']/.test(value)) ? unreadable(ado) : sqlServerReading(keyed(odbc), ODBC)
    }
    const readings = [readPairs(ado), sqlServerReading(keyed(odbc), ODBC)] as const
    return { ...readings[0], problems: [...readings[0].problems, ...differences(...readings)] }
  },
}

const NAMED_IN_TEXT = /(^|;)\s*(data source|initial catalog|user id|user|password|integrated security)\s*=/i

const NPGSQL =
  'its keys are those of Npgsql, which are not read; write a URI such as postgres://login:password@host:5432/database'

const keyed = (pairs: readonly DelimitedPair[]): [string, string][] => pairs.map(({ key, value }) => [key, value])

function readPairs(pairs: readonly DelimitedPair[]): FormReading {
  const reading = sqlServerReading(keyed(pairs), ADO_NET)
  return { ...reading, problems: [...pairs.flatMap(doubtOf), ...reading.problems] }
}

/** The reading of a value by other readers of ADO.NET's strings. */
function doubtOf({ key, value, quote, isLast }: DelimitedPair): ConfigProblem[] {
  const part = partIn(ADO_NET, key)
  const path = part ?? 'extra'
  if (value === '' && quote === '' && !isLast) {
    return [
      readDifferently(path, ['SqlClient reads an empty value', 'node-mssql reads the next key into it'], LEAVE_OUT),
    ]
  }
  if (quote === '' && value.includes('"')) {
    return [readDifferently(path, ['SqlClient keeps a " inside', 'go-mssqldb reads on to the next one'], IN_DOUBLE)]
  }
  if (quote === "'" && (part !== undefined || value.includes(';'))) {
    return [readDifferently(path, ['SqlClient takes single quotes off', 'go-mssqldb keeps them'], IN_DOUBLE)]
  }
  if (quote === '' && value.startsWith('{') && part !== undefined) {
    return [readDifferently(path, ['SqlClient keeps braces', 'node-mssql and ODBC take them off'], IN_DOUBLE)]
  }
  return []
}

const LEAVE_OUT = 'leave the key out'
const IN_DOUBLE = 'write the value in double quotes, and a " in it twice'

const IDENTITY = ['host', 'port', 'database', 'login', 'password'] as const

/** Where a text without a key that tells ADO.NET from ODBC means something else to ODBC. */
function differences(ado: FormReading, odbc: FormReading): ConfigProblem[] {
  const refused = new Set([...ado.problems, ...odbc.problems].map(({ path }) => path))
  return IDENTITY.filter((part) => (ado.record[part] || undefined) !== (odbc.record[part] || undefined))
    .filter((part) => !refused.has(part))
    .map((part) =>
      readDifferently(
        part,
        ['SqlClient takes quotes off and keeps braces', 'ODBC takes braces off and keeps quotes'],
        'begin with Driver={ODBC Driver 18 for SQL Server} for ODBC, or write Data Source and User ID for ADO.NET',
      ),
    )
}
