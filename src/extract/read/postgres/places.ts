/** Parts of a table by the places of its rows: ranges of pages, each page in one of them. */

import { WHOLE } from '../ranges.ts'
import type { PageRange, Partition, TableSlice } from '../table.ts'

/** A table that holds rows itself: an ordinary one, a partition that has none, or one that others inherit from. */
export interface Leaf {
  readonly schema: string
  readonly name: string
  readonly pages: number
  /** Whether a range of its pages can be read; else it is read as a whole. */
  readonly heap: boolean
}

const place = (page: number): string => `'(${page},0)'::pg_catalog.tid`

/** The condition of these pages; undefined for all of them. */
export function pagesCondition({ from, to }: PageRange): string | undefined {
  const conditions = [
    ...(from === 0 ? [] : [`ctid >= ${place(from)}`]),
    ...(to === null ? [] : [`ctid < ${place(to)}`]),
  ]
  return conditions.length === 0 ? undefined : conditions.join(' and ')
}

function rangeLabel({ from, to }: PageRange): string {
  return `pages ${from} to ${to === null ? 'the end' : to - 1}`
}

/** Where to cut this many pages into parts of about the same size; at most one part for each page. */
function cuts(total: number, partitions: number): readonly number[] {
  const all = Array.from({ length: partitions - 1 }, (_, part) => Math.round((total * (part + 1)) / partitions))
  return [...new Set(all)].filter((cut) => cut > 0 && cut < total)
}

/**
 * Parts of the tables that a table consists of, laid end to end and cut into parts of about the same size. A table that
 * cannot be cut belongs to the part in which its middle lies. Empty tables are read with the last part, because rows
 * may be added to them.
 */
export function byLeaves(leaves: readonly Leaf[], partitions: number): readonly Partition[] {
  const total = leaves.reduce((sum, { pages }) => sum + pages, 0)
  const bounds = cuts(total, partitions)
  const parts = [...bounds, total].map((): { slices: TableSlice[]; labels: string[] } => ({ slices: [], labels: [] }))
  let start = 0
  for (const { schema, name, pages, heap } of leaves.filter((leaf) => leaf.pages > 0)) {
    const inside = heap ? bounds.filter((bound) => bound > start && bound < start + pages) : []
    // The last range has no end, because rows may be added.
    const ends = [...inside.map((bound) => bound - start), null]
    for (const [index, to] of ends.entries()) {
      const from = ends[index - 1] ?? 0
      const range = { from, to }
      const middle = start + (from + (to ?? pages)) / 2
      const part = parts[bounds.filter((bound) => bound <= middle).length]
      part?.slices.push({ schema, name, pages: inside.length === 0 ? null : range })
      part?.labels.push(inside.length === 0 ? name : `${name} ${rangeLabel(range)}`)
    }
    start += pages
  }
  const filled = parts.filter(({ slices }) => slices.length > 0)
  if (filled.length <= 1) return WHOLE
  const empty = leaves.filter((leaf) => leaf.pages === 0)
  filled.at(-1)?.slices.push(...empty.map(({ schema, name }) => ({ schema, name, pages: null })))
  return filled.map(({ slices, labels }) => ({ label: inShort(labels), rows: { tables: slices } }))
}

const SHOWN = 3

function inShort(labels: readonly string[]): string {
  const more = labels.length - SHOWN
  return [...labels.slice(0, SHOWN), ...(more > 0 ? [`${more} more`] : [])].join(', ')
}

/**
 * The same ranges of pages in all tables that a table consists of, with about the same number of pages in each range:
 * for a role that may read these tables only through the table itself.
 */
export function byPages(pages: readonly number[], partitions: number): readonly Partition[] {
  const total = pages.reduce((sum, count) => sum + count, 0)
  const most = Math.max(0, ...pages)
  const bounds: number[] = []
  for (let part = 1; part < partitions; part += 1) {
    const bound = boundAt(pages, (total * part) / partitions)
    if (bound > (bounds.at(-1) ?? 0) && bound < most) bounds.push(bound)
  }
  if (bounds.length === 0) return WHOLE
  return [...bounds, null].map((to, index) => {
    const range = { from: bounds[index - 1] ?? 0, to }
    return { label: rangeLabel(range), rows: { pages: range } }
  })
}

/** The smallest page number below which the tables together have this many pages. */
function boundAt(pages: readonly number[], wanted: number): number {
  let low = 0
  let high = Math.max(0, ...pages)
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    const below = pages.reduce((sum, count) => sum + Math.min(count, middle), 0)
    if (below >= wanted) high = middle
    else low = middle + 1
  }
  return low
}
