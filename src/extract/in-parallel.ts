/** Several sessions of the pool on one snapshot, each reading one partition after another. */

import { PoolsmithError } from '../errors.ts'
import { type ExtractPlan, sourceOf } from './plan.ts'
import { openTable } from './read/open-table.ts'
import type { OpenTable } from './read/table.ts'
import type { Run } from './run.ts'

/** Errors of a further session that do no harm: the other sessions read its share. */
const DISPENSABLE = new Set(['POOL_EXHAUSTED', 'TABLE_LOCKED', 'SERVER_FULL'])

/**
 * Reads partitions of a plan on the run's own session, which keeps the snapshot, and on as many others as the pool has.
 *
 * @param plan the run's, or that of an earlier run with which it goes on
 * @param todo the numbers of the partitions to read
 * @returns when all are read; rejects with the first failure when every session has ended
 */
export async function readInParallel(
  { db, open: first, input, stop, signal }: Run,
  plan: ExtractPlan,
  todo: readonly number[],
  read: (open: OpenTable, number: number) => Promise<void>,
): Promise<void> {
  const queue = [...todo]
  let failure: { readonly error: unknown } | undefined
  const fail = (error: unknown): void => {
    failure ??= { error }
    stop.abort(error)
  }

  /** Sessions that the pool has not given yet. They are not waited for once the last partition is taken. */
  const coming = new Set<AbortController>()
  const takeAll = async (open: OpenTable): Promise<void> => {
    for (let number = queue.shift(); number !== undefined && !failure; number = queue.shift()) {
      try {
        await read(open, number)
      } catch (error) {
        fail(inPartition(error, plan, number))
      }
    }
    for (const session of coming) session.abort()
  }
  const join = async (snapshot: string | undefined): Promise<void> => {
    const own = new AbortController()
    coming.add(own)
    try {
      const options = { ...plan.options, snapshot, signal: AbortSignal.any([signal, own.signal]) }
      await using open = await openTable(db, sourceOf(plan), options)
      coming.delete(own)
      await takeAll(open)
    } catch (error) {
      const isDispensable = error instanceof PoolsmithError && DISPENSABLE.has(error.code)
      if (!isDispensable && !own.signal.aborted) fail(error)
    }
  }
  const accompany = async (companion: OpenTable): Promise<void> => {
    await using open = companion
    await takeAll(open)
  }

  const atOnce = Math.min(queue.length, db.pool.stats?.().max ?? 1, input?.concurrency ?? queue.length)
  const others = Math.max(0, atOnce - 1)
  const snapshot = others > 0 ? await first.exportSnapshot?.() : undefined
  const further =
    first.companions?.slice(0, others).map(accompany) ?? Array.from({ length: others }, () => join(snapshot))
  await Promise.all([takeAll(first), ...further])
  if (failure !== undefined) throw failure.error
}

/** Adds which partition it was. An error that is not poolsmith's stays as it is. */
export function inPartition(error: unknown, plan: ExtractPlan, number: number): unknown {
  const total = plan.partitions.length
  if (!(error instanceof PoolsmithError) || total === 1) return error
  const label = plan.partitions[number]?.label ?? ''
  return error.with({
    message: `Partition ${number} of ${total} (${label}): ${error.message}`,
    details: { partition: number, partitions: total },
    cause: error.cause ?? error,
  })
}
