/**
 * Airflow's connections of type `odbc`, whose extras are keywords of ODBC beside options of its hook. Those with a driver
 * for SQL Server are read.
 */

import type { ConfigProblem } from '../../errors.ts'
import { Secret } from '../../secret.ts'
import { parseJson } from '../exact-json.ts'
import { LONGEST_RECORD } from '../limits.ts'
import { childPath } from '../problem-path.ts'
import type { FormReading } from './form.ts'
import { DSN, driverProblem, droppedByOdbc } from './odbc.ts'

/** Options of Airflow's hook itself. */
const OF_THE_HOOK = /^(connect_kwargs|sqlalchemy_scheme|placeholder)$/i

const NO_DRIVER =
  'is missing, so that the connection may be one of any database; write the type mssql or postgres in place of odbc'
const PORT =
  "goes to ODBC as the keyword PORT, which Microsoft's driver drops without a word; write HOST,PORT into host"

export function isOdbc({ type, conn_type = type }: Readonly<Record<string, unknown>>): boolean {
  return typeof conn_type === 'string' && conn_type.trim().toLowerCase() === 'odbc'
}

export function readAirflowOdbc({ type: _, conn_type, ...given }: Readonly<Record<string, unknown>>): FormReading {
  const record: Record<string, unknown> = { ...given, type: 'mssql' }
  const options = optionsOf(given)
  // Extras that are no object are reported where all extras are read.
  if (options === undefined) return { record, problems: [] }
  const problems: ConfigProblem[] = []
  const notes: ConfigProblem[] = []
  const extra: Record<string, unknown> = {}
  let hasDriver = false
  for (const [key, value] of Object.entries(options)) {
    if (/^driver$/i.test(key) && typeof value === 'string') {
      hasDriver = true
      problems.push(...driverProblem(value))
    } else if (/^dsn$/i.test(key)) problems.push({ path: 'extra.dsn', message: DSN })
    else if (OF_THE_HOOK.test(key))
      notes.push({ path: childPath('extra', key), message: "has a meaning for Airflow's hook only; ignored" })
    else {
      problems.push(...droppedByOdbc(key))
      extra[key] = value
    }
  }
  if (!hasDriver) problems.push({ path: 'extra.driver', message: NO_DRIVER })
  const port = given['port'] instanceof Secret ? given['port'].reveal() : given['port']
  if (!['undefined', 'null', '', '0', '1433'].includes(String(port))) problems.push({ path: 'port', message: PORT })
  const { extra_dejson, ...rest } = record
  return { record: { ...rest, extra }, problems, notes, closed: true }
}

function optionsOf({ extra_dejson, extra = extra_dejson }: Readonly<Record<string, unknown>>): object | undefined {
  let given = extra instanceof Secret ? extra.reveal() : extra
  try {
    if (typeof given === 'string' && given.length <= LONGEST_RECORD) given = given.trim() === '' ? {} : parseJson(given)
  } catch {
    return undefined
  }
  if (given === undefined || given === null) return {}
  return typeof given === 'object' && !Array.isArray(given) ? given : undefined
}
