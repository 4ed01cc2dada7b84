/**
 * Prisma's URL of SQL Server, `sqlserver://db:1433;database=sales;user=etl;password=…`, as both of its readers have it
 * (the engine and `@prisma/adapter-mssql`, which minds the case of keys).
 */

import { type Readings, readDifferently, refused, type TextForm } from './form.ts'
import { readProperties } from './jdbc-sqlserver.ts'
import type { Words } from './sqlserver-parts.ts'

const PREFIX = 'sqlserver://'

const PRISMA: Words = {
  program: 'Prisma',
  unknown: 'drops without a word',
  twice: ['its engine takes the first of two values', 'its adapter the last'],
  onOtherCase: ['its engine ignores the case of the key', 'its adapter drops the key'],
  parts: {
    database: 'database',
    'initial catalog': 'database',
    user: 'login',
    username: 'login',
    uid: 'login',
    userid: 'login',
    password: 'password',
    pwd: 'password',
  },
  options: {
    trustservercertificateca: 'ca_file',
    connectionlimit: 'pool_size',
    schema: '',
    pooltimeout: '',
    sockettimeout: '',
    isolationlevel: '',
  },
}

export const prismaSqlServer: TextForm = {
  recognises: (text) => text.startsWith(PREFIX) && text.includes(';'),
  read(text) {
    const rest = text.slice(PREFIX.length)
    if (/[@?]/.test(rest.slice(0, rest.indexOf(';')))) {
      const readings: Readings = ['go-mssqldb reads a URL with a login', 'Prisma keys behind semicolons']
      return refused('mssql', readDifferently('login', readings, 'write ; as %3B in a URL'))
    }
    return readProperties(rest, PRISMA)
  },
}
