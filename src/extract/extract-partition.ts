import { join } from 'node:path'
import { PoolsmithError } from '../errors.ts'
import { checkPlan } from './check-plan.ts'
import type { Drift } from './drift.ts'
import { openOwn, readOwnText } from './files/own-files.ts'
import { inPartition } from './in-parallel.ts'
import type { Manifest, ManifestContent } from './manifest.ts'
import { intoOneFile } from './one-file.ts'
import { type BatchConsumer, checkTarget, type ReportOptions } from './options.ts'
import { partManifest } from './part-manifest.ts'
import { type ExtractPlan, folderOf, partName } from './plan.ts'
import type { ExtractEngine } from './read/table.ts'
import { Run } from './run.ts'
import { consumePart } from './write-part.ts'

interface RunOptions extends ReportOptions {
  readonly signal?: AbortSignal
}

/** Options of {@link extractPartition} whose rows go into files. */
export interface PartitionOptions extends RunOptions {
  /** The folder below which the layout begins. */
  readonly to: string
  /**
   * Called before anything is written when the columns differ from those of the last run in this place; throw to stop.
   */
  readonly onDrift?: (drift: Drift) => unknown
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
  checkPlan(plan, number)
  // A plan that was just made can be disposed; that member is not part of its JSON.
  const { [Symbol.asyncDispose]: _, ...content } = plan as ExtractPlan & Partial<AsyncDisposable>
  checkTarget(options.to)
  const toFile = isToFile(options)
  if (toFile === (content.format === 'batches')) throw wrongTarget(content.format)
  const done = toFile ? await doneBefore(content, number, options.to) : undefined
  if (done !== undefined) return done
  try {
    await using run = await Run.ofPlan(db, content, options.signal)
    return await (toFile ? intoFile(run, number, options) : intoConsumer(run, number, options))
  } catch (error) {
    throw inPartition(error, content, number)
  }
}

function isToFile(options: PartitionOptions | ConsumePartitionOptions): options is PartitionOptions {
  return typeof options.to === 'string'
}

async function intoConsumer(run: Run, number: number, options: ConsumePartitionOptions): Promise<ManifestContent> {
  const { open, plan, signal } = run
  const meter = run.partMeter(options.onProgress)
  const part = { open, plan, number, count: (rows: number) => meter.add(rows, 0) }
  const { rows, notes } = await consumePart(part, { take: options.to, signal })
  meter.finish(0)
  return run.conclude({ rows, notes, files: [], drift: undefined, partition: number })
}

async function intoFile(run: Run, number: number, options: PartitionOptions): Promise<Manifest> {
  const { open, plan } = run
  if ((await open.claim?.(`${plan.checksum}#${number}`)) === false) throw busy(number)
  // The session that had the claim until now may have completed it.
  const done = await doneBefore(plan, number, options.to)
  if (done !== undefined) return done
  const label = plan.partitions[number]?.label ?? ''
  return intoOneFile(run, options, { number, label, manifestName: manifestName(plan, number) })
}

function manifestName(plan: ExtractPlan, number: number): string {
  return `_manifest-${plan.batchId}-${String(number).padStart(5, '0')}.json`
}

/** The manifest of an earlier run of the same partition, when this user has written it and its file is there too. */
async function doneBefore(plan: ExtractPlan, number: number, to: string): Promise<Manifest | undefined> {
  const folder = folderOf(plan, to)
  const path = join(folder, manifestName(plan, number))
  try {
    await using data = await openOwn(join(folder, partName(plan, number)))
    const { size } = await data.stat()
    const content = partManifest(JSON.parse(await readOwnText(path)), plan, number)
    return content !== undefined && content.bytes === size ? { ...content, folder, path } : undefined
  } catch {
    // Missing, incomplete or of another user: the partition is read now.
    return undefined
  }
}

function busy(number: number): PoolsmithError {
  return new PoolsmithError(`Another session is reading partition ${number} of this plan.`, {
    code: 'EXTRACT_BUSY',
    phase: 'query',
    hint: 'Wait until it has ended; the same call then returns its manifest.',
    transient: true,
    details: { partition: number },
  })
}

function wrongTarget(format: string): PoolsmithError {
  return new PoolsmithError(`The plan is for ${format === 'batches' ? 'a consumer' : `files of format ${format}`}.`, {
    code: 'CONFIG_INVALID',
    phase: 'config',
    hint: 'Plan with a format to write files below a folder, and without one to call a function with batches.',
  })
}
