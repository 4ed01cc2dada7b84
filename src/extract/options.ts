/** What callers of an extract say. */

import { PoolsmithError } from '../errors.ts'
import type { RecordBatch, Schema } from './arrow-types.ts'
import type { Drift } from './drift.ts'
import type { Progress } from './progress.ts'
import type { MarkValue, ReadOptions, TableColumn, Watermark } from './read/table.ts'

export const PARQUET_COMPRESSIONS = ['zstd', 'gzip', 'none'] as const
export type ParquetCompression = (typeof PARQUET_COMPRESSIONS)[number]

/** The formats that {@link extractTable} writes. */
export const EXTRACT_FORMATS = ['parquet', 'arrow', 'csv', 'jsonl'] as const
/** One of {@link EXTRACT_FORMATS}. */
export type ExtractFormat = (typeof EXTRACT_FORMATS)[number]

/** Reads only the rows that are new since the last run. */
export interface WatermarkOptions {
  /** Rises with every row that is added or changed: a sequence's number, a time of change. */
  readonly column: string
  /**
   * Where the last run ended: its `manifest.watermark`, which knows the rows with the last mark that were read; or a
   * value, all rows with which count as read. Default: from the beginning.
   */
  readonly after?: MarkValue | Watermark
  /** The least value to begin with; counts where there is neither `after` nor a state. */
  readonly from?: MarkValue
  /** A JSON file that keeps it from run to run; while there is none yet, `after` counts. */
  readonly state?: string
}

/** Which rows, in how many parts. */
export interface SelectOptions extends ReadOptions {
  /** Name of the source in the path and in `_source`. Default: the connection's id, else its database. */
  readonly source?: string
  /** The instant in `_extracted_at` and (in UTC) in the path. Default: now. */
  readonly extractedAt?: Date
  /** Only what came since the last run. */
  readonly watermark?: WatermarkOptions
  /**
   * Parts to read at the same time, on one snapshot, each into a file of its own; no more at once than the pool has
   * connections. There may be fewer parts than this, and one only for a view, a foreign table or a query without
   * `partitionBy`. Default 1.
   */
  readonly partitions?: number
  /** Divide by ranges of this column, rather than by places in the table's files or its key. */
  readonly partitionBy?: string
  /**
   * Whether the sessions that read the parts have to see the table at one moment. False, where a database cannot do
   * that or not now: each sees it at a moment of its own, and the manifest says so. Default true.
   */
  readonly oneSnapshot?: boolean
}

export interface FormatOptions {
  readonly format: ExtractFormat
  /** Compression of Parquet's pages. Default `zstd`; `gzip` on a Node before 22.15, which has no zstd. */
  readonly compression?: ParquetCompression
  /** Bytes, encoded but not compressed, after which a row group of Parquet ends. Default 64 MiB. */
  readonly rowGroupBytes?: number
  /**
   * CSV: whether text that begins with `=`, `+`, `-`, `@`, a tab or a line break gets an apostrophe before it, so that a
   * spreadsheet does not take it for a formula (docs/types.md). It is then no longer the exact text. Default false.
   */
  readonly guardFormulas?: boolean
}

export interface ReportOptions {
  /** Called about five times a second, and once at the end. */
  readonly onProgress?: (progress: Progress) => void
}

/** Options of {@link extractTable} whose rows go into files. */
export interface ExtractOptions extends SelectOptions, FormatOptions, ReportOptions {
  /** The folder below which the layout begins; made when it is not there. */
  readonly to: string
  /**
   * Called before anything is written when the columns are not those of the last manifest in this place; throw to
   * stop. A promise that it returns is awaited. The manifest says it too.
   */
  readonly onDrift?: (drift: Drift) => unknown
  /**
   * Whether to go on where a run of the same day with the same options and several partitions failed: what is whole is
   * kept, and what is missing is read from a later snapshot. Default true.
   */
  readonly resume?: boolean
}

/** What a consumer is told about the batches. */
export interface BatchInfo {
  readonly schema: Schema
  readonly columns: readonly TableColumn[]
  /** From 0. */
  readonly partition: number
  readonly partitions: number
  readonly batchId: string
  /** Aborted when the extract is, or when another partition fails. */
  readonly signal: AbortSignal
}

/**
 * Takes record batches, all of them: the server waits while one is being worked on. Called once for each partition, at
 * the same time.
 */
export type BatchConsumer = (batches: AsyncIterable<RecordBatch>, info: BatchInfo) => Promise<unknown>

/** Options of {@link extractTable} whose rows go to a function. */
export interface ConsumeOptions extends SelectOptions, ReportOptions {
  readonly to: BatchConsumer
}

export const MOST_PARTITIONS = 10_000

/** Before anything is read: who calls may have no types. */
export function checkFormat({ format, compression, guardFormulas }: Partial<FormatOptions>): void {
  checkChoice('format', EXTRACT_FORMATS, format)
  if (guardFormulas && format !== 'csv') {
    throw invalid(`\`guardFormulas\` is for CSV, and not for ${format}.`, 'Leave it out, or write CSV.')
  }
  if (compression !== undefined) checkChoice('compression', PARQUET_COMPRESSIONS, compression)
}

/** A variable of the environment that is not set gives a `to` that is none. */
export function checkTarget(to: unknown): void {
  if ((typeof to === 'string' && to !== '') || typeof to === 'function') return
  throw invalid('`to` is neither a folder nor a function.', 'Name the folder below which the files shall go.')
}

export function checkInstant(extractedAt: Date | undefined): void {
  if (extractedAt === undefined || !Number.isNaN(extractedAt.getTime())) return
  throw invalid('`extractedAt` is an invalid Date.', 'Give a valid one, or leave it out: it is now.')
}

function invalid(message: string, hint: string): PoolsmithError {
  return new PoolsmithError(message, { code: 'CONFIG_INVALID', phase: 'config', hint })
}

function checkChoice(what: string, known: readonly string[], given: unknown): void {
  if (known.some((name) => name === given)) return
  throw invalid(`There is no ${what} ${JSON.stringify(given)}.`, `Use one of ${known.join(', ')}.`)
}

export function checkPartitions(partitions: number | undefined): number {
  const wanted = partitions ?? 1
  if (Number.isInteger(wanted) && wanted >= 1 && wanted <= MOST_PARTITIONS) return wanted
  throw invalid(
    `partitions is ${wanted}, not a whole number from 1 to ${MOST_PARTITIONS}.`,
    'As many as the server has processors to spare are enough.',
  )
}
