/** Connections, variables and configuration of this machine, as Airflow's own two backends have them. */

import { resolve } from 'node:path'
import { path } from '../../connections/fields.ts'
import { toAirflowUri } from '../../connections/forms/airflow-uri.ts'
import { parseConnection } from '../../connections/parse.ts'
import { airflowNames, findInEnvironment, teamKey } from '../../connections/stores/environment.ts'
import { readConnectionsFile } from '../../connections/stores/file.ts'
import { PoolsmithError } from '../../errors.ts'
import { Secret } from '../../secret.ts'
import type { StoreKindContext } from '../kind.ts'
import type { AskOptions, Found, Store } from '../store.ts'
import { readKwargs } from './kwargs.ts'
import { type FileEntry, writeEntry } from './write-file.ts'

export const fileKwargs = {
  connections_file_path: path({ description: 'The file of connections: `.yaml`, `.yml`, `.json` or `.env`.' }),
  variables_file_path: path({ description: 'The file of variables.' }),
  configs_file_path: path({ description: 'The file of configuration.' }),
} as const

/** Files, which are read at each look-up, and replaced as a whole. @throws ConfigError */
export function openFileStore(given: Readonly<Record<string, unknown>>, { cwd, subject }: StoreKindContext): Store {
  const { values } = readKwargs(fileKwargs, given, subject)
  const { connections_file_path: connections, variables_file_path: variables, configs_file_path: configs } = values
  const entries = async (file: string | undefined) =>
    file === undefined ? undefined : (await readConnectionsFile(resolve(cwd, file))).connections
  const text =
    (file: string | undefined) =>
    async (key: string, { team }: AskOptions) => {
      const all = await entries(file)
      const found = (team === undefined ? undefined : all?.get(teamKey(key, team))) ?? all?.get(key)
      return found === undefined ? undefined : { value: textOf(found.value, key, `${file}`), place: `The file ${file}` }
    }
  const keysOf = (key: string, team: string | undefined) => [...(team === undefined ? [] : [teamKey(key, team)]), key]
  const written = {
    ...(connections !== undefined && {
      async setConnection(id: string, text: Secret, { signal, team }: AskOptions) {
        const line = toAirflowUri(parseConnection(text.reveal()))
        const value = JSON.parse(text.reveal()) as FileEntry['value']
        await writeEntry(resolve(cwd, connections), { keys: keysOf(id, team), value, line }, signal)
      },
    }),
    ...(variables !== undefined && {
      async setVariable(key: string, text: Secret, { signal, team }: AskOptions) {
        const value = text.reveal()
        await writeEntry(resolve(cwd, variables), { keys: keysOf(key, team), value, line: value }, signal)
      },
    }),
  }
  return {
    ...written,
    name: `file ${connections ?? variables ?? configs}`,
    async getConnection(id, { team }) {
      const all = await entries(connections)
      const found = (team === undefined ? undefined : all?.get(teamKey(id, team))) ?? all?.get(id)
      return found === undefined ? undefined : { value: found.value, place: `The file ${connections}` }
    },
    getVariable: text(variables),
    getConfig: text(configs),
    connectionIds: async () => [...((await entries(connections))?.keys() ?? [])],
  }
}

function textOf(value: unknown, key: string, file: string): Secret {
  if (typeof value === 'string') return new Secret(value)
  if (typeof value === 'number' || typeof value === 'boolean') return new Secret(String(value))
  throw new PoolsmithError(`The entry ${key} in the file ${file} is no text.`, {
    code: 'SECRET_UNUSABLE',
    phase: 'credential',
    hint: 'Put quotes around it.',
  })
}

export const environmentKwargs = {} as const

/** `AIRFLOW_CONN_<ID>` and `AIRFLOW_VAR_<KEY>`. @throws ConfigError */
export function openEnvironmentStore(
  given: Readonly<Record<string, unknown>>,
  { environment, subject }: StoreKindContext,
): Store {
  readKwargs(environmentKwargs, given, subject)
  const variable = (names: readonly string[]): Found<Secret> | undefined => {
    const name = names.find((each) => environment[each])
    return name === undefined
      ? undefined
      : { value: new Secret(environment[name] ?? ''), place: `The environment variable ${name}` }
  }
  return {
    name: 'the environment',
    async getConnection(id, { team }) {
      const found = findInEnvironment(id, environment, airflowNames(id, team))
      return found === undefined ? undefined : { value: found.value, place: `The ${found.store}` }
    },
    getVariable: async (key, { team }) => variable(variableNames(key, team)),
  }
}

/** The variables that may hold a variable of Airflow, in the order in which they are read. */
export function variableNames(key: string, team: string | undefined): readonly string[] {
  const name = key.toUpperCase()
  return [...(team === undefined ? [] : [`AIRFLOW_VAR__${team.toUpperCase()}___${name}`]), `AIRFLOW_VAR_${name}`]
}

/** Our variable for a variable. */
export function ownVariable(key: string): string {
  return `POOLSMITH_VAR_${key.toUpperCase()}`
}
