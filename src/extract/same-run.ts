/** Whether the plan that a failed run has left reads the same as this run's plan. */

import { isDeepStrictEqual } from 'node:util'
import { asJson, type ExtractPlan } from './plan.ts'
import type { Partition, PartRows } from './read/table.ts'

/** Among them are all SQL, and all names of tables except those of the parts. */
const SAME = [
  'source',
  'fingerprint',
  'schema',
  'table',
  'query',
  'format',
  'columns',
  'options',
  'conditions',
  'byPlace',
  'identity',
] as const satisfies readonly (keyof ExtractPlan)[]

/**
 * The plan to go on with: this run's SQL, and the earlier run's ids and parts, which are data. Undefined when the two
 * do not read the same, or not by the same kind of parts, of the same tables or column.
 *
 * @param before of the earlier run, checked
 * @param now of this run
 */
export function planOfSameRun(before: ExtractPlan, now: ExtractPlan): ExtractPlan | undefined {
  if (!SAME.every((member) => isDeepStrictEqual(asJson(before[member]), asJson(now[member])))) return undefined
  const [marked, marking] = [before.watermark, now.watermark]
  if (marked?.column !== marking?.column || marked?.type !== marking?.type || marked?.after !== marking?.after) {
    return undefined
  }
  if (!isDeepStrictEqual(groundsOf(before.partitions), groundsOf(now.partitions))) return undefined
  const { query, columns, options, conditions } = now
  return { ...before, ...(query === undefined ? {} : { query }), columns, options, conditions }
}

/** The kinds of the parts, with the columns and tables that they name. */
function groundsOf(partitions: readonly Partition[]): readonly string[] {
  return [...new Set(partitions.flatMap(({ rows }) => groundOf(rows)))].sort()
}

function groundOf(rows: PartRows | null): readonly string[] {
  if (rows === null) return ['all']
  if ('pages' in rows) return ['pages']
  if ('range' in rows) return [JSON.stringify([rows.range.column])]
  return rows.tables.map(({ schema, name }) => JSON.stringify([schema, name]))
}
