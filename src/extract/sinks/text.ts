/** What the text formats add to the lines of the table's columns. */

import { BRONZE_COLUMNS, type Bronze, bronzeInstantText } from '../bronze.ts'

/** RFC 4180: quoted when it must be, quotes doubled. */
export function csvField(text: string): string {
  return /[",\r\n]/.test(text) || text === '' ? `"${text.replaceAll('"', '""')}"` : text
}

/**
 * What a spreadsheet takes for the beginning of a formula, the full-width forms included (OWASP: "CSV Injection").
 * These are characters of one UTF-16 code unit each.
 */
export const FORMULA_STARTS = '=+-@\t\r\n\uff1d\uff0b\uff0d\uff20'

const FORMULA = new RegExp(`^[${FORMULA_STARTS.replace('-', '\\-')}]`)

/** The text, with an apostrophe before it where a spreadsheet would take it for a formula. */
export function guardFormula(text: string): string {
  return FORMULA.test(text) ? `'${text}` : text
}

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
