/**
 * Part of the TDS server test double: server cursors (Transact-SQL, sp_cursoropen and sp_cursorfetch). Every one is
 * static: its rows are read when it is opened. It is read-only.
 */

import type { Batches } from './batches.ts'
import type { Parameter } from './parameters.ts'
import { named, type Prepared } from './procedures.ts'
import type { Response } from './response.ts'
import { statements } from './statements.ts'
import { colMetadata, DONE, noColMetadata, rowToken } from './tokens.ts'
import { SqlError, translate } from './translate.ts'
import { tokenize } from './tsql.ts'
import { type Column, intN } from './types.ts'

const SCROLL = { forwardOnly: 0x04, static: 0x08, fastForward: 0x10, autoFetch: 0x2000, autoClose: 0x4000 } as const
const READ_ONLY = 1
const FETCH = {
  first: 0x01,
  next: 0x02,
  previous: 0x04,
  last: 0x08,
  absolute: 0x10,
  relative: 0x20,
  refresh: 0x80,
  info: 0x100,
  /** As `previous`, but with fewer rows where the first one is near. */
  justPrevious: 0x200,
} as const
/** The column that a cursor adds to each row: whether the row is there. */
const ROWSTAT: Column = { name: 'ROWSTAT', type: intN(4) }
const FETCHED = '1'

interface Cursor {
  readonly columns: readonly Column[]
  readonly rows: readonly (readonly (string | null)[])[]
  /** The row that the last fetch began with, from 1 on; 0 is before the first. */
  at: number
  /** How many rows it gave. */
  fetched: number
}

/** Cursor, scrolling, locking and number of rows, as the client asks for them. */
type Opening = readonly [Parameter | undefined, Parameter | undefined, Parameter | undefined, Parameter | undefined]

export class Cursors {
  readonly #batches: Batches
  readonly #open = new Map<number, Cursor>()
  // SQL Server's are not small either: one that is taken for a handle of a statement is found.
  #handles = 180_150_000

  constructor(batches: Batches) {
    this.#batches = batches
  }

  forget(): void {
    this.#open.clear()
  }

  async open(prepared: Prepared, values: readonly Parameter[], opening: Opening, response: Response): Promise<void> {
    const cursor = await this.#read(prepared, values)
    const [handle, scrolling, locking, count] = opening
    const asked = Number(scrolling?.value ?? 0)
    this.#open.set(++this.#handles, cursor)
    await response.write(colMetadata(cursor.columns))
    let sent = 0
    if ((asked & SCROLL.autoFetch) !== 0) {
      sent = await this.#send(cursor, 1, Number(count?.value ?? 0), response)
      const isWhole = cursor.at + cursor.fetched > cursor.rows.length
      if ((asked & SCROLL.autoClose) !== 0 && isWhole) this.#open.delete(this.#handles)
    }
    await response.done(DONE.final, sent)
    response.returnsInt(handle, this.#handles)
    response.returnsInt(scrolling, asked & (SCROLL.forwardOnly | SCROLL.fastForward) || SCROLL.static)
    response.returnsInt(locking, READ_ONLY)
    response.returnsInt(count, cursor.rows.length)
  }

  async #read({ sql, declared }: Prepared, values: readonly Parameter[]): Promise<Cursor> {
    this.#batches.journal.requests.push(sql)
    const [statement = []] = statements(tokenize(sql))
    const translated = translate(statement, named(values, declared), this.#batches.globals())
    return this.#batches.guarded(translated, async (answer) => {
      if (answer.columns.length === 0) {
        throw new SqlError(16_937, 1, 16, 'A server cursor cannot be opened on the given statement or statements.')
      }
      const rows: (readonly (string | null)[])[] = []
      for (let more = await answer.read(); more.length > 0; more = await answer.read()) {
        rows.push(...more.map((row) => [...row, FETCHED]))
      }
      return { columns: [...answer.columns, ROWSTAT], rows, at: 0, fetched: 0 }
    })
  }

  /** @param parameters the cursor, the kind of fetch, a row and a number of rows */
  async fetch(parameters: readonly Parameter[], knowsColumns: boolean, response: Response): Promise<void> {
    const [handle, kind = FETCH.next, row = 0, count = 0] = parameters.map(({ value }) => Number(value ?? 0))
    const cursor = this.#find(handle)
    if (kind === FETCH.info) {
      // Where the cursor stands, and how many rows it has.
      response.returnsInt(parameters[2], cursor.at > cursor.rows.length ? -1 : cursor.at)
      response.returnsInt(parameters[3], cursor.rows.length)
      return
    }
    await response.write(knowsColumns ? noColMetadata() : colMetadata(cursor.columns))
    await response.done(DONE.final, await this.#send(cursor, startOf(cursor, kind, row, count), count, response))
  }

  /** Sends rows from a position on, which may lie before the first. */
  async #send(cursor: Cursor, from: number, count: number, response: Response): Promise<number> {
    const end = from + count
    const [first, last] = [Math.max(1, from), Math.min(cursor.rows.length + 1, end)]
    const rows = cursor.rows.slice(first - 1, Math.max(first, last) - 1)
    for (const row of rows) await response.write(rowToken(cursor.columns, row))
    cursor.at = Math.min(Math.max(from, 0), cursor.rows.length + 1)
    cursor.fetched = rows.length
    return rows.length
  }

  close(handle: string | undefined): void {
    this.#find(Number(handle))
    this.#open.delete(Number(handle))
  }

  #find(handle = 0): Cursor {
    const cursor = this.#open.get(handle)
    if (cursor !== undefined) return cursor
    throw new SqlError(16_909, 1, 16, `sp_cursorfetch: The cursor identifier value provided (${handle}) is not valid.`)
  }
}

function startOf({ at, fetched, rows }: Cursor, kind: number, row: number, count: number): number {
  switch (kind) {
    case FETCH.first:
      return 1
    case FETCH.next:
      return at === 0 ? 1 : at + fetched
    case FETCH.previous:
      return Math.max(1, at - count)
    case FETCH.justPrevious:
      return at - count
    case FETCH.last:
      return Math.max(1, rows.length - count + 1)
    case FETCH.absolute:
      return row < 0 ? rows.length + 1 + row : row
    case FETCH.relative:
      return at + row
    case FETCH.refresh:
      return at
    default:
      throw new SqlError(16_902, 1, 16, `sp_cursorfetch: The value of the parameter 'fetchtype' is invalid.`)
  }
}
