/** go-mssqldb's `odbc:server=db;user id=etl;password={…}`: ODBC's grammar with keys of its own. */

import { scanOdbc } from './delimited.ts'
import { type Readings, readDifferently, type TextForm, unreadable } from './form.ts'
import { sqlServerReading, type Words } from './sqlserver-parts.ts'

const PREFIX = 'odbc:'

const GO_ODBC: Words = {
  program: 'go-mssqldb',
  unknown: 'drops without a word under odbc:',
  twice: ['go-mssqldb refuses a part that stands twice', 'other programs take one of them'],
  parts: { server: 'host', port: 'port', database: 'database', 'user id': 'login', password: 'password' },
}

export const goOdbc: TextForm = {
  // With slashes it is a URI of Airflow.
  recognises: (text) => text.startsWith(PREFIX) && !text.startsWith('//', PREFIX.length),
  read(text) {
    const pairs = scanOdbc(text.slice(PREFIX.length))
    if (typeof pairs === 'string') return unreadable(pairs)
    const reading = sqlServerReading(
      pairs.map(({ key, value }) => [key, value]),
      GO_ODBC,
    )
    const server = pairs.find(({ key }) => /^server$/i.test(key))?.value ?? ''
    if (!/[,:]/.test(server)) return reading
    const readings: Readings = ['go-mssqldb takes the whole for a host name', 'other programs read a port']
    return { ...reading, problems: [...reading.problems, readDifferently('host', readings, 'write port=PORT')] }
  },
}
