/** The formats of files. A new one is a file in `sinks/` and a line here. */

import type { OpenTable, TableColumn } from './read/table.ts'
import { arrowStream } from './sinks/arrow.ts'
import { csv } from './sinks/csv.ts'
import type { Format, TextFormat } from './sinks/format.ts'
import { jsonLines } from './sinks/json-lines.ts'
import { parquet } from './sinks/parquet.ts'

/** By the name that callers give. */
export const FORMATS = { parquet, arrow: arrowStream, csv, jsonl: jsonLines } as const satisfies Record<string, Format>

/** One of {@link EXTRACT_FORMATS}: `parquet`, `arrow` (the IPC stream format), `csv` or `jsonl`. */
export type ExtractFormat = keyof typeof FORMATS

/** The formats that {@link extractTable} writes. */
export const EXTRACT_FORMATS = Object.keys(FORMATS) as readonly ExtractFormat[]

/** The extension of the files of a format. */
export function extensionOf(format: PlannedFormat): string {
  // Registered with IANA for the stream format (application/vnd.apache.arrow.stream); `.arrow` is the file format.
  return format === 'arrow' ? 'arrows' : format
}

/** A format of files, or `batches` where a consumer takes the rows. */
export type PlannedFormat = ExtractFormat | 'batches'

/** The format whose lines are read; undefined where record batches are. */
export function textFormat(format: PlannedFormat): TextFormat | undefined {
  if (format === 'batches') return undefined
  const found: Format = FORMATS[format]
  return found.rows === 'lines' ? found : undefined
}

/** The columns of the table as they are read for this format. */
export async function columnsFor(open: OpenTable, format: PlannedFormat): Promise<readonly TableColumn[]> {
  const text = textFormat(format)
  const { columns } = text === undefined ? await open.asArrow([]) : open.asLines(text.lines, { suffix: '' }, [])
  return columns
}
