import { PoolsmithError } from '../errors.ts'
import type { FormatOptions, SelectOptions } from './options.ts'
import { checkFormat, checkInstant, checkPartitions } from './options.ts'
import { type ExtractPlan, makePlan } from './plan.ts'
import { openTable } from './read/open-table.ts'
import type { ExtractEngine, ExtractSource, OpenTable } from './read/table.ts'
import { checkState, readState } from './watermark-state.ts'

/** Options of {@link planExtract}: those of the run that the plan is for. */
export interface PlanOptions extends SelectOptions, Partial<FormatOptions> {
  /**
   * Whether to keep the session and its snapshot open until the plan is disposed, so that partitions that are read
   * meanwhile, on any machine, see the table as it is now. Default false: each sees it as it is when it is read.
   */
  readonly holdSnapshot?: boolean
  /** Called when that session is lost: what is not read yet cannot be read on its snapshot any more. */
  readonly onSnapshotLost?: (error: PoolsmithError) => void
}

/** A plan, and the session that may be open for it. */
export type HeldPlan = ExtractPlan & AsyncDisposable

/**
 * Divides a table as {@link extractTable} would, and gives the plan as plain JSON, to be run partition by partition
 * with {@link extractPartition} wherever that suits. A format is needed for files; without one a consumer takes them.
 *
 * @throws PoolsmithError as {@link extractTable}
 *
 * @example
 * const plan = await planExtract(db, { table: 'flights' }, { format: 'parquet', partitions: 16 })
 * await writeFile('plan.json', JSON.stringify(plan))
 */
export async function planExtract(
  db: ExtractEngine,
  source: ExtractSource,
  options: PlanOptions = {},
): Promise<HeldPlan> {
  if (options.format !== undefined) checkFormat(options)
  checkInstant(options.extractedAt)
  const partitions = checkPartitions(options.partitions)
  const { watermark, holdSnapshot = false, onSnapshotLost } = options
  const state = watermark?.state === undefined ? undefined : await readState(watermark.state)
  const open = await openTable(db, source, options)
  let snapshot: string | undefined
  try {
    checkState(state, watermark?.state, open)
    const plan = await makePlan(db, open, {
      ...options,
      startedAt: new Date(),
      partitions,
      ...(watermark === undefined ? {} : { watermark: { ...watermark, after: state?.watermark ?? watermark.after } }),
    })
    if (holdSnapshot) snapshot = await exportSnapshot(open)
    if (onSnapshotLost !== undefined) open.onLost?.(onSnapshotLost)
    const held = snapshot === undefined ? undefined : open
    return {
      ...plan,
      ...(snapshot === undefined ? {} : { snapshot }),
      [Symbol.asyncDispose]: async () => held?.[Symbol.asyncDispose](),
    }
  } finally {
    if (snapshot === undefined) await open[Symbol.asyncDispose]()
  }
}

function exportSnapshot(open: OpenTable): Promise<string> {
  if (open.exportSnapshot !== undefined) return open.exportSnapshot()
  throw new PoolsmithError('SQL Server has no snapshot that sessions on other machines could share.', {
    code: 'SNAPSHOT_UNAVAILABLE',
    phase: 'query',
    hint:
      'Plan without holdSnapshot, by a column that is never changed (partitionBy) and without the rows that still ' +
      'change (where); or plan on a database snapshot (CREATE DATABASE … AS SNAPSHOT OF), which all sessions see alike.',
  })
}
