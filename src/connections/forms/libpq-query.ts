/**
 * The parts of a connection in the query of a URI, where libpq reads them too (PostgreSQL documentation, "Connection
 * URIs"): `postgres:///sales?host=/run/postgresql&user=etl`. There they win over the same parts before the query.
 */

import type { ConfigProblem } from '../../errors.ts'
import { type Readings, readDifferently } from './form.ts'
import { unquote } from './percent.ts'

/** libpq's names, and ours. */
const PARTS = { host: 'host', port: 'port', user: 'login', password: 'password', dbname: 'database' } as const

type Part = (typeof PARTS)[keyof typeof PARTS]

/** Names that a query of a PostgreSQL URI has no option under. */
export const LIBPQ_PARTS: ReadonlySet<string> = new Set(Object.keys(PARTS))

export interface LibpqQuery {
  /** The parts that the query names. An empty text counts: it takes away what stands before the query. */
  readonly parts: Readonly<Partial<Record<Part, string>>>
  /** The options. */
  readonly rest: Readonly<Record<string, string>>
}

/** Separates the parts from the options of a query. */
export function takeLibpqParts(query: Readonly<Record<string, string>>): LibpqQuery {
  const parts: Partial<Record<Part, string>> = {}
  const rest = Object.entries(query).filter(([name, value]) => {
    if (!isPart(name)) return true
    parts[PARTS[name]] = value
    return false
  })
  return { parts, rest: Object.fromEntries(rest) }
}

const PLUS: Readings = ['libpq takes a + for a plus sign', 'Airflow for a space']

/** The parts in a query with a `+`, from which two programs make another server, user or password. */
export function plusProblems(query: string): ConfigProblem[] {
  return query.split('&').flatMap((pair) => {
    const [name = '', value = ''] = pair.split(/=(.*)/s)
    const key = unquote(name)
    return isPart(key) && value.includes('+') ? [readDifferently(PARTS[key], PLUS, 'write %2B or %20')] : []
  })
}

function isPart(name: string): name is keyof typeof PARTS {
  return LIBPQ_PARTS.has(name)
}
