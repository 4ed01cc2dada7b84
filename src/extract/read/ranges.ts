/** Parts of a table by ranges of a column's values: the same for every database. */

import type { Partition } from './table.ts'

/** One part that has all rows. */
export const WHOLE: readonly Partition[] = [{ label: 'all rows', rows: null }]

/** The note where the sessions that read the parts share no moment. */
export const APART =
  'Each part was read at a moment of its own: a row that was changed meanwhile may be there twice, or not at all.'

/**
 * One part more than there are bounds; rows without a value are in the first.
 *
 * @param bounds rising, each of them once, as the database writes them
 */
export function rangesOf(column: string, bounds: readonly string[]): readonly Partition[] {
  if (bounds.length === 0) return WHOLE
  return [...bounds, null].map((to, index) => {
    const from = bounds[index - 1] ?? null
    const ends = [
      ...(from === null ? [] : [`from ${column} ${from}`]),
      ...(to === null ? [] : [`below ${column} ${to}`]),
    ]
    return { label: ends.join(' '), rows: { range: { column, from, to } } }
  })
}
