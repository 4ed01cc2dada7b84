/**
 * Makes the rows of a statement that collects them as pg itself does ({@link ResultRows}). All others get each row as a
 * message, as from pg: cursors, streams, statements with a listener to their rows, and sessions with one to messages.
 */

import type { EventEmitter } from 'node:events'
import type pg from 'pg'
import { rowIn } from './data-rows.ts'
import type { MessageStream, RowSink } from './message-stream.ts'
import { NotPostgres } from './messages.ts'
import { ResultRows } from './result-rows.ts'
import { type Parse, readersFor } from './value-readers.ts'

/** `pg.Result`, as lib/result.js has it, once columns are described. */
interface PgResult {
  readonly rows: unknown[]
  readonly fields: readonly { readonly name: string; readonly format: string }[]
  readonly rowAsArray: boolean
  readonly _parsers?: readonly Parse[]
  readonly _prebuiltEmptyResultObject: object | null
  readonly parseRow: unknown
  readonly _parseRowAsArray: unknown
  readonly addRow: unknown
}

/** `pg.Query`, as lib/query.js has it. */
interface PgQuery extends EventEmitter {
  readonly handleDataRow: unknown
  readonly _result: PgResult
  readonly _accumulateRows?: unknown
  _canceledDueToError: unknown
}

/** The statement that runs on a client; its parsers are known where it keeps a result as pg does. */
export interface ActiveQuery {
  readonly _result?: { readonly _parsers?: readonly Parse[] }
}

/** The methods of pg that are done here. */
export interface PgMethods {
  readonly handleDataRow: unknown
  readonly parseRow: unknown
  readonly _parseRowAsArray: unknown
  readonly addRow: unknown
}

/** Undefined: this pg collects rows in another way, and does all of it. */
export function methodsOf(module: typeof pg): PgMethods | undefined {
  const query = new (module.Query as unknown as new (config: object) => PgQuery)({ text: '' })
  const { handleDataRow, _result: result } = query
  const { parseRow, _parseRowAsArray, addRow } = result ?? {}
  const all = [handleDataRow, parseRow, _parseRowAsArray, addRow]
  return all.every((one) => typeof one === 'function')
    ? { handleDataRow, parseRow, _parseRowAsArray, addRow }
    : undefined
}

interface Session extends EventEmitter {
  readonly _emitMessage: boolean
}

export interface Described {
  readonly active: ActiveQuery | null | undefined
  readonly session: Session
  readonly methods: PgMethods | undefined
}

/** The columns of the rows that follow have been described. */
export function readRows(messages: MessageStream, described: Described): void {
  const { active, session } = described
  messages.sink = collectorOf(described)
  const readsValues = messages.sink === undefined && !session._emitMessage
  messages.readers = readsValues ? readersFor(active?._result?._parsers) : undefined
}

/** Undefined: the rows must come as messages. */
function collectorOf({ active, session, methods }: Described): RowSink | undefined {
  const query = (active ?? undefined) as PgQuery | undefined
  if (methods === undefined || query === undefined || query.handleDataRow !== methods.handleDataRow) return
  if (!query._accumulateRows) return
  const { _result: result } = query
  const { fields, rowAsArray, addRow, parseRow, _parsers, _prebuiltEmptyResultObject } = result
  if (addRow !== methods.addRow || _parsers === undefined || _prebuiltEmptyResultObject === null) return
  if (parseRow !== (rowAsArray ? methods._parseRowAsArray : methods.parseRow)) return
  if (fields.some(({ format }) => format !== 'text')) return
  const collected = new CollectedRows(query, session)
  return collected.takesMore() ? collected : undefined
}

class CollectedRows implements RowSink {
  readonly #query: PgQuery
  readonly #session: Session
  readonly #rows: unknown[]
  readonly #asArray: boolean
  readonly #columns: number
  readonly #made: ResultRows

  constructor(query: PgQuery, session: Session) {
    const { rows, fields, rowAsArray, _parsers, _prebuiltEmptyResultObject } = query._result
    this.#query = query
    this.#session = session
    this.#rows = rows
    this.#asArray = rowAsArray
    this.#columns = fields.length
    this.#made = new ResultRows({
      names: fields.map(({ name }) => name),
      parsers: _parsers ?? [],
      blank: _prebuiltEmptyResultObject ?? {},
    })
  }

  takesMore(): boolean {
    const session = this.#session
    return (
      !session._emitMessage &&
      // pg's own.
      session.listenerCount('dataRow') === 1 &&
      this.#query.listenerCount('row') === 0 &&
      !this.#query._canceledDueToError
    )
  }

  take(chunk: Buffer, start: number, end: number): boolean {
    try {
      const made = this.#made
      this.#rows.push(this.#asArray ? made.byPosition(chunk, start, end) : made.byName(chunk, start, end))
      return true
    } catch (error) {
      if (error instanceof NotPostgres) throw error
      // Of a parser. The rest of the row may be damaged all the same.
      rowIn(chunk, start, end, this.#columns)
      this.#query._canceledDueToError = error
      return false
    }
  }
}
