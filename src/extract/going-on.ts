/** Whether a run may go on with the parts that a failed run has read: only where all parts still are one moment. */

import { choicesOf, type ExtractPlan } from './plan.ts'
import type { OpenTable } from './read/table.ts'

/** A part that is complete. */
export interface KeptPart {
  readonly number: number
  readonly rows: number
}

/** Whether a later run may be able to go on with parts of this plan. */
export function canGoOn(plan: ExtractPlan): boolean {
  return plan.moment !== undefined || isByMark(plan)
}

/** A row that is changed gets another mark, which is not a mark of this run; in a range of values it stays in its part. */
function isByMark({ watermark, partitions }: ExtractPlan): boolean {
  return watermark !== undefined && partitions.every(({ rows }) => rows !== null && 'range' in rows)
}

/**
 * Why the parts that an earlier run has read cannot stand beside parts that are read now; undefined when they can.
 *
 * Without a watermark the rows of the kept parts must be the same as then. With one, each part has the rows up to the
 * mark that both runs share; by their places such a row could be in two parts only if it was written since.
 *
 * @param open sees the table as it is now
 * @param plan of the earlier run
 */
export async function obstacleTo(
  open: OpenTable,
  plan: ExtractPlan,
  kept: readonly KeptPart[],
): Promise<string | undefined> {
  if (isByMark(plan)) return undefined
  const numbers = new Set(kept.map(({ number }) => number))
  const rest = [...plan.partitions.keys()].filter((number) => !numbers.has(number))
  const looked = plan.watermark === undefined ? [...numbers] : rest
  for (const number of looked) {
    const changes =
      plan.moment === undefined ? undefined : await open.changesSince?.(plan.moment, choicesOf(plan, number))
    if (changes === undefined) return 'it cannot be told whether the table has changed since'
    const rows = kept.find((part) => part.number === number)?.rows ?? changes.rows
    if (changes.later > 0 || changes.rows !== rows) return 'the table has changed since'
  }
  return undefined
}
