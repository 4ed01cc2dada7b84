/** The plan of an extract: plain JSON that says all of what is read, so that any machine can read any part of it. */

import { createHash, randomUUID } from 'node:crypto'
import { PoolsmithError } from '../errors.ts'
import { BRONZE_COLUMNS, type Bronze } from './bronze.ts'
import { extractFolder } from './layout.ts'
import type { ExtractFormat, FormatOptions, SelectOptions, WatermarkOptions } from './options.ts'
import type {
  Choice,
  Condition,
  ExtractEngine,
  ExtractSource,
  MarkRange,
  MarkSince,
  OpenOptions,
  OpenTable,
  Partition,
  TableColumn,
  Watermark,
} from './read/table.ts'

/** 2: parts and watermarks are data, and no SQL. */
export const PLAN_VERSION = 2

/** Treat it as you treat code: `conditions` and `query` are SQL, which runs with the rights of the role that reads. */
export interface ExtractPlan {
  readonly version: number
  /** Of this run; in every file's name and in `_batch_id`. */
  readonly batchId: string
  /** Times are ISO 8601 in UTC. */
  readonly plannedAt: string
  readonly extractedAt: string
  readonly source: string
  readonly schema: string
  readonly table: string
  /** SQL, when it is a query that is read. */
  readonly query?: Condition
  /** `batches` when a consumer takes them. */
  readonly format: ExtractFormat | 'batches'
  readonly columns: readonly TableColumn[]
  readonly options: Pick<OpenOptions, 'columns' | 'asText' | 'rowHash' | 'batchRows' | 'batchBytes'> &
    Omit<FormatOptions, 'format'>
  readonly conditions: readonly Condition[]
  readonly watermark?: PlannedWatermark
  readonly partitions: readonly Partition[]
  readonly byPlace: boolean
  readonly identity: string
  readonly estimatedRows?: number
  readonly notes: readonly string[]
  /** Of everything above. */
  readonly checksum: string
  /** The snapshot that all partitions are read on while the session that planned it is open. */
  readonly snapshot?: string
}

/** Give it as `watermark.after` once all parts are read. */
export interface PlannedWatermark extends Watermark {
  /** The mark that the plan begins after; null: from the beginning. */
  readonly after: string | null
  /** The same, with the rows that have that mark. */
  readonly since: MarkSince | null
  /** Whether there was nothing new. */
  readonly isEmpty: boolean
}

export interface PlanInput extends SelectOptions, Partial<FormatOptions> {
  readonly startedAt: Date
  readonly partitions: number
  readonly watermark?: WatermarkOptions
}

/** Plans on an opened table's snapshot. */
export async function makePlan(db: ExtractEngine, open: OpenTable, input: PlanInput): Promise<ExtractPlan> {
  const { columns, asText, rowHash, batchRows, batchBytes, format = 'batches' } = input
  const { compression, rowGroupBytes, guardFormulas } = input
  refuseOurNames(open)
  const { where, watermark, partitions, partitionBy } = input
  const { column, after, from } = watermark ?? {}
  const mark = column === undefined ? undefined : { column, after, from }
  const read = await open.plan({ where, watermark: mark, partitions, partitionBy })
  const shown =
    format === 'csv' || format === 'jsonl' ? open.asLines(format, { suffix: '' }, []) : await open.asArrow([])
  const content: Omit<ExtractPlan, 'checksum'> = {
    version: PLAN_VERSION,
    batchId: randomUUID(),
    plannedAt: input.startedAt.toISOString(),
    extractedAt: (input.extractedAt ?? input.startedAt).toISOString(),
    source: input.source ?? db.connection.id ?? db.connection.database ?? 'database',
    schema: open.schema,
    table: open.table,
    ...(open.query === undefined ? {} : { query: open.query }),
    format,
    columns: shown.columns,
    options: defined({ columns, asText, rowHash, batchRows, batchBytes, compression, rowGroupBytes, guardFormulas }),
    conditions: read.conditions,
    ...(read.mark === undefined ? {} : { watermark: plannedWatermark(read.mark) }),
    partitions: read.partitions,
    byPlace: read.byPlace,
    identity: read.identity,
    ...(read.estimatedRows === undefined ? {} : { estimatedRows: read.estimatedRows }),
    notes: [...open.notes, ...read.notes],
  }
  return { ...content, checksum: checksumOf(content) }
}

/** Without the keys that have no value, which JSON would drop anyway. */
function defined<T extends object>(values: T): { [Key in keyof T]: Exclude<T[Key], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as never
}

function plannedWatermark({ watermark, since, isEmpty }: MarkRange): PlannedWatermark {
  return { ...watermark, after: isEmpty ? watermark.high : (since?.high ?? null), since, isEmpty }
}

export function checksumOf(content: unknown): string {
  return createHash('sha256').update(JSON.stringify(content)).digest('hex')
}

/**
 * The same for two runs that do the same: what a failed run has left whole is good for one that has the same key. Rows
 * are not the same ones once the table was rewritten.
 */
export function resumeKey(plan: ExtractPlan, input: PlanInput): string {
  const { source, schema, table, query, format, columns, options, conditions, identity } = plan
  const { extractedAt, partitions, partitionBy, watermark: { after } = {} } = input
  const same = { source, schema, table, query, format, columns, options, conditions, identity }
  // The same mark is not the same beginning when other rows that have it were read.
  const begun = [plan.watermark?.after, typeof after === 'object' && 'rows' in after ? after.rows : null]
  return checksumOf([same, begun, partitions, partitionBy, extractedAt?.toISOString()]).slice(0, 16)
}

/** The rows of one partition. */
export function choicesOf(plan: ExtractPlan, number: number): readonly Choice[] {
  const { conditions, watermark: planned, partitions } = plan
  const rows = partitions[number]?.rows ?? null
  return [
    ...conditions,
    ...(planned === undefined ? [] : [{ mark: markOf(planned) }]),
    ...(rows === null ? [] : [rows]),
  ]
}

function markOf({ after: _, since, isEmpty, ...watermark }: PlannedWatermark): MarkRange {
  return { watermark, since, isEmpty }
}

export function bronzeOf(plan: ExtractPlan): Bronze {
  return { extractedAt: new Date(plan.extractedAt), source: plan.source, batchId: plan.batchId }
}

/** For another session to open. */
export function sourceOf(plan: ExtractPlan): ExtractSource {
  const { schema, table, query } = plan
  return query === undefined ? { schema, table } : { schema, name: table, query }
}

export function folderOf(plan: ExtractPlan, to: string): string {
  return extractFolder({ ...bronzeOf(plan), to, schema: plan.schema, table: plan.table })
}

/** The name of a partition's file; that of the only one has no number. */
export function partName(plan: ExtractPlan, number: number): string {
  const digits = plan.partitions.length === 1 ? '' : `-${String(number).padStart(5, '0')}`
  return `part-${plan.batchId}${digits}.${plan.format}`
}

function refuseOurNames(open: OpenTable): void {
  const taken = open.columnNames.filter((name) => BRONZE_COLUMNS.some((ours) => ours === name))
  if (taken.length === 0) return
  throw new PoolsmithError(
    `${open.schema}.${open.table} has columns that an extract adds itself: ${taken.join(', ')}.`,
    { code: 'CONFIG_INVALID', phase: 'config', hint: 'Name the columns to read in `columns`, without these.' },
  )
}
