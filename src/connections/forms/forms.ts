import { Secret } from '../../secret.ts'
import { LONGEST_RECORD, MOST_PARTS, tooLong } from '../limits.ts'
import { namesScheme } from '../reference.ts'
import { adoNet } from './ado-net.ts'
import { isOdbc, readAirflowOdbc } from './airflow-odbc.ts'
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
import { isRdsSecret, readRdsSecret } from './rds-secret.ts'
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
  return translated({ record: input as Record<string, unknown>, problems: [] })
}

function readText(text: string): FormReading {
  if (text.length > LONGEST_RECORD) return unreadable(`it ${tooLong(LONGEST_RECORD)}`)
  if (text.trim() === '') return unreadable('it is empty')
  const form = formOf(text)
  return form === undefined
    ? unreadable(namesScheme(text.trim()) ? REFERENCE : NO_FORM)
    : translated(form.read(text.trim()))
}

const NO_FORM = 'expected a URI such as postgres://login:password@host:5432/database, a connection string, or JSON'
/** `createEngine` itself takes one. The text is not repeated, because it may be something else. */
const REFERENCE =
  'expected the connection itself, not a reference to a store; give the reference in place of the id of this connection'

/** The records of other programs, in our words. */
function translated(reading: FormReading): FormReading {
  const { record } = reading
  if (record['uri'] !== undefined && record['uri'] !== null && record['uri'] !== '') return readUri(record)
  if (isRdsSecret(record)) return readRdsSecret(record)
  if (!isOdbc(record)) return reading
  const { problems, ...odbc } = readAirflowOdbc(record)
  return { ...odbc, problems: [...reading.problems, ...problems] }
}

/** Airflow's `{"uri": "postgres://…"}`, which no other part may stand beside. */
function readUri({ uri: wrapped, ...about }: Readonly<Record<string, unknown>>): FormReading {
  const uri = wrapped instanceof Secret ? wrapped.reveal() : wrapped
  const given = Object.entries(about).filter(([, value]) => value !== undefined && value !== null && value !== '')
  const beside = given.filter(([key]) => !/^(id|conn_id|description|team_name)$/.test(key))
  if (beside.length > 0 || typeof uri !== 'string') {
    return { record: { type: undefined }, problems: [{ path: 'uri', message: URI_ALONE }] }
  }
  const reading = /^\s*[a-z][\w+.-]*:\/\//i.test(uri) ? readText(uri) : unreadable(NO_FORM)
  return { ...reading, record: { ...reading.record, ...Object.fromEntries(given) } }
}

const URI_ALONE = 'expected a text that is the whole connection; leave it out, or the other parts'
