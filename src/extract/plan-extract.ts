import { PoolsmithError } from '../errors.ts'
import { checkPlan } from './check-plan.ts'
import type { FormatOptions, SelectOptions } from './options.ts'
import type { ExtractPlan } from './plan.ts'
import type { ExtractEngine, ExtractSource, OpenTable } from './read/table.ts'
import { Run } from './run.ts'

/** Options of {@link planExtract}: those of the run that the plan is for. */
export interface PlanOptions extends SelectOptions, Partial<FormatOptions> {
  /**
   * Whether to keep the session and its snapshot open until the plan is disposed, so that partitions that are read
   * meanwhile, on any machine, see the table as it is now. Default false: each sees it as it is when it is read.
   */
  readonly holdSnapshot?: boolean
  /**
   * A plan that was made before. When it is of the same request (and, without `extractedAt`, of the same day in UTC),
   * it is returned as it is, with its batch id, so that its complete parts are not read again. A plan is made anew when
   * an option, the condition, the last mark or the columns differ, when the table was rewritten under parts by pages,
   * or when either plan holds a snapshot.
   */
  readonly earlier?: ExtractPlan
  /** Called when that session is lost: partitions that are not read yet can no longer be read on its snapshot. */
  readonly onSnapshotLost?: (error: PoolsmithError) => void
}

/** A plan, and the session that may be open for it. */
export type HeldPlan = ExtractPlan & AsyncDisposable

/**
 * Divides a table as {@link extractTable} would, and gives the plan as plain JSON, to be run partition by partition
 * with {@link extractPartition} on any machine. A format is needed for files; without one a consumer takes the rows.
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
  const { holdSnapshot = false, onSnapshotLost, earlier } = options
  if (earlier !== undefined) checkPlan(earlier)
  const run = await Run.begin(db, source, {
    ...options,
    readsAll: false,
    readsApart: !holdSnapshot,
    earlier: holdSnapshot ? undefined : earlier,
  })
  if (!holdSnapshot) {
    await run[Symbol.asyncDispose]()
    return { ...run.plan, [Symbol.asyncDispose]: async () => undefined }
  }
  try {
    const snapshot = await exportSnapshot(run.open)
    if (onSnapshotLost !== undefined) run.open.onLost?.(onSnapshotLost)
    return { ...run.plan, snapshot, [Symbol.asyncDispose]: () => run[Symbol.asyncDispose]() }
  } catch (error) {
    await run[Symbol.asyncDispose]()
    throw error
  }
}

function exportSnapshot(open: OpenTable): Promise<string> {
  if (open.exportSnapshot !== undefined) return open.exportSnapshot()
  throw new PoolsmithError('SQL Server has no snapshot that sessions on other machines can share.', {
    code: 'SNAPSHOT_UNAVAILABLE',
    phase: 'query',
    hint:
      'Plan without holdSnapshot, by a column that is never changed (partitionBy) and without the rows that still ' +
      'change (where); or plan on a database snapshot (CREATE DATABASE … AS SNAPSHOT OF), which all sessions see alike.',
  })
}
