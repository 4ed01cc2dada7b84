import type { Compiled } from 'knex/lib/execution/runner.js'
import { KnexTimeoutError, timeout } from 'knex/lib/util/timeout.js'
import { within } from '../../abort.ts'
import type { DialectParts } from '../dialect.ts'
import { StatementQueue } from './statement-queue.ts'

/** How long the end of a cancelled statement is awaited; a server may be slow to end it, or never do so. */
const END_LIMIT_MILLIS = 1000

/** knex's marks on a connection. */
export interface KnexMarks {
  /** Its statement has been abandoned: the connection must not be used again. */
  __knex__disposed?: unknown
  /** Its name in knex's events. */
  __knexUid?: string
}

interface Limited {
  readonly compiled: Compiled
  readonly millis: number
  /** The connection of the statement. */
  readonly connection: object
  /** Runs the statement without a limit. */
  readonly run: () => Promise<unknown>
}

/**
 * Runs a statement under the limit of `.timeout(ms, { cancel })`, which ends this statement and no other. A statement that
 * waits in its transaction is taken back. One that runs is cancelled, and as a rule has ended when this rejects; without
 * `cancel` its connection is abandoned, as in knex.
 *
 * @throws KnexTimeoutError
 */
export async function withinLimit(
  { compiled, millis, connection, run }: Limited,
  parts: DialectParts,
): Promise<unknown> {
  const work = run()
  try {
    return await timeout(work, millis)
  } catch (error) {
    if (!(error instanceof KnexTimeoutError)) throw error
    const { sql, bindings, cancelOnTimeout } = compiled
    const facts = { sql, bindings, timeout: millis, phase: 'query', transient: false }
    const giveUp = (): void => {
      ;(connection as KnexMarks).__knex__disposed = error
    }
    const queue = StatementQueue.of(connection)
    if (!queue.withdraw(compiled)) {
      if (cancelOnTimeout !== true) giveUp()
      else {
        await queue
          .cancel(compiled, () => parts.cancel(connection))
          .catch((failure: Error) => {
            giveUp()
            const message = `After query timeout of ${millis}ms exceeded, cancelling of query failed.`
            throw Object.assign(failure, facts, { message })
          })
        await within(work, END_LIMIT_MILLIS).catch(() => undefined)
      }
    }
    const message = `Defined query timeout of ${millis}ms exceeded when running query.`
    throw Object.assign(error, facts, { message })
  }
}
