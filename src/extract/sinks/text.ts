/** What the text formats add to the lines that the server makes. */

import { BRONZE_COLUMNS, type Bronze, bronzeInstantText } from '../bronze.ts'

/** RFC 4180: quoted when it must be, quotes doubled. */
export function csvField(text: string): string {
  return /[",\r\n]/.test(text) || text === '' ? `"${text.replaceAll('"', '""')}"` : text
}

/** The header line; a column named like one of ours cannot be there any more. */
export function csvHeader(columns: readonly string[]): string {
  return `${[...columns, ...BRONZE_COLUMNS].map(csvField).join(',')}\n`
}

/** What ends each row of the server's CSV. */
export function csvSuffix(bronze: Bronze, columns: number): string {
  const fields = [bronzeInstantText(bronze.extractedAt), bronze.source, bronze.batchId].map(csvField).join(',')
  return `${columns === 0 ? '' : ','}${fields}\n`
}

/** What ends each of the server's objects, whose closing brace is taken off. */
export function jsonSuffix(bronze: Bronze, columns: number): string {
  const members = JSON.stringify({
    _extracted_at: bronze.extractedAt.toISOString().replace('Z', '+00:00'),
    _source: bronze.source,
    _batch_id: bronze.batchId,
  })
  return `${columns === 0 ? '' : ','}${members.slice(1)}\n`
}
