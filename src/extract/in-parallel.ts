/** Several sessions of the pool on one snapshot, each reading one partition after another. */

import { PoolsmithError } from '../errors.ts'
import { type ExtractPlan, sourceOf } from './plan.ts'
import { openTable } from './read/open-table.ts'
import type { ExtractEngine, OpenTable } from './read/table.ts'

export interface ParallelWork {
  readonly db: ExtractEngine
  /** The session that planned. It keeps the snapshot, and reads too. */
  readonly first: OpenTable
  readonly plan: ExtractPlan
  /** The partitions that are to be read. */
  readonly todo: readonly number[]
  /** Every session listens to its signal; it is used to stop the others when one fails. */
  readonly stop: AbortController
  readonly signal: AbortSignal
  readonly read: (open: OpenTable, number: number) => Promise<void>
}

/** What a further session may fail by without harm: the ones that there are read its share. */
const DISPENSABLE = new Set(['POOL_EXHAUSTED', 'TABLE_LOCKED', 'SERVER_FULL'])

/** Resolves when all are read; rejects with the first failure when every session has ended. */
export async function readInParallel(work: ParallelWork): Promise<void> {
  const { db, first, plan, stop, signal } = work
  const queue = [...work.todo]
  let failure: { readonly error: unknown } | undefined
  const fail = (error: unknown): void => {
    failure ??= { error }
    stop.abort(error)
  }

  const takeAll = async (open: OpenTable): Promise<void> => {
    for (let number = queue.shift(); number !== undefined && !failure; number = queue.shift()) {
      try {
        await work.read(open, number)
      } catch (error) {
        fail(inPartition(error, plan, number))
      }
    }
    for (const session of coming) session.abort()
  }
  /** Sessions that are not there yet; there is nothing to wait for once the last partition is taken. */
  const coming = new Set<AbortController>()
  const join = async (snapshot: string | undefined): Promise<void> => {
    const own = new AbortController()
    coming.add(own)
    try {
      const options = { ...plan.options, signal: AbortSignal.any([signal, own.signal]) }
      await using open = await openTable(
        db,
        sourceOf(plan),
        snapshot === undefined ? options : { ...options, snapshot },
      )
      coming.delete(own)
      await takeAll(open)
    } catch (error) {
      const isDispensable = error instanceof PoolsmithError && DISPENSABLE.has(error.code)
      if (!isDispensable && !own.signal.aborted) fail(error)
    }
  }

  const atOnce = Math.min(queue.length, db.pool.stats?.().max ?? 1)
  const snapshot = atOnce > 1 ? await first.exportSnapshot?.() : undefined
  const company = async (companion: OpenTable): Promise<void> => {
    await using open = companion
    await takeAll(open)
  }
  const others =
    first.companions?.slice(0, Math.max(0, atOnce - 1)).map(company) ??
    Array.from({ length: Math.max(0, atOnce - 1) }, () => join(snapshot))
  await Promise.all([takeAll(first), ...others])
  if (failure !== undefined) throw failure.error
}

/** Says which partition it was. What is not poolsmith's error stays as it is. */
export function inPartition(error: unknown, plan: ExtractPlan, number: number): unknown {
  const total = plan.partitions.length
  if (!(error instanceof PoolsmithError) || total === 1) return error
  const label = plan.partitions[number]?.label ?? ''
  return new PoolsmithError(`Partition ${number} of ${total} (${label}): ${error.message}`, {
    code: error.code,
    phase: error.phase,
    transient: error.transient,
    details: { ...error.details, partition: number, partitions: total },
    cause: error.cause ?? error,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
  })
}
