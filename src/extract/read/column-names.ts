/** What holds for the names of the columns that are read, whatever the database. */

import { PoolsmithError } from '../../errors.ts'

/** The name of the column that `rowHash` adds. */
export const ROW_HASH = '_row_hash'

/**
 * @param shown the table or query, for the error
 * @param quote how the database writes a name
 * @throws PoolsmithError CONFIG_INVALID when two columns have the same name
 */
export function refuseDoubles(shown: string, names: readonly string[], quote: (name: string) => string): void {
  const doubles = names.filter((name, index) => names.indexOf(name) !== index)
  if (doubles.length === 0) return
  throw new PoolsmithError(`${shown} has more than one column ${doubles.map(quote).join(', ')}.`, {
    code: 'CONFIG_INVALID',
    phase: 'config',
    hint: `Give each column a name of its own; with rowHash none may be ${ROW_HASH}.`,
    details: { columns: doubles },
  })
}
