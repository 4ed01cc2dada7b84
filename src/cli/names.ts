/** Names of tables and columns on the command line: those of the catalogue, so that case counts with quotes or without. */

import type { TableName } from '../extract/read/table.ts'
import { UsageError } from './command.ts'

/** Reads `schema.table`, or a table alone. A part that holds a dot or a quote stands in double quotes, as in SQL. */
export function parseTableName(given: string): TableName {
  const [first = '', second, ...more] = partsOf(given, '.') ?? []
  if (first === '' || more.length > 0) {
    throw new UsageError(`expected schema.table, got ${given}; a part that holds a dot stands in double quotes.`)
  }
  return second === undefined ? { table: first } : { schema: first, table: second }
}

/** Reads `a,b`. A name that holds a comma or a quote stands in double quotes. */
export function parseColumnNames(option: string, given: string): readonly string[] {
  const names = partsOf(given, ',')
  if (names !== undefined) return names
  throw new UsageError(`--${option} expects A,B,..., got ${given}; a name that holds a comma stands in double quotes.`)
}

function partsOf(given: string, separator: '.' | ','): readonly string[] | undefined {
  const part = new RegExp(`"((?:[^"]|"")+)"|([^"${separator}]+)`, 'y')
  const parts: string[] = []
  for (;;) {
    const match = part.exec(given)
    if (match === null) return undefined
    parts.push(match[1]?.replaceAll('""', '"') ?? match[2] ?? '')
    const end = part.lastIndex
    if (end === given.length) return parts
    if (given[end] !== separator) return undefined
    part.lastIndex = end + 1
  }
}
