import type { TextFormat } from './format.ts'

/** An object for each row, on a line of its own. */
export const jsonLines: TextFormat = {
  rows: 'lines',
  lines: 'jsonl',
  header: () => '',
  // The reader leaves the closing brace of each object to it.
  suffix: ({ extractedAt, source, batchId }, columns) => {
    const members = JSON.stringify({
      _extracted_at: extractedAt.toISOString().replace('Z', '+00:00'),
      _source: source,
      _batch_id: batchId,
    })
    return `${columns.length === 0 ? '' : ','}${members.slice(1)}\n`
  },
}
