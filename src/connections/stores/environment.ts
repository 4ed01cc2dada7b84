/**
 * Connections in environment variables: `POOLSMITH_CONN_<ID>`, Airflow's `AIRFLOW_CONN_<ID>`, and those of a team of Airflow,
 * `AIRFLOW_CONN__<TEAM>___<ID>`. Each holds a URI, a connection string or JSON text.
 */

import type { Stored } from './stored.ts'

export type Environment = Readonly<Record<string, string | undefined>>

const OWN = 'POOLSMITH_CONN_'
const AIRFLOW = 'AIRFLOW_CONN_'
/** Names the team of Airflow whose connections come before those of all teams. */
export const TEAM_VARIABLE = 'POOLSMITH_TEAM'
/** Between the name of a team and an id. */
const TEAM_END = '___'
/** The name of a team as Airflow reads it, and an id behind it. */
const OF_A_TEAM = /^_([A-Za-z0-9-]{3,50})___(.+)$/s

/** Our variable for a connection. */
export function ownName(id: string): string {
  return OWN + id.toUpperCase()
}

/** Airflow's variables that may hold a connection, in the order in which they are searched. */
export function airflowNames(id: string, team?: string): readonly string[] {
  const name = id.toUpperCase()
  const ofTeam = team === undefined ? [] : [`${AIRFLOW}_${team.toUpperCase()}${TEAM_END}${name}`]
  // As in Airflow, an id never leads into the names of a team.
  return [...ofTeam, ...(OF_A_TEAM.test(id) ? [] : [AIRFLOW + name])]
}

/** The key of a team's connection in a file. */
export function teamKey(id: string, team: string): string {
  return `${team}${TEAM_END}${id}`
}

/** @param names the variables that may hold it, in their order */
export function findInEnvironment(id: string, environment: Environment, names: readonly string[]): Stored | undefined {
  for (const name of names) {
    const value = environment[name]
    if (isSet(value)) return { id, store: `environment variable ${name}`, value }
  }
  return undefined
}

/** All variables whose names are those of connections. The ids are in lower case, as most ids are. */
export function listEnvironment(environment: Environment, team?: string): Stored[] {
  const ofTeam = team === undefined ? [] : [`${AIRFLOW}_${team.toUpperCase()}${TEAM_END}`]
  return [OWN, ...ofTeam, AIRFLOW].flatMap((prefix) =>
    Object.entries(environment)
      .filter((entry): entry is [string, string] => isIn(prefix, entry[0]) && isSet(entry[1]))
      .map(([name, value]) => ({
        id: name.slice(prefix.length).toLowerCase(),
        store: `environment variable ${name}`,
        value,
      }))
      .sort((a, b) => (a.id < b.id ? -1 : 1)),
  )
}

/** The variables in which teams have a connection of this id. */
export function teamsWith(id: string, environment: Environment): readonly string[] {
  return Object.keys(environment).filter(
    (name) => name.startsWith(AIRFLOW) && OF_A_TEAM.exec(name.slice(AIRFLOW.length))?.[2] === id.toUpperCase(),
  )
}

function isIn(prefix: string, name: string): boolean {
  if (!name.startsWith(prefix) || name === prefix) return false
  return prefix !== AIRFLOW || !OF_A_TEAM.test(name.slice(prefix.length))
}

function isSet(value: string | undefined): value is string {
  return value !== undefined && value.trim() !== ''
}
