import { onAbort } from '../../abort.ts'
import type { ConnectionPool } from '../../pool/pool.ts'
import { StatementQueue } from './statement-queue.ts'
import type { KnexMarks } from './time-limit.ts'

interface Signed {
  /** The key of the statement in the connection's queue. */
  readonly statement: object
  readonly connection: KnexMarks
  readonly signal: AbortSignal
  readonly pool: ConnectionPool<object>
  /** Runs the statement. */
  readonly run: () => Promise<unknown>
}

/**
 * Runs a statement until its signal aborts. Then one that waits in its transaction is taken back, and one that runs is
 * cancelled.
 *
 * @returns the result, also if it was complete when the signal aborted
 * @throws PoolsmithError ABORTED
 */
export async function untilAborted({ statement, connection, signal, pool, run }: Signed): Promise<unknown> {
  const failed = (): Promise<never> => Promise.reject(pool.abortedStatement(signal))
  if (signal.aborted) return failed()
  const { promise: aborted, resolve: abort } = Promise.withResolvers<void>()
  using _ = onAbort(signal, abort)
  const work = run()
  const ended = work.then(
    () => undefined,
    () => undefined,
  )
  await Promise.race([ended, aborted])
  if (!signal.aborted) return work
  const queue = StatementQueue.of(connection)
  if (!queue.withdraw(statement)) {
    try {
      await queue.cancel(statement, () => pool.cancel(connection))
    } catch {
      // The statement runs on, so the session is closed when it is returned.
      const error = pool.abortedStatement(signal)
      connection.__knex__disposed = error
      throw error
    }
  }
  return work.catch(failed)
}
