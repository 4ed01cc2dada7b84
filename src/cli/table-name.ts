import type { TableName } from '../extract/read/reader.ts'
import { UsageError } from './command.ts'

/**
 * Reads `schema.table`, or a table alone. A part may stand in double quotes, as in SQL, when it holds a dot or a
 * quote itself. Unlike SQL, case counts in either form: the names are those of the catalogue.
 */
export function parseTableName(given: string): TableName {
  const part = /"((?:[^"]|"")+)"|([^".]+)/y
  const parts: string[] = []
  for (;;) {
    const match = part.exec(given)
    if (match === null) break
    parts.push(match[1]?.replaceAll('""', '"') ?? match[2] ?? '')
    const end = part.lastIndex
    if (end === given.length) {
      const [first = '', second] = parts
      if (parts.length > 2) break
      return second === undefined ? { table: first } : { schema: first, table: second }
    }
    if (given[end] !== '.') break
    part.lastIndex = end + 1
  }
  throw new UsageError(`expected schema.table, got ${given}; a part that holds a dot stands in double quotes.`)
}
