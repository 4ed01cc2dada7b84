/** The rows of one partition on their way into a file, or to a consumer. */

import { PoolsmithError } from '../errors.ts'
import { loadPackage } from '../optional-package.ts'
import type { RecordBatch } from './arrow-types.ts'
import { bronzeBatches } from './bronze.ts'
import type { TargetFile } from './files/target-file.ts'
import { FORMATS } from './formats.ts'
import type { BatchConsumer } from './options.ts'
import { bronzeOf, choicesOf, type ExtractPlan } from './plan.ts'
import type { Lines, OpenTable } from './read/table.ts'
import type { BatchFormat, Format, TextFormat } from './sinks/format.ts'

export interface Written {
  readonly rows: number
  /** The notes about the values. */
  readonly notes: readonly string[]
}

/** One partition of a plan, on the session that reads it. */
export interface Part {
  readonly open: OpenTable
  readonly plan: ExtractPlan
  /** From 0. */
  readonly number: number
  /** Called with the number of rows as they are written. */
  readonly count: (rows: number) => void
}

export async function writePart(part: Part, file: TargetFile): Promise<Written> {
  const { format } = part.plan
  if (format === 'batches') throw new TypeError('Batches are for a consumer, not for a file.')
  let rows = 0
  const counting: Part = {
    ...part,
    count: (more) => {
      rows += more
      part.count(more)
    },
  }
  const how: Format = FORMATS[format]
  const notes = how.rows === 'batches' ? await writeBatches(counting, how, file) : await writeLines(counting, how, file)
  return { rows, notes }
}

async function writeBatches(
  { open, plan, number, count }: Part,
  format: BatchFormat,
  file: TargetFile,
): Promise<readonly string[]> {
  const arrow = await loadPackage('apache-arrow', () => import('apache-arrow'), `format=${plan.format}`)
  const rows = await open.asArrow(choicesOf(plan, number))
  const bronze = bronzeBatches(arrow, rows.schema, bronzeOf(plan))
  using sink = await format.openSink(bronze.schema, (parts) => file.writeAll(parts), plan.options)
  for await (const batch of rows.batches()) {
    await sink.write(bronze.add(batch))
    count(batch.numRows)
    if (!format.keepsBatches) rows.reuse(batch)
  }
  await sink.close()
  return notesOf(rows.findings())
}

async function writeLines(
  { open, plan, number, count }: Part,
  format: TextFormat,
  file: TargetFile,
): Promise<readonly string[]> {
  const { columnNames } = open
  const { options } = plan
  const header = format.header(columnNames, options)
  if (header !== '') await file.write(Buffer.from(header))
  const style = { suffix: format.suffix(bronzeOf(plan), columnNames, options), guardFormulas: options.guardFormulas }
  const rows = open.asLines(format.lines, style, choicesOf(plan, number))
  // Lines are written while the next ones are read.
  let writing = Promise.resolve()
  const write = async (lines: Lines): Promise<void> => {
    await file.write(lines.bytes)
    count(lines.rows)
    rows.reuse?.(lines)
  }
  try {
    for await (const lines of rows.lines()) {
      await writing
      writing = write(lines)
      // The next turn gets its error. There may be none before the error occurs.
      writing.catch(() => undefined)
    }
    await writing
  } finally {
    await writing.catch(() => undefined)
  }
  return []
}

function notesOf(findings: readonly { readonly column: string; readonly note: string }[]): readonly string[] {
  return findings.map(({ column, note }) => `${column}: ${note}`)
}

/**
 * Hands the batches to a consumer.
 *
 * @throws PoolsmithError EXTRACT_INCOMPLETE when the consumer returns before it has taken all of them
 */
export async function consumePart(
  { open, plan, number, count }: Part,
  consumer: { readonly take: BatchConsumer; readonly signal: AbortSignal },
): Promise<Written> {
  const arrow = await loadPackage('apache-arrow', () => import('apache-arrow'), 'Reading a table as Arrow')
  const rows = await open.asArrow(choicesOf(plan, number))
  const bronze = bronzeBatches(arrow, rows.schema, bronzeOf(plan))
  let taken = 0
  let ended = false
  const batches = async function* (): AsyncGenerator<RecordBatch> {
    for await (const batch of rows.batches()) {
      yield bronze.add(batch)
      taken += batch.numRows
      count(batch.numRows)
    }
    ended = true
  }
  await consumer.take(batches(), {
    schema: bronze.schema,
    columns: rows.columns,
    partition: number,
    partitions: plan.partitions.length,
    batchId: plan.batchId,
    signal: consumer.signal,
  })
  if (!ended) {
    throw new PoolsmithError(`The consumer returned after ${taken} rows, before it had taken all.`, {
      code: 'EXTRACT_INCOMPLETE',
      phase: 'write',
      hint: 'Take every batch, or throw; to read a part of a table, use `where`.',
    })
  }
  return { rows: taken, notes: notesOf(rows.findings()) }
}
