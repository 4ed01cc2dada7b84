/** One manifest over all parts of a plan, once they are complete. */

import { basename } from 'node:path'
import { PoolsmithError } from '../errors.ts'
import { checkPlan } from './check-plan.ts'
import { DayFolder, type WriteMode } from './files/day-folder.ts'
import { type Manifest, manifestContent, removeManifest, writeManifest } from './manifest.ts'
import { checkMode, checkTarget } from './options.ts'
import { wholePart } from './part-manifest.ts'
import { checkPlannedTarget, type ExtractPlan, folderOf } from './plan.ts'

/** Options of {@link finishPlan}. */
export interface FinishOptions {
  /** The folder that the parts were written below. */
  readonly to: string
  /**
   * The fate of the other extracts in the day's folder: `append` leaves them, `overwrite` removes them in
   * the step in which the manifest appears, `error` fails with EXTRACT_EXISTS. Default `append`.
   */
  readonly mode?: WriteMode
}

/** The most numbers of missing parts in a message. */
const SHOWN = 10

/**
 * Ends an extract whose parts were read by {@link extractPartition}: checks that all of them are complete in `to`, and
 * writes the manifest of the whole, `_manifest-<batch id>.json`, beside theirs. It reads no table and may be called
 * again.
 *
 * @throws PoolsmithError PLAN_INVALID, EXTRACT_INCOMPLETE with the numbers of the parts in `details.missing`,
 *   EXTRACT_EXISTS, TARGET_NOT_WRITABLE, TARGET_NOT_TRUSTED, DISK_FULL, WRITE_FAILED
 *
 * @example
 * const plan = JSON.parse(await readFile('plan.json', 'utf8'))
 * const { rows } = await finishPlan(plan, { to: 'bronze' })
 */
export async function finishPlan(plan: ExtractPlan, { to, mode = 'append' }: FinishOptions): Promise<Manifest> {
  checkPlan(plan)
  checkTarget(to)
  checkMode(mode, undefined)
  checkPlannedTarget(plan, true)
  const parts: Manifest[] = []
  const missing: number[] = []
  for (const number of plan.partitions.keys()) {
    const part = await wholePart(plan, number, to)
    if (part === undefined) missing.push(number)
    else parts.push(part)
  }
  if (missing.length > 0) throw incomplete(plan, missing, to)
  const own = (notes: readonly string[]): readonly string[] => notes.filter((note) => !plan.notes.includes(note))
  const content = manifestContent(plan, {
    startedAt: new Date(Math.min(...parts.map(({ startedAt }) => Date.parse(startedAt)))),
    rows: parts.reduce((sum, { rows }) => sum + rows, 0),
    files: parts.flatMap(({ files }) => files),
    notes: parts.flatMap(({ notes }, number) => own(notes).map((note) => `partition ${number}: ${note}`)),
    drift: parts.find(({ drift }) => drift !== undefined)?.drift,
  })
  await using day = await DayFolder.open(to, folderOf(plan, to), mode, plan.batchId)
  await day.take(parts.flatMap(({ files, path }) => [...files.map(({ name }) => name), basename(path)]))
  const manifest = await writeManifest(day, content)
  try {
    await day.commit(plan.batchId)
    return manifest
  } catch (error) {
    await removeManifest(day, manifest)
    throw error
  }
}

function incomplete(plan: ExtractPlan, missing: readonly number[], to: string): PoolsmithError {
  const numbers = missing.slice(0, SHOWN).join(', ') + (missing.length > SHOWN ? ', …' : '')
  return new PoolsmithError(
    `${missing.length} of ${plan.partitions.length} partitions of the plan are not complete in ${folderOf(plan, to)}: ${numbers}.`,
    {
      code: 'EXTRACT_INCOMPLETE',
      phase: 'write',
      hint: 'Read these partitions, and finish again.',
      transient: true,
      details: { missing, partitions: plan.partitions.length },
    },
  )
}
