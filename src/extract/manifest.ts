import { randomUUID } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { bronzeManifestColumns } from './bronze.ts'
import type { Drift } from './drift.ts'
import type { DayFolder } from './files/day-folder.ts'
import { type FinishedFile, TargetFile } from './files/target-file.ts'
import { textFormat } from './formats.ts'
import { type ExtractPlan, manifestName, type PlannedWatermark } from './plan.ts'
import type { Condition, TableColumn, Watermark } from './read/table.ts'

/** The record of a run: the JSON file beside its files, and the result of {@link extractTable}. */
export interface ManifestContent {
  readonly batchId: string
  readonly source: string
  readonly schema: string
  readonly table: string
  readonly format: string
  readonly rows: number
  readonly bytes: number
  /** Times are ISO 8601 in UTC. */
  readonly extractedAt: string
  readonly startedAt: string
  readonly finishedAt: string
  readonly columns: readonly TableColumn[]
  /** Facts that a reader of the data should know: infinities, NULL for NaN, row-level security. */
  readonly notes: readonly string[]
  /** Empty when a consumer took the rows. */
  readonly files: readonly ManifestFile[]
  /** The SQL of the query, when it was not a table. */
  readonly query?: Condition
  /** The SQL of the conditions, when not all rows were read. */
  readonly where?: readonly Condition[]
  /** Give it as `watermark.after` to the next run; its own `after` is where this run began. */
  readonly watermark?: Watermark & { readonly after: string | null }
  /** How the columns differ from those of the last manifest in this place; absent when they do not. */
  readonly drift?: Drift
  /** The plan, and the partition of it, when only that one was read. */
  readonly partition?: { readonly number: number; readonly of: number; readonly plan: string }
}

/** One file of a run. */
export interface ManifestFile extends FinishedFile {
  readonly rows: number
  /** The partition in the file, when there are several. */
  readonly partition?: number
  readonly label?: string
  /** When its reading began, if an earlier run has read it, on another snapshot. */
  readonly keptFrom?: string
}

/** The files that a run of {@link extractTable} has written, and their place. */
export interface Manifest extends ManifestContent {
  /** The folder that holds the files and the manifest. */
  readonly folder: string
  /** The manifest's own path. */
  readonly path: string
}

/** Readers of a folder (Spark, DuckDB, Hive) ignore names that begin with an underscore. */
export async function writeManifest(
  day: DayFolder,
  content: ManifestContent,
  name = manifestName(content),
): Promise<Manifest> {
  // Two processes may finish the same plan.
  await using file = await TargetFile.create(day.files, name, { temporaryName: `.${name}.${randomUUID()}.tmp` })
  await file.write(Buffer.from(`${JSON.stringify(content, undefined, 2)}\n`))
  await file.finish()
  return { ...content, folder: day.path, path: join(day.path, name) }
}

/** The facts that are known when all rows are read. */
export interface Outcome {
  readonly startedAt: Date
  readonly rows: number
  readonly files: readonly ManifestFile[]
  readonly notes: readonly string[]
  readonly drift: Drift | undefined
  /** When only one partition of the plan was read. */
  readonly partition?: number
}

export function manifestColumns(plan: ExtractPlan): readonly TableColumn[] {
  return [...plan.columns, ...bronzeManifestColumns(textFormat(plan.format) === undefined)]
}

export function manifestContent(plan: ExtractPlan, outcome: Outcome): ManifestContent {
  const { rows, files, drift, partition } = outcome
  const kept = files.filter((file) => file.keptFrom !== undefined).map((file) => file.partition)
  return {
    batchId: plan.batchId,
    source: plan.source,
    schema: plan.schema,
    table: plan.table,
    format: plan.format,
    rows,
    bytes: files.reduce((sum, file) => sum + file.bytes, 0),
    extractedAt: plan.extractedAt,
    startedAt: outcome.startedAt.toISOString(),
    finishedAt: new Date().toISOString(),
    columns: manifestColumns(plan),
    notes: [
      ...plan.notes,
      ...outcome.notes,
      ...(kept.length === 0
        ? []
        : [
            `Partitions ${kept.join(', ')} were kept from a run that failed: ` +
              (plan.watermark === undefined
                ? 'their rows have not changed since.'
                : 'rows that have changed since have a higher mark, and come with the next run.'),
          ]),
    ],
    files,
    ...(plan.query === undefined ? {} : { query: plan.query }),
    ...(plan.conditions.length === 0 ? {} : { where: plan.conditions }),
    ...(plan.watermark === undefined ? {} : { watermark: shownWatermark(plan.watermark) }),
    ...(drift === undefined ? {} : { drift }),
    ...(partition === undefined
      ? {}
      : { partition: { number: partition, of: plan.partitions.length, plan: plan.checksum } }),
  }
}

function shownWatermark({ since: _, isEmpty: __, ...watermark }: PlannedWatermark): Watermark & {
  readonly after: string | null
} {
  return watermark
}

/** Removes a manifest whose run could not be completed. */
export async function removeManifest(day: DayFolder, { path }: Manifest): Promise<void> {
  await rm(join(day.files, basename(path)), { force: true }).catch(() => undefined)
}
