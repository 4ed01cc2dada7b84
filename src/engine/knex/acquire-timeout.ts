/** A wait for a connection that reached its limit: ours, and knex's KnexTimeoutError for programs that catch it. */

import type { Compiled } from 'knex/lib/execution/runner.js'
import { KnexTimeoutError } from 'knex/lib/util/timeout.js'
import { type ErrorCode, PoolsmithError } from '../../errors.ts'

const TIMEOUTS: ReadonlySet<ErrorCode> = new Set([
  'POOL_EXHAUSTED',
  'POOL_SUSPENDED',
  'EVENT_LOOP_STALLED',
  'CONNECT_TIMEOUT',
  'CREDENTIAL_TIMEOUT',
])

/** Errors of knex's class that stand for one of ours. */
const carriers = new WeakSet<object>()

// An object has one class; these errors are instances of both. No carrier is an instance of a subclass of ours.
Object.defineProperty(PoolsmithError, Symbol.hasInstance, {
  value(this: unknown, value: unknown): boolean {
    if (Function.prototype[Symbol.hasInstance].call(this, value)) return true
    return this === PoolsmithError && typeof value === 'object' && value !== null && carriers.has(value)
  },
})

/** An error of knex's class with the properties and methods of ours. */
function carried(error: PoolsmithError): Error {
  const { name: _, ...own } = error
  const carrier = new KnexTimeoutError(error.message)
  carriers.add(carrier)
  return Object.assign(carrier, own, {
    cause: error.cause,
    stack: error.stack,
    with: error.with,
    toJSON: error.toJSON,
  })
}

/** The error of a caller that waited: also an instance of KnexTimeoutError where the wait reached its limit. */
export function rejectAsKnex(error: unknown): Promise<never> {
  const isTimeout = error instanceof PoolsmithError && TIMEOUTS.has(error.code)
  return Promise.reject(isTimeout ? carried(error) : error)
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
