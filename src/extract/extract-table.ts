import { PoolsmithError } from '../errors.ts'
import { driftIn } from './drift.ts'
import { readInParallel } from './in-parallel.ts'
import {
  type Manifest,
  type ManifestContent,
  manifestColumns,
  manifestContent,
  type Outcome,
  removeManifest,
  writeManifest,
} from './manifest.ts'
import {
  type ConsumeOptions,
  checkFormat,
  checkInstant,
  checkPartitions,
  checkTarget,
  type ExtractOptions,
} from './options.ts'
import { makeFolders } from './own-files.ts'
import { PartFiles } from './part-files.ts'
import { type ExtractPlan, folderOf, makePlan, type PlanInput, partName, resumeKey } from './plan.ts'
import { ProgressMeter } from './progress.ts'
import { openTable } from './read/open-table.ts'
import type { ExtractEngine, ExtractSource, OpenTable } from './read/table.ts'
import { sweep } from './sweep.ts'
import { TargetFile } from './target-file.ts'
import { checkState, readState, saveWatermark, tryState, type WatermarkState } from './watermark-state.ts'
import { consumePart, writePart } from './write-part.ts'

export type { ExtractFormat, ExtractOptions } from './options.ts'

/**
 * Copies a table or a query into files below `to`, in bounded memory, and writes a manifest beside them:
 * `<to>/<source>/<schema>.<table>/extract_date=YYYY-MM-DD/part-<batch id>.<format>`.
 *
 * Every row also carries `_extracted_at`, `_source` and `_batch_id`. Files appear under their names only when all of
 * them are whole and on the disk; a failed or aborted run leaves none. Two runs at once do not touch each other's.
 * docs/extract.md tells of selecting, watermarks, partitions and resuming.
 *
 * With a function as `to`, the rows go to it as record batches instead, with the same columns added.
 *
 * @throws PoolsmithError as {@link readTable}, and CONFIG_INVALID, TARGET_NOT_WRITABLE, DISK_FULL, WRITE_FAILED,
 *   WATERMARK_INVALID, STATE_INVALID, STATE_CONFLICT, EXTRACT_INCOMPLETE, SNAPSHOT_UNAVAILABLE; `details.partition` says which one it was
 *
 * @example
 * const manifest = await extractTable(db, { schema: 'public', table: 'flights' }, {
 *   to: 'bronze',
 *   format: 'parquet',
 *   where: (query) => query.where('carrier', 'AA'),
 *   watermark: { column: 'updated_at', state: 'state/flights.json' },
 *   partitions: 4,
 * })
 * console.log(manifest.rows, manifest.folder)
 */
export function extractTable(db: ExtractEngine, source: ExtractSource, options: ExtractOptions): Promise<Manifest>
export function extractTable(
  db: ExtractEngine,
  source: ExtractSource,
  options: ConsumeOptions,
): Promise<ManifestContent>
export async function extractTable(
  db: ExtractEngine,
  source: ExtractSource,
  options: ExtractOptions | ConsumeOptions,
): Promise<ManifestContent> {
  checkTarget(options.to)
  const toFiles = isToFiles(options)
  if (toFiles) checkFormat(options)
  checkInstant(options.extractedAt)
  const partitions = checkPartitions(options.partitions)
  const startedAt = new Date()
  const { watermark } = options
  const state = watermark?.state === undefined ? undefined : await readState(watermark.state)
  if (watermark?.state !== undefined) await tryState(watermark.state)

  const stop = new AbortController()
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([options.signal, stop.signal])
  const sessions = options.oneSnapshot === false ? 1 : partitions
  await using open = await openTable(db, source, { ...options, signal, sessions })
  checkState(state, watermark?.state, open)
  const input: PlanInput = {
    ...options,
    startedAt,
    partitions,
    ...(watermark === undefined ? {} : { watermark: { ...watermark, after: state?.watermark ?? watermark.after } }),
  }
  const run: Run = { db, open, input, plan: await makePlan(db, open, input), state, stop, signal }
  // Awaited here: the session goes back when this function is left.
  return await (toFiles ? intoFiles(run, options) : intoConsumer(run, options))
}

function isToFiles(options: ExtractOptions | ConsumeOptions): options is ExtractOptions {
  return typeof options.to === 'string'
}

interface Run {
  readonly db: ExtractEngine
  readonly open: OpenTable
  readonly input: PlanInput
  readonly plan: ExtractPlan
  readonly state: WatermarkState | undefined
  readonly stop: AbortController
  readonly signal: AbortSignal
}

async function intoConsumer(run: Run, options: ConsumeOptions): Promise<ManifestContent> {
  const { plan, signal } = run
  const meter = new ProgressMeter(options.onProgress, plan.estimatedRows)
  const notes: string[] = []
  await inParallel(run, plan, [...plan.partitions.keys()], async (open, number) => {
    const consumer = { take: options.to, signal }
    const written = await consumePart(open, plan, number, consumer, (rows) => meter.add(rows, 0))
    notes.push(...written.notes)
  })
  const content = manifestOf(run, plan, { rows: meter.rows, files: [], notes, drift: undefined })
  await commitState(run, plan)
  meter.finish(0)
  return content
}

async function intoFiles(run: Run, options: ExtractOptions): Promise<Manifest> {
  await sweep(folderOf(run.plan, options.to))
  return run.plan.partitions.length === 1 ? intoOneFile(run, options) : intoManyFiles(run, options)
}

async function intoOneFile(run: Run, options: ExtractOptions): Promise<Manifest> {
  const { plan, open } = run
  const folder = folderOf(plan, options.to)
  const drift = await driftIn(folder, { batchId: plan.batchId, columns: manifestColumns(plan) }, options.onDrift)
  await makeFolders(options.to, folder)
  await using file = await TargetFile.create(folder, partName(plan, 0))
  const meter = new ProgressMeter(options.onProgress, plan.estimatedRows)
  const { notes } = await writePart(open, plan, 0, file, (rows) => meter.add(rows, file.bytes))
  const finished = await file.finish()
  const files = [{ ...finished, rows: meter.rows }]
  const outcome = { rows: meter.rows, files, notes, drift }
  const manifest = await publishManifest(run, plan, folder, outcome).catch(async (error: unknown) => {
    await file.withdraw()
    throw error
  })
  meter.finish(file.bytes)
  return manifest
}

async function intoManyFiles(run: Run, options: ExtractOptions): Promise<Manifest> {
  const { open, input } = run
  const folder = folderOf(run.plan, options.to)
  const key = resumeKey(run.plan, input)
  // Held until the session goes back, so that of two runs at once only one can go on with what is there. Not by the
  // folder, which may have several names.
  const isOurs = (await open.claim?.(key)) ?? false
  const drift = await driftIn(
    folder,
    { batchId: run.plan.batchId, columns: manifestColumns(run.plan) },
    options.onDrift,
  )
  const place = { to: options.to, folder, key: isOurs ? key : undefined, resume: options.resume ?? true }
  await using parts = await PartFiles.open(place, run.plan, run.signal)
  const { plan } = parts
  const meter = new ProgressMeter(options.onProgress, plan.estimatedRows)
  meter.keep(parts.rows, parts.bytes)
  try {
    await inParallel(run, plan, parts.todo, (reader, number) =>
      parts.write(number, (file) => writePart(reader, plan, number, file, (rows) => meter.add(rows, parts.bytes))),
    )
  } catch (error) {
    throw isOurs && parts.whole > 0 ? resumable(error, parts) : error
  }
  const { rows, bytes, notes } = parts
  const publish = async (): Promise<Manifest> =>
    publishManifest(run, plan, folder, { rows, files: await parts.publish(), notes, drift })
  const manifest = await publish().catch(async (error: unknown) => {
    await parts.takeBack(error instanceof PoolsmithError && error.code === 'STATE_CONFLICT')
    throw error
  })
  await parts.done()
  meter.finish(bytes)
  return manifest
}

function inParallel(
  { db, open: first, stop, signal }: Run,
  plan: ExtractPlan,
  todo: readonly number[],
  read: (open: OpenTable, number: number) => Promise<void>,
): Promise<void> {
  return readInParallel({ db, first, plan, todo, stop, signal, read })
}

/** The manifest, and after it the state: neither stays without the other. */
async function publishManifest(
  run: Run,
  plan: ExtractPlan,
  folder: string,
  outcome: Omit<Outcome, 'startedAt'>,
): Promise<Manifest> {
  const manifest = await writeManifest(folder, manifestOf(run, plan, outcome))
  try {
    await commitState(run, plan)
    return manifest
  } catch (error) {
    await removeManifest(manifest)
    throw error
  }
}

function manifestOf({ input }: Run, plan: ExtractPlan, outcome: Omit<Outcome, 'startedAt'>): ManifestContent {
  return manifestContent(plan, { ...outcome, startedAt: input.startedAt })
}

async function commitState({ input, state }: Run, plan: ExtractPlan): Promise<void> {
  const path = input.watermark?.state
  if (path !== undefined) await saveWatermark(path, plan, state)
}

function resumable(error: unknown, { whole, plan }: PartFiles): unknown {
  if (!(error instanceof PoolsmithError)) return error
  const { code, phase, transient, details, cause, message, hint } = error
  return new PoolsmithError(message, {
    code,
    phase,
    transient,
    cause,
    details: { ...details, whole },
    hint: `${hint ?? ''} Of ${plan.partitions.length} partitions ${whole} are whole; the same call on the same day keeps them.`,
  })
}
