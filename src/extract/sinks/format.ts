/** A format of files: how its rows are read, and how they are written. */

import type { Schema } from '../arrow-types.ts'
import type { Bronze } from '../bronze.ts'
import type { LineFormat } from '../read/table.ts'
import type { Output, Sink } from './sink.ts'

export const PARQUET_COMPRESSIONS = ['zstd', 'gzip', 'none'] as const
export type ParquetCompression = (typeof PARQUET_COMPRESSIONS)[number]

/** The options of formats; each format takes its own. */
export interface FormatSettings {
  /** Compression of Parquet's pages. Default `zstd`; `gzip` on a Node before 22.15, which has no zstd. */
  readonly compression?: ParquetCompression
  /** Bytes, encoded but not compressed, after which a row group of Parquet ends. Default 64 MiB. */
  readonly rowGroupBytes?: number
  /**
   * CSV: whether text that begins with `=`, `+`, `-`, `@`, a tab or a line break gets an apostrophe before it, so that
   * a spreadsheet does not take it for a formula (docs/types.md). It is then no longer the exact text. Default false.
   */
  readonly guardFormulas?: boolean
}

/** A format that is written from Arrow record batches. */
export interface BatchFormat {
  readonly rows: 'batches'
  openSink(schema: Schema, output: Output, settings: FormatSettings): Promise<Sink>
  /** Whether the sink may still read a batch after its write has resolved. */
  readonly keepsBatches: boolean
}

/** A format whose lines the databases write; the columns that are the same in all rows are added to each line. */
export interface TextFormat {
  readonly rows: 'lines'
  readonly lines: LineFormat
  /** The text before the first row; empty for none. */
  header(columns: readonly string[], settings: FormatSettings): string
  /** The end of each row, newline included. */
  suffix(bronze: Bronze, columns: readonly string[], settings: FormatSettings): string
}

export type Format = BatchFormat | TextFormat
