import { pause } from '../abort.ts'
import { PoolsmithError } from '../errors.ts'
import { checkPartition, checkPlan } from './check-plan.ts'
import type { Drift } from './drift.ts'
import { inPartition } from './in-parallel.ts'
import type { Manifest, ManifestContent } from './manifest.ts'
import { intoOneFile } from './one-file.ts'
import { type BatchConsumer, checkAmounts, checkTarget, type ReportOptions } from './options.ts'
import { partManifestName, wholePart } from './part-manifest.ts'
import { checkPlannedTarget, type ExtractPlan } from './plan.ts'
import type { ExtractEngine } from './read/table.ts'
import { Run } from './run.ts'
import { consumePart } from './write-part.ts'

interface RunOptions extends ReportOptions {
  readonly signal?: AbortSignal
}

/** How often a partition that another session is reading is tried again. */
const BUSY_MILLIS = 1000

/** Options of {@link extractPartition} whose rows go into files. */
export interface PartitionOptions extends RunOptions {
  /** The folder below which the layout begins. */
  readonly to: string
  /**
   * Called before anything is written when the columns differ from those of the last run in this place; throw to stop.
   */
  readonly onDrift?: (drift: Drift) => unknown
  /**
   * How long to wait while another session is reading this partition. When that one completes it, its manifest is
   * returned; when it fails, the partition is read here. Default 0: EXTRACT_BUSY at once.
   */
  readonly waitMillis?: number
}

/** Options of {@link extractPartition} whose rows go to a function. */
export interface ConsumePartitionOptions extends RunOptions {
  readonly to: BatchConsumer
}

/**
 * Runs one partition of a plan: its file and a manifest of its own. A partition that is complete already is not read
 * again; its manifest is returned as it is.
 *
 * @param plan its form is checked, and its SQL runs with the rights of the role: take it from a trusted source only
 * @param number from 0
 * @throws PoolsmithError as {@link extractTable}, and PLAN_INVALID, SNAPSHOT_GONE, TABLE_CHANGED when the table is not
 *   the one that was planned for, EXTRACT_BUSY when another session is reading this partition
 *
 * @example
 * const plan = JSON.parse(await readFile('plan.json', 'utf8'))
 * await extractPartition(db, plan, 3, { to: 'bronze' })
 */
export function extractPartition(
  db: ExtractEngine,
  plan: ExtractPlan,
  number: number,
  options: PartitionOptions,
): Promise<Manifest>
export function extractPartition(
  db: ExtractEngine,
  plan: ExtractPlan,
  number: number,
  options: ConsumePartitionOptions,
): Promise<ManifestContent>
export async function extractPartition(
  db: ExtractEngine,
  plan: ExtractPlan,
  number: number,
  options: PartitionOptions | ConsumePartitionOptions,
): Promise<ManifestContent> {
  checkPlan(plan)
  checkPartition(plan, number)
  // A plan that was just made can be disposed; that member is not part of its JSON.
  const { [Symbol.asyncDispose]: _, ...content } = plan as ExtractPlan & Partial<AsyncDisposable>
  checkTarget(options.to)
  checkAmounts({ waitMillis: 'waitMillis' in options ? options.waitMillis : undefined }, 0)
  const toFile = isToFile(options)
  checkPlannedTarget(content, toFile)
  try {
    return await (toFile ? intoFile(db, content, number, options) : intoConsumer(db, content, number, options))
  } catch (error) {
    throw inPartition(error, content, number)
  }
}

function isToFile(options: PartitionOptions | ConsumePartitionOptions): options is PartitionOptions {
  return typeof options.to === 'string'
}

async function intoConsumer(
  db: ExtractEngine,
  plan: ExtractPlan,
  number: number,
  options: ConsumePartitionOptions,
): Promise<ManifestContent> {
  await using run = await Run.ofPlan(db, plan, options.signal)
  const { open, signal } = run
  const meter = run.partMeter(options.onProgress)
  const part = { open, plan, number, count: (rows: number) => meter.add(rows, 0) }
  const { rows, notes } = await consumePart(part, { take: options.to, signal })
  meter.finish(0)
  return run.conclude({ rows, notes, files: [], drift: undefined, partition: number })
}

async function intoFile(
  db: ExtractEngine,
  plan: ExtractPlan,
  number: number,
  options: PartitionOptions,
): Promise<Manifest> {
  const { waitMillis = 0, signal } = options
  const ends = performance.now() + waitMillis
  for (;;) {
    const manifest = (await wholePart(plan, number, options.to)) ?? (await readPart(db, plan, number, options))
    if (manifest !== undefined) return manifest
    const left = ends - performance.now()
    if (left <= 0) throw busy(number)
    // No session is held meanwhile.
    await pause(Math.min(BUSY_MILLIS, left), { signal }).catch((cause: unknown) => {
      const message = `Waiting for partition ${number} was aborted.`
      throw new PoolsmithError(message, { code: 'ABORTED', phase: 'query', cause })
    })
  }
}

/** Undefined while another session is reading the partition. */
async function readPart(
  db: ExtractEngine,
  plan: ExtractPlan,
  number: number,
  options: PartitionOptions,
): Promise<Manifest | undefined> {
  await using run = await Run.ofPlan(db, plan, options.signal)
  if ((await run.open.claim?.(`${plan.checksum}#${number}`)) === false) return undefined
  // The session that had the claim until now may have completed it.
  const done = await wholePart(plan, number, options.to)
  if (done !== undefined) return done
  const label = plan.partitions[number]?.label ?? ''
  // Awaited here, because leaving this function returns the session to the pool.
  return await intoOneFile(run, options, { number, label, manifestName: partManifestName(plan, number) })
}

function busy(number: number): PoolsmithError {
  return new PoolsmithError(`Another session is reading partition ${number} of this plan.`, {
    code: 'EXTRACT_BUSY',
    phase: 'query',
    hint: 'Wait until it has ended (`waitMillis`, --wait); the same call then returns its manifest.',
    transient: true,
    details: { partition: number },
  })
}
