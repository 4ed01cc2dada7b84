import { BRONZE_COLUMNS, bronzeInstantText } from '../bronze.ts'
import { csvField, guardFormula } from '../read/text/csv.ts'
import type { TextFormat } from './format.ts'

/** CSV with a header line (RFC 4180). */
export const csv: TextFormat = {
  rows: 'lines',
  lines: 'csv',
  header: (columns, { guardFormulas }) => line([...columns, ...BRONZE_COLUMNS], guardFormulas),
  suffix: ({ extractedAt, source, batchId }, columns, { guardFormulas }) =>
    `${columns.length === 0 ? '' : ','}${line([bronzeInstantText(extractedAt), source, batchId], guardFormulas)}`,
}

function line(fields: readonly string[], guardFormulas = false): string {
  const guarded = guardFormulas ? fields.map(guardFormula) : fields
  return `${guarded.map(csvField).join(',')}\n`
}
