/** Tells a watcher of every statement of a client: by promise, by callback, and those that are submitted as objects. */

import type pg from 'pg'
import { asError } from '../../any-error.ts'
import type { StatementWatcher, WatchedStatement } from '../statement-watch.ts'

type Query = (this: pg.Client, ...given: unknown[]) => unknown
type Callback = (error: Error | null | undefined, result?: unknown) => void

/** An object that runs as a statement, as pg calls it: a `pg.Query`, a cursor, a stream, a copy. */
interface Submittable {
  readonly text?: unknown
  /** A `pg-query-stream` has its text here. */
  readonly cursor?: { readonly text?: unknown }
  readonly values?: unknown
  submit(connection: unknown): Error | null | undefined
  handleDataRow?(message: unknown): void
  handleCommandComplete(message: { readonly text: string }, connection: unknown): void
  handleError(error: Error, connection: unknown): void
  handleReadyForQuery(connection: unknown): void
}

export function watchStatements(client: pg.Client, watcher: StatementWatcher): void {
  const query = client.query as Query
  const watching: Query = (...given) => {
    const [first] = given
    if (typeof first === 'string') return watched(client, query, given, { text: first }, watcher)
    const config = (first ?? {}) as Partial<Submittable> & { readonly callback?: Callback }
    if (config.submit !== undefined) return submit(client, query, given, config as Submittable, watcher)
    if (typeof config.text !== 'string') return query.apply(client, given)
    return watched(client, query, given, config as Given, watcher)
  }
  client.query = watching as typeof client.query
}

interface Given {
  readonly text: string
  readonly values?: unknown
  readonly callback?: Callback
}

function watched(client: pg.Client, query: Query, given: unknown[], asked: Given, watcher: StatementWatcher): unknown {
  const place = placeOfCallback(given)
  const callback = place >= 0 ? (given[place] as Callback) : asked.callback
  let statement: WatchedStatement | undefined
  try {
    statement = watcher.begin(asked.text, bound(given[1]) ?? bound(asked.values))
  } catch (error) {
    if (callback === undefined) return Promise.reject(error)
    process.nextTick(callback, error)
    return undefined
  }
  if (statement === undefined) return query.apply(client, given)
  if (callback === undefined) return promised(statement, query.apply(client, given) as Promise<unknown>)
  const told: Callback = (error, result) => {
    const held = statement.ended(error ? { error } : { rows: rowsOf(result) })
    if (held === undefined) callback(error, result)
    else
      held.then(
        // Out of the promise: what a callback throws is the process's business, as it is with pg.
        () => process.nextTick(callback, error, result),
        (failure) => process.nextTick(callback, failure),
      )
  }
  // On the hot path.
  if (place === 1 && given.length === 2) return query.call(client, given[0], told)
  return query.apply(client, place >= 0 ? given.with(place, told) : [{ ...asked, callback: told }, ...given.slice(1)])
}

/** -1 without one. On the hot path. */
function placeOfCallback(given: readonly unknown[]): number {
  for (let place = 1; place < given.length; place++) if (typeof given[place] === 'function') return place
  return -1
}

function promised(statement: WatchedStatement, result: Promise<unknown>): Promise<unknown> {
  return result.then(
    (value) => {
      const held = statement.ended({ rows: rowsOf(value) })
      return held === undefined ? value : held.then(() => value)
    },
    async (error: unknown) => {
      await statement.ended({ error })
      throw error
    },
  )
}

/** Rows of such a statement may reach its reader before it ends. */
function submit(
  client: pg.Client,
  query: Query,
  given: unknown[],
  submittable: Submittable,
  watcher: StatementWatcher,
): unknown {
  const text = submittable.text ?? submittable.cursor?.text
  if (typeof text !== 'string') return query.apply(client, given)
  let statement: WatchedStatement | undefined
  try {
    statement = watcher.begin(text, bound(submittable.values))
    statement?.streams()
  } catch (error) {
    // pg reports what `submit` returns as the error of the statement, which nothing was sent for.
    submittable.submit = () => asError(error)
    return query.apply(client, given)
  }
  if (statement !== undefined) tellEnd(submittable, statement)
  return query.apply(client, given)
}

function tellEnd(submittable: Submittable, statement: WatchedStatement): void {
  const { handleDataRow, handleCommandComplete, handleError, handleReadyForQuery } = submittable
  /** A cursor's tag counts the rows of its last piece. */
  let sent = 0
  let rows: number | undefined
  if (handleDataRow !== undefined) {
    submittable.handleDataRow = (message) => {
      sent++
      handleDataRow.call(submittable, message)
    }
  }
  submittable.handleCommandComplete = (message, connection) => {
    const count = rowsInTag(message.text)
    if (count !== undefined) rows = (rows ?? 0) + count
    handleCommandComplete.call(submittable, message, connection)
  }
  submittable.handleError = (error, connection) => {
    void statement.ended({ error })
    handleError.call(submittable, error, connection)
  }
  submittable.handleReadyForQuery = (connection) => {
    void statement.ended({ rows: sent || rows })
    handleReadyForQuery.call(submittable, connection)
  }
}

function bound(values: unknown): readonly unknown[] | undefined {
  return Array.isArray(values) ? values : undefined
}

/** Of a result, or of one for each statement in the text. */
function rowsOf(result: unknown): number | undefined {
  if (!Array.isArray(result)) return countIn(result)
  const counts = result.map(countIn).filter((count) => count !== undefined)
  return counts.length === 0 ? undefined : counts.reduce((sum, count) => sum + count, 0)
}

function countIn(result: unknown): number | undefined {
  const { rowCount } = (result ?? {}) as { readonly rowCount?: unknown }
  return typeof rowCount === 'number' ? rowCount : undefined
}

/** The number in a command tag (PostgreSQL Documentation, "Message Formats", CommandComplete). */
function rowsInTag(tag: string): number | undefined {
  const [, count] = / (\d+)$/.exec(tag) ?? []
  return count === undefined ? undefined : Number(count)
}
