/**
 * go-mssqldb's URL, `sqlserver://etl:…@db:1433/INSTANCE?database=sales&app+name=etl`, where the path is an instance. For
 * a path that is a database, as Airflow has it, the scheme is `mssql`.
 */

import type { ConfigProblem } from '../../errors.ts'
import { airflowUri } from './airflow-uri.ts'
import {
  type FormReading,
  type Pair,
  type Readings,
  readDifferently,
  refused,
  type TextForm,
  unreadable,
} from './form.ts'
import { sqlServerReading, type Words } from './sqlserver-parts.ts'

const GO: Words = {
  program: 'go-mssqldb',
  unknown: 'drops without a word',
  twice: ['go-mssqldb refuses a part that stands twice', 'other programs take one of them'],
  parts: {
    database: 'database',
    'user id': 'login',
    user: 'login',
    password: 'password',
    server: 'host',
    port: 'port',
  },
  options: {
    appname: 'application_name',
    dialtimeout: 'connect_timeout',
    connectiontimeout: 'request_timeout',
    certificate: 'ca_file',
    fedauth: 'Authentication',
    log: '',
    keepalive: '',
    disableretry: '',
    notraceid: '',
  },
}

export const goSqlServer: TextForm = {
  recognises: (text) => /^sqlserver:\/\//i.test(text),
  read(text) {
    if (!text.startsWith('sqlserver')) {
      const readings: Readings = ['go-mssqldb connects to this machine', 'other programs to the host']
      return refused('mssql', readDifferently('host', readings, 'write the scheme in small letters'))
    }
    if (/%(?![0-9a-f]{2})/i.test(text)) return unreadable('a % begins no escape; write it as %25')
    const { record, problems } = airflowUri.read(text)
    const { host, database: instance, login, password, extra, port } = record
    if (typeof extra !== 'object' || extra === null) return { record, problems }
    if (host === '' && problems.length === 0) return refused('mssql', { path: 'host', message: 'is missing' })
    const pairs: Pair[] = []
    const found: ConfigProblem[] = [...problems]
    for (const [key, value] of Object.entries(extra)) {
      if (/^protocol$/i.test(key)) {
        if (value !== 'tcp') found.push({ path: 'extra.protocol', message: 'only tcp is supported' })
      } else pairs.push([key, String(value)])
    }
    const given = Object.fromEntries(
      Object.entries({ host, login, password }).filter(([, value]) => typeof value === 'string' && value !== ''),
    )
    const reading: FormReading = sqlServerReading(withPartnersPort(pairs), GO, given)
    if (typeof instance === 'string' && instance !== '' && reading.record['database'] === undefined) {
      const readings: Readings = ['go-mssqldb reads the path as an instance', 'other programs as a database']
      found.push(readDifferently('database', readings, 'write mssql://… for a database, or ?database=NAME'))
    }
    const withInstance = { instance_name: instance, ...(reading.record['extra'] as object) }
    return {
      ...reading,
      record: {
        ...reading.record,
        port: port ?? reading.record['port'],
        extra: instance === '' || port !== undefined ? reading.record['extra'] : withInstance,
      },
      problems: [...found, ...reading.problems],
    }
  },
}

/** `failoverport` counts where the partner names no instance. */
function withPartnersPort(pairs: readonly Pair[]): readonly Pair[] {
  const port = pairs.find(([key]) => /^failoverport$/i.test(key))?.[1]
  if (port === undefined) return pairs
  return pairs
    .filter(([key]) => !/^failoverport$/i.test(key))
    .map(([key, value]) => {
      return [key, /^failoverpartner$/i.test(key) && !value.includes('\\') ? `${value},${port}` : value]
    })
}
