import { Secret } from '../../secret.ts'
import { LONGEST_RECORD, MOST_PARTS, tooLong } from '../limits.ts'
import { adoNet } from './ado-net.ts'
import { airflowUri } from './airflow-uri.ts'
import { type FormReading, type TextForm, unreadable } from './form.ts'
import { goOdbc } from './go-odbc.ts'
import { goSqlServer } from './go-sqlserver.ts'
import { jdbcPostgres } from './jdbc-postgres.ts'
import { jdbcSqlServer } from './jdbc-sqlserver.ts'
import { jsonText } from './json-text.ts'
import { keywordString } from './keyword-string.ts'
import { odbc } from './odbc.ts'
import { prismaSqlServer } from './prisma-sqlserver.ts'
import { sqlAlchemy } from './sqlalchemy.ts'

/** Every form of text, in the order in which they are tried. A text in none of them is the id of a connection. */
const TEXT_FORMS: readonly TextForm[] = [
  jsonText,
  jdbcPostgres,
  jdbcSqlServer,
  prismaSqlServer,
  goSqlServer,
  goOdbc,
  sqlAlchemy,
  odbc,
  keywordString,
  adoNet,
  airflowUri,
]

/** Whether a text is a connection itself, and not the id of one. */
export function isConnectionText(text: string): boolean {
  return formOf(text) !== undefined
}

function formOf(text: string): TextForm | undefined {
  return TEXT_FORMS.find((form) => form.recognises(text.trim()))
}

/** Takes a connection apart: an object as it is, a text by its form. */
export function readForm(input: unknown): FormReading {
  if (typeof input === 'string') return readText(input)
  if (typeof input !== 'object' || input === null || Array.isArray(input) || input instanceof Secret) {
    return unreadable('expected an object, a URI, a connection string or JSON text')
  }
  if (Object.keys(input).length > MOST_PARTS) {
    return unreadable(`it has more than ${MOST_PARTS} parts; options belong under extra`)
  }
  return { record: input as Record<string, unknown>, problems: [] }
}

function readText(text: string): FormReading {
  if (text.length > LONGEST_RECORD) return unreadable(`it ${tooLong(LONGEST_RECORD)}`)
  if (text.trim() === '') return unreadable('it is empty')
  return (
    formOf(text)?.read(text.trim()) ??
    unreadable('expected a URI such as postgres://login:password@host:5432/database, a connection string, or JSON')
  )
}
