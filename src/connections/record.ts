/** The parts of a connection beside its options: their names, and how each is read. */

import { didYouMean, nearest } from '../did-you-mean.ts'
import { Secret } from '../secret.ts'
import type { Dialect } from './connection.ts'
import { type Field, FieldMismatch, integer, secret, text } from './field-types.ts'
import { LONGEST_RECORD } from './limits.ts'

/** The names that `type` may have. */
export const TYPES: Readonly<Record<string, Dialect>> = {
  postgres: 'postgres',
  postgresql: 'postgres',
  mssql: 'mssql',
  sqlserver: 'mssql',
}

const typeField: Field<Dialect | undefined> = {
  type: Object.keys(TYPES).join(' | '),
  description: 'The kind of database.',
  default: undefined,
  aliases: ['conn_type'],
  secret: false,
  parse(value) {
    const known = Object.keys(TYPES)
    const given = typeof value === 'string' ? value.trim().toLowerCase().replaceAll('-', '_') : undefined
    if (given !== undefined && Object.hasOwn(TYPES, given)) return TYPES[given]
    // SQLAlchemy's way to name a driver along with the type: postgresql+psycopg2.
    const base = given?.split('+')[0]
    const near = base === undefined ? undefined : Object.hasOwn(TYPES, base) ? base : nearest(base, known)
    throw new FieldMismatch(`expected one of ${known.join(', ')}`, value, near)
  },
}

const port = integer({ description: 'TCP port.', min: 1, max: 65_535 })

/** One port, or a list for a list of hosts. The number 0 is how Airflow says that there is none. */
const portField: Field<number | string | undefined> = {
  ...port,
  default: undefined,
  parse(value) {
    const plain = value instanceof Secret ? value.reveal() : value
    if (typeof plain !== 'string' || !plain.includes(',')) return value === 0 ? undefined : port.parse(value)
    if (/^[\d, ]{1,1000}$/.test(plain)) return plain
    throw new FieldMismatch('expected ports from 1 to 65535, with commas between them')
  },
}

/** Passed through: `readExtra` reports each problem in it with a path of its own. */
const extraField: Field<unknown> = {
  type: 'object',
  description: 'Options of the database, the pool and the login.',
  default: undefined,
  aliases: ['extra_dejson'],
  secret: true,
  longest: LONGEST_RECORD,
  parse: (value) => value,
}

/** The table of the parts. */
export const RECORD = {
  id: text({ description: 'The id under which a store knows the connection.', aliases: ['conn_id'] }),
  type: typeField,
  host: text({ description: 'Host name, address, a list of them such as `db1,db2`, or folder of a Unix socket.' }),
  port: portField,
  login: text({ description: 'The user to log in as.' }),
  password: secret({ description: 'The password, where the strategy needs one.' }),
  database: text({ description: 'The database.', aliases: ['schema'] }),
  description: text({ description: 'A note for people.' }),
  team_name: text({ description: 'The team that Airflow gives the connection to. It has no effect here.' }),
  extra: extraField,
}

/** Names of the same parts in other tools. */
const OTHER_NAMES: Readonly<Record<string, string>> = {
  user: 'login',
  username: 'login',
  uid: 'login',
  pwd: 'password',
  db: 'database',
  dbname: 'database',
  hostname: 'host',
  server: 'host',
  dialect: 'type',
  options: 'extra',
}

const ID = /^[\p{L}\p{N}_#!()\-.:/\\]{1,250}$/u

/** The problem of a connection id by Airflow's rule, if any. It does not repeat the id, which may be a secret. */
export function idProblem(id: string): string | undefined {
  return ID.test(id) ? undefined : 'expected 1 to 250 letters, digits and the characters _ # ! ( ) - . : / \\'
}

/** The message for an unknown part. */
export function unknownPart(key: string): string | undefined {
  const name = key.toLowerCase()
  if (Object.hasOwn(OTHER_NAMES, name)) return `unknown key; ${didYouMean([OTHER_NAMES[name] ?? ''])}`
  return nearest(key, Object.keys(RECORD).concat('conn_id', 'conn_type', 'schema', 'extra_dejson')) === undefined
    ? 'unknown key; options of the database, the pool and the login belong under extra'
    : undefined
}
