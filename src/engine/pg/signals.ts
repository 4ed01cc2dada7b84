/** Statements of the clients of a `pg.Pool` over ours: `signal` in their configuration, and none after a release. */

import type pg from 'pg'
import { hasAborted, onAbort } from '../../abort.ts'
import { heldBack, newestStatement, refuse, takeBack } from '../../drivers/postgres/client-statements.ts'
import { PoolsmithError } from '../../errors.ts'
import type { ConnectionPool } from '../../pool/pool.ts'
import { isOwnWork } from '../../tracing.ts'

type Query = (...given: unknown[]) => unknown
type Callback = (error: unknown, result?: unknown) => void

/** The signal of `query({ text, signal })`. */
export function signalOf(config: unknown): AbortSignal | undefined {
  const { signal, submit } = (config ?? {}) as { readonly signal?: AbortSignal | null; readonly submit?: unknown }
  // A Submittable's properties are its own.
  return typeof submit === 'function' ? undefined : (signal ?? undefined)
}

/**
 * Has a client end a statement whose configuration has a signal, and no other one, when the signal aborts; and refuse
 * every statement while it is in the pool.
 */
export function heedSignals(client: pg.Client, pool: ConnectionPool<pg.Client>): void {
  /** A cancel request under way, which would end any statement that is sent. */
  let cancelling: Promise<void> | undefined
  const { query: send } = client
  const query = (given: unknown[]): unknown => (send as Query).apply(client, given)

  const untilAborted = async (given: unknown[], signal: AbortSignal): Promise<unknown> => {
    if (hasAborted(signal)) throw pool.abortedStatement(signal)
    await cancelling
    const { promise: aborted, resolve: abort } = Promise.withResolvers<void>()
    const sent = query(given) as Promise<pg.QueryResult>
    const statement = newestStatement(client)
    using _ = onAbort(signal, abort)
    const ended = sent.then(
      () => undefined,
      () => undefined,
    )
    await Promise.race([ended, aborted])
    if (!signal.aborted) return sent
    if (takeBack(client, statement)) throw pool.abortedStatement(signal)
    cancelling = heldBack(client, () => pool.cancel(client))
    try {
      await cancelling
    } catch {
      // The statement runs on, so the session is closed when the client is released.
      pool.invalidate(client)
      throw pool.abortedStatement(signal)
    } finally {
      cancelling = undefined
    }
    return sent.catch(() => Promise.reject(pool.abortedStatement(signal)))
  }

  const heeding: Query = (...given) => {
    if (!pool.isLent(client) && !isOwnWork()) return refuse(client, given, releasedError(pool.name))
    const signal = signalOf(given[0])
    if (signal === undefined) return query(given)
    const callback = given.findLast((one) => typeof one === 'function') as Callback | undefined
    const result = untilAborted(
      given.filter((one) => typeof one !== 'function'),
      signal,
    )
    if (callback === undefined) return result
    result.then(
      (value) => process.nextTick(callback, undefined, value),
      (error) => process.nextTick(callback, error),
    )
    return undefined
  }
  client.query = heeding as typeof client.query
}

function releasedError(poolName: string): PoolsmithError {
  return new PoolsmithError(`A statement was given to a client that has been released to the pool ${poolName}.`, {
    code: 'CLIENT_RELEASED',
    phase: 'query',
    hint: 'Release the client after its last statement, or take another one with connect().',
    details: { poolName },
  })
}
