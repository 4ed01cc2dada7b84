import { randomUUID } from 'node:crypto'
import { PoolsmithError } from '../errors.ts'
import { loadPackage } from '../optional-package.ts'
import { BRONZE_COLUMNS, type Bronze, bronzeBatches, bronzeManifestColumns } from './bronze.ts'
import { extractFolder } from './layout.ts'
import { type Manifest, type ManifestContent, writeManifest } from './manifest.ts'
import { type Progress, ProgressMeter } from './progress.ts'
import { openTable } from './read/open-table.ts'
import type { ExtractEngine, OpenTable, ReadOptions, TableColumn, TableName } from './read/reader.ts'
import { openArrowSink } from './sinks/arrow.ts'
import type { ParquetCompression } from './sinks/parquet/compression.ts'
import { openParquetSink } from './sinks/parquet/sink.ts'
import { csvHeader, csvSuffix, jsonSuffix } from './sinks/text.ts'
import { TargetFile } from './target-file.ts'

export const EXTRACT_FORMATS = ['parquet', 'arrow', 'csv', 'jsonl'] as const
export type ExtractFormat = (typeof EXTRACT_FORMATS)[number]

export interface ExtractOptions extends ReadOptions {
  /** The folder below which the layout begins; made when it is not there. */
  readonly to: string
  readonly format: ExtractFormat
  /** Name of the source in the path and in `_source`. Default: the connection's id, else its database. */
  readonly source?: string
  /** Compression of Parquet's pages. Default `zstd`; `gzip` on a Node before 22.15, which has no zstd. */
  readonly compression?: ParquetCompression
  /** Bytes, encoded but not compressed, after which a row group of Parquet ends. Default 64 MiB. */
  readonly rowGroupBytes?: number
  /** The instant in `_extracted_at` and (in UTC) in the path. Default: now. */
  readonly extractedAt?: Date
  /** Called about five times a second, and once at the end. */
  readonly onProgress?: (progress: Progress) => void
}

/**
 * Copies a table into one file below `to`, in bounded memory, and writes a manifest beside it:
 * `<to>/<source>/<schema>.<table>/extract_date=YYYY-MM-DD/part-<batch id>.<format>`.
 *
 * Every row also carries `_extracted_at`, `_source` and `_batch_id`. The file appears under its name only when it is
 * whole and on the disk; a failed or aborted run leaves none. Two runs at once do not touch each other's files.
 *
 * @throws PoolsmithError as {@link readTable}, and CONFIG_INVALID, TARGET_NOT_WRITABLE, DISK_FULL, WRITE_FAILED
 *
 * @example
 * const manifest = await extractTable(db, { schema: 'public', table: 'flights' }, { to: 'bronze', format: 'parquet' })
 * console.log(manifest.rows, manifest.folder)
 */
export async function extractTable(db: ExtractEngine, table: TableName, options: ExtractOptions): Promise<Manifest> {
  if (!EXTRACT_FORMATS.includes(options.format)) throw badFormat(options.format)
  const startedAt = new Date()
  const bronze: Bronze = {
    extractedAt: options.extractedAt ?? startedAt,
    source: options.source ?? db.connection.id ?? db.connection.database ?? 'database',
    batchId: randomUUID(),
  }
  await using open = await openTable(db, table, options)
  refuseOurNames(open)
  const folder = extractFolder({ to: options.to, schema: open.schema, table: open.table, ...bronze })
  await using file = await TargetFile.create(folder, `part-${bronze.batchId}.${options.format}`)
  const meter = new ProgressMeter(options.onProgress, open.estimatedRows)

  const written =
    options.format === 'parquet' || options.format === 'arrow'
      ? await writeBatches(open, file, bronze, options, meter)
      : await writeLines(open, file, bronze, options.format, meter)
  const finished = await file.finish()
  const content: ManifestContent = {
    batchId: bronze.batchId,
    source: bronze.source,
    schema: open.schema,
    table: open.table,
    format: options.format,
    rows: meter.rows,
    bytes: finished.bytes,
    extractedAt: bronze.extractedAt.toISOString(),
    startedAt: startedAt.toISOString(),
    finishedAt: new Date().toISOString(),
    columns: [...written.columns, ...bronzeManifestColumns(options.format)],
    notes: [...open.notes, ...written.notes],
    files: [{ ...finished, rows: meter.rows }],
  }
  try {
    const manifest = await writeManifest(folder, content)
    meter.finish(file.bytes)
    return manifest
  } catch (error) {
    await file.withdraw()
    throw error
  }
}

interface Written {
  readonly columns: readonly TableColumn[]
  readonly notes: readonly string[]
}

async function writeBatches(
  open: OpenTable,
  file: TargetFile,
  bronze: Bronze,
  options: ExtractOptions,
  meter: ProgressMeter,
): Promise<Written> {
  const arrow = await loadPackage('apache-arrow', () => import('apache-arrow'), `format=${options.format}`)
  const rows = await open.asArrow()
  const { schema, add } = bronzeBatches(arrow, rows.schema, bronze)
  const output = (bytes: Uint8Array): Promise<void> => file.write(bytes)
  const sink =
    options.format === 'parquet' ? await openParquetSink(schema, output, options) : await openArrowSink(schema, output)
  for await (const batch of rows.batches()) {
    await sink.write(add(batch))
    meter.add(batch.numRows, file.bytes)
  }
  await sink.close()
  return { columns: rows.columns, notes: rows.findings().map(({ column, note }) => `${column}: ${note}`) }
}

async function writeLines(
  open: OpenTable,
  file: TargetFile,
  bronze: Bronze,
  format: 'csv' | 'jsonl',
  meter: ProgressMeter,
): Promise<Written> {
  const names = open.columnNames
  if (format === 'csv') await file.write(Buffer.from(csvHeader(names)))
  const suffix = format === 'csv' ? csvSuffix(bronze, names.length) : jsonSuffix(bronze, names.length)
  const rows = open.asLines(format, suffix)
  for await (const { bytes, rows: count } of rows.lines()) {
    await file.write(bytes)
    meter.add(count, file.bytes)
  }
  return { columns: rows.columns, notes: [] }
}

function refuseOurNames(open: OpenTable): void {
  const taken = open.columnNames.filter((name) => BRONZE_COLUMNS.some((ours) => ours === name))
  if (taken.length === 0) return
  throw new PoolsmithError(
    `${open.schema}.${open.table} has columns that an extract adds itself: ${taken.join(', ')}.`,
    { code: 'CONFIG_INVALID', phase: 'config', hint: 'Name the columns to read in `columns`, without these.' },
  )
}

function badFormat(format: unknown): PoolsmithError {
  return new PoolsmithError(`There is no format ${JSON.stringify(format)}.`, {
    code: 'CONFIG_INVALID',
    phase: 'config',
    hint: `Use one of ${EXTRACT_FORMATS.join(', ')}.`,
  })
}
