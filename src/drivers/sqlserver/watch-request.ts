/** Tells a watcher of the requests of a session, and holds their answers back where it says so. */

import type { EventEmitter } from 'node:events'
import type { StatementWatcher, WatchedStatement } from '../statement-watch.ts'
import { operationOf } from './tedious-internals.ts'

type Callback = (error: Error | null | undefined, ...rest: unknown[]) => void

interface WatchedRequest extends EventEmitter {
  [COLLECTED]?: true
  readonly sqlTextOrProcedure?: unknown
  readonly parameters?: readonly { readonly value?: unknown }[]
  callback?: Callback
}

/** knex asks for the rows that a statement has changed by another one in the same text, whose row is counted too. */
const COUNTING = /;\s*select @@rowcount\s*$/i

const COLLECTED = Symbol('collected')

/** Says of a request that its rows are not handed out before its callback is called. */
export function collected<Request extends object>(request: Request): Request {
  return Object.assign(request, { [COLLECTED]: true })
}

/**
 * Tells of a request that is about to be made.
 *
 * @returns false when it must not be made; then its callback is called with the error
 */
export function watchRequest(given: object, type: number, payload: object, watcher: StatementWatcher): boolean {
  const request = given as WatchedRequest
  const { callback, sqlTextOrProcedure, parameters = [] } = request
  if (typeof callback !== 'function') return true
  const operation = operationOf(request, type, payload)
  const whole = String(sqlTextOrProcedure)
  const text = whole.replace(COUNTING, '')
  let statement: WatchedStatement | undefined
  try {
    const values = parameters.map(({ value }) => value)
    statement = watcher.begin(operation === undefined ? text : undefined, values, operation)
    if (statement === undefined) return true
    if (request[COLLECTED] !== true && request.listenerCount('row') > 0) statement.streams()
  } catch (error) {
    process.nextTick(() => callback.call(request, error as Error))
    return false
  }
  const rowsOf = (count: unknown): number | undefined => {
    if (typeof count !== 'number' || (count === 0 && operation !== undefined)) return undefined
    return operation === undefined && text !== whole ? count - 1 : count
  }
  tellEnd(request, callback, statement, rowsOf)
  return true
}

function tellEnd(
  request: WatchedRequest,
  callback: Callback,
  statement: WatchedStatement,
  rowsOf: (count: unknown) => number | undefined,
): void {
  request.callback = (error, ...rest) => {
    // A request may be made again.
    request.callback = callback
    const held = statement.ended(error ? { error } : { rows: rowsOf(rest[0]) })
    const answer = (failure: Error | null | undefined): void => callback.call(request, failure, ...rest)
    if (held === undefined) answer(error)
    else
      held.then(
        // Out of the promise: what a callback throws is the process's business, as it is with tedious.
        () => process.nextTick(answer, error),
        (failure) => process.nextTick(answer, failure),
      )
  }
}
