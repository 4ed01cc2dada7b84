/** The options of an extract, and their checks. */

import { PoolsmithError } from '../errors.ts'
import type { RecordBatch, Schema } from './arrow-types.ts'
import type { Drift } from './drift.ts'
import { WRITE_MODES, type WriteMode } from './files/day-folder.ts'
import { EXTRACT_FORMATS, type ExtractFormat } from './formats.ts'
import type { Progress } from './progress.ts'
import { DECIMAL_FORMS, type MarkValue, type ReadOptions, type TableColumn, type Watermark } from './read/table.ts'
import { type FormatSettings, PARQUET_COMPRESSIONS } from './sinks/format.ts'

/** Reads only the rows that are new since the last run. */
export interface WatermarkOptions {
  /** A column whose values rise with every row that is added or changed: a sequence's number, a time of change. */
  readonly column: string
  /**
   * The mark at which the last run ended: its `manifest.watermark`, with the rows of that mark that were read; or a
   * value, and then all rows with it count as read. Default: from the beginning.
   */
  readonly after?: MarkValue | Watermark
  /** The least value to begin with; counts where there is neither `after` nor a state. */
  readonly from?: MarkValue
  /**
   * A JSON file that keeps the mark from run to run. `after` counts while there is none yet, and where the mark in it
   * does not fit the column any more: another column, or one whose type was changed by more than widening.
   */
  readonly state?: string
}

/** Which rows, in how many parts. */
export interface SelectOptions extends ReadOptions {
  /** Name of the source in the path and in `_source`. Default: the connection's id, else its database. */
  readonly source?: string
  /** The instant in `_extracted_at` and (in UTC) in the path. Default: now. */
  readonly extractedAt?: Date
  /** Read only the rows that came since the last run. */
  readonly watermark?: WatermarkOptions
  /**
   * Parts to read at the same time, on one snapshot, each into a file of its own; no more at once than the pool has
   * connections. There may be fewer parts than this, and only one for a view, a foreign table or a query without
   * `partitionBy`. Default 1.
   */
  readonly partitions?: number
  /**
   * The most parts to read at the same time, whatever the pool allows. Each part takes the memory of one extract: its
   * batches, and for Parquet a row group (`rowGroupBytes`). Default: all of them.
   */
  readonly concurrency?: number
  /** Divide by ranges of this column, instead of pages of the table's files or its key. */
  readonly partitionBy?: string
  /**
   * Whether the sessions that read the parts have to see the table at one moment. Set false where a database cannot do
   * that: each session then sees the table at its own moment, and the manifest says so. Default true.
   */
  readonly oneSnapshot?: boolean
}

export interface FormatOptions extends FormatSettings {
  readonly format: ExtractFormat
}

export interface ReportOptions {
  /** Called about five times a second, and once at the end. */
  readonly onProgress?: (progress: Progress) => void
}

/** Options of {@link extractTable} whose rows go into files. */
export interface ExtractOptions extends SelectOptions, FormatOptions, ReportOptions {
  /** The folder below which the layout begins; made when it does not exist. */
  readonly to: string
  /**
   * Called before anything is written when the columns differ from those of the last manifest in this place. A promise
   * that it returns is awaited; throw to stop the run. The manifest says it too.
   */
  readonly onDrift?: (drift: Drift) => unknown
  /**
   * The fate of the extracts that are in the day's folder already. `append` writes beside them, so readers of the
   * folder see the rows of both. `overwrite` replaces them in one step: readers see the old files or the new ones, and
   * never some of both. `error` fails with EXTRACT_EXISTS before any row is read. Default `append`.
   */
  readonly mode?: WriteMode
  /**
   * Whether to go on where a run of the same day with the same options and several partitions failed: its complete
   * files are kept where all parts still are one moment of the table, and the missing parts are read. Default true.
   */
  readonly resume?: boolean
}

/** Facts about the batches that a consumer takes. */
export interface BatchInfo {
  readonly schema: Schema
  readonly columns: readonly TableColumn[]
  /** From 0. */
  readonly partition: number
  readonly partitions: number
  readonly batchId: string
  /** Aborts with the extract, or when another partition fails. */
  readonly signal: AbortSignal
}

/**
 * Takes record batches, all of them; the server waits while one is being worked on. Called once for each partition, at
 * the same time.
 */
export type BatchConsumer = (batches: AsyncIterable<RecordBatch>, info: BatchInfo) => Promise<unknown>

/** Options of {@link extractTable} whose rows go to a function. */
export interface ConsumeOptions extends SelectOptions, ReportOptions {
  readonly to: BatchConsumer
}

export const MOST_PARTITIONS = 10_000

/** Callers may have no types, so the options are checked before anything is read. */
export function checkFormat({ format, compression, rowGroupBytes, guardFormulas }: Partial<FormatOptions>): void {
  checkChoice('format', EXTRACT_FORMATS, format)
  checkAmounts({ rowGroupBytes })
  for (const [name, value] of Object.entries({ compression, rowGroupBytes })) {
    if (value === undefined || format === 'parquet') continue
    throw invalid(`\`${name}\` is for Parquet, and not for ${format}.`, 'Leave it out, or write Parquet.')
  }
  if (guardFormulas && format !== 'csv') {
    throw invalid(`\`guardFormulas\` is for CSV, and not for ${format}.`, 'Leave it out, or write CSV.')
  }
  if (compression !== undefined) checkChoice('compression', PARQUET_COMPRESSIONS, compression)
}

export function checkDecimals(decimals: unknown): void {
  if (decimals !== undefined) checkChoice('form of decimals', DECIMAL_FORMS, decimals)
}

/** A run by a state file holds the rows since the last run only, which in the place of all others would lose these. */
export function checkMode(mode: unknown, watermark: WatermarkOptions | undefined): void {
  if (mode !== undefined) checkChoice('mode', WRITE_MODES, mode)
  if (mode !== 'overwrite' || watermark?.state === undefined) return
  throw invalid(
    '`overwrite` with a state file would replace the rows of earlier runs by the rows that came since.',
    'Append, or give `watermark.after` by hand to read the whole day again.',
  )
}

/** A variable of the environment that is not set gives an undefined or empty `to`. */
export function checkTarget(to: unknown): void {
  if (typeof to === 'function') return
  if (typeof to !== 'string' || to === '') {
    throw invalid('`to` is neither a folder nor a function.', 'Name the folder to write below.')
  }
  checkLocal('to', to)
}

/** Two letters at least: one letter is a drive of Windows. */
const URL = /^([a-z][a-z0-9+.-]+):\/\//i
/** Schemes that are also written without slashes. */
const SCHEMES = /^(file|s3[an]?|gs|gcs|az|azure|adl|abfss?|wasbs?|hdfs|dbfs|oci|https?):/i

/**
 * A URL would be taken for the name of a folder: `s3://bucket` for the folder `s3:`.
 *
 * @param what the option, for the error; its value may hold a secret
 * @throws PoolsmithError CONFIG_INVALID
 */
export function checkLocal(what: string, path: string): void {
  const [, scheme] = URL.exec(path) ?? SCHEMES.exec(path) ?? []
  if (scheme !== undefined) {
    throw invalid(
      `\`${what}\` is a URL (${scheme.toLowerCase()}:), and an extract reads and writes local files only.`,
      scheme.toLowerCase() === 'file'
        ? 'Give the path without file:.'
        : 'Give a local folder and copy the files, or a mounted one; `to` may also be a function that takes batches.',
    )
  }
  if (path !== '-') return
  throw invalid(
    `\`${what}\` is -, and an extract does not write to standard output.`,
    'Name a folder; ./- if it is called so.',
  )
}

/** A path begins with a year of four digits. */
export function checkInstant(extractedAt: Date | undefined): void {
  if (extractedAt === undefined) return
  const year = extractedAt.getUTCFullYear()
  if (year >= 0 && year <= 9999) return
  throw invalid('`extractedAt` is no instant of the years 0 to 9999.', 'Give a valid Date, or leave it out for now.')
}

/** @throws PoolsmithError CONFIG_INVALID for an amount that is not a whole number from `least` */
export function checkAmounts(amounts: Readonly<Record<string, unknown>>, least = 1): void {
  for (const [name, value] of Object.entries(amounts)) {
    if (value === undefined || (Number.isSafeInteger(value) && (value as number) >= least)) continue
    const given = typeof value === 'number' ? value : `a ${typeof value}`
    throw invalid(`\`${name}\` is ${given}, and not a whole number from ${least}.`, 'Leave it out for the default.')
  }
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
    'Use as many partitions as the server has processors to spare.',
  )
}
