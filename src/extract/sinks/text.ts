/** What the text formats add to the lines of the table's columns. */

import { BRONZE_COLUMNS, type Bronze, bronzeInstantText } from '../bronze.ts'
import { csvField, guardFormula } from '../read/text/csv.ts'

/** The header line; a column named like one of ours cannot be there any more. */
export function csvHeader(columns: readonly string[], guardFormulas = false): string {
  return `${[...columns, ...BRONZE_COLUMNS]
    .map(guardFormulas ? guardFormula : String)
    .map(csvField)
    .join(',')}\n`
}

/** The end of each row, with the columns that are the same in all rows. */
export function csvSuffix(bronze: Bronze, columns: number, guardFormulas = false): string {
  const source = guardFormulas ? guardFormula(bronze.source) : bronze.source
  const fields = [bronzeInstantText(bronze.extractedAt), source, bronze.batchId].map(csvField).join(',')
  return `${columns === 0 ? '' : ','}${fields}\n`
}

/** The end of each object, whose closing brace is left off. */
export function jsonSuffix(bronze: Bronze, columns: number): string {
  const members = JSON.stringify({
    _extracted_at: bronze.extractedAt.toISOString().replace('Z', '+00:00'),
    _source: bronze.source,
    _batch_id: bronze.batchId,
  })
  return `${columns === 0 ? '' : ','}${members.slice(1)}\n`
}
