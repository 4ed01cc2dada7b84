/** The columns that are read, and their names: the same rules for every database. */

import { PoolsmithError } from '../../errors.ts'
import type { Quote } from './missing.ts'
import type { ReadOptions } from './table.ts'

/** The name of the column that `rowHash` adds. */
export const ROW_HASH = '_row_hash'

/**
 * The columns that the options name, in their order, or all of them.
 *
 * @param find throws COLUMN_NOT_FOUND
 */
export function chooseColumns<Column>(
  columns: readonly Column[],
  { columns: wanted, asText = [], asBytes = [] }: ReadOptions,
  find: (name: string) => Column,
): readonly Column[] {
  for (const name of [...asText, ...asBytes]) find(name)
  const both = asText.filter((name) => asBytes.includes(name))
  if (both.length > 0) {
    throw new PoolsmithError(
      `\`asText\` and \`asBytes\` both name ${both.map((name) => JSON.stringify(name)).join(', ')}.`,
      {
        code: 'CONFIG_INVALID',
        phase: 'config',
        hint: 'Name a column in one of them.',
      },
    )
  }
  return wanted === undefined ? columns : [...new Set(wanted)].map(find)
}

/** The names of the columns of each row, with the one that `rowHash` adds. */
export function namesOf(columns: readonly { readonly name: string }[], { rowHash }: ReadOptions): readonly string[] {
  return [...columns.map(({ name }) => name), ...(rowHash ? [ROW_HASH] : [])]
}

/**
 * @param shown the table or query, for the error
 * @throws PoolsmithError CONFIG_INVALID when two columns have the same name
 */
export function refuseDoubles(shown: string, names: readonly string[], quote: Quote): void {
  const doubles = names.filter((name, index) => names.indexOf(name) !== index)
  if (doubles.length === 0) return
  throw new PoolsmithError(`${shown} has more than one column ${doubles.map(quote).join(', ')}.`, {
    code: 'CONFIG_INVALID',
    phase: 'config',
    hint: `Give each column a name of its own; with rowHash none may be ${ROW_HASH}.`,
    details: { columns: doubles },
  })
}
