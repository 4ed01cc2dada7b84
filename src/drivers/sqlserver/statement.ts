/**
 * Statements on a session of SQL Server, for readers of tables: short ones for their rows, and a long one for its
 * fields, which arrive no faster than they are taken.
 */

import type { Request } from 'tedious'
import { loadPackage } from '../../optional-package.ts'
import { Pull } from '../pull.ts'
import type { BoundValue, Statement } from './bound-value.ts'
import type { FieldRun } from './row-fields.ts'
import { setRowMode } from './row-reader.ts'
import { firstError } from './statement-error.ts'
import type { SqlServerConnection } from './tedious-connection.ts'
import type { ColumnMetadata } from './tedious-internals.ts'
import { collected } from './watch-request.ts'

export { setRowMode } from './row-reader.ts'
export type { ColumnMetadata, FieldRun, SqlServerConnection }

/** Runs one statement and gives its rows, values with every digit. Parameters by name are texts. */
export type AskStatement = (
  statement: Statement,
  parameters?: Readonly<Record<string, string | null>>,
) => Promise<readonly (readonly unknown[])[]>

/** Turns the fields of an answer into items for the reader. */
export interface FieldConsumer<Item> {
  /** The columns that the server sends, before the first row. */
  columns(sent: readonly ColumnMetadata[]): void
  /** The bytes are valid during this call only. Returns the items that are ready. */
  take(run: FieldRun): Item[]
  /** The answer is complete; returns the last items. */
  end(): Item[]
}

/** The request, whose events tedious' types do not know in this row mode. */
interface FieldRequest {
  on(event: 'columnMetadata', listener: (columns: readonly ColumnMetadata[]) => void): unknown
  on(event: 'row', listener: (run: FieldRun) => void): unknown
  pause(): void
  resume(): void
  cancel(): void
}

const loadTedious = () => loadPackage('tedious', () => import('tedious'), 'Reading from SQL Server')

/** The statements have no time limit: finding where to divide a long table may take long. */
export async function asker(connection: SqlServerConnection): Promise<AskStatement> {
  const { Request, TYPES } = await loadTedious()
  return ({ text, values }, parameters = {}) =>
    new Promise((resolve, reject) => {
      const rows: (readonly unknown[])[] = []
      const request = new Request(text, (error) => (error ? reject(firstError(error)) : resolve(rows)))
      request.setTimeout(0)
      setRowMode(request, { exact: true, bare: true })
      collected(request).on('row', (row: unknown) => rows.push(row as readonly unknown[]))
      for (const [name, value] of Object.entries(parameters)) request.addParameter(name, TYPES.NVarChar, value)
      bind(request, TYPES, values, connection)
      connection.execSql(request)
    })
}

type Types = typeof import('tedious').TYPES

function bind(
  request: Request,
  types: Types,
  values: readonly BoundValue[],
  { usesUtc }: Pick<SqlServerConnection, 'usesUtc'>,
): void {
  for (const [index, { type, value }] of values.entries()) {
    const [tediousType, given] = value === null ? [types.NVarChar, null] : parameter(types, type, value, usesUtc)
    request.addParameter(`p${index}`, tediousType, given)
  }
}

function parameter(
  types: Types,
  type: BoundValue['type'],
  value: string,
  usesUtc: boolean,
): [Types[keyof Types], unknown] {
  switch (type) {
    case 'bigint':
      return [types.BigInt, BigInt(value)]
    case 'float':
      return [types.Float, Number(value)]
    case 'bit':
      return [types.Bit, value === '1']
    case 'datetime2':
      // The moment in UTC on every machine: tedious would write it in the local time zone.
      return usesUtc ? [types.DateTime2, new Date(value)] : [types.NVarChar, value.replace(/Z$/, '')]
    case 'varbinary':
      return [types.VarBinary, Buffer.from(value, 'base64')]
    case 'nvarchar':
      return [types.NVarChar, value]
    case 'varchar':
      return [types.VarChar, value]
  }
}

/** One statement whose rows are read as fields. */
export class FieldStatement<Item> {
  readonly #consumer: FieldConsumer<Item>
  readonly #pull: Pull<Item>
  #request: FieldRequest | undefined
  #rows: number | undefined

  constructor(consumer: FieldConsumer<Item>) {
    this.#consumer = consumer
    this.#pull = new Pull({
      pause: () => this.#request?.pause(),
      resume: () => this.#request?.resume(),
      // An attention (MS-TDS 2.2.1.7).
      stop: () => this.#request?.cancel(),
    })
  }

  /** The number of rows that the server says it sent; known once the answer is complete. */
  get rows(): number | undefined {
    return this.#rows
  }

  /** Whether the server has ended the statement. */
  get settled(): boolean {
    return this.#pull.settled
  }

  async start(connection: SqlServerConnection, { text, values }: Statement): Promise<void> {
    const { Request, TYPES } = await loadTedious()
    const request = new Request(text, (error, rowCount) => this.#end(error, rowCount))
    setRowMode(request, { exact: true, bare: true, fields: true })
    // The connection's time limit is for slow answers; a long answer is not slow.
    request.setTimeout(0)
    const fields = request as unknown as FieldRequest
    this.#request = fields
    fields.on('columnMetadata', (sent) => this.#columns(sent))
    fields.on('row', (run) => {
      this.#pull.take(() => this.#consumer.take(run))
      this.#pull.offer()
    })
    bind(request, TYPES, values, connection)
    if (values.length === 0) connection.execSqlBatch(request)
    else connection.execSql(request)
  }

  #columns(sent: readonly ColumnMetadata[]): void {
    this.#pull.take(() => {
      this.#consumer.columns(sent)
      return []
    })
    this.#pull.offer()
  }

  #end(error: Error | null | undefined, rowCount: number | undefined): void {
    if (error) {
      this.#pull.settle(firstError(error))
      return
    }
    if (!this.#pull.discarding) this.#rows = rowCount
    this.#pull.settle()
    this.#pull.take(() => this.#consumer.end())
    this.#pull.offer()
  }

  /** As {@link Pull.next}. */
  next(signal?: AbortSignal): Promise<Item | undefined> {
    return this.#pull.next(signal)
  }

  /** As {@link Pull.discard}: cancels, and waits until the server has ended the statement or the signal aborts. */
  stop(signal: AbortSignal): Promise<boolean> {
    return this.#pull.discard(signal)
  }
}
