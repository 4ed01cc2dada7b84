import { join } from 'node:path'
import { PoolsmithError } from '../errors.ts'
import { checkPlan } from './check-plan.ts'
import { type Drift, driftIn } from './drift.ts'
import { inPartition } from './in-parallel.ts'
import { type Manifest, type ManifestContent, manifestColumns, manifestContent, writeManifest } from './manifest.ts'
import { type BatchConsumer, checkTarget, type ReportOptions } from './options.ts'
import { makeFolders, openOwn, readOwnText } from './own-files.ts'
import { partManifest } from './part-manifest.ts'
import { type ExtractPlan, folderOf, partName, sourceOf } from './plan.ts'
import { ProgressMeter } from './progress.ts'
import { openTable } from './read/open-table.ts'
import type { ExtractEngine, OpenTable } from './read/table.ts'
import { sweep } from './sweep.ts'
import { TargetFile } from './target-file.ts'
import { consumePart, writePart } from './write-part.ts'

interface RunOptions extends ReportOptions {
  readonly signal?: AbortSignal
}

/** Options of {@link extractPartition} whose rows go into files. */
export interface PartitionOptions extends RunOptions {
  /** The folder below which the layout begins. */
  readonly to: string
  /** Called before anything is written when the columns are not those of the last run in this place; throw to stop. */
  readonly onDrift?: (drift: Drift) => unknown
}

/** Options of {@link extractPartition} whose rows go to a function. */
export interface ConsumePartitionOptions extends RunOptions {
  readonly to: BatchConsumer
}

/**
 * Runs one partition of a plan: its file and a manifest of its own. A partition that is whole already is not read
 * again; its manifest comes back as it is.
 *
 * @param number from 0
 * @throws PoolsmithError as {@link extractTable}, and PLAN_INVALID, SNAPSHOT_GONE, TABLE_CHANGED when the table is not
 *   the one that was planned for, EXTRACT_BUSY when somebody else is reading this partition
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
  const startedAt = new Date()
  checkPlan(plan, number)
  // A plan that was just made can be disposed, which is no part of it.
  const { [Symbol.asyncDispose]: _, ...content } = plan as ExtractPlan & Partial<AsyncDisposable>
  const { to, signal, onProgress } = options
  checkTarget(to)
  const isWanted = typeof to === 'string' ? content.format !== 'batches' : content.format === 'batches'
  if (!isWanted) throw wrongTarget(content.format)
  const there = typeof to === 'string' ? await wholeManifest(content, number, to) : undefined
  if (there !== undefined) return there

  // The parts are about equal.
  const estimatedRows =
    content.estimatedRows === undefined ? undefined : Math.ceil(content.estimatedRows / content.partitions.length)
  const meter = new ProgressMeter(onProgress, estimatedRows)
  try {
    const { snapshot } = content
    await using open = await openTable(db, sourceOf(content), {
      ...content.options,
      ...(snapshot === undefined ? {} : { snapshot }),
      ...(signal === undefined ? {} : { signal }),
    })
    await checkTable(open, content)
    if (typeof to !== 'string') {
      const consumer = { take: to, signal: signal ?? new AbortController().signal }
      const written = await consumePart(open, content, number, consumer, (rows) => meter.add(rows, 0))
      meter.finish(0)
      const { rows, notes } = written
      return manifestContent(content, { startedAt, rows, notes, files: [], drift: undefined, partition: number })
    }
    if ((await open.claim?.(`${content.checksum}#${number}`)) === false) throw busy(number)
    // Whoever had the claim until now may have made it whole.
    const since = await wholeManifest(content, number, to)
    if (since !== undefined) return since
    const folder = folderOf(content, to)
    await sweep(folder)
    const { onDrift } = options as PartitionOptions
    const drift = await driftIn(folder, { batchId: content.batchId, columns: manifestColumns(content) }, onDrift)
    await makeFolders(to, folder)
    // Only one session has the claim; what one that was killed has left is replaced.
    await using file = await TargetFile.create(folder, partName(content, number), { replaceLeftover: true })
    const { rows, notes } = await writePart(open, content, number, file, (more) => meter.add(more, file.bytes))
    const label = content.partitions[number]?.label ?? ''
    const files = [{ ...(await file.finish()), rows, partition: number, label }]
    const outcome = { startedAt, rows, notes, files, drift, partition: number }
    const manifest = await writeManifest(
      folder,
      manifestContent(content, outcome),
      manifestName(content, number),
    ).catch(async (error: unknown) => {
      await file.withdraw()
      throw error
    })
    meter.finish(file.bytes)
    return manifest
  } catch (error) {
    throw inPartition(error, content, number)
  }
}

function manifestName(plan: ExtractPlan, number: number): string {
  return `_manifest-${plan.batchId}-${String(number).padStart(5, '0')}.json`
}

/** The manifest of an earlier run of the same partition, when this user has written it and its file is there too. */
async function wholeManifest(plan: ExtractPlan, number: number, to: string): Promise<Manifest | undefined> {
  const folder = folderOf(plan, to)
  const path = join(folder, manifestName(plan, number))
  try {
    await using data = await openOwn(join(folder, partName(plan, number)))
    const { size } = await data.stat()
    const content = partManifest(JSON.parse(await readOwnText(path)), plan, number)
    return content !== undefined && content.bytes === size ? { ...content, folder, path } : undefined
  } catch {
    // Not there, not whole or not ours: it is read now.
    return undefined
  }
}

/** The table may have been altered since the plan was made, or its rows moved. */
async function checkTable(open: OpenTable, plan: ExtractPlan): Promise<void> {
  const isText = plan.format === 'csv' || plan.format === 'jsonl'
  const { columns } = isText ? open.asLines(plan.format, { suffix: '' }, []) : await open.asArrow([])
  if (JSON.stringify(columns) !== JSON.stringify(plan.columns)) throw changed('has other columns or types than', open)
  if (!plan.byPlace) return
  const now = await open.plan({ where: undefined, watermark: undefined, partitions: 1, partitionBy: undefined })
  if (now.identity !== plan.identity) throw changed('was rewritten or made anew since', open)
}

function changed(what: string, { schema, table }: OpenTable): PoolsmithError {
  return new PoolsmithError(`${schema}.${table} ${what} the plan.`, {
    code: 'TABLE_CHANGED',
    phase: 'query',
    hint: 'Plan again, and run all partitions of the new plan.',
    details: { schema, table },
  })
}

function busy(number: number): PoolsmithError {
  return new PoolsmithError(`Partition ${number} of this plan is being read by another session.`, {
    code: 'EXTRACT_BUSY',
    phase: 'query',
    hint: 'Wait for the other one; when it is done, the same call gives its manifest.',
    transient: true,
    details: { partition: number },
  })
}

function wrongTarget(format: string): PoolsmithError {
  return new PoolsmithError(`The plan is for ${format === 'batches' ? 'a consumer' : `files of format ${format}`}.`, {
    code: 'CONFIG_INVALID',
    phase: 'config',
    hint: 'Plan with a format for files below a folder, and without one for a function that takes batches.',
  })
}
