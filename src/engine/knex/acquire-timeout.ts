/** A wait for a connection that reached its limit: ours, and knex's KnexTimeoutError for programs that catch it. */

import type { Compiled } from 'knex/lib/execution/runner.js'
import { KnexTimeoutError } from 'knex/lib/util/timeout.js'
import { carryError, type ErrorCode, PoolsmithError } from '../../errors.ts'

const TIMEOUTS: ReadonlySet<ErrorCode> = new Set([
  'POOL_EXHAUSTED',
  'POOL_SUSPENDED',
  'EVENT_LOOP_STALLED',
  'CONNECT_TIMEOUT',
  'CREDENTIAL_TIMEOUT',
])

/** The error of a caller that waited: also an instance of KnexTimeoutError where the wait reached its limit. */
export function rejectAsKnex(error: unknown): Promise<never> {
  const isTimeout = error instanceof PoolsmithError && TIMEOUTS.has(error.code)
  return Promise.reject(isTimeout ? carryError(new KnexTimeoutError(error.message), error) : error)
}

/** Adds the statement that waited, as knex does. */
export function withStatement(error: unknown, compile: () => Compiled | readonly Compiled[]): unknown {
  if (!(error instanceof KnexTimeoutError)) return error
  try {
    const compiled = compile()
    if (!Array.isArray(compiled)) {
      const { sql, bindings } = compiled as Compiled
      Object.assign(error, { sql, bindings })
    }
  } catch {
    // A statement that cannot be built has no text; the error of the wait is the one to report.
  }
  return error
}
