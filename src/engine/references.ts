/** Options that are given by reference to a store: `password_from` in place of `password`. */

import type { Connection } from '../connections/connection.ts'
import type { Field, Fields } from '../connections/fields.ts'
import { fromName, ReferencedSecret, reference } from '../connections/reference.ts'
import type { ConfigProblem } from '../errors.ts'

/** The options that are given by reference, by their names. */
export type ReferencedOptions = ReadonlyMap<string, ReferencedSecret>

/** Parts of a record that may be in a store, beside its secret options. */
const PARTS = ['login', 'password'] as const

/** The options that take a reference, for each secret in a table of options and the parts of the record. */
export function referenceFields(fields: Fields): Fields {
  const secrets = Object.entries(fields).flatMap(([name, field]: [string, Field<unknown>]) =>
    field.secret ? [name] : [],
  )
  return Object.fromEntries(
    [...PARTS, ...secrets].map((name) => [fromName(name), reference(`The place of ${name} in a store of secrets.`)]),
  )
}

/** The references among parsed options, and the problems of those that are given twice. */
export function referencesIn(
  values: Readonly<Record<string, unknown>>,
  connection: Pick<Connection, 'login' | 'password'>,
): { readonly references: ReferencedOptions; readonly problems: readonly ConfigProblem[] } {
  const given: Readonly<Record<string, unknown>> = { ...values, ...connection }
  const references = new Map<string, ReferencedSecret>()
  const problems: ConfigProblem[] = []
  for (const [key, value] of Object.entries(values)) {
    if (!(value instanceof ReferencedSecret)) continue
    const name = key.slice(0, -fromName('').length)
    references.set(name, value)
    if (given[name] === undefined) continue
    problems.push({ path: `extra.${key}`, message: `${name} is given too; keep one of them` })
  }
  return { references, problems }
}

/** The values of secret options, for a table of options that has them: not `sslkey`, which is a path there. */
export function secretsOf<T>(fields: Fields, values: ReadonlyMap<string, T>): Readonly<Record<string, T>> {
  return Object.fromEntries([...values].filter(([name]) => fields[name]?.secret === true))
}

/** The record with its parts that are in a store. */
export function withParts(
  connection: Connection,
  values: ReadonlyMap<string, NonNullable<Connection['password']>>,
): Connection {
  const { login, password } = connection
  return { ...connection, login: values.get('login')?.reveal() ?? login, password: values.get('password') ?? password }
}
