/** Statements on a tedious connection: short ones for their rows, a long one for its fields, no faster than they are taken. */

import type { Request } from 'tedious'
import type { FieldRun } from '../../drivers/sqlserver/row-fields.ts'
import { setRowMode } from '../../drivers/sqlserver/row-reader.ts'
import type { SqlServerConnection } from '../../drivers/sqlserver/tedious-connection.ts'
import type { ColumnMetadata } from '../../drivers/sqlserver/tedious-internals.ts'
import { loadPackage } from '../../optional-package.ts'
import type { BoundValue } from './reader.ts'
import { compiled, type Statement } from './sqlserver-bound.ts'
import type { AskServer } from './sqlserver-catalogue.ts'

/** Turns the fields of an answer into items for the reader. */
export interface FieldConsumer<Item> {
  columns(sent: readonly ColumnMetadata[]): void
  /** The bytes are the consumer's for this call only. Returns what is ready. */
  take(run: FieldRun): Item[]
  /** The answer is whole; returns the rest. */
  end(): Item[]
}

/** What tedious' types do not know: the mode of the rows. */
interface FieldRequest {
  on(event: 'columnMetadata', listener: (columns: readonly ColumnMetadata[]) => void): unknown
  on(event: 'row', listener: (run: FieldRun) => void): unknown
  pause(): void
  resume(): void
  cancel(): void
}

const loadTedious = () => loadPackage('tedious', () => import('tedious'), 'Reading from SQL Server')

/** Several errors of one statement come as an AggregateError without words; the first says what began it. */
function firstError(error: Error): Error {
  return error instanceof AggregateError && error.errors[0] instanceof Error ? error.errors[0] : error
}

/** Asks questions: values come with every digit. No time limit: where to divide a long table is no short question. */
export async function asker(connection: SqlServerConnection): Promise<AskServer> {
  const { Request, TYPES } = await loadTedious()
  return (question, parameters = {}) =>
    new Promise((resolve, reject) => {
      const rows: (readonly unknown[])[] = []
      const { text, values } = typeof question === 'string' ? { text: question, values: [] } : compiled(question)
      const request = new Request(text, (error) => (error ? reject(firstError(error)) : resolve(rows)))
      request.setTimeout(0)
      setRowMode(request, { exact: true, bare: true })
      request.on('row', (row: unknown) => rows.push(row as readonly unknown[]))
      for (const [name, value] of Object.entries(parameters)) request.addParameter(name, TYPES.NVarChar, value)
      bind(request, TYPES, values)
      connection.execSql(request)
    })
}

type Types = typeof import('tedious').TYPES

function bind(request: Request, types: Types, values: readonly BoundValue[]): void {
  for (const [index, { type, value }] of values.entries()) {
    const [tediousType, given] = value === null ? [types.NVarChar, null] : parameter(types, type, value)
    request.addParameter(`p${index}`, tediousType, given)
  }
}

function parameter(types: Types, type: BoundValue['type'], value: string): [Types[keyof Types], unknown] {
  switch (type) {
    case 'bigint':
      return [types.BigInt, BigInt(value)]
    case 'float':
      return [types.Float, Number(value)]
    case 'bit':
      return [types.Bit, value === '1']
    case 'datetime2':
      return [types.DateTime2, new Date(value)]
    case 'varbinary':
      return [types.VarBinary, Buffer.from(value, 'base64')]
    case 'nvarchar':
      return [types.NVarChar, value]
  }
}

/** The request, as everything else takes it. */
type Started = FieldRequest & object

export class FieldStatement<Item> {
  readonly #consumer: FieldConsumer<Item>
  readonly #ready: Item[] = []
  #request: Started | undefined
  #paused = false
  #settled = false
  #discarding = false
  #failure: Error | undefined
  #rows: number | undefined
  #wake: (() => void) | undefined

  constructor(consumer: FieldConsumer<Item>) {
    this.#consumer = consumer
  }

  /** The number of rows that the server says it sent; known once the answer is whole. */
  get rows(): number | undefined {
    return this.#rows
  }

  /** True when the server has ended the statement, well or badly. */
  get settled(): boolean {
    return this.#settled
  }

  async start(connection: SqlServerConnection, { text, values }: Statement): Promise<void> {
    const { Request, TYPES } = await loadTedious()
    const request = new Request(text, (error, rowCount) => this.#end(error, rowCount))
    setRowMode(request, { exact: true, bare: true, fields: true })
    // A long answer is no slow one, whatever the connection's limit says.
    request.setTimeout(0)
    const fields = request as unknown as Started
    this.#request = fields
    fields.on('columnMetadata', (sent) => this.#guarded(() => this.#consumer.columns(sent)))
    fields.on('row', (run) => this.#guarded(() => this.#give(this.#consumer.take(run))))
    bind(request, TYPES, values)
    if (values.length === 0) connection.execSqlBatch(request)
    else connection.execSql(request)
  }

  /** What is thrown here would end in tedious: it is kept for the reader, and the rest of the answer is not wanted. */
  #guarded(work: () => void): void {
    if (this.#discarding) return
    try {
      work()
    } catch (error) {
      this.#failure ??= error instanceof Error ? error : new Error(String(error))
      this.cancel()
      this.#wake?.()
    }
  }

  #give(items: readonly Item[]): void {
    if (items.length === 0) return
    this.#ready.push(...items)
    this.#paused = true
    this.#request?.pause()
    this.#wake?.()
  }

  #end(error: Error | null | undefined, rowCount: number | undefined): void {
    this.#settled = true
    if (error) this.#failure ??= firstError(error)
    else if (!this.#discarding) {
      this.#rows = rowCount
      try {
        this.#ready.push(...this.#consumer.end())
      } catch (thrown) {
        this.#failure ??= thrown instanceof Error ? thrown : new Error(String(thrown))
      }
    }
    this.#wake?.()
  }

  /**
   * The next item, or undefined after the last one. The server waits while an item waits to be taken.
   * Rejects with the server's error, with what the consumer threw, or with the signal's reason.
   */
  async next(signal?: AbortSignal): Promise<Item | undefined> {
    for (;;) {
      signal?.throwIfAborted()
      if (this.#failure !== undefined) throw this.#failure
      const item = this.#ready.shift()
      if (item !== undefined) return item
      if (this.#settled) return undefined
      this.#resume()
      await this.#change(signal)
    }
  }

  #resume(): void {
    if (!this.#paused) return
    this.#paused = false
    this.#request?.resume()
  }

  /** Asks the server to end the statement (an attention, MS-TDS 2.2.1.7); what still comes is not kept. */
  cancel(): void {
    this.#discarding = true
    this.#ready.length = 0
    this.#paused = false
    if (!this.#settled) this.#request?.cancel()
  }

  /** Cancels, and waits until the server has ended the statement or the signal ends the wait. */
  async stop(signal: AbortSignal): Promise<boolean> {
    this.cancel()
    while (!this.#settled && !signal.aborted) await this.#change(signal)
    return this.#settled
  }

  async #change(signal: AbortSignal | undefined): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#wake = resolve
    const wake = (): void => resolve()
    signal?.addEventListener('abort', wake, { once: true })
    if (signal?.aborted || this.#settled) wake()
    try {
      await promise
    } finally {
      signal?.removeEventListener('abort', wake)
      this.#wake = undefined
    }
  }
}
