/** The plan of an extract: plain JSON that says all of what is read, so that any machine can read any part of it. */

import { createHash, randomUUID } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import { PoolsmithError } from '../errors.ts'
import { BRONZE_COLUMNS, type Bronze } from './bronze.ts'
import { extractFolder } from './files/layout.ts'
import { columnsFor, extensionOf, type PlannedFormat } from './formats.ts'
import type { FormatOptions, SelectOptions, WatermarkOptions } from './options.ts'
import { APART } from './read/ranges.ts'
import type {
  Choice,
  Condition,
  ExtractEngine,
  ExtractSource,
  Fingerprint,
  MarkRange,
  MarkSince,
  MarkValue,
  OpenOptions,
  OpenTable,
  Partition,
  PlanRequest,
  ReadPlan,
  TableColumn,
  Watermark,
} from './read/table.ts'
import type { FormatSettings } from './sinks/format.ts'

/** 3: plans have a fingerprint, and say what they were asked for. */
export const PLAN_VERSION = 3

/** Treat it as you treat code: `conditions` and `query` are SQL, which runs with the rights of the role that reads. */
export interface ExtractPlan {
  readonly version: number
  /** Of this run; in every file's name and in `_batch_id`. */
  readonly batchId: string
  /** Times are ISO 8601 in UTC. */
  readonly plannedAt: string
  readonly extractedAt: string
  readonly source: string
  /** The parts are read in this database only. */
  readonly fingerprint: Fingerprint
  readonly schema: string
  readonly table: string
  /** SQL, when it is a query that is read. */
  readonly query?: Condition
  /** `batches` when a consumer takes the rows. */
  readonly format: PlannedFormat
  readonly columns: readonly TableColumn[]
  readonly options: Pick<
    OpenOptions,
    'columns' | 'asText' | 'asBytes' | 'decimals' | 'rowHash' | 'batchRows' | 'batchBytes'
  > &
    FormatSettings
  /** The same for two plans that were asked for with the same number of parts, mark and date. */
  readonly request: string
  readonly conditions: readonly Condition[]
  readonly watermark?: PlannedWatermark
  readonly partitions: readonly Partition[]
  readonly byPlace: boolean
  readonly identity: string
  /** The moment of the planner's snapshot, where a later session can tell what has changed since. */
  readonly moment?: string
  readonly estimatedRows?: number
  readonly notes: readonly string[]
  /** Of everything above. */
  readonly checksum: string
  /** The snapshot on which all partitions are read while the session that planned them is open. */
  readonly snapshot?: string
}

/** Give it as `watermark.after` once all parts are read. */
export interface PlannedWatermark extends Watermark {
  /** The mark that the plan begins after; null: from the beginning. */
  readonly after: string | null
  /** The same mark, with the rows that have it and were read. */
  readonly since: MarkSince | null
  /** Whether there was nothing new. */
  readonly isEmpty: boolean
}

export interface PlanInput extends SelectOptions, Partial<FormatOptions> {
  readonly startedAt: Date
  readonly partitions: number
  /** `after` is the state file's mark where there is one, and `instead` the caller's. */
  readonly watermark?: WatermarkOptions & Pick<NonNullable<PlanRequest['watermark']>, 'instead'>
  /** Whether each part is read at a moment of its own, without a snapshot that they share. Default false. */
  readonly readsApart?: boolean
}

/**
 * Plans on an opened table's snapshot.
 *
 * @param earlier a plan that is returned as it is when it is of the same request and its parts still fit the table
 */
export async function makePlan(
  db: ExtractEngine,
  open: OpenTable,
  input: PlanInput,
  earlier?: ExtractPlan,
): Promise<ExtractPlan> {
  const { columns, asText, asBytes, decimals, rowHash, batchRows, batchBytes } = input
  const { format = 'batches', compression, rowGroupBytes, guardFormulas } = input
  refuseOurNames(open)
  const { where, watermark, partitions, partitionBy, readsApart = false } = input
  const { column, after, instead, from } = watermark ?? {}
  const mark = column === undefined ? undefined : { column, after, instead, from }
  const about: PlanHead = defined({
    source: input.source ?? db.connection.id ?? db.connection.database ?? 'database',
    fingerprint: await open.fingerprint(),
    schema: open.schema,
    table: open.table,
    query: open.query,
    format,
    columns: await columnsFor(open, format),
    options: defined({
      ...{ columns, asText, asBytes, decimals, rowHash, batchRows, batchBytes },
      ...{ compression, rowGroupBytes, guardFormulas },
    }),
    request: requestOf(input),
  })
  if (earlier !== undefined) {
    const whole = await open.plan({ where, watermark: undefined, partitions: 1, partitionBy: undefined })
    if (isOfRequest(earlier, about, whole)) return earlier
  }
  const read = await open.plan({ where, watermark: mark, partitions, partitionBy })
  const content: Omit<ExtractPlan, 'checksum'> = defined({
    version: PLAN_VERSION,
    batchId: randomUUID(),
    plannedAt: input.startedAt.toISOString(),
    extractedAt: (input.extractedAt ?? input.startedAt).toISOString(),
    ...about,
    conditions: read.conditions,
    watermark: read.mark === undefined ? undefined : plannedWatermark(read.mark),
    partitions: read.partitions,
    byPlace: read.byPlace,
    identity: read.identity,
    moment: read.moment,
    estimatedRows: read.estimatedRows,
    notes: [...new Set([...open.notes, ...read.notes, ...(readsApart && read.partitions.length > 1 ? [APART] : [])])],
  })
  return { ...content, checksum: checksumOf(content) }
}

/** The members that say what is asked for, without those that say which rows there are. */
type PlanHead = Pick<
  ExtractPlan,
  'source' | 'fingerprint' | 'schema' | 'table' | 'query' | 'format' | 'columns' | 'options' | 'request'
>

/** A hash of what the other members of a plan do not show. Without a date of its own a request is one of its day. */
function requestOf({ startedAt, extractedAt, partitions, partitionBy, watermark }: PlanInput): string {
  const date = extractedAt?.toISOString() ?? startedAt.toISOString().slice(0, 10)
  const { column, after, instead, from } = watermark ?? {}
  return checksumOf([date, partitions, partitionBy, column, plain(after), plain(instead), plain(from)])
}

function plain(mark: MarkValue | Watermark | undefined): unknown {
  return typeof mark === 'bigint' ? String(mark) : mark
}

/** A plan on a snapshot is none of another session's: that snapshot ends with the session that planned. */
function isOfRequest(plan: ExtractPlan, about: PlanHead, whole: ReadPlan): boolean {
  const head = Object.keys(about) as (keyof PlanHead)[]
  return (
    plan.snapshot === undefined &&
    head.every((member) => isDeepStrictEqual(asJson(plan[member]), asJson(about[member]))) &&
    isDeepStrictEqual(asJson(plan.conditions), asJson(whole.conditions)) &&
    (!plan.byPlace || plan.identity === whole.identity)
  )
}

export function asJson(value: unknown): unknown {
  return value === undefined ? undefined : JSON.parse(JSON.stringify(value))
}

/**
 * Without the members that have no value, which JSON leaves out too: a plan equals itself after a way through a file.
 */
function defined<T extends object>(values: T): T {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as T
}

function plannedWatermark({ watermark, since, isEmpty }: MarkRange): PlannedWatermark {
  return { ...watermark, after: isEmpty ? watermark.high : (since?.high ?? null), since, isEmpty }
}

export function checksumOf(content: unknown): string {
  return createHash('sha256').update(JSON.stringify(content)).digest('hex')
}

/**
 * The same for two runs that read the same: the complete files of a failed run serve a later one that has the same key.
 * After the table was rewritten its places hold other rows, so its identity is a part of the key.
 *
 * @param after the mark that the run begins after
 */
export function resumeKey(
  plan: ExtractPlan,
  { extractedAt, partitions = 1, partitionBy }: SelectOptions,
  after: WatermarkOptions['after'],
): string {
  const { source, fingerprint, schema, table, query, format, columns, options, conditions, identity } = plan
  const same = { source, fingerprint, schema, table, query, format, columns, options, conditions, identity }
  // The same mark is another beginning when other rows that have it were read.
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

/** The source as another session opens it. */
export function sourceOf(plan: ExtractPlan): ExtractSource {
  const { schema, table, query } = plan
  return query === undefined ? { schema, table } : { schema, name: table, query }
}

export function folderOf(plan: ExtractPlan, to: string): string {
  return extractFolder({ ...bronzeOf(plan), to, schema: plan.schema, table: plan.table })
}

/** @throws PoolsmithError CONFIG_INVALID when the plan is for files and the target is a function, or the reverse */
export function checkPlannedTarget({ format }: ExtractPlan, isFolder: boolean): void {
  if (isFolder === (format !== 'batches')) return
  throw new PoolsmithError(`The plan is for ${format === 'batches' ? 'a consumer' : `files of format ${format}`}.`, {
    code: 'CONFIG_INVALID',
    phase: 'config',
    hint: 'Plan with a format to write files below a folder, and without one to call a function with batches.',
  })
}

/** The name of a partition's file; the file of the only partition has no number. */
export function partName(plan: ExtractPlan, number: number): string {
  const digits = plan.partitions.length === 1 ? '' : `-${String(number).padStart(5, '0')}`
  return `part-${plan.batchId}${digits}.${extensionOf(plan.format)}`
}

export function manifestName({ batchId }: Pick<ExtractPlan, 'batchId'>): string {
  return `_manifest-${batchId}.json`
}

function refuseOurNames(open: OpenTable): void {
  const taken = open.columnNames.filter((name) => BRONZE_COLUMNS.some((ours) => ours === name))
  if (taken.length === 0) return
  throw new PoolsmithError(
    `${open.schema}.${open.table} has columns that an extract adds itself: ${taken.join(', ')}.`,
    { code: 'CONFIG_INVALID', phase: 'config', hint: 'Name the columns to read in `columns`, without these.' },
  )
}
