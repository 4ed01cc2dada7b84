/**
 * The JSON that AWS Secrets Manager keeps for a database of RDS (AWS Secrets Manager User Guide, "JSON structure of AWS
 * Secrets Manager database credential secrets").
 */

import type { ConfigProblem } from '../../errors.ts'
import { childPath } from '../problem-path.ts'
import type { FormReading } from './form.ts'

const RENAMED: Readonly<Record<string, string>> = { username: 'login', dbname: 'database' }

/** Keys that lead AWS to the instance and to the secret of the administrator. */
const FOR_AWS = /^(dbinstanceidentifier|dbclusteridentifier|masterarn)$/i

/** Whether a record is such a secret: `engine` stands in place of a type. */
export function isRdsSecret(record: Readonly<Record<string, unknown>>): boolean {
  return typeof record['engine'] === 'string' && record['type'] === undefined && record['conn_type'] === undefined
}

export function readRdsSecret(given: Readonly<Record<string, unknown>>): FormReading {
  const problems: ConfigProblem[] = []
  const notes: ConfigProblem[] = []
  const record: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(given)) {
    const name = Object.hasOwn(RENAMED, key) ? (RENAMED[key] as string) : key
    if (FOR_AWS.test(key)) notes.push({ path: childPath('', key), message: 'has a meaning for AWS only; ignored' })
    else if (name !== key && Object.hasOwn(given, name))
      problems.push({ path: key, message: `says the same as ${name}; keep one of them` })
    else if (key !== 'engine') record[name] = value
  }
  const type = rdsType(String(given['engine']))
  if (type === undefined) problems.push({ path: 'engine', message: ENGINES })
  // AWS documents these databases for a secret without a name.
  else record['database'] ||= type === 'postgres' ? 'postgres' : 'master'
  return { record: { type, ...record }, problems, notes }
}

const ENGINES = 'expected postgres, aurora-postgresql, or sqlserver (also with an edition, as in sqlserver-se)'

/** The type of a connection for AWS' name of an engine. */
export function rdsType(engine: string): 'postgres' | 'mssql' | undefined {
  if (/^(aurora-)?postgres(ql)?$/i.test(engine)) return 'postgres'
  return /^(custom-)?(sqlserver|mssql)(-\w+)?$/i.test(engine) ? 'mssql' : undefined
}
