/** The rows of one partition on their way into a file, or to a consumer. */

import { PoolsmithError } from '../errors.ts'
import { loadPackage } from '../optional-package.ts'
import type { RecordBatch } from './arrow-types.ts'
import { bronzeBatches } from './bronze.ts'
import type { BatchConsumer } from './options.ts'
import { bronzeOf, choicesOf, type ExtractPlan } from './plan.ts'
import type { OpenTable } from './read/table.ts'
import { openArrowSink } from './sinks/arrow.ts'
import { openParquetSink } from './sinks/parquet/sink.ts'
import { csvHeader, csvSuffix, jsonSuffix } from './sinks/text.ts'
import type { TargetFile } from './target-file.ts'

export interface Written {
  readonly rows: number
  /** What the values had to say. */
  readonly notes: readonly string[]
}

/** @param count is told of rows as they are written */
export async function writePart(
  open: OpenTable,
  plan: ExtractPlan,
  number: number,
  file: TargetFile,
  count: (rows: number) => void,
): Promise<Written> {
  const { format } = plan
  if (format === 'batches') throw new TypeError('Batches are for a consumer, not for a file.')
  let rows = 0
  const add = (more: number): void => {
    rows += more
    count(more)
  }
  const notes =
    format === 'parquet' || format === 'arrow'
      ? await writeBatches(open, plan, number, file, add)
      : await writeLines(open, plan, number, format, file, add)
  return { rows, notes }
}

async function writeBatches(
  open: OpenTable,
  plan: ExtractPlan,
  number: number,
  file: TargetFile,
  add: (rows: number) => void,
): Promise<readonly string[]> {
  const arrow = await loadPackage('apache-arrow', () => import('apache-arrow'), `format=${plan.format}`)
  const rows = await open.asArrow(choicesOf(plan, number))
  const bronze = bronzeBatches(arrow, rows.schema, bronzeOf(plan))
  const output = (parts: readonly Uint8Array[]): Promise<void> => file.writeAll(parts)
  using sink =
    plan.format === 'parquet'
      ? await openParquetSink(bronze.schema, output, plan.options)
      : await openArrowSink(bronze.schema, output)
  for await (const batch of rows.batches()) {
    await sink.write(bronze.add(batch))
    add(batch.numRows)
    // Parquet's pages are copies; the Arrow writer may still hold the arrays.
    if (plan.format === 'parquet') rows.reuse(batch)
  }
  await sink.close()
  return rows.findings().map(({ column, note }) => `${column}: ${note}`)
}

async function writeLines(
  open: OpenTable,
  plan: ExtractPlan,
  number: number,
  format: 'csv' | 'jsonl',
  file: TargetFile,
  add: (rows: number) => void,
): Promise<readonly string[]> {
  const names = open.columnNames
  const { guardFormulas } = plan.options
  if (format === 'csv') await file.write(Buffer.from(csvHeader(names, guardFormulas)))
  const suffix = (format === 'csv' ? csvSuffix : jsonSuffix)(bronzeOf(plan), names.length, guardFormulas)
  const rows = open.asLines(format, { suffix, guardFormulas }, choicesOf(plan, number))
  for await (const lines of rows.lines()) {
    await file.write(lines.bytes)
    add(lines.rows)
    rows.reuse?.(lines)
  }
  return []
}

/** Hands the batches to a consumer, and holds it to having taken all of them. */
export async function consumePart(
  open: OpenTable,
  plan: ExtractPlan,
  number: number,
  consumer: { readonly take: BatchConsumer; readonly signal: AbortSignal },
  count: (rows: number) => void,
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
      hint: 'Take every batch, or throw; to read a part of a table, say so in `where`.',
    })
  }
  return { rows: taken, notes: rows.findings().map(({ column, note }) => `${column}: ${note}`) }
}
