/** Connections in environment variables: `POOLSMITH_CONN_<ID>` and Airflow's `AIRFLOW_CONN_<ID>`, a URI or JSON text. */

import type { Stored } from './stored.ts'

export type Environment = Readonly<Record<string, string | undefined>>

const PREFIXES = ['POOLSMITH_CONN_', 'AIRFLOW_CONN_'] as const

/** The variables that may hold a connection, in the order in which they are searched. */
export function environmentNames(id: string): readonly string[] {
  return PREFIXES.map((prefix) => prefix + id.toUpperCase())
}

export function findInEnvironment(id: string, environment: Environment): Stored | undefined {
  for (const name of environmentNames(id)) {
    const value = environment[name]
    if (value !== undefined && value.trim() !== '') return { id, store: `environment variable ${name}`, value }
  }
  return undefined
}

/** All variables whose names are those of connections. The ids are in lower case, as most ids are. */
export function listEnvironment(environment: Environment): Stored[] {
  return PREFIXES.flatMap((prefix) =>
    Object.entries(environment)
      .filter(
        ([name, value]) => name.startsWith(prefix) && name !== prefix && value !== undefined && value.trim() !== '',
      )
      .map(([name, value = '']) => ({
        id: name.slice(prefix.length).toLowerCase(),
        store: `environment variable ${name}`,
        value,
      }))
      .sort((a, b) => (a.id < b.id ? -1 : 1)),
  )
}
